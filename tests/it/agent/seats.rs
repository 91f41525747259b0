//! Engines without a queue of their own, built into the agent: as many jobs as they take at once, and no more.
//! In: engines that say how many they take. Out: which engine has how many; what waits where anybody can take it.

use super::super::support::{Agent, Queue, RedisServer, until};
use async_trait::async_trait;
use connectors::contract::{Connector, Freed, Interrupted, Job, Outcome, Probe, Reattached, RunContext, RunError};
use connectors::failure::Failure;
use connectors::simulation::Simulation;
use gpu_worker::app::{self, Built, Driven, Left};
use gpu_worker::config::{self, Sources};
use gpu_worker::output::Outputs;
use gpu_worker::service::shutdown::Shutdown;
use serde_json::json;
use stand_ins::a1111::{Options, StandIn};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// The simulation for one job at a time, each of which waits to be let go.
struct Narrow {
    inner: Simulation,
    at_work: watch::Sender<usize>,
    gate: Semaphore,
}

impl Narrow {
    fn new() -> Arc<Self> {
        let (inner, gate) = (Simulation::new(["twin".to_owned()]), Semaphore::new(0));
        Arc::new(Self { inner, at_work: watch::Sender::new(0), gate })
    }
}

#[async_trait]
impl Connector for Narrow {
    fn name(&self) -> &'static str {
        "simulation"
    }
    fn services(&self) -> &[String] {
        self.inner.services()
    }
    fn seats(&self) -> Option<usize> {
        Some(1)
    }
    async fn probe(&self) -> Probe {
        self.inner.probe().await
    }
    async fn run(&self, job: &Job, ctx: &RunContext) -> Result<Outcome, RunError> {
        self.at_work.send_modify(|runs| *runs += 1);
        self.gate.acquire().await.unwrap().forget();
        self.at_work.send_modify(|runs| *runs -= 1);
        self.inner.run(job, ctx).await
    }
    async fn reattach(&self, job: &Job, id: &str, ctx: &RunContext) -> Result<Reattached, RunError> {
        self.inner.reattach(job, id, ctx).await
    }
    async fn interrupt(&self, id: &str) -> Result<Interrupted, Failure> {
        self.inner.interrupt(id).await
    }
    async fn free_memory(&self) -> Result<Freed, Failure> {
        self.inner.free_memory().await
    }
}

#[tokio::test]
async fn of_two_engines_of_a_service_the_one_with_room_gets_the_job_and_a_third_job_waits() {
    let server = RedisServer::start().await;
    let (queue, folder) = (Queue::of(&server), tempfile::tempdir().unwrap());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let set = [
        ("HUB_REDIS_URL", server.url.clone()),
        ("SERVICES", "simulation".to_owned()),
        ("WORKER_ID", "w1".to_owned()),
        ("GPU_COUNT", "0".to_owned()),
        ("CONCURRENT_JOBS", "3".to_owned()),
        ("POLL_INTERVAL_MS", "600000".to_owned()),
        ("OUTPUT_DIR", path("outputs")),
        ("STATE_DIR", path("state")),
    ];
    let env = set.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let config = config::load(&Sources { env, host_name: "host".to_owned(), ..Sources::default() }).unwrap().config;
    let twins = [Narrow::new(), Narrow::new()];
    let driven = ["simulation", "other"].into_iter().zip(&twins).map(|(name, twin)| {
        let connectors: Vec<Arc<dyn Connector>> = vec![twin.clone()];
        Driven { name, gpus: None, needs_gpu: false, jobs: None, connectors }
    });
    let built = Built::new(&config, driven.collect(), None).await.unwrap();
    let shutdown = Shutdown::default();
    let (link, stop, outputs) = (server.link(), shutdown.clone(), Outputs::new(&config));
    let agent = tokio::spawn(async move { app::run(&config, built, outputs, link, stop).await });

    let mut ids = Vec::new();
    for _ in 0..3 {
        let job = json!({ "service_required": "twin", "payload": { "steps": 1, "step_ms": 0 } });
        ids.push(queue.submit(job).await);
    }
    let runs = || twins.each_ref().map(|twin| *twin.at_work.borrow());
    until("each has one", || async { (runs() == [1, 1]).then_some(()) }).await;
    let claimed = async || {
        let mut claimed = 0;
        for id in &ids {
            claimed += usize::from(queue.field(id, "status").await != "pending");
        }
        claimed
    };
    assert_eq!(claimed().await, 2, "the third is anybody's");
    twins[1].gate.add_permits(1);
    until("the third is claimed", || async { (claimed().await == 3).then_some(()) }).await;
    until("it is at work where there was room", || async { (runs() == [1, 1]).then_some(()) }).await;
    twins.iter().for_each(|twin| twin.gate.add_permits(1));
    for id in &ids {
        assert_eq!(queue.reaches(id, "completed").await["attempt"], "1");
    }
    shutdown.step();
    assert_eq!(agent.await.unwrap(), Left::InOrder);
}

#[tokio::test]
async fn automatic1111_has_one_job_at_a_time_whatever_the_number_of_workers() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let engine = StandIn::start(Options { step_time: Duration::from_millis(1), ..Options::default() }).await.unwrap();
    engine.step_by_hand(true);
    let (url, poll) = (engine.url(), ("POLL_INTERVAL_MS", "600000"));
    let env = [("SERVICES", "a1111,simulation"), ("A1111_URL", &url), ("CONCURRENT_JOBS", "2"), poll];
    let agent = Agent::spawn(&server, "pair", &env);
    for worker in ["pair-0", "pair-1"] {
        agent.registered(&server, worker).await;
    }
    let fox = json!({"type": "a1111", "payload": {"prompt": "a red fox", "steps": 3, "width": 64, "height": 64}});
    let ids = [queue.submit(fox.clone()).await, queue.submit(fox).await];
    engine.starving().await;
    // The other worker goes on with what another engine can do.
    for _ in 0..3 {
        let job = json!({ "service_required": "simulation", "payload": { "steps": 1, "step_ms": 0 } });
        queue.reaches(&queue.submit(job).await, "completed").await;
    }
    let mut statuses = [queue.field(&ids[0], "status").await, queue.field(&ids[1], "status").await];
    statuses.sort();
    assert_eq!(statuses, ["in_progress", "pending"], "{}", agent.log());
    engine.step_by_hand(false);
    for id in &ids {
        assert_eq!(queue.reaches(id, "completed").await["attempt"], "1");
    }
}
