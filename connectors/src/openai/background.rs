//! A response that is made while nobody holds a connection open.
//! In: a request, or the id of a response. Out: the outcome, once the server is done; whoever asks for it by its id.

use super::draft::Draft;
use super::halves;
use super::http::LARGE;
use super::meter::Meter;
use super::run::{Attempt, Remote};
use super::{refusal, responses, result};
use crate::contract::{Outcome, Stage};
use crate::failure::{Failure, Reason};
use crate::http::{Trouble, whole};
use crate::live::Cut;
use serde_json::Value;
use tokio::time::{Instant, timeout};

/// Ids go into the queue.
const ID_MAX: usize = 512;

impl Attempt {
    /// A response that is made while nobody holds a connection open: any process may ask for it by its id.
    pub(super) async fn background(mut self) -> Result<Outcome, Cut> {
        self.plan.body.remove("stream");
        let limit = self.server.settings.timing.first;
        self.remote.send_replace(Remote::Asked);
        let response = self.post(limit).await?;
        let answer = timeout(limit, whole(response, LARGE)).await.map_err(|_| Trouble::Silent)??;
        let answer = halves::whole(&answer.body)?;
        if let Some(error) = refusal::error_in(&answer) {
            return Err(self.with_around(|around| refusal::in_stream(&error, around)).into());
        }
        let id = answer["id"].as_str().filter(|id| id.len() <= ID_MAX).ok_or(Trouble::Nonsense)?.to_owned();
        self.remote.send_replace(Remote::Known(id.clone()));
        self.server.remote().insert(id.clone(), (self.id.clone(), self.plan.key.clone()));
        // From here on it can be taken up again: its own id takes the place of ours.
        if self.ctx.ledger.record_service_job(&id).await.is_err() {
            let _ = self.server.cancel_response(&id, &self.plan.key).await;
            return Err(Cut::Lost);
        }
        self.collect(id, answer).await
    }

    /// Waits for a response and takes it in.
    pub(super) async fn collect(self, id: String, mut answer: Value) -> Result<Outcome, Cut> {
        let timing = &self.server.settings.timing;
        let (began, mut alive) = (Instant::now(), Instant::now());
        let sink = self.ctx.progress.clone();
        let meter = Meter::new(&*sink, None);
        while responses::goes_on(&answer) {
            // Nothing tells how far it is; time alone would be made up.
            meter.say(0.05, answer["status"].as_str().unwrap_or("in_progress"), Stage::Unseen);
            if began.elapsed() >= timing.background {
                let _ = self.server.cancel_response(&id, &self.plan.key).await;
                let what = format!("the response took longer than {:.0} s", timing.background.as_secs_f64());
                return Err(Failure::new(Reason::ProcessingTimeout, what).into());
            }
            tokio::time::sleep(timing.poll).await;
            match self.server.http.response(&id, &self.plan.key, timing.request).await {
                Ok(got) => match got.status {
                    200..=299 => (answer, alive) = (halves::whole(&got.body)?, Instant::now()),
                    408 | 409 | 429 | 500..=599 if alive.elapsed() < timing.unreachable => {}
                    status => {
                        let refused =
                            self.with_around(|around| refusal::failure(status, &got.headers, &got.body, around));
                        return Err(refused.into());
                    }
                },
                Err(trouble) if trouble != Trouble::TooLarge && alive.elapsed() < timing.unreachable => {}
                Err(trouble) => return Err(super::http::failure(&trouble, "asking for a response").into()),
            }
        }
        let mut draft = Draft::default();
        let tokens = &*self.ctx.tokens;
        let pictures = self.with_around(|around| responses::finish(&mut draft, tokens, &answer, around))?;
        draft.judge()?;
        let run = began.elapsed();
        result::text(&self, draft, pictures, run, None).await
    }
}
