//! A slot at work: one job from its claim to the end that is handed in.
//! In: a claimed job. Out: its end in Redis, the news of it in the log.

use super::attempt::FREE_DEADLINE;
use super::end::{Ended, Stored};
use super::engine::seats::Seats;
use super::job::{About, Earlier, Run};
use super::retry;
use super::shared::{Announcement, Shared};
use super::slot::Slot;
use super::tokens::Tokens;
use crate::capabilities::Capabilities;
use crate::protocol::claim::ClaimedJob;
use crate::protocol::hold::Claim;
use crate::protocol::outcome::Settled;
use crate::queue::announce::Doing;
use crate::queue::holds::{Hold, Stop};
use crate::queue::link::unless;
use crate::queue::settle;
use crate::service::loops::Beat;
use crate::telemetry::{Notice, tell};
use connectors::failure::Reason;
use failpoints::{Point, reach};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a slot at work says that it is.
const BEAT: Duration = Duration::from_secs(5);

/// What follows a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// Nothing that concerns this worker.
    Settled,
    /// The job waits for another attempt, for a while preferably by another worker.
    Retry,
}

/// A long job, or a long outage at its end, is no hanging loop.
pub(super) async fn beating<T>(beat: &Beat, run: impl Future<Output = T>) -> T {
    tokio::pin!(run);
    loop {
        tokio::select! {
            answer = &mut run => return answer,
            () = tokio::time::sleep(BEAT) => beat.tick(),
        }
    }
}

impl Slot {
    pub(super) async fn work(
        &self,
        claimed: &ClaimedJob,
        earlier: Option<Earlier>,
        token: String,
        capabilities: &Capabilities,
        seats: &mut Seats,
        beat: &Beat,
    ) -> After {
        let began = Instant::now();
        let claim = Claim { id: claimed.id.clone(), token, attempt: claimed.attempt, life: claimed.life.clone() };
        let hold = Hold::new(claim);
        self.shared.holds.add(hold.clone());
        tell(Notice::Claimed { worker: &self.worker, job: &claimed.id, attempt: claimed.attempt });
        self.shared.board.begin(&self.worker, &claimed.id, claimed.attempt);
        self.now_doing(None, Some(&claimed.id));
        let about = About { claimed: began, service: Arc::default() };
        let run = Run {
            shared: &self.shared,
            worker: &self.worker,
            engines: &self.engines,
            capabilities,
            hold: &hold,
            about: &about,
            seats: Mutex::new(seats),
            untold: Mutex::default(),
        };
        let ended = beating(beat, Box::pin(run.live(claimed, earlier.as_ref()))).await;
        let untold = run.untold.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(untold) = untold {
            beating(beat, Box::pin(self.tell_rest(&hold, &ended, &untold))).await;
        }
        let out_of_memory = matches!(&ended, Ended::HandIn { failure: Some(failure), .. }
            if matches!(failure.reason, Reason::OutOfMemory | Reason::GpuMemoryFull));
        let blames_us = matches!(&ended, Ended::HandIn { failure: Some(failure), .. }
            if failure.hosts_fault || failure.ended_engine);
        let went_well = matches!(&ended, Ended::HandIn { outcome: settle::Outcome::Completed(_), .. });
        let after = beating(beat, self.hand_in(&hold, ended, &about)).await;
        self.shared.board.end(&self.worker, went_well);
        self.shared.holds.remove(&hold.claim);
        reach(Point::JobLetGo);
        self.now_doing(Some(&claimed.id), None);
        if out_of_memory {
            // What the failed run left on the card would fail the next one.
            let engines = self.engines.borrow().clone();
            let freeing = engines.iter().map(|engine| engine.connector.free_memory());
            let _ = tokio::time::timeout(FREE_DEADLINE, futures_util::future::join_all(freeing)).await;
            reach(Point::MemoryFreed);
        }
        if blames_us {
            self.shared.outputs.doubt();
            self.until_outputs_can_be_stored(beat).await;
        }
        // A dead engine must not run through the queue, and one that goes on with what it was told to stop must not be
        // given more: it is asked before the next claim, not at the next interval.
        let engines = self.engines.borrow().clone();
        let to_ask = engines.iter().filter(|engine| blames_us || engine.has_leftovers());
        if self.shared.shutdown.drain.is_cancelled() {
            return after;
        }
        beating(beat, futures_util::future::join_all(to_ask.map(|engine| engine.probe()))).await;
        after
    }

    /// A full disk, or a bucket that takes nothing, must not run through the queue either.
    pub(super) async fn until_outputs_can_be_stored(&self, beat: &Beat) {
        let outputs = &self.shared.outputs;
        let waiting = outputs.until_storable(BEAT, |failure| {
            tell(Notice::CannotStore { place: &outputs.shown(), error: &failure.message });
            self.beat_now.notify_one();
        });
        let _ = unless(&self.shared.shutdown.drain, beating(beat, waiting)).await;
        self.beat_now.notify_one();
    }

    /// The rest of a text goes before the job's end, however long Redis is away; meanwhile that end is safe on disk.
    async fn tell_rest(&self, hold: &Hold, ended: &Ended, untold: &Tokens) {
        let Ended::HandIn { outcome, .. } = ended else { return };
        let (journal, worker) = (self.shared.journal.clone(), self.worker.clone());
        let (claim, outcome) = (hold.claim.clone(), outcome.clone());
        let kept = tokio::task::spawn_blocking(move || journal.keep(&worker, &claim, &outcome)).await;
        let told = unless(&self.shared.shutdown.now, untold.forward_rest(&self.shared, hold)).await;
        if let (Some(()), Ok(Ok(kept))) = (told, kept) {
            kept.forget();
        }
    }

    async fn hand_in(&self, hold: &Hold, ended: Ended, about: &About) -> After {
        let Shared { link, space, shutdown, .. } = &*self.shared;
        let (worker, job) = (self.worker.as_str(), hold.claim.id.as_str());
        let service = about.service();
        let Ended::HandIn { outcome, failure, outputs } = ended else {
            tell(Notice::Lost { worker, job, service, state: "lost" });
            // Unless a newer process goes on with it, the engine has stopped by now.
            if hold.why() != Some(Stop::Moved) {
                self.forget_start(job).await;
            }
            return After::Settled;
        };
        let settled =
            match settle::hand_in(link, space, &self.shared.journal, &hold.claim, &outcome, &shutdown.now).await {
                Some(Ok(settled)) => settled,
                Some(Err(error)) => {
                    tracing::error!(worker, job, %error, "the end of a job was refused; its lease will run out");
                    return After::Settled;
                }
                None => {
                    tracing::error!(
                        worker,
                        job,
                        "stopped before Redis came back; the next start hands the end of the job in"
                    );
                    return After::Settled;
                }
            };
        let took = about.claimed.elapsed();
        let after = if matches!(settled, Settled::Retry { .. }) { After::Retry } else { After::Settled };
        match (settled, &outcome, failure) {
            (Settled::Lost { state }, ..) => {
                self.forget_start(job).await;
                tell(Notice::Lost { worker, job, service, state: &state });
            }
            (Settled::Cancelled, ..) | (Settled::Accepted | Settled::Already, settle::Outcome::Cancelled, _) => {
                tell(Notice::Cancelled { worker, job, service, took });
            }
            (_, settle::Outcome::Completed(_), _) => {
                let Stored { count, bytes, made } = outputs;
                tell(Notice::Completed { worker, job, service, outputs: count, bytes, took, made: &made });
            }
            (_, settle::Outcome::Released { reason, .. }, _) => {
                tell(Notice::Released { worker, job, service, why: reason });
            }
            (settled, _, Some(failure)) => {
                let retry_in = match settled {
                    Settled::Retry { due_ms } => {
                        let now_ms = crate::queue::announce::now_ms().max(0) as u64;
                        Some(Duration::from_millis(due_ms.saturating_sub(now_ms)))
                    }
                    _ => None,
                };
                let (kind, reason, remedy) =
                    (failure.kind().as_str(), failure.reason.as_str(), retry::row(failure.reason).remedy);
                let message = &failure.message;
                tell(Notice::Failed { worker, job, service, kind, reason, message, remedy, retry_in, took });
            }
            (_, _, None) => {}
        }
        after
    }

    fn now_doing(&self, before: Option<&str>, now: Option<&str>) {
        self.state().job = now.map(str::to_owned);
        let messages = match self.shared.space.reference_events {
            true => self.announced().changed(Doing { job: before }, Doing { job: now }),
            false => Vec::new(),
        };
        let record = Some((self.worker.clone(), self.standing(), now.unwrap_or_default().to_owned()));
        // Sent by a task of its own: hints do not delay the job. No receiver: the agent is on its way out.
        let _ = self.shared.announcements.send(Announcement { messages, record });
    }
}
