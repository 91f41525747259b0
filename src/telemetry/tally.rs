//! Counts and times of the jobs that have ended here.
//! In: nothing. Out: plain values, which the history fills and the dashboard shows.

use super::durations::Durations;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Counts of one service, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Accepted results.
    pub completed: u64,
    /// Failed for good.
    pub failed: u64,
    /// Failed attempts that another one follows.
    pub retried: u64,
    /// Cancelled while they were held.
    pub cancelled: u64,
    /// Given back without charge.
    pub released: u64,
    /// Somebody else had them in the end.
    pub lost: u64,
}

/// Counts, and how long it took.
#[derive(Debug, Clone, Default)]
pub struct Timed {
    /// How jobs ended.
    pub counts: Counts,
    /// Of completed jobs.
    pub durations: Durations,
}

/// All counts.
#[derive(Debug, Clone)]
pub struct Tally {
    /// When counting began, in ms since 1970.
    pub since: i64,
    /// Of all.
    pub all: Timed,
    /// Of each service.
    pub by_service: BTreeMap<String, Timed>,
    /// Failed attempts by type and reason.
    pub by_reason: BTreeMap<(String, String), u64>,
    /// Completed within the last hour, or since the start if that is less.
    pub last_hour: usize,
    /// How long was counted for that.
    pub counted: Duration,
}
