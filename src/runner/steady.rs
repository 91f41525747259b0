//! A run's own pace: how long its steps take now, and what is left of it at that pace.
//! In: its reports with their time. Out: what is left, once the pace is known; pure, the caller has the clock.
//!
//! ```text
//!   loading (no steps) ──first step──▶ stepping ──three seen──▶ paced ──last step──▶ the rest, at the same pace, if that is little
//!                                         ▲ another node, or fewer steps than before │
//!                                         └──────────────────────────────────────────┘
//! ```
//! The first step may have loaded a model, so the clock of the pace starts when it has ended. The report's share of the whole says
//! how much one step is, and so how much is left in steps. A sampler before a larger one says nothing about that: no guess.

use connectors::contract::{Progress, Stage};
use std::collections::VecDeque;
use std::time::Duration;

/// Newest reports that the pace is taken from: what changes is followed, what flickers is not.
const REPORTS: usize = 32;
/// Reports of steps that have ended before there is a pace.
const ENOUGH: usize = 3;
/// Of the whole: what is beyond these steps may be more than they are up to here.
const BEYOND: f64 = 0.25;
/// A step that takes so many times its time, and this long beyond it, has no pace any more.
const STALLED: (u32, Duration) = (10, Duration::from_secs(10));

#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    step: u64,
    fraction: f64,
    after: Duration,
}

/// What was seen of the steps.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Steady {
    node: Option<String>,
    steps: u64,
    points: VecDeque<Point>,
    /// Of the whole, and since when that has not changed.
    fraction: f64,
    since: Duration,
    /// These steps are at work.
    stepping: bool,
}

/// What is left at this pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    pub left: Duration,
    /// Steps go on; else it is what comes after them.
    pub stepping: bool,
}

impl Steady {
    /// Takes in a report that came so long after the run began.
    pub fn note(&mut self, progress: &Progress, after: Duration) {
        if progress.fraction > self.fraction {
            (self.fraction, self.since) = (progress.fraction, after);
        }
        let Some((step, steps)) = progress.step else {
            self.stepping &= progress.node == self.node && progress.stage != Stage::Fetching;
            return;
        };
        let last = self.points.back().map_or(0, |point| point.step);
        if progress.node != self.node || steps != self.steps || step < last {
            (self.node, self.steps) = (progress.node.clone(), steps);
            self.points.clear();
        }
        self.stepping = step < steps;
        let is_new = self.points.back().is_none_or(|point| step > point.step);
        if step == 0 || !is_new {
            return;
        }
        if self.points.len() >= REPORTS {
            self.points.pop_front();
        }
        self.points.push_back(Point { step, fraction: progress.fraction, after });
        self.since = after;
    }

    /// What is left after this long.
    pub fn left(&self, now: Duration) -> Option<Left> {
        let (first, last) = (self.points.front()?, self.points.back()?);
        let (steps, gained) = (last.step - first.step, last.fraction - first.fraction);
        if self.points.len() < ENOUGH || gained <= 0.0 {
            return None;
        }
        let (step_time, step_share) = ((last.after - first.after).div_f64(steps as f64), gained / steps as f64);
        let still = if self.stepping { (self.steps - last.step) as f64 } else { 0.0 };
        let whole = ((1.0 - self.fraction) / step_share).max(still);
        let beyond = whole - still;
        if whole < 0.5 || beyond > still && beyond * step_share > BEYOND {
            return None;
        }
        let since = now.saturating_sub(self.since);
        if since > step_time.saturating_mul(STALLED.0).saturating_add(STALLED.1) {
            return None;
        }
        // What is at work now counts as done when it is: a step that hangs brings the end no nearer.
        let left = Duration::try_from_secs_f64(step_time.as_secs_f64() * whole).ok()?;
        Some(Left { left: left.saturating_sub(since.min(step_time)), stepping: self.stepping })
    }
}

#[cfg(test)]
#[path = "steady_tests.rs"]
mod tests;
