//! A slot: one worker that runs one job at a time, from its first claim to its last.
//! In: hints, capabilities, orders to stop. Out: jobs claimed, lived and handed in.
//!
//! ```text
//!   ┌──▶ ask ──job──▶ busy ──handed in──┐
//!   │     │ nothing                     │
//!   │     ▼                             │
//!   │   idle (blocked on tokens, ◀──────┘ (asks again at once)
//!   │     │   in line for a place in engines that are full)
//!   └─────┘        drain ──▶ gone
//! ```

use super::engine::Engine;
use super::fence::Fence;
use super::idle::{Desk, judge};
use super::recover::Looking;
use super::shared::Shared;
use super::work::After;
use crate::capabilities::Capabilities;
use crate::protocol::control::Desired;
use crate::queue::announce::Announced;
use crate::queue::claim::{Asked, Birth};
use crate::queue::control::Control;
use crate::queue::link::unless;
use crate::service::loops::Beat;
use crate::telemetry::{Notice, tell};
use std::collections::BTreeSet;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// After an error of Redis: the link keeps trying, and so does the slot.
pub(super) const PAUSE: Duration = Duration::from_millis(200);

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
    /// None of its engines has a place: one of these.
    pub(super) no_place_in: Option<String>,
    /// It has yet to see what an earlier process held.
    pub(super) looking: Option<Looking>,
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
        let looking = Some(Looking::new(&shared.looking));
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
            state: Mutex::new(State { looking, ..State::default() }),
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

    /// An engine that has no place for a further job, if none of its engines has one: it is idle although work may wait.
    pub fn no_place_in(&self) -> Option<String> {
        self.state().no_place_in.clone()
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
        let mut desk = Desk::of(self);
        let (mut wanted, mut drained) = (self.control.watch(), false);
        let (mut woken, mut quiet) = (None::<String>, false);
        self.recover(&beat).await;
        while !shutdown.drain.is_cancelled() {
            beat.tick();
            if desk.offers.has_changed().unwrap_or(false) {
                desk.claimer.forget();
                // It knows no class to wait for.
                quiet = false;
            }
            let capabilities = desk.offers.borrow_and_update().clone();
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
                desk.seats.release();
                // The token is for a job that another worker may be able to run.
                self.put_back(woken.take()).await;
                if nowhere_to_store {
                    self.until_outputs_can_be_stored(&beat).await;
                    continue;
                }
                tokio::select! {
                    () = shutdown.drain.cancelled() => break,
                    _ = desk.offers.changed() => desk.claimer.forget(),
                    _ = wanted.changed() => {}
                    () = tokio::time::sleep(limits.poll) => {}
                }
                continue;
            }
            let judging = |definition: &str| judge(&capabilities, definition);
            let engines = self.engines.borrow().clone();
            desk.seats.take(&engines);
            desk.claimer.leave_out(desk.seats.full());
            self.learn_births(&mut desk.claimer, &judging);
            // Another worker may have a place for it: it must not wait for what this one asks.
            let elsewhere = woken.take_if(|class| desk.claimer.leaves_out_class(class));
            self.put_back(elsewhere).await;
            // After a short job behind which nothing waited there is nothing to ask for: what came since has left a token,
            // also in a class that it stood by for, since nothing was left there that could avoid it.
            let nothing_to_ask = std::mem::take(&mut quiet) || desk.seats.none();
            let asked = match nothing_to_ask && !desk.claimer.is_owed_an_answer() {
                true => Ok(Asked::Nothing { due: None, avoiding: Vec::new() }),
                false => {
                    let instance = self.instance.borrow().clone();
                    desk.claimer.ask(link, space, (&instance, &self.control), &judging).await
                }
            };
            match asked {
                Ok(Asked::Job(claimed, token)) => {
                    let left_out = desk.claimer.leaves_out();
                    if let Some(service) = desk.claimer.service_of(&claimed.class) {
                        desk.seats.narrow(service);
                    }
                    // The claim has left a token in the class that it took from, if there is more; in no other class.
                    let other = woken.take().filter(|class| *class != claimed.class);
                    let _ = tokio::time::timeout(PAUSE, self.put_back(other)).await;
                    let began = Instant::now();
                    let after = self.work(&claimed, None, token, &capabilities, &mut desk.seats, &beat).await;
                    let is_last = !claimed.more && !left_out;
                    quiet = after == After::Settled && is_last && began.elapsed() < TOKENS_LAST;
                }
                Ok(Asked::Nothing { due, avoiding }) => {
                    desk.avoided.learn(avoiding, Instant::now());
                    let longest = due.map_or(limits.poll, |due| due.min(limits.poll));
                    woken = self.until_work(&mut desk, woken.take(), longest, &judging, &beat).await;
                }
                Ok(Asked::Paused) => {
                    desk.seats.release();
                    // What the claim was told is known by now, unless Redis has just become another.
                    if self.control.desired().claims() {
                        unless(&shutdown.drain, tokio::time::sleep(PAUSE)).await;
                    }
                    self.put_back(woken.take()).await;
                }
                Ok(Asked::Superseded) => {
                    desk.seats.release();
                    // The heartbeat learns it, too, and ends this process.
                    self.beat_now.notify_one();
                    unless(&shutdown.drain, tokio::time::sleep(PAUSE)).await;
                }
                // The answer may have been a job: its place is kept for it.
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
}
