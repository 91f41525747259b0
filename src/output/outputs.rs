//! The one place that knows where outputs go: into the worker's folder or bucket, or where a job says.
//! In: the configuration, a job. Out: a store for its outputs, or why there is none.

use super::bucket::{BucketStore, Uploads};
use super::cloud;
use super::described::described;
use super::local::{LocalStore, reason_of, try_storing};
use super::place::Place;
use super::refusal::Whose;
use super::wire::Patience;
use crate::config::{self, Config};
use connectors::contract::{Job, OutputStore, StoredOutput};
use connectors::failure::Failure;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use url::Url;

/// Where outputs of this process go.
pub struct Outputs {
    folder: PathBuf,
    to: config::Outputs,
    patience: Patience,
    uploads: Mutex<Option<Arc<Uploads>>>,
    standing: Mutex<Standing>,
    /// Whoever has it asks the store, for all who wait for it.
    turn: tokio::sync::Mutex<()>,
}

/// What is known of the worker's own place.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// Nothing yet, or something has gone wrong since.
    Open,
    /// It took what it was given last.
    Good,
    /// What stood in the way when it was last tried.
    Bad(String),
}

impl Outputs {
    /// As configured. Nothing is opened yet, and of a bucket nothing is known.
    pub fn new(config: &Config) -> Self {
        Self::with(config.output_dir.clone(), config.outputs.clone(), Patience::default())
    }

    /// Into this folder, whatever else is configured, unless a job brings its own storage.
    pub fn in_folder(folder: &Path) -> Self {
        Self::with(folder.to_owned(), config::Outputs::default(), Patience::default())
    }

    /// With limits of one's own.
    pub fn with(folder: PathBuf, to: config::Outputs, patience: Patience) -> Self {
        let standing = Mutex::new(if to.bucket.is_some() { Standing::Open } else { Standing::Good });
        Self { folder, to, patience, uploads: Mutex::default(), standing, turn: tokio::sync::Mutex::default() }
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
            return Ok(Arc::new(BucketStore::open(self.uploads()?, &bucket, Whose::Jobs, cdn, place, &self.patience)?));
        }
        let base = cdn.or_else(|| self.to.public_url.clone());
        match &self.to.bucket {
            Some(bucket) => {
                Ok(Arc::new(self.own(bucket, base, Place::of(job, &bucket.prefix, false)?, &self.patience)?))
            }
            None => {
                Ok(Arc::new(LocalStore::new(&self.folder, &job.id, job.attempt).shown_at(self.to.public_url.as_ref())))
            }
        }
    }

    fn own(
        &self,
        bucket: &config::Bucket,
        base: Option<Url>,
        place: Place,
        patience: &Patience,
    ) -> Result<BucketStore, Failure> {
        BucketStore::open(self.uploads()?, bucket, Whose::Workers(cloud::shown(bucket)), base, place, patience)
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
        *self.standing() = match &tried {
            Ok(()) => Standing::Good,
            Err(failure) => Standing::Bad(failure.message.clone()),
        };
        tried
    }

    /// Waits until an output can be stored. One of those who wait asks, again after each pause; `tell` hears why they wait.
    pub async fn until_storable(&self, pause: Duration, tell: impl Fn(&Failure)) {
        let _turn = self.turn.lock().await;
        let mut is_told = self.obstacle().is_some();
        while !self.can_store() {
            let Err(failure) = self.try_storing().await else { return };
            if !std::mem::replace(&mut is_told, true) {
                tell(&failure);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Something has gone wrong that may lie at the worker's own place: it is to be tried before it is relied upon.
    pub fn doubt(&self) {
        let mut standing = self.standing();
        if *standing == Standing::Good {
            *standing = Standing::Open;
        }
    }

    /// Whether outputs can be stored in the worker's own place, as far as is known.
    pub fn can_store(&self) -> bool {
        *self.standing() == Standing::Good
    }

    /// What stood in the way when the worker's own place was last tried.
    pub fn obstacle(&self) -> Option<String> {
        match &*self.standing() {
            Standing::Bad(why) => Some(why.clone()),
            Standing::Open | Standing::Good => None,
        }
    }

    /// Where an output of this job lies, if that is a file of this machine.
    pub fn file(&self, job: &Job, output: &StoredOutput) -> Option<PathBuf> {
        let is_below = |base: &Url| output.url.starts_with(base.as_str()) && self.to.bucket.is_none();
        let is_local = output.url.starts_with("file:") || self.to.public_url.as_ref().is_some_and(is_below);
        is_local.then(|| self.folder.join(&job.id).join(job.attempt.to_string()).join(&output.name))
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn try_place(&self) -> Result<(), Failure> {
        let Some(bucket) = &self.to.bucket else {
            let folder = self.folder.clone();
            // The disk may hang; the leases live on this thread.
            let tried = tokio::task::spawn_blocking(move || try_storing(&folder)).await;
            return match tried.unwrap_or_else(|stopped| Err(std::io::Error::other(stopped))) {
                Ok(()) => Ok(()),
                Err(error) => Err(Failure::of_host(reason_of(&error), error.to_string())),
            };
        };
        let nobody =
            Job { id: "probe".into(), attempt: 0, service: String::new(), payload: Value::Null, ctx: Value::Null };
        // Whoever waits for it asks again in a moment, and is to learn soon what is wrong.
        let patience = Patience { retries: self.patience.retries.min(1), ..self.patience };
        let place = Place::of(&nobody, &bucket.prefix, false)?;
        self.own(bucket, None, place, &patience)?.try_storing(&bucket.prefix).await
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
