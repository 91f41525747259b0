//! One engine on this machine: its connector, how it was at the last probe, and what it is not trusted with.
//! In: a connector, probes, how runs ended. Out: what it offers now, for everybody who asks.
//!
//! ```text
//!   offered ──a run fails by its fault, a probe fails──▶ not offered ──a good probe, and no breaker open──▶ offered
//!                                                             │  ▲
//!                  a run that was told to stop goes on, or its queue stands still: the probe is not good
//! ```

mod probing;
pub(super) mod seats;

use super::breaker::{Breakers, Part, Shown};
use super::fence::Fence;
use super::pace::Paces;
use crate::capabilities::EngineFacts;
use connectors::contract::{Connector, Health, Probe};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};

/// Runs that were told to stop and are looked after; an engine with more of them is long out of the offer.
const LEFTOVERS_MAX: usize = 16;

/// One engine.
pub struct Engine {
    /// Connector name and address number, for people.
    pub label: String,
    /// What drives it.
    pub connector: Arc<dyn Connector>,
    /// How long its steps take.
    pub paces: Arc<Mutex<Paces>>,
    probe: watch::Sender<Probe>,
    pub(super) breakers: Mutex<Breakers>,
    /// Runs that were told to stop, or that we lost sight of: until they are seen to be gone it takes nothing.
    leftovers: Mutex<BTreeSet<String>>,
    /// Its queue stood still: how many were in it since.
    jam: Mutex<Option<Option<u64>>>,
    /// When it was last asked, in ms since 1970; 0: not yet.
    probed: AtomicI64,
    news: Notify,
    fence: OnceLock<Arc<Fence>>,
    /// Runs at work in it.
    runs: watch::Sender<usize>,
    /// Places that no job has, and no claim on its way.
    seats: OnceLock<Arc<Semaphore>>,
    /// Another one takes its place, or nobody does: what is at work ends, and nothing more begins.
    retired: AtomicBool,
}

/// A run at work in an engine, for as long as this lives.
pub struct AtWork<'a>(&'a Engine);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.runs.send_modify(|runs| *runs -= 1);
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// An engine that has not been probed yet. `patience` is for steps of which nothing is known; zero = for ever.
    pub fn new(label: String, connector: Arc<dyn Connector>, patience: Duration) -> Self {
        Self {
            label,
            connector,
            paces: Arc::new(Mutex::new(Paces::new(patience))),
            probe: watch::Sender::new(Probe::unhealthy("not asked yet")),
            breakers: Mutex::default(),
            leftovers: Mutex::default(),
            jam: Mutex::default(),
            probed: AtomicI64::new(0),
            news: Notify::new(),
            fence: OnceLock::new(),
            runs: watch::Sender::new(0),
            seats: OnceLock::new(),
            retired: AtomicBool::new(false),
        }
    }

    /// Counts a run until what this answers is dropped.
    pub fn enter(&self) -> AtWork<'_> {
        self.runs.send_modify(|runs| *runs += 1);
        AtWork(self)
    }

    /// How many runs are at work in it.
    pub fn runs(&self) -> usize {
        *self.runs.borrow()
    }

    /// Takes it out of the offer for good; what is at work goes on.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
        self.offer_changed();
    }

    /// Waits until nothing is at work in it.
    pub async fn idle(&self) {
        let _ = self.runs.subscribe().wait_for(|runs| *runs == 0).await;
    }

    /// The latest probe.
    pub fn latest(&self) -> Probe {
        self.probe.borrow().clone()
    }

    /// Something of the latest probe, which may list thousands of models.
    pub fn probe_with<T>(&self, read: impl FnOnce(&Probe) -> T) -> T {
        read(&self.probe.borrow())
    }

    /// When it was last asked how it is, in ms since 1970.
    pub fn probed(&self) -> Option<i64> {
        Some(self.probed.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    /// Whether it can take work.
    pub fn is_healthy(&self) -> bool {
        let rests = {
            let breakers = locked(&self.breakers);
            breakers.is_open(&Part::Whole) || breakers.is_open(&Part::Runs)
        };
        self.probe.borrow().is_healthy() && !rests && !self.is_fenced() && !self.retired.load(Ordering::Relaxed)
    }

    /// Says which GPU it works on; one that is never told works on none.
    pub fn works_on(&self, fence: Arc<Fence>) {
        let _ = self.fence.set(fence);
    }

    /// The fence of its GPU.
    pub fn fence(&self) -> Option<&Arc<Fence>> {
        self.fence.get()
    }

    /// Whether its GPU may not work.
    pub fn is_fenced(&self) -> bool {
        self.fence().is_some_and(|fence| fence.fenced().is_some())
    }

    /// Hears of every change of what it offers.
    pub fn watch(&self) -> watch::Receiver<Probe> {
        self.probe.subscribe()
    }

    /// What matching needs to know of it.
    pub fn facts(&self) -> EngineFacts {
        let (probe, healthy) = (self.latest(), self.is_healthy());
        let breakers = locked(&self.breakers);
        let is_offered = |name: &String| !breakers.is_open(&Part::Model(name.clone()));
        EngineFacts {
            name: self.connector.name().to_owned(),
            services: self.connector.services().to_vec(),
            healthy,
            models: probe.models.into_values().flatten().filter(is_offered).collect(),
            version: probe.version,
        }
    }

    /// Jobs that ask for this much GPU memory, in GB, or more have failed here for want of it.
    pub fn memory_limit_gb(&self) -> Option<f64> {
        locked(&self.breakers).memory_limit().map(|mb| mb as f64 / 1000.0)
    }

    /// Ids of classes whose jobs have failed here for want of memory.
    pub fn classes_left_out(&self) -> BTreeSet<String> {
        locked(&self.breakers).classes()
    }

    /// Its breakers, for those who show them.
    pub fn snapshot(&self) -> Vec<Shown> {
        locked(&self.breakers).snapshot()
    }

    /// Takes it out of the offer at once, until a probe says otherwise.
    pub fn doubt(&self, why: &str) {
        self.conclude(Probe { health: Health::Unhealthy(why.to_owned()), ..self.latest() });
        self.news.notify_one();
    }

    /// A run was told to stop, or was lost sight of: it may still be at work.
    pub fn may_still_run(&self, service_job_id: String) {
        let mut leftovers = locked(&self.leftovers);
        if leftovers.len() < LEFTOVERS_MAX {
            leftovers.insert(service_job_id);
        }
    }

    /// Whether there are runs to look after.
    pub fn has_leftovers(&self) -> bool {
        !locked(&self.leftovers).is_empty()
    }

    /// Its queue stood still: it is no good until that moves, whatever it answers.
    pub(super) fn is_jammed(&self) {
        locked(&self.jam).get_or_insert(None);
    }

    /// Everybody looks anew at what is offered.
    pub(super) fn offer_changed(&self) {
        self.probe.send_modify(|_| {});
        self.news.notify_one();
    }
}
