//! An attempt that has ended here, as it is kept for whoever looks later.
//! In: nothing. Out: plain values, which the history fills and the dashboard shows.

use std::path::PathBuf;
use std::time::Duration;

/// An output as it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// File name.
    pub name: String,
    /// The engine's word for it.
    pub kind: String,
    /// As sniffed when it was stored.
    pub media_type: String,
    /// Length.
    pub bytes: u64,
    /// Where it lies, if that is a file of this machine.
    pub file: Option<PathBuf>,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// Failure type.
    pub kind: String,
    /// Failure reason.
    pub reason: String,
    /// In words.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// When it is tried again, in ms since 1970; `None`: never.
    pub retry_at: Option<i64>,
}

/// An attempt that has ended here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Counts the ends of this process.
    pub number: u64,
    /// The job.
    pub job: String,
    /// What it asked for; empty: it was never read.
    pub service: String,
    /// Who had it.
    pub worker: String,
    /// Count of claims; `None`: the claim was not heard.
    pub attempt: Option<u64>,
    /// `completed`, `failed`, `cancelled`, `released`, `lost`.
    pub state: &'static str,
    /// In ms since 1970.
    pub claimed: Option<i64>,
    /// In ms since 1970.
    pub ended: i64,
    /// From the claim to the accepted end.
    pub took: Option<Duration>,
    /// Why it failed.
    pub failure: Option<Why>,
    /// Why it was given back or lost.
    pub note: Option<String>,
    /// The first of what was made.
    pub outputs: Vec<Made>,
    /// How many there are.
    pub outputs_count: usize,
}
