//! An engine that is any executable: JSON-RPC 2.0 lines over its standard input and output.
//! In: jobs. Out: `describe`, `probe`, `run`, `cancel`, `reattach` to the process; progress, files and answers from it.

mod aftermath;
mod broken;
mod describe;
pub mod guard;
mod instance;
mod leftovers;
mod lines;
mod log;
mod message;
mod notes;
mod run;
mod scratch;
mod session;
mod settings;
mod talk;

pub(crate) use describe::is_service;
pub use describe::{Description, PROTOCOL, Payloads};
pub use settings::{Gpu, Settings, Timing};

use crate::contract::{Connector, Freed, Health, Interrupted, Job, Outcome, Probe, Reattached, RunContext, RunError};
use crate::failure::{Failure, Reason};
use crate::live::Live;
use async_trait::async_trait;
use instance::Instance;
use run::Run;
use serde::Deserialize;
use serde_json::{Value, json};
use session::Unanswered;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Ended once it has left this many health checks without an answer.
const MISSES: u32 = 2;

/// An engine process and its successors.
pub struct Process {
    instance: Arc<Instance>,
    /// What is left of the described services once other engines have theirs.
    services: OnceLock<Vec<String>>,
    places: OnceLock<Arc<Semaphore>>,
    live: Arc<Live>,
    misses: AtomicU32,
}

#[derive(Deserialize)]
struct Probed {
    #[serde(default = "yes")]
    healthy: bool,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    models: BTreeMap<String, Vec<String>>,
    queue: Option<u64>,
}

const fn yes() -> bool {
    true
}

impl Process {
    /// Nothing is started yet: that happens when it is described, probed or given work.
    pub fn new(settings: Settings) -> Self {
        Self {
            instance: Arc::new(Instance::new(settings)),
            services: OnceLock::new(),
            places: OnceLock::new(),
            live: Arc::default(),
            misses: AtomicU32::new(0),
        }
    }

    /// Ends the process for good, and waits until nothing of it is left.
    pub async fn close(&self, why: &str) {
        self.instance.close(why).await;
    }

    /// What it says of itself; starts it if need be.
    ///
    /// # Errors
    /// Why it cannot be started or does not answer as it should.
    pub async fn describe(&self, within: Duration) -> Result<Description, Failure> {
        match timeout(within, self.instance.up()).await {
            Ok(up) => drop(up?),
            Err(_) => {
                let said = format!("{}: no answer to `describe` within {} s", self.name(), within.as_secs_f64());
                return Err(Failure::of_host(Reason::ServiceDown, said));
            }
        }
        let described = self.instance.described.get().cloned();
        described.ok_or_else(|| Failure::of_host(Reason::InternalError, "the engine has not described itself"))
    }

    /// Offers these services from now on. The first call counts.
    pub fn offer(&self, services: Vec<String>) {
        let _ = self.services.set(services);
    }

    /// How many runs were handed to the process.
    pub fn jobs_taken(&self) -> u64 {
        self.live.handed()
    }

    /// Whether the run of this id is at work or waits for its place.
    pub fn is_at_work(&self, service_job_id: &str) -> bool {
        self.live.knows(service_job_id)
    }

    /// What it has said so far that is not known here.
    pub fn oddities(&self) -> Vec<String> {
        self.instance.notes.oddities()
    }

    /// Why there is no process, if it has died.
    pub async fn why_gone(&self) -> Option<String> {
        let why = self.instance.why_gone().await?;
        Some(format!("{}: {why}", self.name()))
    }

    fn places(&self) -> Arc<Semaphore> {
        self.places.get_or_init(|| Arc::new(Semaphore::new(self.concurrency()))).clone()
    }

    fn described(&self) -> Option<&Description> {
        self.instance.described.get()
    }

    async fn see_through(
        &self,
        method: &'static str,
        id: String,
        job: &Job,
        ctx: &RunContext,
    ) -> Result<Option<Outcome>, RunError> {
        let run = Run {
            instance: self.instance.clone(),
            places: self.places(),
            live: self.live.clone(),
            job: job.clone(),
            id: id.clone(),
            progress: ctx.progress.clone(),
            outputs: ctx.outputs.clone(),
        };
        self.live.attend(&id, ctx, |asked| run.live(method, asked)).await
    }
}

#[async_trait]
impl Connector for Process {
    fn name(&self) -> &'static str {
        self.instance.settings.name
    }

    fn services(&self) -> &[String] {
        self.services.get().map(Vec::as_slice).unwrap_or_default()
    }

    fn concurrency(&self) -> usize {
        self.described().map_or(1, |described| described.concurrency)
    }

    fn seats(&self) -> Option<usize> {
        self.described().map(|described| described.concurrency)
    }

    async fn probe(&self) -> Probe {
        let limit = self.instance.settings.timing.probe;
        let session = match timeout(limit, self.instance.up()).await {
            Ok(Ok(session)) => session,
            Ok(Err(failure)) => return Probe::unhealthy(failure.message),
            Err(_) => return Probe::unhealthy(format!("{} is still starting", self.name())),
        };
        if self.services.get().is_none() {
            return Probe::unhealthy(format!("{} has started late; its services are being taken up", self.name()));
        }
        let version = self.described().and_then(|described| described.version.clone());
        let queue_remaining = Some(self.live.count() as u64);
        let healthy = Probe { health: Health::Healthy, version, models: BTreeMap::new(), queue_remaining };
        // Small engines do one thing at a time: one that is at work need not answer.
        if session.is_busy() {
            return healthy;
        }
        let answer = match timeout(limit, session.ask("probe", &json!({}))).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(Unanswered::Refused(refused))) if refused.code == message::UNKNOWN_METHOD => Value::Null,
            Ok(Err(Unanswered::Refused(refused))) => return Probe::unhealthy(refused.failure().message),
            Ok(Err(Unanswered::Gone(why))) => return Probe::unhealthy(format!("{}: {why}", self.name())),
            Err(_) if session.is_busy() => return healthy,
            Err(_) => {
                if self.misses.fetch_add(1, Ordering::Relaxed) + 1 >= MISSES {
                    self.misses.store(0, Ordering::Relaxed);
                    session.end("it did not answer health checks");
                }
                return Probe::unhealthy(format!("{} does not answer health checks", self.name()));
            }
        };
        self.misses.store(0, Ordering::Relaxed);
        let answer = if answer.is_null() { json!({}) } else { answer };
        let read = |answer| serde_json::from_value::<Probed>(answer).map_err(|error| error.to_string());
        match message::object(answer).and_then(read) {
            Ok(probed) if probed.healthy => {
                Probe { models: probed.models, queue_remaining: probed.queue.or(healthy.queue_remaining), ..healthy }
            }
            Ok(probed) if probed.detail.is_empty() => Probe::unhealthy(format!("{} says no more", self.name())),
            Ok(probed) => Probe::unhealthy(probed.detail),
            Err(error) => Probe::unhealthy(format!("its answer to `probe` cannot be used: {error}")),
        }
    }

    async fn changed(&self) {
        self.instance.news.notified().await;
    }

    async fn run(&self, job: &Job, ctx: &RunContext) -> Result<Outcome, RunError> {
        if ctx.cancel.is_cancelled() {
            return Err(RunError::Cancelled);
        }
        let id = uuid::Uuid::now_v7().to_string();
        ctx.ledger.record_service_job(&id).await?;
        let ended = self.see_through("run", id, job, ctx).await?;
        Ok(ended.ok_or_else(|| Failure::new(Reason::InvalidResponseFormat, "the engine does not know its own run"))?)
    }

    async fn reattach(&self, job: &Job, service_job_id: &str, ctx: &RunContext) -> Result<Reattached, RunError> {
        // An ordinary process has died with the agent that it belonged to.
        if !self.described().is_some_and(|described| described.reattach) || !is_run_id(service_job_id) {
            return Ok(Reattached::Unknown);
        }
        let ended = self.see_through("reattach", service_job_id.to_owned(), job, ctx).await?;
        Ok(ended.map_or(Reattached::Unknown, Reattached::Done))
    }

    async fn interrupt(&self, service_job_id: &str) -> Result<Interrupted, Failure> {
        let timing = &self.instance.settings.timing;
        if self.live.knows(service_job_id) {
            return Ok(self.live.stop(service_job_id, timing.obey + timing.end).await);
        }
        if !self.described().is_some_and(|described| described.reattach) || !is_run_id(service_job_id) {
            return Ok(Interrupted::NothingToStop);
        }
        let session = self.instance.up().await?;
        match timeout(timing.obey, session.ask("cancel", &json!({ "id": service_job_id }))).await {
            Ok(Ok(Value::Bool(true))) => Ok(Interrupted::Stopped),
            Ok(Ok(_) | Err(Unanswered::Refused(_))) => Ok(Interrupted::NothingToStop),
            Ok(Err(Unanswered::Gone(why))) => Err(Failure::of_host(Reason::ServiceDown, why)),
            Err(_) => Ok(Interrupted::StillRunning),
        }
    }

    fn can_free_memory(&self) -> bool {
        self.described().is_some_and(|described| described.free_memory)
    }

    async fn free_memory(&self) -> Result<Freed, Failure> {
        if !self.can_free_memory() {
            return Ok(Freed::NotSupported);
        }
        let session = self.instance.up().await?;
        match timeout(self.instance.settings.timing.probe, session.ask("free_memory", &json!({}))).await {
            Ok(Ok(_)) => Ok(Freed::Requested),
            Ok(Err(Unanswered::Refused(refused))) => Err(refused.failure()),
            Ok(Err(Unanswered::Gone(why))) => Err(Failure::of_host(Reason::ServiceDown, why)),
            Err(_) => Err(Failure::of_host(Reason::NetworkTimeout, "no answer to a request to free memory")),
        }
    }
}

/// Our ids: they name a folder, too.
fn is_run_id(id: &str) -> bool {
    uuid::Uuid::parse_str(id).is_ok()
}
