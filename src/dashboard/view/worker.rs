//! The agent as a whole: what it is at, in a word and in a sentence.
//! In: counts of slots and engines, how Redis is. Out: the section `worker`.

use serde::Serialize;
use std::time::Duration;

/// The section.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Worker {
    /// The agent, by the id that it was given; its workers' ids begin with it.
    pub id: String,
    /// The machine's name.
    pub host: Option<String>,
    /// The machine's id.
    pub machine_id: String,
    /// The workers of this agent.
    pub ids: Vec<String>,
    /// `starting`, `redis_away`, `draining`, `drained`, `fenced`, `paused`, `no_store`, `no_engine`, `working`, `idle`.
    pub state: &'static str,
    /// The same for people.
    pub sentence: String,
    /// When the state began.
    pub since: i64,
    /// When the agent started.
    pub started: i64,
    /// When Redis last took the heartbeat of the worker that was heard least lately.
    pub heartbeat: Option<i64>,
    /// The way to Redis.
    pub redis: Redis,
    /// `run`, `pause`, `drain`.
    pub desired: &'static str,
    /// Other agents of this machine.
    pub siblings: Vec<Sibling>,
}

/// The way to Redis.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Redis {
    /// There is a connection, and what was asked last has been answered or is not overdue.
    pub connected: bool,
    /// Since when it is so.
    pub since: i64,
    /// Of the last tick, a small call each second.
    pub round_trip_ms: Option<f64>,
    /// Host and port; where it is looked for, while there is no connection.
    pub address: Option<String>,
}

/// Another agent of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Sibling {
    /// Its dashboard.
    pub url: String,
    /// Its first worker.
    pub worker: String,
}

/// What the state is made of.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Redis answers.
    pub redis_up: bool,
    /// For how long it has not.
    pub redis_away: Option<Duration>,
    /// For how long a call to it has waited, if that is longer than it should be.
    pub redis_silent: Option<Duration>,
    /// All workers are registered.
    pub registered: bool,
    /// The agent was told to stop.
    pub stopping: bool,
    /// Workers.
    pub slots: usize,
    /// Of these, at work.
    pub running: usize,
    /// Of these, on a GPU that may not work.
    pub fenced: usize,
    /// Of these, told to claim no more.
    pub paused: usize,
    /// Of these, told to claim no more and to say when nothing runs any more.
    pub drained: usize,
    /// Engines whose services are offered.
    pub healthy: usize,
    /// Why the others are not, one sentence each.
    pub unhealthy: Vec<String>,
    /// Why outputs cannot be stored.
    pub cannot_store: Option<String>,
    /// Waiting jobs that fit here, if that was looked at.
    pub waiting_here: Option<u64>,
}

impl Facts {
    /// What the agent is at: a word, and a sentence.
    pub fn state(&self) -> (&'static str, String) {
        let jobs = |count: usize| match count {
            0 => "No job".to_owned(),
            1 => "One job".to_owned(),
            2 => "Two jobs".to_owned(),
            3 => "Three jobs".to_owned(),
            more => format!("{more} jobs"),
        };
        let running = jobs(self.running);
        let goes_on = match self.running {
            0 => "nothing runs".to_owned(),
            1 => "one job goes on".to_owned(),
            many => format!("{many} jobs go on"),
        };
        let waiting = match self.waiting_here {
            None => ".".to_owned(),
            Some(0) => ", nothing that fits this box waits.".to_owned(),
            Some(1) => ", one waiting job fits this box.".to_owned(),
            Some(many) => format!(", {many} waiting jobs fit this box."),
        };
        if !self.redis_up && self.redis_away.is_none() {
            return ("starting", "Starting: looking for Redis.".to_owned());
        }
        if !self.redis_up {
            return (
                "redis_away",
                format!("Redis cannot be reached; {goes_on}, and no job is claimed until it is back."),
            );
        }
        if let Some(silent) = self.redis_silent {
            let seconds = silent.as_secs();
            return (
                "redis_away",
                format!("Redis has not answered for {seconds} s; {goes_on}, and no job is claimed meanwhile."),
            );
        }
        if self.stopping {
            return ("draining", format!("Told to stop: {goes_on}, and no further job is claimed."));
        }
        if !self.registered {
            return ("starting", "Starting: not all workers are registered yet.".to_owned());
        }
        if self.slots > 0 && self.fenced == self.slots {
            return ("fenced", "No GPU of this box may work now; no job is claimed.".to_owned());
        }
        if self.slots > 0 && self.drained == self.slots {
            return match self.running {
                0 => ("drained", "Nothing runs and no job is claimed; it can be stopped.".to_owned()),
                _ => ("draining", format!("Draining: {goes_on}, and no further job is claimed.")),
            };
        }
        if self.slots > 0 && self.paused + self.drained == self.slots {
            return ("paused", format!("Paused: {goes_on}, and no further job is claimed."));
        }
        if let Some(why) = &self.cannot_store {
            return ("no_store", format!("No job is claimed, because outputs cannot be stored: {why}"));
        }
        if self.healthy == 0 {
            let why = self.unhealthy.first().cloned().unwrap_or_else(|| "there is none".to_owned());
            return ("no_engine", format!("No engine can take work: {why}"));
        }
        match self.running {
            0 => ("idle", format!("Ready and idle{waiting}")),
            _ => ("working", format!("{running} running{waiting}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_names_what_stands_most_in_the_way() {
        let well = Facts { redis_up: true, registered: true, slots: 2, healthy: 1, ..Facts::default() };
        let busy = Facts { running: 2, waiting_here: Some(3), ..well.clone() };
        let rows = [
            (Facts::default(), "starting", "looking for Redis"),
            (Facts { registered: false, ..well.clone() }, "starting", "not all workers"),
            (well.clone(), "idle", "Ready and idle."),
            (Facts { waiting_here: Some(0), ..well.clone() }, "idle", "nothing that fits"),
            (busy.clone(), "working", "Two jobs running, 3 waiting jobs fit this box."),
            (Facts { redis_up: false, redis_away: Some(Duration::ZERO), ..busy.clone() }, "redis_away", "2 jobs go on"),
            (
                Facts { redis_silent: Some(Duration::from_millis(3900)), running: 1, ..busy.clone() },
                "redis_away",
                "Redis has not answered for 3 s; one job goes on",
            ),
            (Facts { stopping: true, paused: 2, ..busy.clone() }, "draining", "2 jobs go on"),
            (Facts { drained: 2, ..busy.clone() }, "draining", "2 jobs go on"),
            (Facts { drained: 2, ..well.clone() }, "drained", "can be stopped"),
            (Facts { drained: 1, paused: 1, ..well.clone() }, "paused", "nothing runs"),
            (Facts { paused: 1, ..busy.clone() }, "working", "Two"),
            (Facts { paused: 2, running: 1, ..busy.clone() }, "paused", "one job goes on"),
            (Facts { fenced: 2, ..well.clone() }, "fenced", "No GPU"),
            (Facts { healthy: 0, unhealthy: vec!["it is down".into()], ..well.clone() }, "no_engine", "it is down"),
            (Facts { cannot_store: Some("disk full".into()), ..well }, "no_store", "disk full"),
        ];
        for (facts, word, words) in rows {
            let (state, sentence) = facts.state();
            assert_eq!(state, word, "{facts:?}");
            assert!(sentence.contains(words), "{sentence}");
        }
    }
}
