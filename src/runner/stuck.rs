//! Watches that a run goes on: whatever an engine reports anew starts the clock again.
//! In: progress reports. Out: steps' times for those to come, and the news that a step does not end.
//!
//! It begins with the first report, when the engine has the work, and ends when the results are fetched: storing them
//! has patience of its own. An engine that says the same again and again does not go on.

use super::pace::{Paces, Step};
use connectors::contract::{Progress, Stage};
use connectors::failure::{Failure, Reason};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The watch over one run.
pub struct Watch {
    paces: Arc<Mutex<Paces>>,
    at: Mutex<Option<At>>,
    news: Notify,
}

struct At {
    last: Progress,
    /// When anything changed.
    since: Instant,
    /// When the step at work began, and what it is.
    began: Instant,
    step: Option<Step>,
}

/// A step that did not end in its time.
#[derive(Debug, Clone)]
pub struct Stuck {
    waited: Duration,
    doing: String,
    in_queue: bool,
}

impl Stuck {
    /// As the job's failure. The host is at fault: another one may well go on.
    pub fn failure(&self) -> Failure {
        let (seconds, doing) = (self.waited.as_secs_f64(), &self.doing);
        if self.in_queue {
            let what = format!(
                "the engine's queue has stood still for {seconds:.0} s ({doing}); if that lasts, restart the engine"
            );
            return Failure::of_host(Reason::QueueTimeout, what);
        }
        let what = format!(
            "no progress for {seconds:.0} s at \"{doing}\", longer than such a step takes here (STUCK_STEP_SECONDS); \
             the engine was told to stop it"
        );
        Failure::of_host(Reason::ProcessingTimeout, what)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    /// A watch that learns into `paces`.
    pub fn new(paces: Arc<Mutex<Paces>>) -> Self {
        Self { paces, at: Mutex::default(), news: Notify::new() }
    }

    /// Hears a report.
    pub fn heard(&self, progress: &Progress, now: Instant) {
        let mut at = locked(&self.at);
        let Some(before) = at.as_mut() else {
            *at = Some(At { last: progress.clone(), since: now, began: now, step: step(progress) });
            return self.news.notify_one();
        };
        if before.last == *progress {
            return;
        }
        if let Some(steps) = ended(&before.last, progress) {
            // Between the last step and the end of its node nothing is a step.
            if let Some(known) = before.step.as_ref().filter(|_| steps > 0) {
                let took = now.saturating_duration_since(before.began) / u32::try_from(steps).unwrap_or(u32::MAX);
                locked(&self.paces).learn(known, took, now);
            }
            before.began = now;
        }
        (before.since, before.step) = (now, step(progress));
        before.last = progress.clone();
        self.news.notify_one();
    }

    /// Resolves once a step has not ended in its time.
    pub async fn stuck(&self) -> Stuck {
        loop {
            let Some(limit) = self.limit() else {
                self.news.notified().await;
                continue;
            };
            tokio::select! {
                () = self.news.notified() => {}
                () = tokio::time::sleep_until(limit.into()) => if let Some(stuck) = self.is_stuck(Instant::now()) {
                    return stuck;
                }
            }
        }
    }

    /// Until when the step at work may go on.
    fn limit(&self) -> Option<Instant> {
        let at = locked(&self.at);
        let at = at.as_ref().filter(|at| !matches!(at.last.stage, Stage::Fetching | Stage::Unseen))?;
        // A limit beyond what a clock can tell is none.
        at.since.checked_add(locked(&self.paces).limit(at.step.as_ref())?)
    }

    fn is_stuck(&self, now: Instant) -> Option<Stuck> {
        let is_over = self.limit().is_some_and(|limit| limit <= now);
        let at = locked(&self.at);
        let at = at.as_ref().filter(|_| is_over)?;
        if let Some(step) = &at.step {
            locked(&self.paces).give_up(step, now);
        }
        Some(Stuck {
            waited: now.saturating_duration_since(at.since),
            doing: at.last.message.clone().unwrap_or_else(|| "its work".to_owned()),
            in_queue: at.last.stage == Stage::Waiting,
        })
    }
}

/// The step at work after this report.
fn step(progress: &Progress) -> Option<Step> {
    let Stage::Kind(kind) = &progress.stage else { return None };
    Some(Step { kind: kind.clone(), warm: progress.step.is_some_and(|(step, of)| step > 0 && step < of) })
}

/// How many steps have ended between two reports; `None`: the same one goes on.
fn ended(before: &Progress, now: &Progress) -> Option<u64> {
    if before.node != now.node || before.stage != now.stage {
        // A node without steps is one; of another one the steps are known.
        return Some(u64::from(before.step.is_none()));
    }
    let done = |progress: &Progress| progress.step.map_or(0, |(step, _)| step);
    match done(now).checked_sub(done(before)) {
        Some(0) => None,
        // Another round in the same node.
        None => Some(0),
        more => more,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(node: &str, step: Option<(u64, u64)>) -> Progress {
        Progress {
            node: Some(node.to_owned()),
            message: Some(format!("{node} {step:?}")),
            step,
            stage: Stage::Kind(format!("class of {node}")),
            ..Progress::default()
        }
    }

    fn watch() -> Watch {
        Watch::new(Arc::new(Mutex::new(Paces::new(300 * SECOND))))
    }

    /// Runs through ten steps of two seconds each; answers when that was done.
    fn sampled(watch: &Watch, mut now: Instant) -> Instant {
        watch.heard(&at("3", None), now);
        for step in 1..=10 {
            now += 2 * SECOND;
            watch.heard(&at("3", Some((step, 10))), now);
        }
        now
    }

    #[test]
    fn a_step_in_mid_node_has_the_learnt_time_and_the_last_one_all_patience() {
        let (watch, start) = (watch(), Instant::now());
        let now = sampled(&watch, start);
        assert_eq!(watch.limit(), Some(now + 300 * SECOND), "what follows the last step is no step");
        watch.heard(&at("3", Some((1, 10))), now);
        assert_eq!(watch.limit(), Some(now + 60 * SECOND));
        assert!(watch.is_stuck(now + 59 * SECOND).is_none());
        let stuck = watch.is_stuck(now + 60 * SECOND).unwrap();
        let failure = stuck.failure();
        assert_eq!((failure.reason, failure.hosts_fault), (Reason::ProcessingTimeout, true));
        assert!(failure.message.contains("60 s"), "{failure}");
        assert_eq!(watch.limit(), Some(now + 120 * SECOND), "twice the time for the next one");
    }

    #[test]
    fn saying_the_same_again_is_no_progress_and_the_other_node_is_not_known() {
        let (watch, start) = (watch(), Instant::now());
        let now = sampled(&watch, start);
        watch.heard(&at("8", None), now);
        (0..100).for_each(|second| watch.heard(&at("8", None), now + second * SECOND));
        assert_eq!(watch.limit(), Some(now + 300 * SECOND));
    }

    #[test]
    fn steps_that_were_missed_share_the_time() {
        let (watch, now) = (watch(), Instant::now());
        watch.heard(&at("3", Some((1, 1000))), now);
        for round in 1..=5u32 {
            watch.heard(&at("3", Some((1 + u64::from(round) * 10, 1000))), now + round * 40 * SECOND);
        }
        assert_eq!(watch.limit(), Some(now + 200 * SECOND + 80 * SECOND), "4 s a step, twenty times");
    }

    #[test]
    fn waiting_in_the_queue_is_told_apart_and_what_tells_nothing_is_not_watched() {
        let (watch, now) = (watch(), Instant::now());
        assert_eq!(watch.limit(), None, "the engine has nothing yet");
        watch.heard(&Progress { stage: Stage::Waiting, ..Progress::default() }, now);
        let stuck = watch.is_stuck(now + 300 * SECOND).unwrap();
        assert_eq!(stuck.failure().reason, Reason::QueueTimeout);
        for stage in [Stage::Fetching, Stage::Unseen] {
            watch.heard(&Progress { stage, ..Progress::default() }, now);
            assert_eq!(watch.limit(), None);
        }
    }
}
