//! How long runs take from a given progress on, learned from those like them that ended well.
//! In: when each run passed which share of its work. Out: the median of what was left then, and of how many runs; pure.
//!
//! Runs that were alike and yet took times that have little to do with each other say nothing, and neither do they of one that
//! takes longer than any of them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Marks on the way: each twentieth of the work.
const MARKS: usize = 20;
/// Runs that are alike that count; older ones were perhaps of another kind.
const RUNS: usize = 32;
/// Kinds of runs that are kept: those that were met last.
const KINDS: usize = 200;
/// What three of four runs had left at most may be so many times what one of four had, and this much more.
const SPREAD: (u32, Duration) = (2, Duration::from_secs(2));

/// When a run passed which mark, counted from its start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trail {
    passed: [Option<Duration>; MARKS],
    mark: usize,
    since: Duration,
}

impl Trail {
    /// Notes how far the run is after this long.
    pub fn note(&mut self, fraction: f64, after: Duration) {
        let mark = mark(fraction);
        if mark > self.mark || self.passed[0].is_none() {
            (self.mark, self.since) = (mark, after);
            for passed in &mut self.passed[..=mark] {
                passed.get_or_insert(after);
            }
        }
    }
}

fn mark(fraction: f64) -> usize {
    ((fraction * MARKS as f64 + 1e-9).floor() as usize).min(MARKS - 1)
}

/// A guess at what is left, and what it rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guess {
    /// From now on; zero where it takes longer than it usually does.
    pub left: Duration,
    /// Runs that it was learned from; `None`: the run's own pace.
    pub runs: Option<usize>,
}

/// What was learned.
#[derive(Debug, Default)]
pub struct Expected {
    kinds: BTreeMap<u64, Kind>,
    learned: u64,
}

#[derive(Debug, Default)]
struct Kind {
    runs: VecDeque<(Trail, Duration)>,
    touched: u64,
}

impl Expected {
    /// Learns from a run of this kind that ended well after this long.
    pub fn learn(&mut self, kind: u64, trail: Trail, took: Duration) {
        if !self.kinds.contains_key(&kind) && self.kinds.len() >= KINDS {
            let oldest = self.kinds.iter().min_by_key(|(_, known)| known.touched).map(|(kind, _)| *kind);
            oldest.map(|oldest| self.kinds.remove(&oldest));
        }
        self.learned += 1;
        let known = self.kinds.entry(kind).or_default();
        known.touched = self.learned;
        if known.runs.len() >= RUNS {
            known.runs.pop_front();
        }
        known.runs.push_back((trail, took));
    }

    /// What is left of a run of this kind after this long; nothing before there are runs to learn from.
    pub fn guess(&self, kind: u64, trail: &Trail, now: Duration) -> Option<Guess> {
        let known = self.kinds.get(&kind)?;
        let left = |(past, took): &(Trail, Duration)| match (trail.passed[0], past.passed[trail.mark]) {
            (Some(_), Some(passed)) => Some(took.saturating_sub(passed)),
            // Runs that tell no progress tell how long they took as a whole.
            (None, None) => Some(*took),
            // This one may wait in the engine's queue still.
            _ => None,
        };
        let mut left: Vec<Duration> = known.runs.iter().filter_map(left).collect();
        left.sort();
        let (median, longest) = (*left.get(left.len() / 2)?, *left.last()?);
        let (few, most) = (*left.get(left.len() / 4)?, *left.get(left.len() * 3 / 4)?);
        let since = now.saturating_sub(trail.since);
        if most > few.saturating_mul(SPREAD.0).saturating_add(SPREAD.1) || since > longest {
            return None;
        }
        Some(Guess { left: median.saturating_sub(since), runs: Some(left.len()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// Even progress over this time.
    fn run(whole: f64) -> Trail {
        let mut trail = Trail::default();
        (0..=100).for_each(|n| trail.note(f64::from(n) / 100.0, seconds(whole * f64::from(n) / 100.0)));
        trail
    }

    #[test]
    fn what_is_left_is_the_median_of_what_was_left_before() {
        let mut expected = Expected::default();
        let mut trail = Trail::default();
        trail.note(0.5, seconds(4.0));
        assert_eq!(expected.guess(7, &trail, seconds(4.0)), None, "nothing is known yet");
        for whole in [16.0, 20.0, 24.0] {
            expected.learn(7, run(whole), seconds(whole));
        }
        let guess = expected.guess(7, &trail, seconds(5.0)).unwrap();
        assert_eq!((guess.left, guess.runs), (seconds(9.0), Some(3)), "ten seconds were left a second ago");
        assert_eq!(expected.guess(7, &trail, seconds(15.0)).unwrap().left, Duration::ZERO, "longer than usual");
        assert_eq!(expected.guess(7, &trail, seconds(17.0)), None, "longer than ever");
        assert_eq!(expected.guess(8, &trail, seconds(5.0)), None);
        let mut begun = Trail::default();
        begun.note(0.0, seconds(30.0));
        let guess = expected.guess(7, &begun, seconds(31.0)).unwrap();
        assert_eq!(guess.left, seconds(19.0), "the wait in the engine's queue does not count");
        assert_eq!(expected.guess(7, &Trail::default(), seconds(1.0)), None, "nor is it known how long it is");
    }

    #[test]
    fn runs_that_have_little_in_common_say_nothing() {
        let mut expected = Expected::default();
        for whole in [10.0, 20.0, 90.0, 95.0] {
            expected.learn(7, run(whole), seconds(whole));
        }
        let mut trail = Trail::default();
        trail.note(0.1, seconds(1.0));
        assert_eq!(expected.guess(7, &trail, seconds(1.0)), None);
    }

    #[test]
    fn runs_that_tell_no_progress_teach_their_length_alone() {
        let mut expected = Expected::default();
        expected.learn(7, Trail::default(), seconds(8.0));
        let guess = expected.guess(7, &Trail::default(), seconds(3.0)).unwrap();
        assert_eq!((guess.left, guess.runs), (seconds(5.0), Some(1)));
        assert_eq!(expected.guess(7, &run(1.0), seconds(3.0)), None);
    }

    #[test]
    fn marks_that_were_skipped_were_passed_with_the_next_and_falling_back_is_nothing() {
        let mut trail = Trail::default();
        trail.note(0.0, seconds(0.0));
        trail.note(0.6, seconds(6.0));
        trail.note(0.1, seconds(7.0));
        assert_eq!((trail.mark, trail.since), (12, seconds(6.0)));
        assert_eq!(trail.passed[1], Some(seconds(6.0)));
        trail.note(1.0, seconds(9.0));
        assert_eq!(trail.mark, MARKS - 1);
    }

    #[test]
    fn little_is_kept_and_the_newest_stays() {
        let mut expected = Expected::default();
        for n in 1..1000 {
            expected.learn(n, Trail::default(), seconds(1.0));
            expected.learn(0, Trail::default(), seconds(1.0));
        }
        assert_eq!((expected.kinds.len(), expected.kinds[&0].runs.len()), (KINDS, RUNS));
        assert!(expected.kinds.contains_key(&999) && !expected.kinds.contains_key(&1));
    }
}
