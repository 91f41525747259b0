//! The jobs that have ended here.
//! In: what telemetry keeps of them. Out: the section `jobs`, and each end as it comes.

use super::super::small::has_tile;
use super::in_ms;
use crate::telemetry::history::{ENDS, Ended};
use serde::Serialize;

/// The section; newest first.
#[derive(Debug, Clone, Serialize)]
pub struct Jobs {
    /// The ends.
    pub history: Vec<Job>,
    /// How many are kept at most.
    pub kept: usize,
}

/// An attempt that has ended.
#[derive(Debug, Clone, Serialize)]
pub struct Job {
    /// Counts the ends since the agent started.
    pub number: u64,
    /// The job.
    pub id: String,
    /// What it asked for; `None`: it was never read.
    pub service: Option<String>,
    /// Who had it.
    pub worker: String,
    /// Count of claims.
    pub attempt: Option<u64>,
    /// `completed`, `failed`, `cancelled`, `released`, `lost`.
    pub state: &'static str,
    /// When it was claimed.
    pub claimed: Option<i64>,
    /// When its end was accepted.
    pub ended: i64,
    /// Between the two.
    pub duration_ms: Option<u64>,
    /// The job has ended as one that `retry-job` takes: failed for good, or cancelled. A later end may have come since.
    pub can_retry: bool,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Why it was given back or lost.
    pub note: Option<String>,
    /// The first of what was made.
    pub outputs: Vec<Output>,
    /// How many there are.
    pub outputs_count: usize,
}

/// Why an attempt failed.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// Failure type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Failure reason.
    pub reason: String,
    /// In words.
    pub message: String,
    /// What to do.
    pub remedy: String,
    /// When it is tried again.
    pub retry_at: Option<i64>,
    /// It is not.
    #[serde(rename = "final")]
    pub is_final: bool,
}

/// An output.
#[derive(Debug, Clone, Serialize)]
pub struct Output {
    /// File name.
    pub name: String,
    /// The engine's word for it.
    pub kind: String,
    /// As sniffed when it was stored.
    pub media_type: String,
    /// Length.
    pub bytes: u64,
    /// Where to see it small, if it is a picture on this machine and there is a way to make it small.
    pub thumb: Option<String>,
    /// Where the whole of it is, if it is a picture on this machine.
    pub url: Option<String>,
}

/// The section of these ends, given oldest first.
pub fn section(ends: Vec<Ended>) -> Jobs {
    Jobs { history: ends.into_iter().rev().map(job).collect(), kept: ENDS }
}

/// One end.
pub fn job(end: Ended) -> Job {
    let (id, number) = (end.job, end.number);
    let output = |(n, made): (usize, crate::telemetry::history::Made)| {
        let is_shown = made.file.is_some() && PICTURES.contains(&made.media_type.as_str());
        let url = is_shown.then(|| format!("/api/outputs/{id}/{number}/{n}"));
        let has_tile = has_tile(&made.media_type, made.bytes);
        Output {
            thumb: url.as_ref().filter(|_| has_tile).map(|url| format!("{url}/small")),
            url,
            name: made.name,
            kind: made.kind,
            media_type: made.media_type,
            bytes: made.bytes,
        }
    };
    let outputs = end.outputs.into_iter().enumerate().map(output).collect();
    let failure = end.failure.map(|why| Failure {
        kind: why.kind,
        reason: why.reason,
        message: why.message,
        remedy: why.remedy,
        retry_at: why.retry_at,
        is_final: why.retry_at.is_none(),
    });
    let can_retry = match end.state {
        "failed" => failure.as_ref().is_some_and(|failure: &Failure| failure.is_final),
        state => state == "cancelled",
    };
    Job {
        number,
        can_retry,
        service: Some(end.service).filter(|service| !service.is_empty()),
        worker: end.worker,
        attempt: end.attempt,
        state: end.state,
        claimed: end.claimed,
        ended: end.ended,
        duration_ms: end.took.map(in_ms),
        failure,
        note: end.note,
        outputs,
        outputs_count: end.outputs_count,
        id,
    }
}

/// Kinds of pictures that are shown: those that browsers draw and that cannot hold programs.
pub const PICTURES: [&str; 5] = ["image/png", "image/jpeg", "image/webp", "image/gif", "image/avif"];
