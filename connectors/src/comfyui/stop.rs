//! Stopping one prompt and no other, and seeing that it has stopped.
//! In: a prompt id. Out: what became of it, within a bounded time.
//!
//! ```text
//!   look ──▶ waiting ─▶ delete from queue ─┐
//!    ▲  └──▶ running ─▶ interrupt by id ───┤ (0.26+: one route cancels both)
//!    └─────────────────────────────────────┘   before 0.3.57 an interrupt hits whatever runs: never without a look
//!    └──▶ ended, or nowhere in two looks ─▶ Stopped, or NothingToStop if it was never seen alive
//! ```

use super::api::{Api, Place};
use super::http::{ENGINE, Trouble};
use super::settings::Timing;
use crate::contract::Interrupted;
use crate::failure::Failure;
use failpoints::{Point, reach};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// An interrupt only sets a flag that nodes look at; asking again more often changes nothing.
const ASK_AGAIN: Duration = Duration::from_secs(1);

pub(super) async fn stop(api: &Api, timing: &Timing, id: &str) -> Result<Interrupted, Failure> {
    let mut stopping = Stopping { seen_alive: false, looked_twice: false, asked: None, trouble: None };
    let gone = async {
        // Asked before the first look, so that nothing comes between a look and an interrupt.
        let cancels_jobs = api.features().await.is_some_and(|features| features.cancels_jobs);
        stopping.until_gone(api, timing, id, cancels_jobs).await
    };
    match timeout(timing.stop, gone).await {
        Ok(gone) => Ok(gone),
        Err(_) if stopping.seen_alive && stopping.trouble.is_none() => Ok(Interrupted::StillRunning),
        Err(_) => Err(stopping.trouble.unwrap_or(Trouble::Silent).failure(ENGINE, "stopping a run")),
    }
}

struct Stopping {
    seen_alive: bool,
    looked_twice: bool,
    /// Whether it ran when it was last asked to stop, and when that was.
    asked: Option<(bool, Instant)>,
    /// Why the last question has no answer.
    trouble: Option<Trouble>,
}

impl Stopping {
    async fn until_gone(&mut self, api: &Api, timing: &Timing, id: &str, cancels_jobs: bool) -> Interrupted {
        loop {
            let pause = match api.locate(id).await {
                Ok(Place::Running) => self.ask(api, id, true, cancels_jobs, timing).await,
                Ok(Place::Pending(_)) => self.ask(api, id, false, cancels_jobs, timing).await,
                // A submission that was cut off may still be on its way in.
                Ok(Place::Nowhere) if !self.seen_alive && !std::mem::replace(&mut self.looked_twice, true) => {
                    timing.second_look
                }
                // Where nobody listens nobody works: queue and run end with the process.
                Ok(Place::Ended(_) | Place::Nowhere) | Err(Trouble::Refused) => {
                    return if self.seen_alive { Interrupted::Stopped } else { Interrupted::NothingToStop };
                }
                Err(trouble) => {
                    self.trouble = Some(trouble);
                    timing.stop_poll
                }
            };
            sleep(pause).await;
        }
    }

    async fn ask(&mut self, api: &Api, id: &str, runs: bool, cancels_jobs: bool, timing: &Timing) -> Duration {
        self.seen_alive = true;
        self.trouble = None;
        // A prompt that began between look and deletion needs the other call.
        if self.asked.is_none_or(|(ran, at)| ran != runs || at.elapsed() >= ASK_AGAIN) {
            self.asked = Some((runs, Instant::now()));
            self.trouble = tell(api, id, runs, cancels_jobs).await.err();
            reach(Point::InterruptSent);
        }
        timing.stop_poll
    }
}

async fn tell(api: &Api, id: &str, runs: bool, cancels_jobs: bool) -> Result<(), Trouble> {
    if cancels_jobs && api.cancel_job(id).await? {
        return Ok(());
    }
    if runs { api.interrupt(id).await } else { api.delete_pending(id).await }
}
