//! What the runner lends to a connector, kept in memory and open to questions.
//! In: a connector's reports, ids and bytes. Out: what it did, in the order in which it did it.

use crate::contract::{
    Input, InputSource, Ledger, Lost, OutputStore, OutputWriter, Preview, Progress, ProgressSink, RunContext,
    StoredOutput, TokenSink,
};
use crate::failure::{Failure, Reason};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A run's surroundings: hand `ctx` to the connector and ask the rest.
pub struct Bench {
    /// What the connector gets.
    pub ctx: RunContext,
    /// What it reported.
    pub progress: Arc<RecordingProgress>,
    /// Which ids it made durable.
    pub ledger: Arc<MemoryLedger>,
    /// What it stored.
    pub outputs: Arc<MemoryStore>,
    /// The text that it wrote, piece by piece, each with its kind.
    pub tokens: Arc<RecordingTokens>,
}

impl Bench {
    /// An ordinary run.
    pub fn new() -> Self {
        Self::with(MemoryLedger::default())
    }

    /// A run with this ledger.
    pub fn with(ledger: MemoryLedger) -> Self {
        let progress = Arc::new(RecordingProgress::default());
        let ledger = Arc::new(ledger);
        let outputs = Arc::new(MemoryStore::default());
        let tokens = Arc::new(RecordingTokens::default());
        let ctx = RunContext {
            cancel: CancellationToken::new(),
            progress: progress.clone(),
            ledger: ledger.clone(),
            inputs: Arc::new(NoInputs),
            outputs: outputs.clone(),
            tokens: tokens.clone(),
        };
        Self { ctx, progress, ledger, outputs, tokens }
    }
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

/// Has nothing to lend.
pub struct NoInputs;

#[async_trait]
impl InputSource for NoInputs {
    async fn fetch(&self, _: &str) -> Result<Box<dyn Input>, Failure> {
        Err(Failure::new(Reason::UnsupportedOperation, "inputs cannot be fetched here"))
    }
}

/// Keeps every piece of text.
#[derive(Default)]
pub struct RecordingTokens(watch::Sender<Vec<(String, &'static str)>>);

impl RecordingTokens {
    /// All pieces so far.
    pub fn pieces(&self) -> Vec<(String, &'static str)> {
        self.0.borrow().clone()
    }

    /// Waits until there are this many.
    pub async fn wait_for(&self, count: usize) {
        // The sender lives in self, so the channel cannot close while we wait.
        let _ = self.0.subscribe().wait_for(|pieces| pieces.len() >= count).await;
    }
}

impl TokenSink for RecordingTokens {
    fn begin(&self) {
        self.0.send_modify(Vec::clear);
    }

    fn token(&self, text: &str, kind: &'static str) {
        self.0.send_modify(|pieces| pieces.push((text.to_owned(), kind)));
    }
}

/// Keeps every progress report, and every picture.
#[derive(Default)]
pub struct RecordingProgress(watch::Sender<Vec<Progress>>, watch::Sender<Vec<Preview>>);

impl RecordingProgress {
    /// All reports so far.
    pub fn reports(&self) -> Vec<Progress> {
        self.0.borrow().clone()
    }

    /// All pictures so far.
    pub fn previews(&self) -> Vec<Preview> {
        self.1.borrow().clone()
    }

    /// Waits for a report that fits.
    pub async fn wait_for(&self, fits: impl Fn(&Progress) -> bool) {
        // The sender lives in self, so the channel cannot close while we wait.
        let _ = self.0.subscribe().wait_for(|reports| reports.iter().any(&fits)).await;
    }
}

impl ProgressSink for RecordingProgress {
    fn report(&self, progress: Progress) {
        self.0.send_modify(|reports| reports.push(progress));
    }

    fn preview(&self, preview: Preview) {
        self.1.send_modify(|previews| previews.push(preview));
    }
}

/// Keeps the ids; can refuse, and can hold the connector back.
pub struct MemoryLedger {
    asked: watch::Sender<Vec<String>>,
    open: watch::Sender<bool>,
    lost: bool,
}

impl Default for MemoryLedger {
    fn default() -> Self {
        Self { asked: watch::Sender::default(), open: watch::Sender::new(true), lost: false }
    }
}

impl MemoryLedger {
    /// A ledger that says that the job is no longer ours.
    pub fn lost() -> Self {
        Self { lost: true, ..Self::default() }
    }

    /// A ledger that answers only after [`MemoryLedger::release`].
    pub fn held() -> Self {
        Self { open: watch::Sender::new(false), ..Self::default() }
    }

    /// Lets held calls go on.
    pub fn release(&self) {
        self.open.send_replace(true);
    }

    /// The ids in the order in which they came, refused ones too.
    pub fn ids(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }

    /// Waits for the first id.
    pub async fn first_id(&self) -> String {
        let mut asked = self.asked.subscribe();
        asked.wait_for(|ids| !ids.is_empty()).await.map(|ids| ids[0].clone()).unwrap_or_default()
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn record_service_job(&self, service_job_id: &str) -> Result<(), Lost> {
        self.asked.send_modify(|ids| ids.push(service_job_id.to_owned()));
        let _ = self.open.subscribe().wait_for(|open| *open).await;
        if self.lost { Err(Lost) } else { Ok(()) }
    }
}

/// A sealed output and its bytes.
#[derive(Debug, Clone)]
pub struct StoredFile {
    /// As the connector was told.
    pub stored: StoredOutput,
    /// The bytes.
    pub bytes: Bytes,
}

/// Keeps outputs in memory, counting those that were begun.
#[derive(Default)]
pub struct MemoryStore {
    files: Arc<Mutex<Vec<StoredFile>>>,
    begun: Mutex<usize>,
    taken: Arc<AtomicU64>,
    most: Mutex<Option<u64>>,
}

impl MemoryStore {
    /// What was sealed, in order.
    pub fn files(&self) -> Vec<StoredFile> {
        locked(&self.files).clone()
    }

    /// How many outputs were begun, sealed or not.
    pub fn begun(&self) -> usize {
        *locked(&self.begun)
    }

    /// How many bytes were written, sealed or not.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// From now on outputs that are announced to be longer are refused.
    pub fn take_at_most(&self, bytes: u64) {
        *locked(&self.most) = Some(bytes);
    }
}

#[async_trait]
impl OutputStore for MemoryStore {
    async fn create(&self, name: &str, kind: &str, claim: Option<&str>) -> Result<Box<dyn OutputWriter>, Failure> {
        *locked(&self.begun) += 1;
        Ok(Box::new(MemoryWriter {
            files: self.files.clone(),
            name: name.to_owned(),
            kind: kind.to_owned(),
            media_type: claim.unwrap_or("application/octet-stream").to_owned(),
            bytes: BytesMut::new(),
            taken: self.taken.clone(),
            most: *locked(&self.most),
        }))
    }
}

struct MemoryWriter {
    files: Arc<Mutex<Vec<StoredFile>>>,
    name: String,
    kind: String,
    media_type: String,
    bytes: BytesMut,
    taken: Arc<AtomicU64>,
    most: Option<u64>,
}

#[async_trait]
impl OutputWriter for MemoryWriter {
    async fn expect_bytes(&mut self, bytes: u64) -> Result<(), Failure> {
        match self.most {
            Some(most) if bytes > most => {
                Err(Failure::new(Reason::UnsupportedOperation, format!("{bytes} bytes; {most} are allowed")))
            }
            _ => Ok(()),
        }
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), Failure> {
        self.taken.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        self.bytes.extend_from_slice(&chunk);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<StoredOutput, Failure> {
        let bytes = self.bytes.freeze();
        let stored = StoredOutput {
            url: format!("memory:{}", self.name),
            name: self.name,
            kind: self.kind,
            media_type: self.media_type,
            bytes: bytes.len() as u64,
            sha256: sha256(&bytes),
        };
        locked(&self.files).push(StoredFile { stored: stored.clone(), bytes });
        Ok(stored)
    }
}

/// SHA-256 in lowercase hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
