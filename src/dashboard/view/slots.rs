//! The workers of this agent and what each is at.
//! In: filled by the agent. Out: the section `slots`.

use serde::Serialize;

/// One worker.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Slot {
    /// Its id in the queue.
    pub id: String,
    /// Its card.
    pub gpu: Option<u32>,
    /// The engine at work; without a job the first of its engines that can take one, or the first.
    pub engine: Option<String>,
    /// `running`, `idle`, `paused`, `drained`, `fenced`, `no_store`, `waiting_for_engine`, `engine_full` (other
    /// workers have all the places in its engines).
    pub state: &'static str,
    /// What it offers.
    pub services: Vec<String>,
    /// The job at work.
    pub job: Option<Job>,
}

/// A job at work.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Job {
    /// Its id.
    pub id: String,
    /// What it asks for, once it has been read.
    pub service: Option<String>,
    /// Count of claims.
    pub attempt: u64,
    /// When it was claimed.
    pub claimed: i64,
    /// When the engine got it; of a run of an earlier process nobody knows.
    pub started: Option<i64>,
    /// Of the whole job, 0 to 100, never less than before within an attempt; `None` before the first report.
    pub progress: Option<f64>,
    /// What the engine is doing.
    pub message: Option<String>,
    /// The graph node at work.
    pub node: Option<String>,
    /// Step, and how many there are: of the node, or of the job where the engine knows no nodes.
    pub step: Option<(u64, u64)>,
    /// `waiting` (in the engine's queue), `working`, `fetching` (files are on their way), `unseen` (no progress is told).
    pub stage: &'static str,
    /// What is probably left, in whole seconds; `None`: nobody can tell.
    pub eta_ms: Option<u64>,
    /// `pace` (its own steps) or `runs` (of jobs like it).
    pub eta_from: Option<&'static str>,
    /// How many runs.
    pub eta_from_runs: Option<usize>,
    /// Where the newest picture is.
    pub preview: Option<String>,
    /// It was told to stop.
    pub cancelling: bool,
    /// Whose it is, where workers keep customers apart.
    pub customer: Option<String>,
}

/// A picture of a job at work.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Changes with the picture.
    pub version: u64,
    /// `image/png`, `image/jpeg` …
    pub media_type: &'static str,
    /// The encoded picture.
    pub bytes: bytes::Bytes,
}
