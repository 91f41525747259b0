//! Engines that misbehave, end to end: what becomes of the job, what it is charged, how often the engine worked, and
//! what the worker offers meanwhile.
//!
//! | fault | job | charged | engine runs | offered meanwhile |
//! |---|---|---|---|---|
//! | socket dropped, or silent | completed | 0 | 1 | yes |
//! | success never sent | completed | 0 | 1 | yes |
//! | success sent before history, or before the file can be read | completed | 0 | 1 | yes |
//! | no outputs named, or files that are not there | failed | each attempt | 1 an attempt | yes |
//! | killed in mid-run and back | completed | 0 | 2 | no, until a probe |
//! | restarted with an empty queue | completed | 0 | 2 | no, until a probe |
//! | restarted in each run of one job | failed | from the second time | 1 an attempt | no, until a probe |
//! | frozen and thawed | completed | 0 | 1 | no, until a probe |
//! | frozen for good | completed elsewhere | 0 | 1 | no |
//! | killed while idle | waits | 0 | 0 | no, until a probe |
//! | a step that never ends, and no interrupt helps | completed | 0 | 2 | no, until the run is gone |
//! | its queue stands still | completed | 0 | 1 | no, until the queue moves |
//! | different jobs fail, nobody knows why | failed | each attempt | 1 an attempt | no after three, for a growing pause |
//! | fails three times in a row | completed | 0 | 4 | no, for a growing pause |
//! | a damaged model | waits, not tried again here | 0 | 1 | all but the model |
//! | out of memory until it is freed | completed | 0 | 2 | yes |
//! | out of memory whatever is freed | completed elsewhere | 0 | 2 | less memory, or all but its class |

mod leftout;
mod memory;
mod outputs;
mod process;
mod standstill;

use super::super::support::{Agent, Queue, RedisServer, until};
use serde_json::Value;
use stand_ins::comfyui::{Options, StandIn};
use std::collections::BTreeMap;

/// A Redis, an engine whose steps the test allows, and a worker `w1` on it.
struct Site {
    server: RedisServer,
    queue: Queue,
    engine: StandIn,
    agent: Agent,
}

/// Engines are asked often, retries follow at once.
const QUICK: [(&str, &str); 3] =
    [("SERVICES", "comfyui"), ("HEALTH_CHECK_INTERVAL_SECONDS", "0.2"), ("RETRY_BACKOFF_MS", "1")];

impl Site {
    async fn new(env: &[(&str, &str)]) -> Self {
        Self::with(Options::default(), env).await
    }

    async fn with(options: Options, env: &[(&str, &str)]) -> Self {
        let server = RedisServer::start().await;
        let engine = StandIn::start(options).await.expect("a stand-in");
        let agent = worker(&server, "w1", &engine, env).await;
        let queue = Queue::of(&server);
        let site = Self { server, queue, engine, agent };
        site.offers(true).await;
        site
    }

    /// Submits a picture that comes to a stop in its first step.
    async fn begun(&self) -> String {
        self.engine.step_by_hand(true);
        let id = self.queue.submit(super::picture()).await;
        self.engine.starving().await;
        id
    }

    /// Waits until the worker's record offers ComfyUI, or no longer does.
    async fn offers(&self, offered: bool) {
        until(&format!("comfyui is offered: {offered}; log:\n{}", self.agent.log()), || async {
            (self.record("w1").await["services"].as_array()?.is_empty() != offered).then_some(())
        })
        .await;
    }

    /// What a worker advertises.
    async fn record(&self, worker: &str) -> Value {
        let text = self.server.hget(&format!("worker:{worker}"), "capabilities").await.unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Waits for the job's end, and checks what the table says of it.
    async fn ends(&self, id: &str, status: &str, claims: &str, charged: &str, runs: usize) -> BTreeMap<String, String> {
        let job = self.queue.reaches(id, status).await;
        let seen = (job["attempt"].as_str(), job["retry_count"].as_str());
        assert_eq!(seen, (claims, charged), "claims and charged attempts; log:\n{}", self.agent.log());
        assert_eq!(self.engine.executions().len(), runs, "{:?}", self.engine.executions());
        self.queue.ended_once(id).await;
        job
    }
}

async fn worker(server: &RedisServer, name: &str, engine: &StandIn, env: &[(&str, &str)]) -> Agent {
    let url = engine.url();
    Agent::start(server, name, &[&QUICK[..], &[("COMFYUI_URL", &url)], env].concat()).await
}
