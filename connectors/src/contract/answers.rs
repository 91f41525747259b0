//! What a connector answers: how a run, a reattachment, an interrupt ended, and how the engine is.
//! In: what an engine said or did. Out: plain values for the runner, the queue and dashboards.

use super::Lost;
use crate::failure::Failure;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// An output as the job's result names it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredOutput {
    /// File name.
    pub name: String,
    /// The engine's word for it: `images`, `gifs`, `audio`, `text` …
    pub kind: String,
    /// Sniffed from the bytes, falling back on the engine's claim, then on the name.
    pub media_type: String,
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 in lowercase hex.
    pub sha256: String,
    /// Where it lies; `file://` for local files.
    pub url: String,
}

/// A run that ended well.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// What was stored, in the engine's order.
    pub outputs: Vec<StoredOutput>,
    /// Small structured facts (inline text, seeds, versions). Never base64, at most a few KB.
    pub data: Value,
    /// Named durations in milliseconds (`queued_ms`, `run_ms`, `fetch_ms` …).
    pub timings: BTreeMap<String, u64>,
}

/// How a run can end other than well.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RunError {
    /// Stopped because `ctx.cancel` fired.
    #[error("cancelled")]
    Cancelled,
    /// The job is no longer ours; nothing was started, or it was stopped.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// It failed.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// What became of an attempt to take up earlier work.
#[derive(Debug, Clone, PartialEq)]
pub enum Reattached {
    /// It ended well, now or while nobody looked.
    Done(Outcome),
    /// The engine does not know it, or was told to stop it half-way.
    Unknown,
}

/// What became of an interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupted {
    /// It was running or waiting, and now it is not.
    Stopped,
    /// There was nothing to stop: finished, or never heard of.
    NothingToStop,
    /// It was asked to stop, but is still at work after the time allowed (a node that never looks).
    StillRunning,
}

/// What became of a request to free memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freed {
    /// Asked and accepted.
    Requested,
    /// The engine has no such call.
    NotSupported,
}

/// How an engine is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Probe {
    /// Healthy, or why not, in a sentence with the remedy.
    pub health: Health,
    /// The engine's version, if it told.
    pub version: Option<String>,
    /// Model file names per folder (`checkpoints`, `loras` …), as the engine lists them.
    pub models: BTreeMap<String, Vec<String>>,
    /// Jobs waiting or running in the engine, other people's included.
    pub queue_remaining: Option<u64>,
}

/// Whether an engine can take work.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "detail")]
pub enum Health {
    /// It answers as it should.
    Healthy,
    /// It does not; the text says why and what to do.
    Unhealthy(String),
}

impl Probe {
    /// A probe of an engine that cannot take work.
    pub fn unhealthy(why: impl Into<String>) -> Self {
        Self { health: Health::Unhealthy(why.into()), version: None, models: BTreeMap::new(), queue_remaining: None }
    }

    /// Whether work can be handed to it.
    pub fn is_healthy(&self) -> bool {
        self.health == Health::Healthy
    }
}
