//! How long runs take from a given progress on, learned from those that ended well.
//! In: when each run passed which share of its work. Out: the median of what was left then, and of how many runs; pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Marks on the way: each twentieth of the work.
const MARKS: usize = 20;
/// Runs of a service that count; older ones were perhaps of another kind.
const RUNS: usize = 32;
/// Services of which runs are kept.
const SERVICES: usize = 50;

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
    /// Runs that it was learned from.
    pub runs: usize,
}

/// What was learned.
#[derive(Debug, Default)]
pub struct Expected(BTreeMap<String, VecDeque<(Trail, Duration)>>);

impl Expected {
    /// Learns from a run that ended well after this long.
    pub fn learn(&mut self, service: &str, trail: Trail, took: Duration) {
        if !self.0.contains_key(service) && self.0.len() >= SERVICES {
            return;
        }
        let runs = self.0.entry(service.to_owned()).or_default();
        if runs.len() >= RUNS {
            runs.pop_front();
        }
        runs.push_back((trail, took));
    }

    /// What is left of a run of this service after this long; nothing before there are runs to learn from.
    pub fn guess(&self, service: &str, trail: &Trail, now: Duration) -> Option<Guess> {
        let runs = self.0.get(service)?;
        let left = |(past, took): &(Trail, Duration)| {
            // A run that told no progress tells how long it took as a whole.
            Some(took.saturating_sub(past.passed[trail.mark].or((trail.mark == 0).then_some(Duration::ZERO))?))
        };
        let mut left: Vec<Duration> = runs.iter().filter_map(left).collect();
        left.sort();
        let median = *left.get(left.len() / 2)?;
        Some(Guess { left: median.saturating_sub(now.saturating_sub(trail.since)), runs: left.len() })
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
        assert_eq!(expected.guess("s", &trail, seconds(4.0)), None, "nothing is known yet");
        for whole in [10.0, 20.0, 90.0] {
            expected.learn("s", run(whole), seconds(whole));
        }
        let guess = expected.guess("s", &trail, seconds(5.0)).unwrap();
        assert_eq!((guess.left, guess.runs), (seconds(9.0), 3), "ten seconds were left a second ago");
        assert_eq!(expected.guess("s", &trail, seconds(100.0)).unwrap().left, Duration::ZERO);
        assert_eq!(expected.guess("other", &trail, seconds(5.0)), None);
        let guess = expected.guess("s", &Trail::default(), seconds(1.0)).unwrap();
        assert_eq!(guess.left, seconds(19.0), "before the first report the whole of it is left");
    }

    #[test]
    fn runs_that_tell_no_progress_teach_their_length_alone() {
        let mut expected = Expected::default();
        expected.learn("s", Trail::default(), seconds(8.0));
        let guess = expected.guess("s", &Trail::default(), seconds(3.0)).unwrap();
        assert_eq!((guess.left, guess.runs), (seconds(5.0), 1));
        assert_eq!(expected.guess("s", &run(1.0), seconds(3.0)), None);
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
    fn little_is_kept() {
        let mut expected = Expected::default();
        for n in 0..1000 {
            expected.learn(&format!("s-{n}"), Trail::default(), seconds(1.0));
            expected.learn("s-0", Trail::default(), seconds(1.0));
        }
        assert_eq!((expected.0.len(), expected.0["s-0"].len()), (SERVICES, RUNS));
    }
}
