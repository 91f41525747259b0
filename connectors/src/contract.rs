//! The contract between the agent and an engine: what a connector must do, and what it is given to do it with.
//! In: a claimed job. Out: progress, outputs, and an outcome or a typed failure.
//!
//! ```text
//!   probe ──healthy──▶ run ──▶ record_service_job ──▶ engine works ──▶ Outcome
//!     │                 │                                  │  └──────▶ Failure
//!     └─unhealthy       └─ cancelled: stop the engine's own work, verify it, return RunError::Cancelled
//! ```

use crate::failure::Failure;
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// One engine on this box. Cheap to share; all calls may run side by side.
#[async_trait]
pub trait Connector: Send + Sync {
    /// The connector's name in the registry, such as `comfyui`.
    fn name(&self) -> &'static str;

    /// The `service_required` values that it serves.
    fn services(&self) -> &[String];

    /// How many jobs the engine really runs at once (ComfyUI: 1, however many are queued).
    fn concurrency(&self) -> usize {
        1
    }

    /// The model files that this job loads, the heaviest first. A worker leaves out what has turned out to be damaged.
    fn models(&self, _job: &Job) -> Vec<String> {
        Vec::new()
    }

    /// Asks the engine how it is. Never fails: a dead engine is an answer. Returns within a few seconds.
    async fn probe(&self) -> Probe;

    /// Runs one job to its end.
    ///
    /// When `ctx.cancel` fires, the connector stops the engine's work for this job and no other, checks that it has
    /// stopped (bounded), and returns [`RunError::Cancelled`]. A dropped future must not leave engine work running
    /// unnoticed: `interrupt` will be called with the recorded id.
    async fn run(&self, job: &Job, ctx: &RunContext) -> Result<Outcome, RunError>;

    /// Takes up work that an earlier process handed to the engine under `service_job_id`.
    ///
    /// [`Reattached::Unknown`] means that the engine has never heard of it, has forgotten it, or was told to stop it
    /// half-way (the earlier process may have done so): run the job anew.
    async fn reattach(&self, job: &Job, service_job_id: &str, ctx: &RunContext) -> Result<Reattached, RunError>;

    /// Stops the engine's work of that id and no other. Asking twice, or for something finished, is harmless.
    async fn interrupt(&self, service_job_id: &str) -> Result<Interrupted, Failure>;

    /// Asks the engine to give GPU memory back, and waits a little for it. Engines that cannot say [`Freed::NotSupported`].
    async fn free_memory(&self) -> Result<Freed, Failure>;
}

/// A job as a connector sees it: small fields and the parsed payload.
#[derive(Clone)]
pub struct Job {
    /// Queue id, `[A-Za-z0-9_-]{1,128}`.
    pub id: String,
    /// Count of claims of this job, from 1. Together with the id it names this attempt (file prefixes).
    pub attempt: u64,
    /// The service that was asked for.
    pub service: String,
    /// The body, as submitted.
    pub payload: Value,
    /// The job's context (storage, workflow), `Null` if none. May hold credentials: never log it.
    pub ctx: Value,
}

/// Without payload and context: prompts and credentials are for no log.
impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, attempt, service, .. } = self;
        f.debug_struct("Job")
            .field("id", id)
            .field("attempt", attempt)
            .field("service", service)
            .finish_non_exhaustive()
    }
}

impl Job {
    /// Whether its owner wants to see pictures of the work while it goes on (`ctx.previews`). They cost GPU time, so an
    /// engine is asked for them only then.
    pub fn wants_previews(&self) -> bool {
        self.ctx.get("previews").and_then(Value::as_bool) == Some(true)
    }
}

/// What the runner lends to a connector for one run.
#[derive(Clone)]
pub struct RunContext {
    /// Fires when the job is cancelled, has run out of time, or is no longer ours.
    pub cancel: CancellationToken,
    /// Where progress goes.
    pub progress: Arc<dyn ProgressSink>,
    /// Makes the engine's job id durable.
    pub ledger: Arc<dyn Ledger>,
    /// Where the files come from that a job names.
    pub inputs: Arc<dyn InputSource>,
    /// Where outputs go.
    pub outputs: Arc<dyn OutputStore>,
    /// Where a text goes while it is written.
    pub tokens: Arc<dyn TokenSink>,
}

/// Takes progress reports; never blocks and never fails (the runner thins them out).
pub trait ProgressSink: Send + Sync {
    /// Reports how far the run is.
    fn report(&self, progress: Progress);

    /// Shows the picture as it looks now. Only the newest is kept; sinks that show nothing let it go.
    fn preview(&self, _preview: Preview) {}
}

/// A picture of work that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// `image/jpeg` or `image/png`.
    pub media_type: &'static str,
    /// The encoded picture.
    pub bytes: Bytes,
    /// The graph node that it shows, if the engine told.
    pub node: Option<String>,
}

/// One progress report.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// Overall progress of the run, 0.0 to 1.0; must not fall during one run.
    pub fraction: f64,
    /// What the engine is doing, for a person.
    pub message: Option<String>,
    /// The graph node at work, if the engine has such a thing.
    pub node: Option<String>,
    /// Current step and number of steps inside that node or run.
    pub step: Option<(u64, u64)>,
    /// What the engine is at, for those who watch that it goes on.
    pub stage: Stage,
}

/// What the engine is at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Stage {
    /// The job waits in the engine's own queue.
    Waiting,
    /// Work of which nothing more is known.
    #[default]
    Working,
    /// Work of this kind: the same words for what takes about the same time in every job (node class, model, size).
    Kind(String),
    /// At work, but nothing tells how far: reports are not to be expected.
    Unseen,
    /// Files are on their way: the job's inputs before the engine has the work, or the results once it is done.
    Fetching,
}

/// Makes what the connector knows about the engine's side durable before the engine gets the work.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Stores the engine's id for this attempt (and marks the job `in_progress`). Must be awaited, and must have
    /// succeeded, **before** the work is handed to the engine. `Err` means that the job is no longer ours: do not start.
    async fn record_service_job(&self, service_job_id: &str) -> Result<(), Lost>;
}

/// The job has been taken from us: stop and throw the result away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the job is no longer held by this worker")]
pub struct Lost;

/// Fetches what jobs name as inputs. What may be fetched, how long and how large, is the agent's to say.
#[async_trait]
pub trait InputSource: Send + Sync {
    /// Fetches an input whole: an `http(s)://` URL, a `data:` URL, or `output:{job}/{name}` for what an earlier job stored.
    ///
    /// # Errors
    /// `validation_error` for what may not be fetched or is too large; otherwise why it could not be.
    async fn fetch(&self, source: &str) -> Result<Box<dyn Input>, Failure>;
}

/// An input, in a file that goes when this is dropped.
pub trait Input: Send + Sync {
    /// The file.
    fn path(&self) -> &Path;
    /// Its length in bytes.
    fn bytes(&self) -> u64;
    /// SHA-256 in lowercase hex.
    fn sha256(&self) -> &str;
    /// Sniffed from the bytes, falling back on what the source said.
    fn media_type(&self) -> &str;
}

/// Takes a text as the engine writes it; never blocks and never fails. Tokens arrive in order.
pub trait TokenSink: Send + Sync {
    /// A text begins: what an earlier run of this job wrote does not count, and readers are told how this one ends.
    fn begin(&self) {}
    /// The next piece of text. `kind`: `text`, `reasoning`, `tool_call` …
    fn token(&self, text: &str, kind: &'static str);
}

/// Opens outputs for writing. Bytes are streamed; nobody holds a whole file in memory.
#[async_trait]
pub trait OutputStore: Send + Sync {
    /// Begins an output. `name` is a suggestion (made safe and unique by the store), `kind` the engine's word for it
    /// (`images`, `gifs`, `audio`, …), `media_type` what the engine claims, if anything: the store sniffs the bytes.
    async fn create(&self, name: &str, kind: &str, media_type: Option<&str>) -> Result<Box<dyn OutputWriter>, Failure>;
}

/// One output being written. Dropping it without `finish` leaves nothing behind.
#[async_trait]
pub trait OutputWriter: Send {
    /// Appends bytes.
    async fn write(&mut self, chunk: Bytes) -> Result<(), Failure>;
    /// Seals the output and says what was stored.
    async fn finish(self: Box<Self>) -> Result<StoredOutput, Failure>;
}

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
