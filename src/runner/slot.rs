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

use super::avoided::Avoided;
use super::engine::Engine;
use super::fence::Fence;
use super::idle::{Idled, judge};
use super::job::{Earlier, STOP_GRACE};
use super::shared::Shared;
use super::work::{After, beating};
use crate::capabilities::Capabilities;
use crate::protocol::control::Desired;
use crate::queue::announce::Announced;
use crate::queue::claim::{Asked, Birth, Claimer};
use crate::queue::control::Control;
use crate::queue::link::{persist, unless};
use crate::queue::recover::{self, Orphan, Recovered};
use crate::queue::settle;
use crate::queue::wake::Waiter;
use crate::service::loops::Beat;
use crate::telemetry::{Notice, tell};
use connectors::contract::Interrupted;
use std::collections::BTreeSet;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// After an error of Redis: the link keeps trying, and so does the slot.
pub(super) const PAUSE: Duration = Duration::from_millis(200);

/// Longest wait in one go.
const WAIT_LONGEST: Duration = Duration::from_secs(20);

/// Tokens that nobody takes vanish after 60 s; up to here they can be relied upon.
const TOKENS_LAST: Duration = Duration::from_secs(30);

/// The engines of a slot, in the order of preference.
pub type Engines = watch::Sender<Arc<[Arc<Engine>]>>;

/// One worker.
pub struct Slot {
    /// What all slots share.
    pub shared: Arc<Shared>,
    /// Its id in the queue.
    pub worker: String,
    /// The fence of its GPU; `None`: it has none.
    pub fence: Option<Arc<Fence>>,
    /// Its engines, which come and go with their files.
    pub engines: Engines,
    /// What it offers now.
    pub capabilities: watch::Sender<Arc<Capabilities>>,
    /// What somebody wants of it: to claim no more for now, perhaps.
    pub control: Arc<Control>,
    /// Which process of the worker this is, once it is registered; empty before.
    pub instance: watch::Sender<String>,
    /// When Redis last took its heartbeat, in ms since 1970; 0: not yet.
    pub beaten: AtomicI64,
    /// Asks for a heartbeat at once.
    pub beat_now: Notify,
    pub(super) state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) job: Option<String>,
    /// The classes that it is blocked on, while it is idle.
    pub(super) blocked_on: Option<BTreeSet<String>>,
    pub(super) born: Vec<Birth>,
}

impl Slot {
    /// A slot that has not begun.
    pub fn new(
        shared: Arc<Shared>,
        worker: String,
        fence: Option<Arc<Fence>>,
        engines: Arc<[Arc<Engine>]>,
        capabilities: Capabilities,
    ) -> Self {
        Self {
            control: Arc::new(Control::new(&worker)),
            shared,
            worker,
            fence,
            engines: watch::Sender::new(engines),
            capabilities: watch::Sender::new(Arc::new(capabilities)),
            instance: watch::Sender::new(String::new()),
            beaten: AtomicI64::new(0),
            beat_now: Notify::new(),
            state: Mutex::default(),
        }
    }

    pub(super) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The GPU's number.
    pub fn gpu(&self) -> Option<u32> {
        self.fence.as_ref().map(|fence| fence.gpu)
    }

    /// Whether it can do nothing because its GPU may not work. With an engine that needs no GPU it still can.
    pub fn is_fenced(&self) -> bool {
        let fenced = self.fence.as_ref().is_some_and(|fence| fence.fenced().is_some());
        fenced && !self.engines.borrow().iter().any(|engine| engine.is_healthy())
    }

    /// What it does, or why it does nothing.
    pub fn standing(&self) -> &'static str {
        if self.job().is_some() {
            return "busy";
        }
        match self.control.desired() {
            _ if self.is_fenced() => "fenced",
            Desired::Paused => "paused",
            Desired::Draining => "drained",
            Desired::Running if self.shared.outputs.obstacle().is_some() => "no_store",
            Desired::Running => "idle",
        }
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

    /// Runs until the agent drains; a job at work is finished or stopped by then.
    pub async fn run(&self, beat: Beat) {
        let Shared { link, space, limits, shutdown, .. } = &*self.shared;
        let mut claimer = Claimer::new(&self.worker, limits.lease);
        let mut waiter = Waiter::new(&self.worker);
        let mut offers = self.capabilities.subscribe();
        let (mut wanted, mut drained) = (self.control.watch(), false);
        let (mut avoided, mut woken, mut quiet) = (Avoided::default(), None::<String>, false);
        self.recover(&beat).await;
        while !shutdown.drain.is_cancelled() {
            beat.tick();
            if offers.has_changed().unwrap_or(false) {
                claimer.forget();
                // It knows no class to wait for.
                quiet = false;
            }
            let capabilities = offers.borrow_and_update().clone();
            let nothing_to_offer = capabilities.services().is_empty() || self.offers_too_much(&capabilities);
            let desired = wanted.borrow_and_update().desired;
            if std::mem::replace(&mut drained, desired == Desired::Draining) != drained && drained {
                tell(Notice::Drained { worker: &self.worker });
                // Whoever waits for it looks at the record.
                self.beat_now.notify_one();
            }
            // What is done now would be done for nothing.
            let nowhere_to_store = !self.shared.outputs.can_store();
            if !desired.claims() || nothing_to_offer || nowhere_to_store {
                // Tokens may have come and vanished by the time that it goes on.
                quiet = false;
                // The token is for a job that another worker may be able to run.
                self.put_back(woken.take()).await;
                if nowhere_to_store {
                    self.until_outputs_can_be_stored(&beat).await;
                    continue;
                }
                tokio::select! {
                    () = shutdown.drain.cancelled() => break,
                    _ = offers.changed() => claimer.forget(),
                    _ = wanted.changed() => {}
                    () = tokio::time::sleep(limits.poll) => {}
                }
                continue;
            }
            let judging = |definition: &str| judge(&capabilities, definition);
            self.learn_births(&mut claimer, &judging);
            // After a short job behind which nothing waited there is nothing to ask for: what came since has left a token,
            // also in a class that it stood by for, since nothing was left there that could avoid it.
            let asked = match std::mem::take(&mut quiet) {
                true => Ok(Asked::Nothing { due: None, avoiding: Vec::new() }),
                false => {
                    let instance = self.instance.borrow().clone();
                    claimer.ask(link, space, (&instance, &self.control), &judging).await
                }
            };
            match asked {
                Ok(Asked::Job(claimed, token)) => {
                    // The claim has left a token in the class that it took from, if there is more; in no other class.
                    let other = woken.take().filter(|class| *class != claimed.class);
                    let _ = tokio::time::timeout(PAUSE, self.put_back(other)).await;
                    let began = Instant::now();
                    let after = self.work(&claimed, None, token, &capabilities, &beat).await;
                    quiet = after == After::Settled && !claimed.more && began.elapsed() < TOKENS_LAST;
                }
                Ok(Asked::Nothing { due, avoiding }) => {
                    avoided.learn(avoiding, Instant::now());
                    // Neither of these does it wait for below: the token would only wake it again.
                    let not_for_it = |class: &String| avoided.is_in(class) || !claimer.fitting().contains(class);
                    self.put_back(woken.take().filter(not_for_it)).await;
                    let until = Instant::now() + due.map_or(limits.poll, |due| due.min(limits.poll));
                    loop {
                        let left = until.saturating_duration_since(Instant::now());
                        let (longest, classes) = avoided.waiting(claimer.fitting(), left, Instant::now());
                        let longest = longest.max(Duration::from_millis(1));
                        let stands_by = !avoided.is_empty();
                        match self.idle(&mut waiter, &classes, stands_by, longest.min(WAIT_LONGEST)).await {
                            Idled::Token(class) => woken = Some(class),
                            // A long poll interval is waited for in parts: the loop must be seen to come round.
                            Idled::TimedOut if longest > WAIT_LONGEST && !offers.has_changed().unwrap_or(true) => {
                                beat.tick();
                                continue;
                            }
                            // A class that is born has a token for one of those who wait: all learn of it, one claims.
                            Idled::Called if self.learn_births(&mut claimer, &judging) && Instant::now() < until => {
                                continue;
                            }
                            Idled::Called | Idled::Newcomer | Idled::TimedOut | Idled::Nothing => {}
                        }
                        break;
                    }
                }
                Ok(Asked::Paused) => {
                    // What the claim was told is known by now, unless Redis has just become another.
                    if self.control.desired().claims() {
                        unless(&shutdown.drain, tokio::time::sleep(PAUSE)).await;
                    }
                    self.put_back(woken.take()).await;
                }
                Ok(Asked::Superseded) => {
                    // The heartbeat learns it, too, and ends this process.
                    self.beat_now.notify_one();
                    unless(&shutdown.drain, tokio::time::sleep(PAUSE)).await;
                }
                Err(_) => {
                    unless(&shutdown.drain, tokio::time::sleep(PAUSE)).await;
                }
            }
        }
        // The end came before the claim could be made.
        let _ = tokio::time::timeout(PAUSE, self.put_back(woken)).await;
    }

    /// An engine has fallen ill since the offer was made: a new offer is on its way.
    fn offers_too_much(&self, capabilities: &Capabilities) -> bool {
        let engines = self.engines.borrow();
        let is_served = |service: &String| {
            engines.iter().any(|engine| engine.is_healthy() && engine.connector.services().contains(service))
        };
        !capabilities.services().iter().all(is_served)
    }

    /// Takes up what an earlier process of this worker held: its engine may have finished it, or be at work on it.
    async fn recover(&self, beat: &Beat) {
        let Shared { link, space, limits, shutdown, .. } = &*self.shared;
        for kept in self.shared.journal.unconfirmed(&self.worker) {
            let handed =
                settle::hand_in(link, space, &self.shared.journal, &kept.claim, &kept.outcome, &shutdown.drain);
            match beating(beat, handed).await {
                Some(Ok(settled)) => {
                    let became = format!("{settled:?}").to_lowercase();
                    tell(Notice::HandedIn { worker: &self.worker, job: &kept.claim.id, became });
                }
                Some(Err(error)) => {
                    tracing::error!(job = kept.claim.id, %error, "a kept end of a job was refused");
                    continue;
                }
                None => return,
            }
            kept.forget();
        }
        let looking = persist(&shutdown.drain, || async {
            beat.tick();
            recover::left_behind(link, space, &self.worker, limits.lease, limits.max_stalls).await
        });
        // Redis may be away for long: the agent waits for it here as it would before a claim.
        let Some(Ok(found)) = looking.await else { return };
        for id in found.given_up {
            tell(Notice::GivenUp { worker: &self.worker, job: &id });
        }
        for orphan in found.orphans {
            beating(beat, self.stop_orphan(orphan)).await;
        }
        for Recovered { claimed, token, service_job_id } in found.held {
            tell(Notice::TakenUp { worker: &self.worker, job: &claimed.id, started: service_job_id.is_some() });
            let capabilities = self.capabilities.borrow().clone();
            self.work(&claimed, Some(Earlier { service_job_id }), token, &capabilities, beat).await;
        }
    }

    /// The engine may still be at work for a job that has gone to somebody else.
    async fn stop_orphan(&self, Orphan { job, service_job_id }: Orphan) {
        let engines = self.engines.borrow().clone();
        for engine in engines.iter() {
            // Ids are unique: an engine that does not know this one has nothing to stop.
            let stopped = tokio::time::timeout(STOP_GRACE, engine.connector.interrupt(&service_job_id)).await;
            if matches!(stopped, Ok(Ok(Interrupted::Stopped))) {
                tell(Notice::OrphanStopped { worker: &self.worker, job: &job, engine: &engine.label });
            }
        }
        self.forget_start(&job).await;
    }

    /// Not to forget costs the next start a question to the engine.
    pub(super) async fn forget_start(&self, job: &str) {
        let Shared { link, space, .. } = &*self.shared;
        let _ = recover::forget_start(link, space, &self.worker, job).await;
    }
}
