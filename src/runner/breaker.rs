//! Which parts of an engine are left out of the offer after failures, and until when: one breaker for each part.
//! In: failures and successes with their time. Out: what is left out now, when to look again; pure, the caller has the clock.
//!
//! ```text
//!            enough failures in a row                 pause over (the whole engine: and a good probe)
//!   closed ──────────────────────────▶ open ─────────────────────────────────────▶ on trial
//!     ▲                                 ▲                                          │  │
//!     │                                 └── a failure: the next pause is twice as long  │
//!     └──────────────────────────── a success ────────────────────────────────────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Something of an engine that can be left out on its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// All its services.
    Whole,
    /// One model file.
    Model(String),
    /// Jobs that ask for this much GPU memory or more, in MB.
    Memory(u64),
    /// Jobs of one class that asks for no memory, by its id.
    Class(String),
    /// All its services, because different jobs fail one after the other and nobody can say by whose fault.
    Runs,
}

impl Part {
    /// The pause after it opens for the first time, and the longest one. Memory that others hold is seldom free soon.
    const fn pauses(&self) -> (Duration, Duration) {
        let (first, longest) = match self {
            Self::Whole | Self::Model(_) => (5, 600),
            Self::Memory(_) => (60, 600),
            // Most jobs of a pool are often of one class: others may need less.
            Self::Class(_) => (10, 600),
            // The jobs may well be at fault: good ones must not wait behind them for long.
            Self::Runs => (5, 60),
        };
        (Duration::from_secs(first), Duration::from_secs(longest))
    }

    /// Its kind, for programs.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Whole => "engine",
            Self::Runs => "runs",
            Self::Model(_) => "model",
            Self::Memory(_) => "memory",
            Self::Class(_) => "class",
        }
    }

    /// What an operator can do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Whole => "look into the engine's log and restart it",
            Self::Runs => "look into the engine's log; if it is well, the jobs are at fault",
            Self::Model(_) => "replace the file if it is damaged; if it is refused, let the engine's key use it",
            Self::Memory(_) | Self::Class(_) => {
                "look for other programs on the GPU; let such jobs ask for the memory they need"
            }
        }
    }

    /// For people.
    pub fn describe(&self) -> String {
        match self {
            Self::Whole | Self::Runs => "the engine".to_owned(),
            Self::Model(name) => format!("the model {name}"),
            Self::Memory(mb) => format!("jobs that ask for {:.1} GB of GPU memory or more", *mb as f64 / 1000.0),
            Self::Class(class) => format!("jobs of class {class}"),
        }
    }
}

/// Where a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing is left out.
    Closed,
    /// Left out until then at least.
    Open {
        /// When it may be tried again.
        until: Instant,
    },
    /// Offered again; what happens next decides.
    Trial,
}

/// One breaker, for those who show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// What it guards.
    pub part: Part,
    /// Where it stands.
    pub state: State,
    /// Failures in a row.
    pub failures: u32,
    /// The last failure's message.
    pub why: String,
}

#[derive(Debug)]
struct Breaker {
    state: State,
    failures: u32,
    /// The last pause, zero before the first.
    pause: Duration,
    touched: Instant,
    why: String,
    /// The different jobs among the latest failures.
    jobs: BTreeSet<String>,
}

/// The breakers of one engine. Only what has failed lately has one.
#[derive(Debug, Default)]
pub struct Breakers {
    by_part: BTreeMap<Part, Breaker>,
}

/// Failures in a row after which a part is left out, unless a single one proves the fault.
pub const IN_A_ROW: u32 = 3;

/// What has neither failed nor been left out for this long is forgotten.
const MEMORY: Duration = Duration::from_secs(3600);

/// Names come out of jobs: there may be any number of them.
const PARTS_MAX: usize = 256;

impl Breakers {
    /// Notes a failure of a job; `decisive` opens at once. Answers the pause if this opened the breaker.
    pub fn failed(&mut self, part: Part, decisive: bool, job: &str, why: &str, now: Instant) -> Option<Duration> {
        self.forget(now);
        let (first, longest) = part.pauses();
        let fresh = || Breaker {
            state: State::Closed,
            failures: 0,
            pause: Duration::ZERO,
            touched: now,
            why: String::new(),
            jobs: BTreeSet::new(),
        };
        // One job may fail again and again by its own fault; the engine is suspected for different ones.
        let by_job = part == Part::Runs;
        let breaker = self.by_part.entry(part).or_insert_with(fresh);
        if by_job && breaker.state == State::Closed && !breaker.jobs.insert(job.to_owned()) {
            return None;
        }
        breaker.failures = breaker.failures.saturating_add(1);
        breaker.touched = now;
        why.clone_into(&mut breaker.why);
        let opens = match breaker.state {
            State::Closed => decisive || breaker.failures >= IN_A_ROW,
            State::Trial => true,
            // Of a run that began before it opened.
            State::Open { .. } => false,
        };
        if !opens {
            return None;
        }
        breaker.pause = if breaker.pause.is_zero() { first } else { (breaker.pause * 2).min(longest) };
        breaker.state = State::Open { until: now + breaker.pause };
        Some(breaker.pause)
    }

    /// A run failed by its own fault, so the part did work: failures are no longer in a row. What is on trial stays so.
    pub fn went_on(&mut self, part: &Part) {
        self.by_part.retain(|known, breaker| known != part || breaker.state != State::Closed);
    }

    /// Notes a success. Answers whether the part was under suspicion.
    pub fn succeeded(&mut self, part: &Part) -> bool {
        // An open one stays: the run began before, and others have failed since.
        let open = |breaker: &Breaker| matches!(breaker.state, State::Open { .. });
        if self.by_part.get(part).is_none_or(open) {
            return false;
        }
        self.by_part.remove(part).is_some_and(|breaker| breaker.state == State::Trial)
    }

    /// A run that asked for this much memory went well: so would any that asks for less.
    pub fn memory_sufficed(&mut self, mb: u64) -> bool {
        let proven: Vec<Part> =
            self.by_part.range(Part::Memory(0)..=Part::Memory(mb)).map(|(part, _)| part.clone()).collect();
        proven.iter().filter(|part| self.succeeded(part)).count() > 0
    }

    /// Puts on trial what has been left out for long enough; the whole engine only after a good probe. Answers what.
    pub fn review(&mut self, probe_is_good: bool, now: Instant) -> Vec<Part> {
        let mut on_trial = Vec::new();
        for (part, breaker) in &mut self.by_part {
            let is_due = matches!(breaker.state, State::Open { until } if until <= now);
            if is_due && (*part != Part::Whole || probe_is_good) {
                (breaker.state, breaker.touched) = (State::Trial, now);
                on_trial.push(part.clone());
            }
        }
        on_trial
    }

    /// Whether this part is left out.
    pub fn is_open(&self, part: &Part) -> bool {
        self.by_part.get(part).is_some_and(|breaker| matches!(breaker.state, State::Open { .. }))
    }

    /// Why this part is left out, if it is, and for how much longer.
    pub fn rests(&self, part: &Part, now: Instant) -> Option<(&str, Duration)> {
        let breaker = self.by_part.get(part)?;
        let State::Open { until } = breaker.state else { return None };
        Some((&breaker.why, until.saturating_duration_since(now)))
    }

    /// The least amount of memory, in MB, from which on jobs are left out.
    pub fn memory_limit(&self) -> Option<u64> {
        self.open().find_map(|part| if let Part::Memory(mb) = part { Some(*mb) } else { None })
    }

    /// Ids of the classes that are left out.
    pub fn classes(&self) -> BTreeSet<String> {
        self.open().filter_map(|part| if let Part::Class(id) = part { Some(id.clone()) } else { None }).collect()
    }

    /// Time until the next part can be tried again.
    pub fn next_due(&self, now: Instant) -> Option<Duration> {
        let until = |breaker: &Breaker| if let State::Open { until } = breaker.state { Some(until) } else { None };
        self.by_part.values().filter_map(until).min().map(|until| until.saturating_duration_since(now))
    }

    /// All of them.
    pub fn snapshot(&self) -> Vec<Shown> {
        let shown = |(part, breaker): (&Part, &Breaker)| Shown {
            part: part.clone(),
            state: breaker.state,
            failures: breaker.failures,
            why: breaker.why.clone(),
        };
        self.by_part.iter().map(shown).collect()
    }

    fn open(&self) -> impl Iterator<Item = &Part> {
        self.by_part.keys().filter(|part| self.is_open(part))
    }

    fn forget(&mut self, now: Instant) {
        self.by_part.retain(|_, breaker| {
            matches!(breaker.state, State::Open { .. }) || now.saturating_duration_since(breaker.touched) < MEMORY
        });
        while self.by_part.len() >= PARTS_MAX {
            let oldest = self.by_part.iter().filter(|(part, _)| **part != Part::Whole);
            let Some(oldest) = oldest.min_by_key(|(_, breaker)| breaker.touched).map(|(part, _)| part.clone()) else {
                return;
            };
            self.by_part.remove(&oldest);
        }
    }
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
