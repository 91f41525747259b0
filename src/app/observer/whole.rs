//! The agent as a whole: what it is at, and since when.
//! In: slots, engines, the way to Redis; a sign whenever something is told. Out: the section `worker`.
//!
//! Each change of state is told by whoever causes it, so a state began when the first thing was told since the one before was
//! seen; what changes without a word (outputs can be stored again) is seen within two seconds, whether somebody looks or not.

use super::{Observer, locked};
use crate::dashboard::view::worker::{Facts, Redis, Worker};
use crate::dashboard::view::{in_ms, now_ms};
use crate::protocol::control::Desired;
use crate::telemetry::told;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Between two looks at the state while nothing is told.
const PACE: Duration = Duration::from_secs(2);
/// What is told may become so a moment later; and however much is told, it is not looked at more often.
const AFTER: Duration = Duration::from_millis(100);

/// When things became as they are.
#[derive(Debug)]
pub(super) struct Memory {
    started: i64,
    state: (&'static str, i64),
}

impl Default for Memory {
    fn default() -> Self {
        let now = now_ms();
        Self { started: now, state: ("starting", now) }
    }
}

impl Memory {
    /// It is in this state now; answers since when.
    fn is_in(&mut self, state: &'static str, told: Option<i64>) -> i64 {
        if self.state.0 != state {
            self.state = (state, told.unwrap_or_else(now_ms).max(self.state.1));
        }
        self.state.1
    }
}

impl Observer {
    /// Keeps in mind since when the agent is at what it is at, until told to stop.
    pub(super) async fn keep_in_mind(&self, stop: CancellationToken) {
        let changes = async {
            loop {
                self.note_state();
                if tokio::time::timeout(PACE, told::of_process().news()).await.is_ok() {
                    self.note_state();
                    tokio::time::sleep(AFTER).await;
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = changes => {}
        }
    }

    fn note_state(&self) {
        let (state, _) = self.facts(None).state();
        locked(&self.memory).is_in(state, told::of_process().take());
    }

    /// What the agent is at, in a word and a sentence, and since when.
    pub(super) fn state(&self) -> ((&'static str, String), i64) {
        let told = self.facts(self.with_queue(|queue| queue.fitting)).state();
        let since = locked(&self.memory).is_in(told.0, told::of_process().take());
        (told, since)
    }

    /// How many workers are told to pause, and to drain.
    fn held_back(&self) -> (usize, usize) {
        let wanting = |desired| self.parts.slots.iter().filter(|slot| slot.control.desired() == desired).count();
        (wanting(Desired::Paused), wanting(Desired::Draining))
    }

    fn facts(&self, waiting_here: Option<u64>) -> Facts {
        let (shared, slots) = (&self.parts.shared, &self.parts.slots);
        let redis = shared.link.standing();
        let states: Vec<&str> = slots.iter().map(|slot| slot.standing()).collect();
        let count = |word: &str| states.iter().filter(|state| **state == word).count();
        let (paused, drained) = self.held_back();
        let engines: Vec<_> = self.engines().iter().map(|engine| super::engines::seen(engine)).collect();
        let (healthy, unhealthy): (Vec<_>, Vec<_>) = engines.into_iter().partition(|engine| engine.is_healthy);
        Facts {
            redis_up: redis.is_up,
            redis_away: redis.away,
            redis_silent: redis.silent,
            registered: slots.iter().all(|slot| slot.beaten.load(Ordering::Relaxed) > 0),
            stopping: shared.shutdown.drain.is_cancelled(),
            drained,
            slots: slots.len(),
            running: count("busy"),
            fenced: count("fenced"),
            paused,
            healthy: healthy.len(),
            unhealthy: unhealthy.into_iter().map(|engine| format!("{}: {}", engine.label, engine.why)).collect(),
            cannot_store: shared.outputs.obstacle(),
            waiting_here,
        }
    }

    /// The section.
    pub(super) fn whole(&self) -> Worker {
        let (shared, slots) = (&self.parts.shared, &self.parts.slots);
        let redis = shared.link.standing();
        let ((state, sentence), since) = self.state();
        let (paused, drained) = self.held_back();
        let stopping = shared.shutdown.drain.is_cancelled();
        let started = locked(&self.memory).started;
        let answers = redis.is_up && redis.silent.is_none();
        let silent_since =
            redis.silent.filter(|_| redis.is_up).map(|silent| now_ms().saturating_sub_unsigned(in_ms(silent)));
        let beats = slots.iter().map(|slot| slot.beaten.load(Ordering::Relaxed));
        Worker {
            id: self.parts.id.clone(),
            host: self.parts.hardware.borrow().host.name.clone(),
            machine_id: shared.machine.clone(),
            ids: slots.iter().map(|slot| slot.worker.clone()).collect(),
            state,
            sentence,
            since,
            started,
            heartbeat: beats.min().filter(|beat| *beat > 0),
            redis: Redis {
                connected: answers,
                since: silent_since.or(redis.since).unwrap_or(started),
                round_trip_ms: redis.round_trip.map(|took| (took.as_secs_f64() * 1e5).round() / 1e2),
                address: redis.at,
            },
            desired: match () {
                () if stopping || !slots.is_empty() && drained == slots.len() => "drain",
                () if !slots.is_empty() && paused + drained == slots.len() => "pause",
                () => "run",
            },
            siblings: self.parts.siblings.known(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_began_when_its_change_was_told_and_lasts_while_it_is_the_same() {
        let mut memory = Memory { started: 10, state: ("starting", 10) };
        assert_eq!(memory.is_in("idle", Some(20)), 20);
        assert_eq!(memory.is_in("idle", Some(30)), 20, "what else is told changes nothing");
        assert_eq!(
            memory.is_in("working", Some(15)),
            20,
            "a clock that went back makes no state older than the one before"
        );
        let before = now_ms();
        assert!(memory.is_in("no_store", None) >= before, "what nobody told of began when it was seen");
    }
}
