//! A connector with a fault of its own: it panics on one job, and costs that job alone.

use super::support::{Queue, RedisServer};
use async_trait::async_trait;
use connectors::contract::{Connector, Freed, Interrupted, Job, Outcome, Probe, Reattached, RunContext, RunError};
use connectors::failure::Failure;
use connectors::simulation::Simulation;
use gpu_worker::app::{self, Built, Driven, Left};
use gpu_worker::config::{self, Sources};
use gpu_worker::output::Outputs;
use gpu_worker::service::shutdown::Shutdown;
use serde_json::json;
use std::sync::Arc;

/// The simulation, but for jobs that ask for a panic.
struct Faulty(Simulation);

#[async_trait]
impl Connector for Faulty {
    fn name(&self) -> &'static str {
        "simulation"
    }
    fn services(&self) -> &[String] {
        self.0.services()
    }
    async fn probe(&self) -> Probe {
        self.0.probe().await
    }
    async fn run(&self, job: &Job, ctx: &RunContext) -> Result<Outcome, RunError> {
        assert!(job.payload.get("panic").is_none(), "a fault of the connector");
        self.0.run(job, ctx).await
    }
    async fn reattach(&self, job: &Job, id: &str, ctx: &RunContext) -> Result<Reattached, RunError> {
        self.0.reattach(job, id, ctx).await
    }
    async fn interrupt(&self, id: &str) -> Result<Interrupted, Failure> {
        self.0.interrupt(id).await
    }
    async fn free_memory(&self) -> Result<Freed, Failure> {
        self.0.free_memory().await
    }
}

#[tokio::test]
async fn a_connector_that_panics_fails_one_job_and_the_agent_goes_on() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let set = [
        ("HUB_REDIS_URL", server.url.clone()),
        ("SERVICES", "simulation".to_owned()),
        ("WORKER_ID", "w1".to_owned()),
        ("GPU_COUNT", "0".to_owned()),
        ("OUTPUT_DIR", path("outputs")),
        ("STATE_DIR", path("state")),
    ];
    let env = set.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let config = config::load(&Sources { env, host_name: "host".to_owned(), ..Sources::default() }).unwrap().config;
    let connector: Arc<dyn Connector> = Arc::new(Faulty(Simulation::new([])));
    let driven = Driven { name: "simulation", gpus: None, needs_gpu: false, jobs: None, connectors: vec![connector] };
    let built = Built::new(&config, vec![driven], None).await.unwrap();
    let shutdown = Shutdown::default();
    let (link, stop) = (server.link(), shutdown.clone());
    let outputs = Outputs::new(&config);
    let agent = tokio::spawn(async move { app::run(&config, built, outputs, link, stop).await });

    let job =
        |payload: serde_json::Value| json!({"service_required": "simulation", "payload": payload, "max_retries": 1});
    let faulty = queue.submit(job(json!({"panic": true}))).await;
    let failed = queue.reaches(&faulty, "failed").await;
    let good = queue.submit(job(json!({"steps": 1, "step_ms": 0}))).await;
    queue.reaches(&good, "completed").await;

    assert_eq!(
        (failed["failure_type"].as_str(), failed["failure_reason"].as_str()),
        ("system_error", "internal_error")
    );
    queue.ended_once(&faulty).await;
    shutdown.step();
    assert_eq!(agent.await.unwrap(), Left::InOrder);
}
