//! What this process holds, and how each job is told to stop.
//! In: claims made and ended, orders to stop. Out: the list to renew, a stop signal for each job.

use crate::protocol::hold::Claim;
use failpoints::{Point, reach};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use tokio_util::sync::CancellationToken;

/// Why a run is stopped. The first reason given stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Somebody cancelled the job.
    Cancelled,
    /// It ran longer than it may.
    TimedOut,
    /// A newer process of this worker has taken the job over: the engine's work must go on.
    Moved,
    /// It has made no progress for longer than its steps take.
    Stuck,
    /// It is not ours any more.
    Lost,
    /// The worker stops: the job is given back.
    Released,
    /// The GPU that it runs on may not work any more: the job is given back.
    Fenced,
}

/// A held job and its stop signal.
#[derive(Debug, Clone)]
pub struct Hold {
    /// What is held.
    pub claim: Claim,
    stop: CancellationToken,
    engine_stop: CancellationToken,
    why: Arc<OnceLock<Stop>>,
}

impl Hold {
    /// Holds this claim.
    pub fn new(claim: Claim) -> Self {
        Self { claim, stop: CancellationToken::new(), engine_stop: CancellationToken::new(), why: Arc::default() }
    }

    /// Tells the run to stop.
    pub fn stop(&self, why: Stop) {
        if self.why.set(why).is_ok() && why == Stop::Cancelled {
            reach(Point::CancelHeard);
        }
        if self.why() != Some(Stop::Moved) {
            self.engine_stop.cancel();
        }
        self.stop.cancel();
    }

    /// Fires when the engine's work must stop.
    pub fn engine_signal(&self) -> CancellationToken {
        self.engine_stop.clone()
    }

    /// Fires when the run must stop.
    pub fn signal(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Why it must stop, if it must.
    pub fn why(&self) -> Option<Stop> {
        self.why.get().copied()
    }
}

/// Everything that this process holds.
#[derive(Default)]
pub struct Holds {
    by_job: Mutex<BTreeMap<String, Hold>>,
}

impl Holds {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Hold>> {
        self.by_job.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Adds a claim.
    pub fn add(&self, hold: Hold) {
        self.lock().insert(hold.claim.id.clone(), hold);
    }

    /// Takes a claim out.
    pub fn remove(&self, claim: &Claim) {
        let mut held = self.lock();
        if held.get(&claim.id).is_some_and(|hold| hold.claim.token == claim.token) {
            held.remove(&claim.id);
        }
    }

    /// All of them.
    pub fn all(&self) -> Vec<Hold> {
        self.lock().values().cloned().collect()
    }

    /// The hold of a job.
    pub fn of_job(&self, id: &str) -> Option<Hold> {
        self.lock().get(id).cloned()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
