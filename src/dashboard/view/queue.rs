//! What waits in the queue, by class, and what of it this box could run.
//! In: filled by the agent from what Redis tells, while somebody looks. Out: the section `queue`.

use serde::Serialize;

/// The section.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Queue {
    /// When this was read.
    pub read: Option<i64>,
    /// Waiting and due.
    pub waiting: Option<u64>,
    /// Waiting for a time.
    pub delayed: Option<u64>,
    /// Waiting without a class yet: added by other programs, met by the sweep within seconds.
    pub unindexed: Option<u64>,
    /// Waiting jobs of the classes below that fit a worker of this agent.
    pub fitting: Option<u64>,
    /// There are more classes than are listed.
    pub truncated: bool,
    /// Those whose turn comes first.
    pub classes: Vec<Class>,
}

/// Jobs that ask for the same.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Class {
    /// The class's id.
    pub id: String,
    /// What is asked for; `None`: any service.
    pub service: Option<String>,
    /// Waiting jobs.
    pub count: u64,
    /// When the job that comes first was submitted; with equal priorities it is the oldest one.
    pub oldest: Option<i64>,
    /// The highest priority among them.
    pub priority_best: Option<u64>,
    /// What they need beside the service, in words.
    pub needs: Vec<String>,
    /// Workers of this agent that could run them.
    pub fits: Vec<String>,
    /// Why the others could not.
    pub misfits: Vec<Misfit>,
}

/// Why a worker could not run a class.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Misfit {
    /// Which.
    pub worker: String,
    /// In words, with numbers.
    pub reasons: Vec<String>,
    /// The kinds of these reasons.
    pub codes: Vec<&'static str>,
}
