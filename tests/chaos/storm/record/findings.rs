//! What a history may show: the ways in which the promise can be broken, and how tokens came and went.
//! In: nothing. Out: plain values.

use std::collections::{BTreeMap, BTreeSet};

/// What the promise forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// Two tokens are live at one time of Redis.
    TwoLive,
    /// A token was granted although the job did not wait.
    GrantedUnwaiting,
    /// A token was granted that had been granted before.
    TokenReused,
    /// A job was taken from a live token that nobody had given back.
    TakenAway,
    /// Something was written for a token that did not hold.
    WrittenByLoser,
    /// A result was accepted from a token that did not hold.
    AcceptedFromLoser,
    /// A second result in one life.
    AcceptedTwice,
    /// A second end in one life.
    EndedTwice,
    /// Something was written behind the end.
    WrittenAfterEnd,
    /// An end without its record or its event.
    EndUntold,
    /// Held without a lease.
    NoLease,
    /// A lease that nobody holds by.
    LeaseLeft,
    /// In an index, and does not wait there or is not held there.
    IndexLeft,
    /// Waits, and is not where a claim looks.
    IndexMissing,
    /// Deleted before its end.
    Gone,
    /// An end that Redis had told of is no more behind a gap.
    EndLost,
    /// The record and Redis differ in the end: the record is no good.
    Differs,
}

/// One finding.
#[derive(Debug, Clone)]
pub struct Breach {
    pub wrong: Wrong,
    /// A job, or a class.
    pub id: String,
    /// Which entry of the history.
    pub at: usize,
    pub why: String,
}

/// How tokens came and went.
#[derive(Debug, Default)]
pub struct Summary {
    pub breaches: Vec<Breach>,
    pub steps: u64,
    pub gaps: u64,
    pub granted: u64,
    pub handed_over: u64,
    pub taken_up: u64,
    pub handed_back: u64,
    pub reaped: u64,
    pub ended: BTreeMap<String, u64>,
    /// Jobs that lost a lease, were handed over, or were handed back.
    pub reaped_jobs: BTreeSet<String>,
    pub handed_over_jobs: BTreeSet<String>,
    pub handed_back_jobs: BTreeSet<String>,
    /// The engine's id for the work, to the job.
    pub work: BTreeMap<String, String>,
}
