//! Whether the agent can take jobs, and why not.
//! In: how slots, engines, Redis and the store are. Out: what stands in the way, for programs and for people.

use std::time::Duration;

/// Whether the agent can take jobs; little work to find out, for it is asked every few seconds.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    /// What each slot does: `idle`, `busy`, `paused`, `drained`, `fenced`, `no_store`, `waiting_for_engine`, `engine_full`.
    pub slots: Vec<&'static str>,
    /// What is wanted of each slot: `running`, `paused`, `draining`.
    pub desired: Vec<&'static str>,
    /// It was told to stop.
    pub draining: bool,
    /// The engines.
    pub engines: Vec<EngineSeen>,
    /// The way to Redis.
    pub redis: RedisSeen,
    /// Why outputs cannot be stored, if they could not be when it was last tried.
    pub cannot_store: Option<String>,
}

/// An engine.
#[derive(Debug, Clone, Default)]
pub struct EngineSeen {
    /// Connector name and address number.
    pub label: String,
    /// Its services are offered.
    pub is_healthy: bool,
    /// Why not, for people.
    pub why: String,
    /// In its own queue.
    pub queue: Option<u64>,
    /// Kinds of the parts that are not offered, one entry for each part.
    pub left_out: Vec<&'static str>,
    /// Kinds of the parts that are offered again after that, on trial.
    pub on_trial: Vec<&'static str>,
}

/// The way to Redis.
#[derive(Debug, Clone, Default)]
pub struct RedisSeen {
    /// There is a connection that answers.
    pub is_up: bool,
    /// Since when not.
    pub away: Option<Duration>,
    /// Of the last small call.
    pub round_trip: Option<Duration>,
}

impl Readiness {
    /// Why the agent cannot take work, if it cannot: a word for programs, a sentence for people.
    pub fn obstacles(&self) -> Vec<(&'static str, String)> {
        let mut obstacles = Vec::new();
        if self.draining {
            obstacles.push(("draining", "the agent was told to stop and claims no more".to_owned()));
        }
        obstacles.extend(self.held_back());
        if !self.redis.is_up {
            let since = self.redis.away.map(|away| format!(", for {} s", away.as_secs())).unwrap_or_default();
            obstacles.push(("redis", format!("Redis cannot be reached{since}")));
        }
        if !self.engines.iter().any(|engine| engine.is_healthy) {
            let of_each = self.engines.iter().map(|engine| format!("{}: {}", engine.label, engine.why));
            let why = of_each.collect::<Vec<_>>().join("; ");
            obstacles.push(("engines", if why.is_empty() { "there is no engine".to_owned() } else { why }));
        }
        if let Some(why) = &self.cannot_store {
            obstacles.push(("outputs", format!("outputs cannot be stored: {why}")));
        }
        obstacles
    }

    /// Nothing is claimed because somebody wants it so. Where one slot may claim, jobs can be taken.
    fn held_back(&self) -> Option<(&'static str, String)> {
        if self.desired.is_empty() || self.desired.contains(&"running") {
            return None;
        }
        if self.desired.contains(&"paused") {
            return Some(("paused", "it is paused and claims no more; `gpu-worker resume` lets it go on".to_owned()));
        }
        let busy = self.slots.iter().filter(|slot| **slot == "busy").count();
        Some(match busy {
            0 => ("drained", "it is drained: nothing runs; `gpu-worker resume` lets it go on".to_owned()),
            _ => ("draining", format!("it claims no more and drains: {busy} running")),
        })
    }
}
