//! How long steps usually take on one engine, and from when on a step that does not end counts as stuck.
//! In: progress reports with their time. Out: a limit for the step at work; pure, the caller has the clock.
//!
//! A step is told by the kind of work that the connector names (node class, model, size) and by its phase: the first
//! step of a node may load a model, the others do not. What is not known yet gets the configured patience; a known
//! step a multiple of its usual time, but at least a fifth of that patience.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How many times its usual time a step may take.
const TIMES: u32 = 20;
/// Steps seen before a usual time counts.
const SEEN: u32 = 5;
/// Weight of the newest time, in parts of 1: old habits are forgotten after a dozen steps.
const NEWEST: f64 = 0.2;
/// Kinds of work come out of jobs: there may be any number of them.
const KINDS_MAX: usize = 1024;

/// What is timed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// The connector's name for this kind of work.
    pub kind: String,
    /// Whether a step of this node has ended already, so that nothing needs loading any more.
    pub warm: bool,
}

#[derive(Debug)]
struct Usual {
    seconds: f64,
    seen: u32,
    /// How often a step of this kind was stopped as stuck since one ended.
    given_up: u32,
    touched: Instant,
}

/// What is known of one engine's steps.
#[derive(Debug)]
pub struct Paces {
    patience: Duration,
    known: BTreeMap<Step, Usual>,
}

impl Paces {
    /// `patience` is for steps of which nothing is known; zero = nothing ever counts as stuck.
    pub fn new(patience: Duration) -> Self {
        Self { patience, known: BTreeMap::new() }
    }

    /// A step took so long.
    pub fn learn(&mut self, step: &Step, took: Duration, now: Instant) {
        let usual = self.usual(step, now);
        let took = took.as_secs_f64();
        usual.seconds = if usual.seen == 0 { took } else { usual.seconds + NEWEST * (took - usual.seconds) };
        usual.seen = usual.seen.saturating_add(1);
        usual.given_up = 0;
        usual.touched = now;
    }

    /// A step was stopped as stuck. It may just be slow, and would never end: the next of its kind gets twice the time.
    pub fn give_up(&mut self, step: &Step, now: Instant) {
        let usual = self.usual(step, now);
        usual.given_up = usual.given_up.saturating_add(1);
        usual.touched = now;
    }

    /// How long this step may take; `None`: as long as it likes. Without a kind nothing is known of it.
    pub fn limit(&self, step: Option<&Step>) -> Option<Duration> {
        if self.patience.is_zero() {
            return None;
        }
        let Some(usual) = step.and_then(|step| self.known.get(step)) else { return Some(self.patience) };
        let is_warm = step.is_some_and(|step| step.warm);
        let floor = if is_warm && usual.seen >= SEEN { self.patience / 5 } else { self.patience };
        let learnt = Duration::try_from_secs_f64(usual.seconds * f64::from(TIMES)).unwrap_or(Duration::MAX);
        Some(floor.max(learnt).saturating_mul(1 << usual.given_up.min(10)))
    }

    fn usual(&mut self, step: &Step, now: Instant) -> &mut Usual {
        if self.known.len() >= KINDS_MAX && !self.known.contains_key(step) {
            let oldest = self.known.iter().min_by_key(|(_, usual)| usual.touched).map(|(step, _)| step.clone());
            oldest.map(|oldest| self.known.remove(&oldest));
        }
        self.known.entry(step.clone()).or_insert(Usual { seconds: 0.0, seen: 0, given_up: 0, touched: now })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(300);

    fn step(kind: &str, warm: bool) -> Step {
        Step { kind: kind.to_owned(), warm }
    }

    fn taught(kind: &str, warm: bool, seconds: u64, times: u32) -> Paces {
        let mut paces = Paces::new(PATIENCE);
        (0..times).for_each(|_| paces.learn(&step(kind, warm), Duration::from_secs(seconds), Instant::now()));
        paces
    }

    #[test]
    fn the_unknown_gets_all_patience_and_the_known_a_fifth_or_a_multiple_of_its_time() {
        let limit = |paces: &Paces, warm| paces.limit(Some(&step("k", warm))).unwrap().as_secs();
        assert_eq!(limit(&Paces::new(PATIENCE), true), 300);
        assert_eq!(Paces::new(PATIENCE).limit(None), Some(PATIENCE));
        assert_eq!(limit(&taught("k", true, 1, SEEN - 1), true), 300, "too few to rely upon");
        assert_eq!(limit(&taught("k", true, 1, SEEN), true), 60);
        assert_eq!(limit(&taught("k", true, 7, SEEN), true), 140);
        assert_eq!(limit(&taught("k", true, 100, SEEN), true), 2000, "slow work is not stuck");
        assert_eq!(limit(&taught("other", true, 100, SEEN), true), 300);
    }

    #[test]
    fn a_first_step_may_load_a_model_however_quick_it_usually_is() {
        let paces = taught("k", false, 1, 100);
        assert_eq!(paces.limit(Some(&step("k", false))), Some(PATIENCE));
    }

    #[test]
    fn habits_change() {
        let mut paces = taught("k", true, 10, 50);
        (0..50).for_each(|_| paces.learn(&step("k", true), Duration::from_secs(4), Instant::now()));
        assert_eq!(paces.limit(Some(&step("k", true))).unwrap().as_secs(), 80);
    }

    #[test]
    fn what_was_stopped_as_stuck_gets_twice_the_time_until_one_ends() {
        let mut paces = Paces::new(PATIENCE);
        let upscale = step("upscale", false);
        for expected in [300, 600, 1200, 2400] {
            assert_eq!(paces.limit(Some(&upscale)).unwrap().as_secs(), expected);
            paces.give_up(&upscale, Instant::now());
        }
        paces.learn(&upscale, Duration::from_secs(1000), Instant::now());
        assert_eq!(paces.limit(Some(&upscale)).unwrap().as_secs(), 20_000);
    }

    #[test]
    fn without_patience_nothing_is_stuck_and_kinds_are_bounded() {
        assert_eq!(Paces::new(Duration::ZERO).limit(Some(&step("k", true))), None);
        let mut paces = Paces::new(PATIENCE);
        let now = Instant::now();
        for at in 0..2000 {
            paces.learn(&step(&at.to_string(), true), Duration::ZERO, now + Duration::from_millis(at));
        }
        assert_eq!(paces.known.len(), KINDS_MAX);
        assert!(paces.known.contains_key(&step("1999", true)), "the newest stays");
    }
}
