//! Whether one card may work: pure, fed with readings, events and times.
//! In: what a look found, what the driver said, how a check went. Out: the steps to take.
//!
//! ```text
//!          fault                     pause over, no fault at a look,
//!   fit ─────────▶ fenced(fault) ────────────────────────────────────▶ checking ──passed──▶ fit
//!                     ▲    the driver saw a reset if it needs one          │
//!                     └───────────── fault, or the check failed ◀──────────┘
//! ```
//!
//! The pause doubles with each fence that follows a former one within [`MEMORY_OF_FENCES`], so a card that comes and goes works
//! less and less often; and it always ends, so no card is marked sick for ever by something that has passed. What needs a
//! reset waits for it, however long that takes.

use super::fault::Fault;
use super::xid::Xid;
use super::{DriverState, Gpu};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// A fence that follows another one within this time makes the pause longer.
const MEMORY_OF_FENCES: Duration = Duration::from_secs(6 * 3600);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(4 * 3600);
/// Programs' faults are told this often at most.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// One card's fitness.
#[derive(Debug)]
pub struct Fitness {
    state: State,
    uncorrected: Option<u64>,
    /// Fences in a row, and when the last one began or was renewed.
    fences: u32,
    last: Option<Instant>,
    told: Option<(u64, Instant)>,
}

#[derive(Debug)]
enum State {
    Fit,
    Fenced {
        fault: Fault,
        began: Instant,
        /// The check comes no sooner.
        until: Instant,
        /// The driver has lost the card since the fault, or failed altogether.
        gone: bool,
    },
    Checking {
        fault: Fault,
        began: Instant,
    },
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The card may not work from now on, or for another reason than before.
    Fence(Fault),
    /// The card looks well again: it is to be checked.
    Check,
    /// The card may work again, after so long.
    Readmit(Duration),
    /// A program on the card did something wrong: worth telling, no more.
    Tell(&'static Xid),
}

/// How a check went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Checked {
    /// The card did what it was asked to.
    Passed,
    /// It did not.
    Failed(String),
    /// Nobody could ask it to: there is no CUDA here, or no memory left.
    CannotTell(String),
}

impl Default for Fitness {
    fn default() -> Self {
        Self { state: State::Fit, uncorrected: None, fences: 0, last: None, told: None }
    }
}

impl Fitness {
    /// Takes in a reading of the card.
    pub fn look(&mut self, gpu: &Gpu, driver: &DriverState, now: Instant) -> Option<Step> {
        let before = self.uncorrected;
        self.uncorrected = gpu.ecc.uncorrected.or(before);
        let risen = before.zip(gpu.ecc.uncorrected).is_some_and(|(before, count)| count > before);
        if let Some(fault) = Fault::in_reading(gpu, driver) {
            return self.fault(fault, !gpu.health.is_usable(), now);
        }
        if risen {
            return self.fault(Fault::of_memory(gpu.ecc.uncorrected, gpu.index), false, now);
        }
        match &self.state {
            State::Fenced { fault, began, until, gone } if now >= *until && (*gone || !fault.needs_reset) => {
                self.state = State::Checking { fault: fault.clone(), began: *began };
                Some(Step::Check)
            }
            _ => None,
        }
    }

    /// Takes in an Xid of the card.
    pub fn xid(&mut self, xid: &'static Xid, index: u32, now: Instant) -> Option<Step> {
        match Fault::of_xid(xid, index) {
            Some(fault) => self.fault(fault, false, now),
            None if self.told.is_some_and(|(number, at)| number == xid.number && now < at + TOLD_EVERY) => None,
            None => {
                self.told = Some((xid.number, now));
                Some(Step::Tell(xid))
            }
        }
    }

    /// Takes in a memory error that the driver told of.
    pub fn memory_error(&mut self, index: u32, now: Instant) -> Option<Step> {
        self.fault(Fault::of_memory(None, index), false, now)
    }

    /// Takes in how a check went. Of no meaning unless one was asked for and nothing has come up since.
    pub fn checked(&mut self, outcome: &Checked, now: Instant) -> Option<Step> {
        let State::Checking { fault, began } = &self.state else { return None };
        let (fault, began) = (fault.clone(), *began);
        match outcome {
            Checked::Passed | Checked::CannotTell(_) => {
                self.state = State::Fit;
                Some(Step::Readmit(now.saturating_duration_since(began)))
            }
            Checked::Failed(_) => {
                let until = now + self.next_pause(&fault, now);
                // It had its reset, if it needed one.
                self.state = State::Fenced { fault, began, until, gone: true };
                None
            }
        }
    }

    /// Whether the card may work.
    pub fn is_fit(&self) -> bool {
        matches!(self.state, State::Fit)
    }

    fn fault(&mut self, fault: Fault, is_gone: bool, now: Instant) -> Option<Step> {
        if let State::Fenced { fault: before, until, gone, .. } = &mut self.state {
            *gone |= is_gone;
            *until = (*until).max(now + fault.pause);
            // What needs a reset stays the reason while the card is gone; that is how a reset looks from here.
            if before.reason == fault.reason || (before.needs_reset && !fault.needs_reset) {
                return None;
            }
            *gone = is_gone;
            *before = fault.clone();
            return Some(Step::Fence(fault));
        }
        let until = now + self.next_pause(&fault, now);
        let (began, told_before) = match &self.state {
            State::Checking { fault: before, began } => (*began, before.reason == fault.reason),
            _ => (now, false),
        };
        self.state = State::Fenced { fault: fault.clone(), began, until, gone: is_gone };
        (!told_before).then_some(Step::Fence(fault))
    }

    fn next_pause(&mut self, fault: &Fault, now: Instant) -> Duration {
        let follows = self.last.is_some_and(|last| now.saturating_duration_since(last) < MEMORY_OF_FENCES);
        self.fences = if follows { self.fences + 1 } else { 1 };
        self.last = Some(now);
        fault.pause.saturating_mul(1 << (self.fences - 1).min(16)).min(LONGEST_PAUSE)
    }
}

#[cfg(test)]
#[path = "fitness_tests.rs"]
mod tests;
