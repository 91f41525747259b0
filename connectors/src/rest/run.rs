//! One job at a REST engine: handed over, followed to its end (`follow`), its results fetched; or stopped.
//! In: a job and the definition. Out: an outcome, a failure, or a stop that was seen to take effect.
//!
//! ```text
//!   recorded ─▶ waits for its place ─▶ submit ─sync─▶ answer ─▶ outputs stored ─▶ Outcome
//!                                        │ async
//!                                        └─▶ the server's id recorded ─▶ poll ─done─▶ [result] ─▶ outputs stored
//!                                                                         │ ├─failed word─▶ Failure
//!                                                                         │ └─404─▶ Unknown, or Failure
//!                                                                         └ stop: cancel, polled until it has ended
//! ```

use super::http::{Answer, Trouble, Unanswered, of_status};
use super::outputs;
use super::server::Server;
use super::template::Fill;
use crate::contract::{Interrupted, Job, Ledger, Outcome, OutputStore, Progress, ProgressSink, Stage};
use crate::failure::{Failure, Reason};
use crate::live::{Cut, Live};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// A submission on its way when the stop came: its answer holds the id that is to be stopped.
const LAST_ANSWER: Duration = Duration::from_secs(5);
/// Longest `data` of a result.
const DATA_MAX: usize = 64 << 10;
/// What is told between handing over and the first figure.
pub(super) const HANDED_OVER: f64 = 0.05;

/// One run.
pub(super) struct Run {
    pub server: Arc<Server>,
    pub places: Arc<Semaphore>,
    pub live: Arc<Live>,
    pub job: Job,
    /// Ours, a UUID.
    pub run_id: String,
    /// As the queue knows it: the connector's name and ours.
    pub id: String,
    pub progress: Arc<dyn ProgressSink>,
    pub outputs: Arc<dyn OutputStore>,
    pub ledger: Arc<dyn Ledger>,
}

impl Run {
    fn fill<'a>(&'a self, engine_id: &'a str) -> Fill<'a> {
        Fill { job: &self.job, run_id: &self.run_id, engine_id }
    }

    /// Hands the job over and sees it through.
    pub async fn run(self, asked: CancellationToken) -> Result<Outcome, Cut> {
        let waiting = Instant::now();
        let _place = tokio::select! {
            biased;
            () = asked.cancelled() => return Err(Cut::Stopped),
            place = self.places.clone().acquire_owned() => place,
        };
        let definition = &self.server.definition;
        let queued = waiting.elapsed();
        self.live.hand();
        self.progress.report(Progress { fraction: HANDED_OVER, stage: Stage::Unseen, ..Progress::default() });
        let began = Instant::now();
        let key = format!("{}-{}", self.job.id, self.job.attempt);
        let fill = self.fill(&self.run_id);
        let more = definition.idempotency.as_ref().map(|name| (name, key.as_str()));
        let mut submitting = Box::pin(self.server.http.call(&definition.submit, &definition.headers, more, &fill));
        let (answered, stopped) = tokio::select! {
            biased;
            answered = &mut submitting => (Some(answered), false),
            () = asked.cancelled() => match &definition.poll {
                Some(_) => (timeout(LAST_ANSWER, &mut submitting).await.ok(), true),
                None => (None, true),
            }
        };
        // With it goes the connection, which is how most servers learn that nobody waits for a synchronous call.
        drop(submitting);
        let submitted = match answered {
            Some(Ok(answer)) if answer.is_success() => Some(answer),
            Some(Ok(answer)) if !stopped => return Err(of_status(&answer, &definition.failure, "submitting").into()),
            Some(Err(trouble)) if !stopped => {
                // It may have arrived all the same; where the id is ours, it can be stopped.
                if !matches!(trouble, Unanswered::Job(_) | Unanswered::Wire(Trouble::Refused))
                    && !definition.server_names_runs()
                {
                    let _ = timeout(self.server.stop, self.server.stop(&fill)).await;
                }
                return Err(trouble.failure("submitting").into());
            }
            _ => None,
        };
        let Some(poll) = &definition.poll else {
            if stopped {
                let _ = timeout(self.server.stop, self.server.stop(&fill)).await;
                return Err(Cut::Stopped);
            }
            let answer = submitted.ok_or(Cut::Stopped)?;
            self.fetching();
            return self.collect(answer, &fill, &asked, queued, began).await;
        };
        let engine_id = match (&definition.id, &submitted) {
            (None, _) => self.run_id.clone(),
            (Some(at), Some(answer)) => match engine_id(answer, at) {
                Ok(id) => id,
                Err(failure) => return Err(failure.into()),
            },
            (Some(_), None) => {
                tracing::warn!(job = self.job.id, "cancelled while it was submitted; the engine may go on with it");
                return Err(Cut::Stopped);
            }
        };
        let fill = self.fill(&engine_id);
        if stopped {
            self.stop(&fill).await;
            return Err(Cut::Stopped);
        }
        // Only now is it known: an agent that dies before this line leaves work that only the idempotency key finds.
        if definition.server_names_runs()
            && self.ledger.record_service_job(&format!("{}/{engine_id}", self.id)).await.is_err()
        {
            self.stop(&fill).await;
            return Err(Cut::Lost);
        }
        self.follow(poll, &fill, &asked, queued, began, true).await.and_then(|outcome| {
            let gone = || Failure::new(Reason::MissingExpectedData, "the engine has forgotten a run that it had taken");
            outcome.ok_or_else(|| gone().into())
        })
    }

    /// Takes up work that an earlier process handed over. `None`: the engine does not know it.
    pub async fn reattach(self, engine_id: String, asked: CancellationToken) -> Result<Option<Outcome>, Cut> {
        let server = self.server.clone();
        let Some(poll) = &server.definition.poll else { return Ok(None) };
        let fill = self.fill(&engine_id);
        self.follow(poll, &fill, &asked, Duration::ZERO, Instant::now(), false).await
    }

    /// Says that the engine has done its part.
    pub(super) fn fetching(&self) {
        let message = Some("fetching the outputs".to_owned());
        self.progress.report(Progress { fraction: 1.0, message, stage: Stage::Fetching, ..Progress::default() });
    }

    /// Stores what an answer names, and makes the outcome of it.
    pub(super) async fn collect(
        &self,
        answer: Answer,
        fill: &Fill<'_>,
        asked: &CancellationToken,
        queued: Duration,
        began: Instant,
    ) -> Result<Outcome, Cut> {
        let fetching = Instant::now();
        let outputs = tokio::select! {
            biased;
            () = asked.cancelled() => return Err(Cut::Stopped),
            outputs = outputs::store(&self.server, fill, &answer, &self.outputs) => outputs?,
        };
        let data = match &self.server.definition.data {
            None => json!({}),
            Some(at) => {
                let found = answer.json().ok().and_then(|json: Value| json.pointer(at).cloned());
                found.ok_or_else(|| {
                    Failure::new(Reason::MissingExpectedData, format!("the engine's answer has nothing at `{at}`"))
                })?
            }
        };
        let bytes = data.to_string().len();
        if bytes > DATA_MAX {
            let said = format!("`result.data` leads to {bytes} bytes; files belong into [[outputs]]");
            return Err(Failure::new(Reason::InvalidResponseFormat, said).into());
        }
        let ms = |span: Duration| span.as_millis() as u64;
        let timings = [
            ("queued_ms".to_owned(), ms(queued)),
            ("run_ms".to_owned(), ms(fetching - began)),
            ("fetch_ms".to_owned(), ms(fetching.elapsed())),
        ];
        Ok(Outcome { outputs, data, timings: timings.into() })
    }

    /// Has the engine stop it, within the time for that.
    pub(super) async fn stop(&self, fill: &Fill<'_>) {
        match timeout(self.server.stop, self.server.stop(fill)).await {
            Ok(Ok(Interrupted::Stopped | Interrupted::NothingToStop)) => {}
            _ => tracing::warn!(job = self.job.id, "the engine could not be seen to stop; it may go on with the job"),
        }
    }
}

fn engine_id(answer: &Answer, at: &str) -> Result<String, Failure> {
    let json: Option<Value> = answer.json().ok();
    let id = json.as_ref().and_then(|json| json.pointer(at)).and_then(|id| match id {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    });
    id.filter(|id| (1..=512).contains(&id.len()) && !id.contains(char::is_control)).ok_or_else(|| {
        Failure::new(Reason::InvalidResponseFormat, format!("the engine's answer has no id of a run at `{at}`"))
    })
}
