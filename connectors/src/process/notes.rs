//! How the runs of an engine were stopped, and what it says that is not known here.
//! In: what was done and heard. Out: what the conformance suite tells of it; each odd word once for the log.

use super::talk::locked;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

/// Runs whose stops are kept.
const STOPS_MAX: usize = 64;
/// Odd words that are kept.
const ODDITIES_MAX: usize = 16;

/// How one run was stopped.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    /// When it was handed over and when it was to stop, in ticks since the machine's start.
    pub span: (u64, u64),
    /// The process had to be ended.
    pub by_force: bool,
    /// Programs of the run's that had to be ended.
    pub leftovers: Vec<String>,
}

/// What is kept of one engine.
#[derive(Default)]
pub(super) struct Notes {
    stops: Mutex<BTreeMap<String, Stop>>,
    oddities: Mutex<BTreeSet<String>>,
}

impl Notes {
    pub fn stopped(&self, run: &str, stop: Stop) {
        let mut stops = locked(&self.stops);
        stops.insert(run.to_owned(), stop);
        // The ids of runs begin with their time.
        while stops.len() > STOPS_MAX {
            stops.pop_first();
        }
    }

    pub fn of(&self, run: &str) -> Option<Stop> {
        locked(&self.stops).get(run).cloned()
    }

    /// Whether it is the first time.
    pub fn is_new(&self, oddity: &str) -> bool {
        let mut oddities = locked(&self.oddities);
        oddities.len() < ODDITIES_MAX && oddities.insert(oddity.to_owned())
    }

    pub fn oddities(&self) -> Vec<String> {
        locked(&self.oddities).iter().cloned().collect()
    }
}
