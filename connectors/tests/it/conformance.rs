//! The conformance suite on every connector of the registry.
//! In: a subject each. Out: a list of faults, which must be empty.

use crate::comfyui::{connector, steps_graph};
use async_trait::async_trait;
use connectors::conformance::{self, Bounds, Subject, job};
use connectors::contract::{Connector, Job};
use connectors::failure::FailureType;
use connectors::simulation::Simulation;
use serde_json::{Value, json};
use stand_ins::comfyui::{Options, Release, StandIn};
use std::sync::Arc;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);
pub const BOUNDS: Bounds = Bounds { probe: SOON, run: SOON, stop: SOON, watch: Duration::from_millis(300) };

pub async fn assert_conforms(subject: &dyn Subject) {
    let verdicts = conformance::run(subject, &BOUNDS).await;
    if let Some(faults) = conformance::faults(&verdicts) {
        panic!("{} does not conform:\n{faults}", subject.connector().name());
    }
}

struct Simulated {
    connector: Arc<Simulation>,
}

#[async_trait]
impl Subject for Simulated {
    fn connector(&self) -> Arc<dyn Connector> {
        self.connector.clone()
    }

    fn ok_job(&self, id: &str) -> Job {
        job(id, "simulation", json!({ "steps": 3, "step_ms": 1, "outputs": 2, "width": 5, "height": 3 }))
    }

    fn slow_job(&self, id: &str) -> Job {
        job(id, "simulation", json!({ "steps": 100, "step_ms": 1, "hang_at_step": 1 }))
    }

    fn failing_job(&self, id: &str) -> (Job, FailureType) {
        let payload = json!({ "steps": 3, "step_ms": 1, "fail_at_step": 2, "failure": "resource_limit" });
        (job(id, "simulation", payload), FailureType::ResourceLimit)
    }

    async fn engine_works_on(&self, id: &str) -> bool {
        self.connector.is_running(id)
    }

    async fn engine_jobs_taken(&self) -> u64 {
        self.connector.jobs_taken()
    }
}

#[tokio::test]
async fn simulation_conforms() {
    assert_conforms(&Simulated { connector: Arc::new(Simulation::new([])) }).await;
}

struct Comfy {
    connector: Arc<dyn Connector>,
    server: StandIn,
}

#[async_trait]
impl Subject for Comfy {
    fn connector(&self) -> Arc<dyn Connector> {
        self.connector.clone()
    }

    fn ok_job(&self, id: &str) -> Job {
        let color = id.bytes().fold(7, |color: u32, byte| (color * 31 + byte as u32) & 0xff_ffff);
        job(id, "comfyui", json!({ "workflow": steps_graph(color, 2, 0.001) }))
    }

    fn slow_job(&self, id: &str) -> Job {
        job(id, "comfyui", json!({ "workflow": steps_graph(1, 9_000, 0.01) }))
    }

    fn failing_job(&self, id: &str) -> (Job, FailureType) {
        let mut graph = steps_graph(2, 1, 0.001);
        graph["2"] =
            json!({ "class_type": "LabFail", "inputs": { "image": ["1", 0], "kind": "ValueError", "salt": 1 } });
        (job(id, "comfyui", graph), FailureType::SystemError)
    }

    async fn engine_works_on(&self, id: &str) -> bool {
        let queue: Value = reqwest::get(format!("{}/queue", self.server.url())).await.unwrap().json().await.unwrap();
        let (running, pending) =
            (queue["queue_running"].as_array().unwrap(), queue["queue_pending"].as_array().unwrap());
        running.iter().chain(pending).any(|item| item[1] == id)
    }

    async fn engine_jobs_taken(&self) -> u64 {
        self.server.executions().len() as u64
    }
}

#[tokio::test]
async fn comfyui_conforms_on_both_releases() {
    for release in [Release::V0_27_0, Release::V0_3_64] {
        let server = StandIn::start(Options { release, ..Options::default() }).await.unwrap();
        assert_conforms(&Comfy { connector: Arc::new(connector(&server.url())), server }).await;
    }
}

struct Webui {
    connector: Arc<dyn Connector>,
    server: stand_ins::a1111::StandIn,
}

#[async_trait]
impl Subject for Webui {
    fn connector(&self) -> Arc<dyn Connector> {
        self.connector.clone()
    }

    fn ok_job(&self, id: &str) -> Job {
        job(id, "a1111", json!({ "prompt": id, "steps": 3, "width": 64, "height": 64, "seed": 1 }))
    }

    fn slow_job(&self, id: &str) -> Job {
        job(id, "a1111", json!({ "prompt": id, "steps": 60_000, "width": 64, "height": 64 }))
    }

    fn failing_job(&self, id: &str) -> (Job, FailureType) {
        let payload = json!({ "prompt": id, "steps": 3, "width": 64, "height": 64, "script_name": "x/y/z plot" });
        (job(id, "a1111", payload), FailureType::ValidationError)
    }

    async fn engine_works_on(&self, id: &str) -> bool {
        self.server.executions().iter().any(|run| run.task == id && run.outcome == "running")
    }

    async fn engine_jobs_taken(&self) -> u64 {
        self.server.executions().len() as u64
    }
}

#[tokio::test]
async fn a1111_conforms() {
    let server = crate::a1111::stand_in().await;
    assert_conforms(&Webui { connector: Arc::new(crate::a1111::connector(&server.url())), server }).await;
}

struct Texts {
    connector: Arc<dyn Connector>,
    server: stand_ins::openai::StandIn,
}

#[async_trait]
impl Subject for Texts {
    fn connector(&self) -> Arc<dyn Connector> {
        self.connector.clone()
    }

    fn ok_job(&self, id: &str) -> Job {
        job(id, "chat_completion", json!({ "prompt": id, "model": "stand-in-text" }))
    }

    fn slow_job(&self, id: &str) -> Job {
        job(id, "chat_completion", json!({ "prompt": id, "model": "stand-in-text", "max_tokens": 3000 }))
    }

    fn failing_job(&self, id: &str) -> (Job, FailureType) {
        (job(id, "chat_completion", json!({ "model": "stand-in-text", "prompt": 7 })), FailureType::ValidationError)
    }

    async fn engine_works_on(&self, id: &str) -> bool {
        // The server sees that its client has gone a moment after that.
        for _ in 0..100 {
            if !self.server.executions().iter().any(|run| run.id == id && run.outcome == "running") {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        true
    }

    async fn engine_jobs_taken(&self) -> u64 {
        self.server.executions().len() as u64
    }
}

#[tokio::test]
async fn openai_conforms_on_every_flavour() {
    use stand_ins::openai::Flavour;
    for flavour in [Flavour::OpenAi, Flavour::Vllm, Flavour::LlamaCpp, Flavour::Ollama] {
        let token_time = Duration::from_millis(20);
        let options = stand_ins::openai::Options { flavour, token_time, ..Default::default() };
        let server = stand_ins::openai::StandIn::start(options).await.unwrap();
        assert_conforms(&Texts { connector: Arc::new(crate::openai::connector(&server.url())), server }).await;
    }
}
