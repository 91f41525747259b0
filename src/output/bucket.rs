//! Outputs of one attempt in a bucket. Uploads run on a thread of their own: what they hash and encrypt delays no lease.
//! In: chunks. Out: objects that appear whole or not at all.

use super::cloud;
use super::largest::{LARGEST, admit};
use super::name::Taken;
use super::place::{self, Place};
use super::refusal::{Trouble, Whose};
use super::upload::{Piece, Stored, Target, upload};
use super::wire::{Ear, Patience, Wire, client};
use crate::config::Bucket;
use crate::telemetry::{Notice, tell};
use async_trait::async_trait;
use bytes::Bytes;
use connectors::contract::{OutputStore, OutputWriter, StoredOutput};
use connectors::failure::{Failure, Reason};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use url::Url;

/// Chunks that wait for the uploading thread.
const WAITING: usize = 4;
/// What a probe writes; removed again, if the credentials allow it.
const PROBE: &str = ".gpu-worker-probe";
/// How long a probe may take.
const PROBE_LONGEST: Duration = Duration::from_secs(10);

/// The thread that uploads, and its client.
pub struct Uploads {
    runtime: Handle,
    tasks: TaskTracker,
    client: reqwest::Client,
    patience: Patience,
    _thread: DropGuard,
}

impl Uploads {
    /// Starts the thread; it ends with this.
    ///
    /// # Errors
    /// No thread, or no TLS.
    pub fn start(patience: Patience) -> Result<Self, Failure> {
        let unable = || Failure::of_host(Reason::InternalError, "the thread that uploads outputs could not be started");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|_| unable())?;
        let (handle, stop) = (runtime.handle().clone(), CancellationToken::new());
        let until = stop.clone();
        let thread = std::thread::Builder::new().name("outputs".to_owned());
        thread.spawn(move || runtime.block_on(until.cancelled())).map_err(|_| unable())?;
        let client = client(&patience).map_err(|_| unable())?;
        Ok(Self { runtime: handle, tasks: TaskTracker::new(), client, patience, _thread: stop.drop_guard() })
    }

    /// Waits for what is still on its way, or being cleaned away.
    pub async fn settle(&self, longest: Duration) {
        self.tasks.close();
        let _ = tokio::time::timeout(longest, self.tasks.wait()).await;
        self.tasks.reopen();
    }
}

/// A bucket, opened for one attempt or one probe.
pub struct BucketStore {
    uploads: Arc<Uploads>,
    store: Arc<dyn ObjectStore>,
    ear: Ear,
    whose: Whose,
    /// What stands in front of keys in results.
    base: Option<Url>,
    place: Place,
}

impl BucketStore {
    /// Outputs of one attempt at this place. Requests are repeated with this patience: a probe has little of it.
    ///
    /// # Errors
    /// Credentials that cannot be any.
    pub fn open(
        uploads: Arc<Uploads>,
        bucket: &Bucket,
        whose: Whose,
        base: Option<Url>,
        place: Place,
        patience: &Patience,
    ) -> Result<Self, Failure> {
        let ear = Ear::default();
        let wire = Wire { client: uploads.client.clone(), ear: ear.clone() };
        let store = cloud::open(bucket, wire, patience).map_err(|_| match &whose {
            Whose::Jobs => {
                Failure::new(Reason::InvalidFormat, "the credentials in ctx.storage are not of the right form")
            }
            workers @ Whose::Workers(_) => Trouble::Credentials.failure(workers, None),
        })?;
        let base = base.or_else(|| cloud::address(bucket));
        Ok(Self { uploads, store, ear, whose, base, place })
    }

    fn path(&self, key: &str) -> Result<Path, Failure> {
        let wrong = |_| Failure::new(Reason::InvalidFormat, "ctx.prefix and ctx.filename make no key that stores take");
        Path::parse(key).map_err(wrong)
    }

    /// Whether an output could be stored now: a few bytes are written, and removed if that is allowed.
    ///
    /// # Errors
    /// What stands in the way.
    pub async fn try_storing(&self, prefix: &str) -> Result<(), Failure> {
        let silent = || Trouble::Silent.failure(&self.whose, None);
        tokio::time::timeout(PROBE_LONGEST, self.probe(prefix)).await.unwrap_or_else(|_| Err(silent()))
    }

    async fn probe(&self, prefix: &str) -> Result<(), Failure> {
        let path = self.path(format!("{prefix}/{PROBE}").trim_start_matches('/'))?;
        let (store, ear, whose) = (self.store.clone(), self.ear.clone(), self.whose.clone());
        let trying = async move {
            let put = store.put(&path, Bytes::from_static(b"gpu-worker").into()).await;
            // What is said of the cleaning is not why nothing can be stored.
            let refusal = ear.take();
            if put.is_ok() {
                let _ = store.delete(&path).await;
            }
            put.map(drop).map_err(|error| (error, refusal))
        };
        match AbortOnDropHandle::new(self.uploads.tasks.spawn_on(trying, &self.uploads.runtime)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err((error, refusal))) => {
                let trouble =
                    refusal.as_ref().map_or_else(|| Trouble::of_connection(&error), |r| Trouble::of(r, false));
                Err(trouble.failure(&whose, refusal.as_ref()))
            }
            Err(_crashed) => Err(Trouble::Refused.failure(&whose, None)),
        }
    }
}

#[async_trait]
impl OutputStore for BucketStore {
    async fn create(
        &self,
        suggested: &str,
        kind: &str,
        claimed: Option<&str>,
    ) -> Result<Box<dyn OutputWriter>, Failure> {
        let (taken, key) = self.place.next(suggested);
        let target = Target {
            store: self.store.clone(),
            ear: self.ear.clone(),
            key: self.path(&key)?,
            whose: self.whose.clone(),
            patience: self.uploads.patience,
            name: taken.name().to_owned(),
            claimed: claimed.map(str::to_owned),
            is_exclusive: !self.place.is_shared(),
        };
        let (pieces, received) = mpsc::channel(WAITING);
        let (answer, answered) = oneshot::channel();
        let stop = CancellationToken::new();
        let until = stop.clone();
        let task = async move {
            if let Err(failure) = upload(target, received, answer, until).await {
                tell(Notice::UploadLeft { message: &failure.message });
            }
        };
        self.uploads.tasks.spawn_on(task, &self.uploads.runtime);
        Ok(Box::new(BucketWriter {
            pieces,
            answered,
            _stop: stop.drop_guard(),
            taken,
            kind: kind.to_owned(),
            url: self.base.as_ref().map(|base| place::url(base, &key)).unwrap_or_default(),
            passed: 0,
        }))
    }
}

struct BucketWriter {
    pieces: mpsc::Sender<Piece>,
    answered: oneshot::Receiver<Result<Stored, Failure>>,
    _stop: DropGuard,
    taken: Taken,
    kind: String,
    url: String,
    /// Bytes so far.
    passed: u64,
}

impl BucketWriter {
    async fn send(&mut self, piece: Piece) -> Result<(), Failure> {
        if self.pieces.send(piece).await.is_ok() {
            return Ok(());
        }
        match (&mut self.answered).await {
            Ok(Err(failure)) => Err(failure),
            Ok(Ok(_)) | Err(_) => Err(Failure::of_host(Reason::InternalError, "the thread that uploads has ended")),
        }
    }
}

#[async_trait]
impl OutputWriter for BucketWriter {
    async fn expect_bytes(&mut self, bytes: u64) -> Result<(), Failure> {
        admit(self.taken.name(), bytes, LARGEST)
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), Failure> {
        self.passed += chunk.len() as u64;
        admit(self.taken.name(), self.passed, LARGEST)?;
        self.send(Piece::Bytes(chunk)).await?;
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<StoredOutput, Failure> {
        // From here on something may lie at its key, or be on its way there.
        let name = self.taken.keep();
        self.send(Piece::End).await?;
        let gone = || Failure::of_host(Reason::InternalError, "the thread that uploads has ended");
        let stored = (&mut self.answered).await.unwrap_or_else(|_| Err(gone()))?;
        Ok(StoredOutput {
            name,
            kind: std::mem::take(&mut self.kind),
            media_type: stored.media_type,
            bytes: stored.bytes,
            sha256: stored.sha256,
            url: std::mem::take(&mut self.url),
        })
    }
}
