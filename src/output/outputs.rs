//! The one place that knows where outputs go: into the worker's folder or bucket, or where a job says.
//! In: the configuration, a job. Out: a store for its outputs, or why there is none.

use super::bucket::{BucketStore, Uploads};
use super::cloud;
use super::described::described;
use super::local::{LocalStore, try_storing};
use super::place::Place;
use super::refusal::Whose;
use super::wire::Patience;
use crate::config::{self, Config};
use connectors::contract::{Job, OutputStore, StoredOutput};
use connectors::failure::{Failure, Reason};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use url::Url;

/// Where outputs of this process go.
pub struct Outputs {
    folder: PathBuf,
    to: config::Outputs,
    patience: Patience,
    uploads: Mutex<Option<Arc<Uploads>>>,
    /// What stood in the way when it was last tried.
    obstacle: Mutex<Option<String>>,
}

impl Outputs {
    /// As configured. Nothing is opened yet.
    pub fn new(config: &Config) -> Self {
        Self::with(config.output_dir.clone(), config.outputs.clone(), Patience::default())
    }

    /// Into this folder, whatever else is configured, unless a job brings its own storage.
    pub fn in_folder(folder: &Path) -> Self {
        Self::with(folder.to_owned(), config::Outputs::default(), Patience::default())
    }

    /// With limits of one's own.
    pub fn with(folder: PathBuf, to: config::Outputs, patience: Patience) -> Self {
        Self { folder, to, patience, uploads: Mutex::default(), obstacle: Mutex::default() }
    }

    /// The store for this job's attempt. Nothing is asked of it yet.
    ///
    /// # Errors
    /// `validation_error`: the job describes a storage that cannot be used.
    pub fn of(&self, job: &Job) -> Result<Arc<dyn OutputStore>, Failure> {
        let described = described(&job.ctx, self.to.bucket.as_ref(), &self.to.endpoints)?;
        let (theirs, cdn) = described.map_or((None, None), |described| (described.bucket, described.cdn));
        if let Some(bucket) = theirs {
            let place = Place::of(job, "", true)?;
            return Ok(Arc::new(BucketStore::open(self.uploads()?, &bucket, Whose::Jobs, cdn, place)?));
        }
        let base = cdn.or_else(|| self.to.public_url.clone());
        match &self.to.bucket {
            Some(bucket) => Ok(Arc::new(self.own(bucket, base, Place::of(job, &bucket.prefix, false)?)?)),
            None => {
                Ok(Arc::new(LocalStore::new(&self.folder, &job.id, job.attempt).shown_at(self.to.public_url.as_ref())))
            }
        }
    }

    fn own(&self, bucket: &config::Bucket, base: Option<Url>, place: Place) -> Result<BucketStore, Failure> {
        BucketStore::open(self.uploads()?, bucket, Whose::Workers(cloud::shown(bucket)), base, place)
    }

    /// The worker's own place, for people.
    pub fn shown(&self) -> String {
        self.to.bucket.as_ref().map_or_else(|| self.folder.display().to_string(), cloud::shown)
    }

    /// Whether an output could be stored in the worker's own place now.
    ///
    /// # Errors
    /// What stands in the way, and its remedy.
    pub async fn try_storing(&self) -> Result<(), Failure> {
        let tried = self.try_place().await;
        let obstacle = tried.as_ref().err().map(|failure| failure.message.clone());
        *self.obstacle.lock().unwrap_or_else(PoisonError::into_inner) = obstacle;
        tried
    }

    /// What stood in the way when the worker's own place was last tried.
    pub fn obstacle(&self) -> Option<String> {
        self.obstacle.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where an output of this job lies, if that is a file of this machine.
    pub fn file(&self, job: &Job, output: &StoredOutput) -> Option<PathBuf> {
        let is_below = |base: &Url| output.url.starts_with(base.as_str()) && self.to.bucket.is_none();
        let is_local = output.url.starts_with("file:") || self.to.public_url.as_ref().is_some_and(is_below);
        is_local.then(|| self.folder.join(&job.id).join(job.attempt.to_string()).join(&output.name))
    }

    /// Whether outputs leave this machine.
    pub fn is_remote(&self) -> bool {
        self.to.bucket.is_some()
    }

    async fn try_place(&self) -> Result<(), Failure> {
        let Some(bucket) = &self.to.bucket else {
            let folder = self.folder.clone();
            // The disk may hang; the leases live on this thread.
            let tried = tokio::task::spawn_blocking(move || try_storing(&folder)).await;
            return match tried.unwrap_or_else(|stopped| Err(std::io::Error::other(stopped))) {
                Ok(()) => Ok(()),
                Err(error) => Err(Failure::of_host(Reason::DiskSpaceFull, error.to_string())),
            };
        };
        let nobody =
            Job { id: "probe".into(), attempt: 0, service: String::new(), payload: Value::Null, ctx: Value::Null };
        self.own(bucket, None, Place::of(&nobody, &bucket.prefix, false)?)?.try_storing(&bucket.prefix).await
    }

    /// Waits a while for uploads that were given up and are being cleaned away.
    pub async fn settle(&self, longest: Duration) {
        let uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(uploads) = uploads {
            uploads.settle(longest).await;
        }
    }

    fn uploads(&self) -> Result<Arc<Uploads>, Failure> {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(uploads) = &*uploads {
            return Ok(uploads.clone());
        }
        Ok(uploads.insert(Arc::new(Uploads::start(self.patience)?)).clone())
    }
}
