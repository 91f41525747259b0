//! A slot: one worker that runs one job at a time, from its first claim to its last.
//! In: hints, capabilities, orders to stop. Out: jobs claimed, lived and handed in.
//!
//! ```text
//!   ┌──▶ ask ──job──▶ busy ──handed in──┐
//!   │     │ nothing                     │
//!   │     ▼                             │
//!   │   idle (blocked on tokens) ◀──────┘ (asks again at once)
//!   └─────┘        drain ──▶ gone
//! ```

use super::engine::Engine;
use super::job::{Earlier, Ended, Run};
use super::shared::{Announcement, Shared};
use crate::capabilities::{Capabilities, Fit, fit};
use crate::protocol::claim::ClaimedJob;
use crate::protocol::class::Class;
use crate::protocol::hold::Claim;
use crate::protocol::outcome::Settled;
use crate::queue::announce::{Announced, Doing};
use crate::queue::claim::{Asked, Claimer, Judgement};
use crate::queue::holds::Hold;
use crate::queue::link::{persist, unless};
use crate::queue::recover::{self, Recovered};
use crate::queue::wake::{self, Waiter, Woken};
use crate::queue::{claim, settle};
use crate::service::loops::Beat;
use crate::telemetry::{Notice, tell};
use connectors::failure::Reason;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// After an error of Redis: the link keeps trying, and so does the slot.
const PAUSE: Duration = Duration::from_millis(200);

/// How long engines may take to accept a request to free memory.
const FREE_DEADLINE: Duration = Duration::from_secs(10);

/// Births kept for a slot that does not claim (paused); it reads the classes anew when it goes on.
const BIRTHS_MAX: usize = 1000;

/// One worker.
pub struct Slot {
    /// What all slots share.
    pub shared: Arc<Shared>,
    /// Its id in the queue.
    pub worker: String,
    /// The GPU's number, for the reference's readers.
    pub gpu: Option<u32>,
    /// Its engines.
    pub engines: Vec<Arc<Engine>>,
    /// What it offers now.
    pub capabilities: watch::Sender<Arc<Capabilities>>,
    /// Somebody wants it to claim no more for now.
    pub paused: watch::Sender<bool>,
    /// Asks for a heartbeat at once.
    pub beat_now: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    job: Option<String>,
    /// The classes that it is blocked on, while it is idle.
    blocked_on: Option<BTreeSet<String>>,
    born: Vec<(String, String)>,
}

impl Slot {
    /// A slot that has not begun.
    pub fn new(
        shared: Arc<Shared>,
        worker: String,
        gpu: Option<u32>,
        engines: Vec<Arc<Engine>>,
        capabilities: Capabilities,
    ) -> Self {
        Self {
            shared,
            worker,
            gpu,
            engines,
            capabilities: watch::Sender::new(Arc::new(capabilities)),
            paused: watch::Sender::new(false),
            beat_now: Notify::new(),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The job at work.
    pub fn job(&self) -> Option<String> {
        self.state().job.clone()
    }

    /// As the reference's readers see it.
    pub fn announced(&self) -> Announced {
        Announced {
            worker: self.worker.clone(),
            machine: self.shared.machine.clone(),
            capabilities: self.capabilities.borrow().to_reference_json().clone(),
            version: self.shared.version.clone(),
        }
    }

    /// Hears that a class was born. True if the slot is idle and must wait anew with it on its list.
    pub fn hear_birth(&self, class: &str, definition: &str) -> bool {
        let capabilities = self.capabilities.borrow().clone();
        let mut state = self.state();
        // At work it need not know: its next claim sees the class.
        let waits_for_it = state.blocked_on.as_ref().is_some_and(|classes| classes.contains(class));
        let is_full = state.born.len() >= BIRTHS_MAX;
        if state.job.is_some() || waits_for_it || is_full || judge(&capabilities, definition) == Judgement::Misfit {
            return false;
        }
        state.born.push((class.to_owned(), definition.to_owned()));
        state.blocked_on.is_some()
    }

    /// Runs until the agent drains; a job at work is finished or stopped by then.
    pub async fn run(&self, beat: Beat) {
        let Shared { link, space, limits, shutdown, .. } = &*self.shared;
        let mut claimer = Claimer::new(&self.worker, limits.lease);
        let mut waiter = Waiter::new(&self.worker);
        let mut offers = self.capabilities.subscribe();
        let mut paused = self.paused.subscribe();
        self.recover(&beat).await;
        while !shutdown.drain.is_cancelled() {
            beat.tick();
            if offers.has_changed().unwrap_or(false) {
                claimer.forget();
            }
            let capabilities = offers.borrow_and_update().clone();
            let nothing_to_offer = capabilities.services().is_empty() || self.offers_too_much(&capabilities);
            if *paused.borrow_and_update() || nothing_to_offer {
                tokio::select! {
                    () = shutdown.drain.cancelled() => break,
                    _ = offers.changed() => claimer.forget(),
                    _ = paused.changed() => {}
                    () = tokio::time::sleep(limits.poll) => {}
                }
                continue;
            }
            let judging = |definition: &str| judge(&capabilities, definition);
            for (class, definition) in std::mem::take(&mut self.state().born) {
                claimer.learn(&class, judging(&definition));
            }
            match claimer.ask(link, space, &judging).await {
                Ok(Asked::Job(claimed, token)) => self.work(&claimed, None, token, &capabilities, &beat).await,
                Ok(Asked::Nothing(due)) => {
                    let longest = due.map_or(limits.poll, |due| due.min(limits.poll)).max(Duration::from_millis(1));
                    self.idle(&mut waiter, claimer.fitting(), longest).await;
                }
                Err(_) => {
                    unless(&shutdown.drain, tokio::time::sleep(PAUSE)).await;
                }
            }
        }
    }

    /// An engine has fallen ill since the offer was made: a new offer is on its way.
    fn offers_too_much(&self, capabilities: &Capabilities) -> bool {
        let is_served = |service: &String| {
            self.engines.iter().any(|engine| engine.is_healthy() && engine.connector.services().contains(service))
        };
        !capabilities.services().iter().all(is_served)
    }

    /// Waits for a token. Ends early when the agent drains, without losing a token that came just then.
    async fn idle(&self, waiter: &mut Waiter, classes: &BTreeSet<String>, longest: Duration) {
        let Shared { link, space, shutdown, .. } = &*self.shared;
        {
            let mut state = self.state();
            if !state.born.is_empty() {
                return;
            }
            state.blocked_on = Some(classes.clone());
        }
        let waiting = waiter.wait(link, space, classes, longest);
        tokio::pin!(waiting);
        let woken = tokio::select! {
            woken = &mut waiting => woken,
            () = shutdown.drain.cancelled() => {
                let _ = tokio::time::timeout(PAUSE, wake::call(link, space, &self.worker)).await;
                match tokio::time::timeout(PAUSE, waiting).await {
                    Ok(woken) => woken,
                    Err(_) => Ok(Woken::TimedOut),
                }
            }
        };
        self.state().blocked_on = None;
        match woken {
            Ok(Woken::Class(class)) if shutdown.drain.is_cancelled() || *self.paused.borrow() => {
                let _ = wake::put_back(link, space, &class).await;
            }
            Ok(_) => {}
            Err(_) => {
                unless(&shutdown.drain, tokio::time::sleep(PAUSE)).await;
            }
        }
    }

    /// Takes up what an earlier process of this worker held: its engine may have finished it, or be at work on it.
    async fn recover(&self, beat: &Beat) {
        let Shared { link, space, limits, shutdown, .. } = &*self.shared;
        for kept in self.shared.journal.unconfirmed(&self.worker) {
            let handed =
                settle::hand_in(link, space, &self.shared.journal, &kept.claim, &kept.outcome, &shutdown.drain);
            match handed.await {
                Some(Ok(settled)) => {
                    let became = format!("{settled:?}").to_lowercase();
                    tell(Notice::HandedIn { worker: &self.worker, job: &kept.claim.id, became });
                }
                Some(Err(error)) => tracing::error!(job = kept.claim.id, %error, "a kept end of a job was refused"),
                None => return,
            }
            kept.forget();
        }
        let looking = persist(&shutdown.drain, || async {
            beat.tick();
            recover::left_behind(link, space, &self.worker, limits.lease).await
        });
        // Redis may be away for long: the agent waits for it here as it would before a claim.
        let Some(Ok(found)) = looking.await else { return };
        for Recovered { claimed, token, service_job_id } in found {
            tell(Notice::TakenUp { worker: &self.worker, job: &claimed.id, started: service_job_id.is_some() });
            let capabilities = self.capabilities.borrow().clone();
            self.work(&claimed, Some(Earlier { service_job_id }), token, &capabilities, beat).await;
        }
    }

    async fn work(
        &self,
        claimed: &ClaimedJob,
        earlier: Option<Earlier>,
        token: String,
        capabilities: &Capabilities,
        beat: &Beat,
    ) {
        let began = Instant::now();
        let claim = Claim { id: claimed.id.clone(), token, attempt: claimed.attempt, life: claimed.life.clone() };
        let hold = Hold::new(claim);
        self.shared.holds.add(hold.clone());
        tell(Notice::Claimed { worker: &self.worker, job: &claimed.id, attempt: claimed.attempt });
        self.now_doing(None, Some(&claimed.id));
        let run = Run { shared: &self.shared, worker: &self.worker, engines: &self.engines, capabilities, hold: &hold };
        let living = run.live(claimed, earlier.as_ref());
        tokio::pin!(living);
        // A long job is no hanging loop.
        let ended = loop {
            tokio::select! {
                ended = &mut living => break ended,
                () = tokio::time::sleep(Duration::from_secs(5)) => beat.tick(),
            }
        };
        let out_of_memory = matches!(&ended, Ended::HandIn { failure: Some(failure), .. }
            if matches!(failure.reason, Reason::OutOfMemory | Reason::GpuMemoryFull));
        let blames_us = matches!(&ended, Ended::HandIn { failure: Some(failure), .. } if failure.hosts_fault);
        self.hand_in(&hold, ended, began).await;
        self.shared.holds.remove(&hold.claim);
        self.now_doing(Some(&claimed.id), None);
        if out_of_memory {
            // What the failed run left on the card would fail the next one.
            let freeing = self.engines.iter().map(|engine| engine.connector.free_memory());
            let _ = tokio::time::timeout(FREE_DEADLINE, futures_util::future::join_all(freeing)).await;
        }
        if blames_us {
            // A dead engine must not run through the queue: it is asked before the next claim, not at the next interval.
            futures_util::future::join_all(self.engines.iter().map(|engine| engine.probe())).await;
        }
    }

    async fn hand_in(&self, hold: &Hold, ended: Ended, began: Instant) {
        let Shared { link, space, shutdown, .. } = &*self.shared;
        let (worker, job) = (self.worker.as_str(), hold.claim.id.as_str());
        let Ended::HandIn { outcome, failure, outputs } = ended else {
            tell(Notice::Lost { worker, job, state: "lost" });
            return;
        };
        let settled =
            match settle::hand_in(link, space, &self.shared.journal, &hold.claim, &outcome, &shutdown.now).await {
                Some(Ok(settled)) => settled,
                Some(Err(error)) => {
                    tracing::error!(worker, job, %error, "the end of a job was refused; its lease will run out");
                    return;
                }
                None => {
                    tracing::error!(
                        worker,
                        job,
                        "stopped before Redis came back; the next start hands the end of the job in"
                    );
                    return;
                }
            };
        match (settled, &outcome, failure) {
            (Settled::Lost { state }, ..) => tell(Notice::Lost { worker, job, state: &state }),
            (Settled::Cancelled, ..) | (Settled::Accepted | Settled::Already, settle::Outcome::Cancelled, _) => {
                tell(Notice::Cancelled { worker, job });
            }
            (_, settle::Outcome::Completed(_), _) => {
                tell(Notice::Completed { worker, job, outputs, took: began.elapsed() });
            }
            (_, settle::Outcome::Released { reason, .. }, _) => tell(Notice::Released { worker, job, why: reason }),
            (settled, _, Some(failure)) => {
                let then = match settled {
                    Settled::Retry { due_ms } => {
                        let pause = due_ms.saturating_sub(crate::queue::announce::now_ms().max(0) as u64);
                        format!("another attempt in {:.1} s", pause as f64 / 1000.0)
                    }
                    _ => "failed for good".to_owned(),
                };
                let (kind, reason) = (failure.kind().as_str(), failure.reason.as_str());
                tell(Notice::Failed { worker, job, kind, reason, message: &failure.message, then });
            }
            (_, _, None) => {}
        }
    }

    fn now_doing(&self, before: Option<&str>, now: Option<&str>) {
        self.state().job = now.map(str::to_owned);
        let messages = match self.shared.space.reference_events {
            true => self.announced().changed(Doing { job: before }, Doing { job: now }),
            false => Vec::new(),
        };
        let status = Doing { job: now }.status();
        let record = Some((self.worker.clone(), status, now.unwrap_or_default().to_owned()));
        // Sent by a task of its own: hints do not delay the job. No receiver: the agent is on its way out.
        let _ = self.shared.announcements.send(Announcement { messages, record });
    }
}

fn judge(capabilities: &Capabilities, definition: &str) -> claim::Judgement {
    match Class::parse(definition).map(|class| fit(&class, capabilities)) {
        Ok(Fit::Fits) => Judgement::Fits,
        Ok(Fit::NeedsFields(_)) => Judgement::Incomplete,
        // Written by a newer program that asks for what is unknown here.
        Ok(Fit::Misfit(_)) | Err(_) => Judgement::Misfit,
    }
}
