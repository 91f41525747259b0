//! The agent as a whole: what it is at, and since when.
//! In: slots, engines, the way to Redis. Out: the section `worker`.

use super::{Observer, locked};
use crate::dashboard::Source;
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
    /// The section.
    pub(super) fn whole(&self) -> Worker {
        let (shared, slots) = (&self.parts.shared, &self.parts.slots);
        let redis = shared.link.standing();
        let states: Vec<&str> = slots.iter().map(|slot| slot.standing()).collect();
        let count = |word: &str| states.iter().filter(|state| **state == word).count();
        let beats: Vec<i64> = slots.iter().map(|slot| slot.beaten.load(Ordering::Relaxed)).collect();
        let wanting = |desired| slots.iter().filter(|slot| slot.control.desired() == desired).count();
        let (paused, drained) = (wanting(Desired::Paused), wanting(Desired::Draining));
        let stopping = shared.shutdown.drain.is_cancelled();
        let engines: Vec<_> = self.engines().iter().map(|engine| super::engines::seen(engine)).collect();
        let (healthy, unhealthy): (Vec<_>, Vec<_>) = engines.into_iter().partition(|engine| engine.is_healthy);
        let facts = Facts {
            redis_up: redis.is_up,
            redis_away: redis.away,
            redis_silent: redis.silent,
            registered: beats.iter().all(|beat| *beat > 0),
            stopping,
            drained,
            slots: slots.len(),
            running: count("busy"),
            fenced: count("fenced"),
            paused,
            healthy: healthy.len(),
            unhealthy: unhealthy.into_iter().map(|engine| format!("{}: {}", engine.label, engine.why)).collect(),
            cannot_store: shared.outputs.obstacle(),
            waiting_here: self.queue().fitting,
        };
        let (state, sentence) = facts.state();
        let now = now_ms();
        let mut memory = locked(&self.memory);
        if memory.state.0 != state {
            memory.state = (state, now);
        }
        let answers = redis.is_up && redis.silent.is_none();
        if memory.redis.0 != answers {
            let away = redis.away.or(redis.silent);
            memory.redis = (answers, away.map_or(now, |away| now.saturating_sub_unsigned(in_ms(away))));
        }
        Worker {
            machine_id: shared.machine.clone(),
            ids: slots.iter().map(|slot| slot.worker.clone()).collect(),
            state,
            sentence,
            since: memory.state.1,
            started: memory.started,
            heartbeat: beats.into_iter().min().filter(|beat| *beat > 0),
            redis: Redis {
                connected: answers,
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
