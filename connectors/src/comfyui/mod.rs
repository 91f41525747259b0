//! Stock ComfyUI, 0.3.45 and newer, over its own HTTP and websocket routes.
//! In: an API-format graph. Out: the files that it saves, texts inline, progress across nodes, typed failures.
//!
//! The websocket is a hint and history is the truth; every prompt has an id that was made durable before it was sent.

mod api;
mod features;
mod follow;
mod frame;
mod free;
mod graph;
mod http;
mod inputs;
mod mark;
mod message;
mod node;
mod outputs;
mod probe;
mod progress;
mod refusal;
mod run;
mod settings;
mod socket;
mod stop;
mod submit;
mod verdict;
mod wishes;

pub use settings::{Settings, Timing};

use crate::contract::{Connector, Freed, Interrupted, Job, Outcome, Probe, Reattached, RunContext, RunError};
use crate::failure::Failure;
use api::Api;
use async_trait::async_trait;
use http::ENGINE;
use run::Attempt;
use wishes::Wishes;

/// What the registry calls it, and the service that it serves by default.
pub const NAME: &str = "comfyui";

/// One ComfyUI server.
pub struct ComfyUi {
    settings: Settings,
    api: Api,
    shelf: probe::Shelf,
}

impl ComfyUi {
    /// Contacts nobody yet.
    ///
    /// # Errors
    /// `system_error/config_error` if no HTTP client can be set up (no usable root certificates).
    pub fn new(settings: Settings) -> Result<Self, Failure> {
        let api = Api::new(http::open(&settings)?, &settings.timing);
        Ok(Self { settings, api, shelf: probe::Shelf::default() })
    }
}

#[async_trait]
impl Connector for ComfyUi {
    fn name(&self) -> &'static str {
        NAME
    }

    fn services(&self) -> &[String] {
        &self.settings.services
    }

    fn models(&self, job: &Job) -> Vec<String> {
        graph::Graph::read(&job.payload).map(|graph| graph.models()).unwrap_or_default()
    }

    async fn probe(&self) -> Probe {
        probe::probe(&self.api, &self.settings, &self.shelf).await
    }

    async fn run(&self, job: &Job, ctx: &RunContext) -> Result<Outcome, RunError> {
        // Never used twice: the server does not notice a second submission of an id, it runs both.
        let id = uuid::Uuid::new_v4().to_string();
        let (mut graph, wishes) = (run::marked(job, &id)?, Wishes::read(job)?);
        inputs::put_in(self, job, ctx, &mut graph).await?;
        let ended = Attempt { comfy: self, job, ctx, id: &id, graph: &graph, wishes: &wishes }.run().await;
        if let Err(RunError::Failed(Failure { hosts_fault: true, .. })) = &ended {
            // It may have been restarted, and as another release.
            self.api.known.forget();
        }
        ended
    }

    async fn reattach(&self, job: &Job, service_job_id: &str, ctx: &RunContext) -> Result<Reattached, RunError> {
        let (graph, wishes) = (run::marked(job, service_job_id)?, Wishes::read(job)?);
        Attempt { comfy: self, job, ctx, id: service_job_id, graph: &graph, wishes: &wishes }.reattach().await
    }

    async fn interrupt(&self, service_job_id: &str) -> Result<Interrupted, Failure> {
        stop::stop(&self.api, &self.settings.timing, service_job_id).await
    }

    async fn free_memory(&self) -> Result<Freed, Failure> {
        let freed = free::free(&self.api, &self.settings.timing).await;
        freed.map(|()| Freed::Requested).map_err(|trouble| trouble.failure(ENGINE, "asking it to free memory"))
    }
}
