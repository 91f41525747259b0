//! The conformance suite on every connector of the registry.
//! In: a subject each. Out: a list of faults, which must be empty.

use async_trait::async_trait;
use connectors::conformance::{self, Bounds, Subject, job};
use connectors::contract::{Connector, Job};
use connectors::failure::FailureType;
use connectors::simulation::Simulation;
use serde_json::json;
use std::sync::Arc;

pub async fn assert_conforms(subject: &dyn Subject) {
    let verdicts = conformance::run(subject, &Bounds::default()).await;
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
