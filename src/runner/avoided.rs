//! Jobs that keep off this worker for a while, because it has just failed them: what that means for its waiting.
//! In: failed attempts, wake-up tokens. Out: which classes to wait for, and for how long at most.
//!
//! A token that wakes a worker for a job that avoids it must go on to another worker. Put back while this one still
//! waits for that class, it would only wake it again; so the class is left out until the job no longer avoids it.

use super::shared::Shared;
use redis::RedisResult;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// What avoids one worker, by class.
#[derive(Debug, Default)]
pub struct Avoided {
    by_class: BTreeMap<String, Avoidance>,
}

#[derive(Debug, Clone, Copy)]
struct Avoidance {
    till: Instant,
    left_out: bool,
}

impl Avoided {
    /// Notes how long a job that will be tried again avoids this worker.
    pub async fn note(&mut self, shared: &Shared, worker: &str, job: &str, class: &str) -> RedisResult<()> {
        let key = shared.space.key("job:") + job;
        // By the server's clock: ours may differ.
        let (avoid, now): (Option<String>, (u64, u64)) = shared
            .link
            .call(async |con| {
                let mut pipe = redis::pipe();
                pipe.cmd("HGET").arg(&key).arg("avoid").cmd("TIME").query_async(con).await
            })
            .await?;
        let now_ms = now.0 * 1000 + now.1 / 1000;
        if let Some(left) = left_ms(&avoid.unwrap_or_default(), worker, now_ms) {
            self.keep_off(class, Instant::now() + left);
        }
        Ok(())
    }

    fn keep_off(&mut self, class: &str, till: Instant) {
        let known = self.by_class.entry(class.to_owned()).or_insert(Avoidance { till, left_out: false });
        known.till = known.till.max(till);
    }

    /// A token of this class came and no job with it. True if it must be put back: its job may only avoid this worker.
    pub fn woken_in_vain(&mut self, class: &str, now: Instant) -> bool {
        self.forget_past(now);
        let Some(avoidance) = self.by_class.get_mut(class) else { return false };
        avoidance.left_out = true;
        true
    }

    /// How long at most to wait before asking again, and for which of these classes.
    pub fn waiting(
        &mut self,
        fitting: &BTreeSet<String>,
        longest: Duration,
        now: Instant,
    ) -> (Duration, BTreeSet<String>) {
        self.forget_past(now);
        let soonest = self.by_class.values().map(|avoidance| avoidance.till - now).min();
        let left_out = |class: &&String| !self.by_class.get(*class).is_some_and(|avoidance| avoidance.left_out);
        (soonest.map_or(longest, |soonest| longest.min(soonest)), fitting.iter().filter(left_out).cloned().collect())
    }

    fn forget_past(&mut self, now: Instant) {
        self.by_class.retain(|_, avoidance| avoidance.till > now);
    }
}

/// Reads `worker… until_ms`.
fn left_ms(avoid: &str, worker: &str, now_ms: u64) -> Option<Duration> {
    let (whom, till) = avoid.rsplit_once(' ')?;
    let left = till.parse::<u64>().ok()?.checked_sub(now_ms)?;
    // One more: the server compares its own clock, and asking a moment too early would find nothing.
    whom.split(' ').any(|whom| whom == worker).then(|| Duration::from_millis(left.saturating_add(1).min(600_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_left_out_only_after_its_token_came_in_vain_and_only_for_the_time() {
        let (now, pause) = (Instant::now(), Duration::from_secs(2));
        let fitting = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let mut avoided = Avoided::default();
        assert!(!avoided.woken_in_vain("a", now));
        avoided.keep_off("a", now + pause);
        assert_eq!(avoided.waiting(&fitting, Duration::from_secs(60), now), (pause, fitting.clone()));
        assert!(!avoided.woken_in_vain("b", now));
        assert!(avoided.woken_in_vain("a", now));
        assert_eq!(avoided.waiting(&fitting, pause / 2, now), (pause / 2, BTreeSet::from(["b".to_owned()])));
        assert_eq!(avoided.waiting(&fitting, pause, now + pause), (pause, fitting));
    }

    #[test]
    fn only_what_names_this_worker_and_the_future_counts() {
        for avoid in ["w 1500", "v w 1500", "w v 1500"] {
            assert_eq!(left_ms(avoid, "w", 1000), Some(Duration::from_millis(501)));
        }
        for (avoid, worker) in [("w 999", "w"), ("w vw 1500", "v"), ("", "w"), ("w soon", "w"), ("w", "w")] {
            assert_eq!(left_ms(avoid, worker, 1000), None, "{avoid:?}");
        }
    }
}
