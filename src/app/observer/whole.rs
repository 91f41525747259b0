//! The agent as a whole: what it is at, and since when.
//! In: slots, engines, the way to Redis. Out: the section `worker`.

use super::{Observer, locked};
use crate::dashboard::view::worker::{Facts, Redis, Worker};
use crate::dashboard::view::{in_ms, now_ms};
use crate::protocol::control::Desired;
use std::sync::atomic::Ordering;

/// When things became as they are.
#[derive(Debug)]
pub(super) struct Memory {
    started: i64,
    state: (&'static str, i64),
    redis: (bool, i64),
}

impl Default for Memory {
    fn default() -> Self {
        let now = now_ms();
        Self { started: now, state: ("starting", now), redis: (false, now) }
    }
}

impl Observer {
    /// What the agent is at, in a word and a sentence, and since when.
    pub(super) fn state(&self) -> ((&'static str, String), i64) {
        let (shared, slots) = (&self.parts.shared, &self.parts.slots);
        let redis = shared.link.standing();
        let states: Vec<&str> = slots.iter().map(|slot| slot.standing()).collect();
        let count = |word: &str| states.iter().filter(|state| **state == word).count();
        let (paused, drained) = self.held_back();
        let engines: Vec<_> = self.engines().iter().map(|engine| super::engines::seen(engine)).collect();
        let (healthy, unhealthy): (Vec<_>, Vec<_>) = engines.into_iter().partition(|engine| engine.is_healthy);
        let facts = Facts {
            redis_up: redis.is_up,
            redis_away: redis.away,
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
            waiting_here: self.with_queue(|queue| queue.fitting),
        };
        let told = facts.state();
        let mut memory = locked(&self.memory);
        if memory.state.0 != told.0 {
            memory.state = (told.0, now_ms());
        }
        (told, memory.state.1)
    }

    /// How many workers are told to pause, and to drain.
    fn held_back(&self) -> (usize, usize) {
        let wanting = |desired| self.parts.slots.iter().filter(|slot| slot.control.desired() == desired).count();
        (wanting(Desired::Paused), wanting(Desired::Draining))
    }

    /// The section.
    pub(super) fn whole(&self) -> Worker {
        let (shared, slots) = (&self.parts.shared, &self.parts.slots);
        let redis = shared.link.standing();
        let beats = slots.iter().map(|slot| slot.beaten.load(Ordering::Relaxed));
        let (paused, drained) = self.held_back();
        let stopping = shared.shutdown.drain.is_cancelled();
        let ((state, sentence), since) = self.state();
        let now = now_ms();
        let mut memory = locked(&self.memory);
        if memory.redis.0 != redis.is_up {
            memory.redis = (redis.is_up, redis.away.map_or(now, |away| now.saturating_sub_unsigned(in_ms(away))));
        }
        Worker {
            machine_id: shared.machine.clone(),
            ids: slots.iter().map(|slot| slot.worker.clone()).collect(),
            state,
            sentence,
            since,
            started: memory.started,
            heartbeat: beats.min().filter(|beat| *beat > 0),
            redis: Redis {
                connected: redis.is_up,
                since: memory.redis.1,
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
