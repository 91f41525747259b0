//! What the runner lends to a connector for one run: the order to stop, progress, the ledger, inputs, outputs, tokens.
//! In: what a connector reports, records and writes. Out: files to read, places to write to, the news that a job is lost.

use super::StoredOutput;
use crate::failure::Failure;
use async_trait::async_trait;
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

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

    /// The engine is done with the run, which goes on (its files are stored): whoever counts the engine's places may give
    /// this one to another job. Of use to connectors with [`Connector::seats`](super::Connector::seats).
    fn engine_is_free(&self) {}
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
    /// So many bytes are to come. Asked wherever the length is known beforehand, so that what cannot be stored is refused
    /// before the first of them is copied.
    ///
    /// # Errors
    /// More than is stored of one output, or than there is room for.
    async fn expect_bytes(&mut self, _bytes: u64) -> Result<(), Failure> {
        Ok(())
    }
    /// Appends bytes.
    async fn write(&mut self, chunk: Bytes) -> Result<(), Failure>;
    /// Seals the output and says what was stored.
    async fn finish(self: Box<Self>) -> Result<StoredOutput, Failure>;
}
