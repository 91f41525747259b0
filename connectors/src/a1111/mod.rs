//! AUTOMATIC1111's stable-diffusion-webui 1.10, and Forge and SD.Next where they agree, over its HTTP API.
//! In: fields of its txt2img, img2img or upscaling requests. Out: the pictures, seeds and infotexts, typed failures.
//!
//! One blocking request is the whole job: its result lives as long as its connection. What the server is asked for is
//! checked before, and held against what it says it did afterwards; each request carries a task id of ours.

mod accept;
mod answer;
mod api;
mod base64;
mod checkpoint;
mod flight;
mod http;
mod inputs;
mod names;
mod overrides;
mod payload;
mod probe;
mod progress;
mod refusal;
mod run;
mod settings;
mod stop;
mod verdict;

pub use settings::{Settings, Timing};

use crate::contract::{Connector, Freed, Interrupted, Job, Outcome, Probe, Reattached, RunContext, RunError};
use crate::failure::Failure;
use api::Api;
use async_trait::async_trait;
use flight::{Bay, Beacon};
use http::{ENGINE, Http};
use run::Attempt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::timeout;

/// What the registry calls it, and the service that it serves by default.
pub const NAME: &str = "a1111";

/// One server.
pub struct A1111 {
    settings: Settings,
    api: Arc<Api>,
    shelf: probe::Shelf,
    bay: Arc<tokio::sync::Mutex<Bay>>,
    /// Whether this server has ever known a task by the id that it was given: SD.Next does not, `--nowebui` cannot.
    knows_ids: Arc<AtomicBool>,
    current: Mutex<Option<Beacon>>,
    version: Mutex<Option<String>>,
}

impl A1111 {
    /// Contacts nobody yet.
    ///
    /// # Errors
    /// `system_error/config_error` if no HTTP client can be set up (no usable root certificates).
    pub fn new(settings: Settings) -> Result<Self, Failure> {
        let api = Arc::new(Api { http: Http::new(&settings)?, timing: settings.timing.clone() });
        Ok(Self {
            settings,
            api,
            shelf: probe::Shelf::default(),
            bay: Arc::default(),
            knows_ids: Arc::default(),
            current: Mutex::default(),
            version: Mutex::default(),
        })
    }

    fn under_way(&self, beacon: Beacon) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(beacon);
    }

    /// The request under way, if there is one.
    fn current(&self) -> Option<Beacon> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.clone().filter(|beacon| !beacon.over.is_cancelled())
    }

    fn is_version(&self, version: &str) {
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = Some(version.to_owned());
    }
}

#[async_trait]
impl Connector for A1111 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn services(&self) -> &[String] {
        &self.settings.services
    }

    /// One request at a time is in the bay.
    fn seats(&self) -> Option<usize> {
        Some(1)
    }

    fn models(&self, job: &Job) -> Vec<String> {
        let plan = payload::Plan::read(&job.payload).ok();
        plan.iter().flat_map(payload::Plan::models).map(|name| self.shelf.title_of(name)).collect()
    }

    async fn probe(&self) -> Probe {
        let version = self.version.lock().unwrap_or_else(PoisonError::into_inner).clone();
        probe::probe(&self.api, &self.settings, &self.shelf, version).await
    }

    async fn run(&self, job: &Job, ctx: &RunContext) -> Result<Outcome, RunError> {
        let plan = payload::Plan::read(&job.payload)?;
        // Never used twice: a failed task of this id would look active.
        let id = plan.kind.new_id();
        Attempt { server: self, ctx, id: &id, shows: job.wants_previews() }.run(plan).await
    }

    async fn reattach(&self, _: &Job, service_job_id: &str, ctx: &RunContext) -> Result<Reattached, RunError> {
        Attempt { server: self, ctx, id: service_job_id, shows: false }.reattach().await
    }

    async fn interrupt(&self, service_job_id: &str) -> Result<Interrupted, Failure> {
        match self.current() {
            Some(beacon) if beacon.id == service_job_id => {
                beacon.stop.cancel();
                let over = timeout(self.settings.timing.stop, beacon.over.cancelled()).await;
                Ok(if over.is_ok() { Interrupted::Stopped } else { Interrupted::StillRunning })
            }
            _ => stop::stop(&self.api, service_job_id, &self.knows_ids).await,
        }
    }

    async fn free_memory(&self) -> Result<Freed, Failure> {
        // Nothing is at work meanwhile, and nothing begins.
        let _bay = self.bay.lock().await;
        let freed = self.api.free().await.map_err(|trouble| trouble.failure(ENGINE, "asking it to free memory"))?;
        Ok(if freed { Freed::Requested } else { Freed::NotSupported })
    }
}
