//! A run at an asynchronous engine, from poll to poll to its end.
//! In: the engine's id of it. Out: progress; an outcome, a failure, or that the engine does not know it.

use super::definition::{Call, Poll};
use super::http::{Answer, of_status};
use super::run::{HANDED_OVER, Run};
use super::server::Standing;
use super::template::Fill;
use crate::contract::{Outcome, Progress, Stage};
use crate::failure::Failure;
use crate::live::Cut;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// An engine that cannot be asked for this long is given up; its work may have gone with it.
const AWAY: Duration = Duration::from_secs(30);

impl Run {
    /// `None`: the engine does not know it.
    pub(super) async fn follow(
        &self,
        poll: &Poll,
        fill: &Fill<'_>,
        asked: &CancellationToken,
        queued: Duration,
        began: Instant,
        is_new: bool,
    ) -> Result<Option<Outcome>, Cut> {
        let (mut heard, mut furthest) = (Instant::now(), HANDED_OVER);
        let mut unknown_once = false;
        loop {
            let standing = tokio::select! {
                biased;
                () = asked.cancelled() => {
                    self.stop(fill).await;
                    return Err(Cut::Stopped);
                }
                standing = self.server.look(poll, fill) => standing,
            };
            match standing {
                Ok(Standing::AtWork(answer)) => {
                    heard = Instant::now();
                    self.tell(poll, &answer, &mut furthest);
                }
                Ok(Standing::Done(answer)) => {
                    self.fetching();
                    let answer = match &self.server.definition.result {
                        None => answer,
                        Some(call) => tokio::select! {
                            biased;
                            () = asked.cancelled() => return Err(Cut::Stopped),
                            result = self.result(call, fill) => result?,
                        },
                    };
                    return self.collect(answer, fill, asked, queued, began).await.map(Some);
                }
                Ok(Standing::Failed(failure)) => return Err(failure.into()),
                // Some servers list a run a moment after they have taken it.
                Ok(Standing::Unknown) if is_new && !std::mem::replace(&mut unknown_once, true) => {}
                Ok(Standing::Unknown) => return Ok(None),
                Ok(Standing::Unreadable(failure)) => {
                    self.stop(fill).await;
                    return Err(failure.into());
                }
                Err(failure) if heard.elapsed() >= AWAY => {
                    self.stop(fill).await;
                    return Err(failure.into());
                }
                Err(_) => {}
            }
            tokio::select! {
                () = asked.cancelled() => {}
                () = sleep(poll.interval) => {}
            }
        }
    }

    fn tell(&self, poll: &Poll, answer: &Value, furthest: &mut f64) {
        let figure = poll.progress.as_ref().and_then(|at| answer.pointer(at));
        let figure = figure.and_then(|figure| figure.as_f64().or_else(|| figure.as_str()?.parse().ok()));
        let message = poll.message.as_ref().and_then(|at| answer.pointer(at)).and_then(Value::as_str);
        if figure.is_none() && message.is_none() {
            return;
        }
        let fraction = figure.map_or(0.0, |figure| (figure / poll.progress_max).clamp(0.0, 1.0));
        *furthest = furthest.max(fraction);
        let message = message.map(|text| text.chars().take(500).collect());
        // A figure that has moved is expected to go on; words alone, or a figure that has yet to move, promise nothing.
        let stage = if fraction > 0.0 { Stage::Working } else { Stage::Unseen };
        self.progress.report(Progress { fraction: *furthest, message, stage, ..Progress::default() });
    }

    async fn result(&self, call: &Call, fill: &Fill<'_>) -> Result<Answer, Failure> {
        let server = &self.server;
        let answer = server.http.call(call, &server.definition.headers, None, fill).await;
        let answer = answer.map_err(|trouble| trouble.failure("fetching the result"))?;
        if answer.is_success() {
            return Ok(answer);
        }
        Err(of_status(&answer, &server.definition.failure, "fetching the result"))
    }
}
