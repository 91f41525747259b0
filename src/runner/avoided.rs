//! Classes whose waiting jobs keep off this worker for a while, because it has just failed them: what that means for its
//! waiting. In: what claims have passed over. Out: which classes to wait for, and for how long at most.
//!
//! A token that wakes a worker for a job that avoids it must go on to another worker. Put back while this one still
//! waits for that class, it would only wake it again; so the class is left out until the first such job may be taken. For
//! jobs that come to the class meanwhile the worker is called by name (`bystanders` in the scripts).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Nobody is called after a longer time.
const LONGEST: Duration = Duration::from_secs(600);

/// What avoids one worker: the classes, and until when each is left out.
#[derive(Debug, Default)]
pub struct Avoided {
    till: BTreeMap<String, Instant>,
}

impl Avoided {
    /// What a claim that found nothing has passed over.
    pub fn learn(&mut self, avoiding: Vec<(String, Duration)>, now: Instant) {
        // One more millisecond: the server compares its own clock, and asking a moment too early would find nothing.
        let till = |left: Duration| now + (left + Duration::from_millis(1)).min(LONGEST);
        self.till = avoiding.into_iter().map(|(class, left)| (class, till(left))).collect();
    }

    /// Whether a token of this class is for somebody else.
    pub fn is_in(&self, class: &str) -> bool {
        self.till.contains_key(class)
    }

    /// Whether nothing is left out.
    pub fn is_empty(&self) -> bool {
        self.till.is_empty()
    }

    /// How long at most to wait before asking again, and for which of these classes.
    pub fn waiting(&self, fitting: &BTreeSet<String>, longest: Duration, now: Instant) -> (Duration, BTreeSet<String>) {
        let soonest = self.till.values().map(|till| till.saturating_duration_since(now)).min();
        let waited_for = fitting.iter().filter(|class| !self.is_in(class)).cloned().collect();
        (soonest.map_or(longest, |soonest| longest.min(soonest)), waited_for)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_that_avoids_is_left_out_until_the_first_of_its_jobs_may_be_taken() {
        let (now, pause, long) = (Instant::now(), Duration::from_secs(2), Duration::from_secs(60));
        let after = pause + Duration::from_millis(1);
        let fitting = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let mut avoided = Avoided::default();
        assert_eq!(avoided.waiting(&fitting, long, now), (long, fitting.clone()));
        avoided.learn(vec![("a".to_owned(), pause)], now);
        assert!(avoided.is_in("a") && !avoided.is_in("b"));
        assert_eq!(avoided.waiting(&fitting, long, now), (after, BTreeSet::from(["b".to_owned()])));
        assert_eq!(avoided.waiting(&fitting, pause / 2, now).0, pause / 2);
        assert_eq!(avoided.waiting(&fitting, long, now + long).0, Duration::ZERO, "it asks again");
        avoided.learn(Vec::new(), now);
        assert!(avoided.is_empty(), "the latest claim knows best");
    }

    #[test]
    fn nobody_stands_by_for_ever() {
        let (now, fitting) = (Instant::now(), BTreeSet::from(["a".to_owned()]));
        let mut avoided = Avoided::default();
        avoided.learn(vec![("a".to_owned(), Duration::from_secs(1 << 40))], now);
        assert_eq!(avoided.waiting(&fitting, Duration::MAX, now), (LONGEST, BTreeSet::new()));
    }
}
