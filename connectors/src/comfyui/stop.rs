//! Stopping one prompt and no other, and seeing that it has stopped.
//! In: a prompt id. Out: what became of it, within a bounded time.
//!
//! ```text
//!   look ──▶ waiting ─▶ delete from queue ─┐
//!    ▲  └──▶ running ─▶ interrupt by id ───┤ (0.26+: one route cancels both)
//!    └─────────────────────────────────────┘
//!    └──▶ ended, or nowhere in two looks ─▶ Stopped, or NothingToStop if it was never seen alive
//! ```

use super::api::{Api, Place};
use super::http::Trouble;
use super::settings::Timing;
use crate::contract::Interrupted;
use crate::failure::Failure;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// An interrupt only sets a flag that nodes look at; asking again more often changes nothing.
const ASK_AGAIN: Duration = Duration::from_secs(1);

pub(super) async fn stop(api: &Api, timing: &Timing, id: &str) -> Result<Interrupted, Failure> {
    let deadline = Instant::now() + timing.stop;
    let (mut seen_alive, mut looked_twice) = (false, false);
    let mut asked: Option<(bool, Instant)> = None;
    loop {
        let trouble = match api.locate(id).await {
            // A submission that was cut off may still be on its way in.
            Ok(Place::Nowhere) if !seen_alive && !std::mem::replace(&mut looked_twice, true) => {
                sleep(timing.second_look).await;
                continue;
            }
            Ok(Place::Ended(_) | Place::Nowhere) => {
                return Ok(if seen_alive { Interrupted::Stopped } else { Interrupted::NothingToStop });
            }
            Ok(place) => {
                seen_alive = true;
                let runs = matches!(place, Place::Running);
                // A prompt that began between look and deletion needs the other call.
                let due = asked.is_none_or(|(ran, at)| ran != runs || at.elapsed() >= ASK_AGAIN);
                if due {
                    asked = Some((runs, Instant::now()));
                    ask(api, id, runs).await.err()
                } else {
                    None
                }
            }
            Err(trouble) => Some(trouble),
        };
        match trouble {
            // Nobody listens: whatever ran there has ended with the server.
            Some(Trouble::Refused) if seen_alive => return Ok(Interrupted::Stopped),
            Some(trouble) if Instant::now() >= deadline => return Err(trouble.failure("stopping a run")),
            _ if Instant::now() >= deadline => return Ok(Interrupted::StillRunning),
            _ => sleep(timing.stop_poll).await,
        }
    }
}

async fn ask(api: &Api, id: &str, runs: bool) -> Result<(), Trouble> {
    if api.cancel_job(id).await? {
        return Ok(());
    }
    if runs { api.interrupt(id).await } else { api.delete_pending(id).await }
}
