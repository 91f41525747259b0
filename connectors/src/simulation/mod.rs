//! The engine that needs no GPU: steps, small real pictures, and failures on request.
//! In: a payload that says how long, how many and what goes wrong. Out: PNG files drawn from the job's id.

mod payload;
mod png;
mod run;

use crate::contract::{Connector, Freed, Health, Interrupted, Job, Outcome, Probe, Reattached, RunContext, RunError};
use crate::failure::Failure;
use async_trait::async_trait;
use run::Live;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What the registry calls it, and the service that it always serves.
pub const NAME: &str = "simulation";

/// How long `interrupt` waits for a run to notice. A simulated step looks at once, an output between batches of rows.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// The simulated engine. It lives in this process: its work ends with it.
pub struct Simulation {
    services: Vec<String>,
    concurrency: usize,
    live: Arc<Live>,
}

impl Simulation {
    /// Serves `simulation` and the given further services (each once).
    pub fn new(more_services: impl IntoIterator<Item = String>) -> Self {
        let mut services = vec![NAME.to_owned()];
        for service in more_services {
            if !services.contains(&service) {
                services.push(service);
            }
        }
        Self { services, concurrency: 1, live: Arc::default() }
    }

    /// The same, claiming to run this many jobs at once (at least 1).
    pub fn with_concurrency(mut self, jobs: usize) -> Self {
        self.concurrency = jobs.max(1);
        self
    }

    /// How many runs this process has taken.
    pub fn jobs_taken(&self) -> u64 {
        self.live.taken()
    }

    /// Whether a run of this id is at work in this process.
    pub fn is_running(&self, service_job_id: &str) -> bool {
        self.live.knows(service_job_id)
    }
}

#[async_trait]
impl Connector for Simulation {
    fn name(&self) -> &'static str {
        NAME
    }

    fn services(&self) -> &[String] {
        &self.services
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }

    async fn probe(&self) -> Probe {
        Probe {
            health: Health::Healthy,
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            models: BTreeMap::new(),
            queue_remaining: Some(self.live.count() as u64),
        }
    }

    async fn run(&self, job: &Job, ctx: &RunContext) -> Result<Outcome, RunError> {
        let plan = payload::Plan::read(&job.payload)?;
        run::run(&self.live, &plan, job, ctx).await
    }

    async fn reattach(&self, _: &Job, _: &str, _: &RunContext) -> Result<Reattached, RunError> {
        // The work of an earlier process ended with that process.
        Ok(Reattached::Unknown)
    }

    async fn interrupt(&self, service_job_id: &str) -> Result<Interrupted, Failure> {
        Ok(self.live.stop(service_job_id, STOP_WITHIN).await)
    }

    fn can_free_memory(&self) -> bool {
        false
    }

    async fn free_memory(&self) -> Result<Freed, Failure> {
        Ok(Freed::NotSupported)
    }
}
