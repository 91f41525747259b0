//! Fifty idle agents and few jobs: how many of them a job sets in motion, and how soon the right one runs it.
//! In: fifty agent processes. Out: claims a job, microseconds from submission to start.
//!
//! Claims are counted in the server's slow log, which is told to keep every command, by the sum of the claim script.
//! Their safety poll is set to ten minutes meanwhile, so that every claim counted is one that a job has caused.

use crate::stage::{Stage, quick, settle};
use crate::support::Agent;
use crate::table::Table;
use crate::{latency, yardstick};
use serde_json::json;
use std::time::Duration;

const AGENTS: usize = 50;
const JOBS: usize = 200;
const BIRTHS: usize = 10;

pub async fn run(table: &mut Table) {
    let stage = Stage::set().await;
    let agents = start(&stage, &[("GPU_COUNT", "0"), ("POLL_INTERVAL_MS", "600000")]).await;
    // Those who have waited longest are called first: so each of them claims once, and knows the classes from then on.
    latency::measure(&stage, AGENTS).await;
    settle(Duration::from_secs(2)).await;
    let claims = Claims::new();
    let began = claims.count(&stage).await;
    for done in 0..JOBS as u64 {
        stage.submit(quick()).await;
        stage.finished(began.1 + done + 1).await;
    }
    let quiet = claims.count(&stage).await;
    let (made, done) = (quiet.0 - began.0, quiet.1 - began.1);
    assert!(made >= done, "the claim script of these agents has another sum than the one in this program");
    table.single("claims a job, one job at a time", "claims", JOBS, made as f64 / done as f64, None);
    for _ in 0..JOBS {
        stage.submit(quick()).await;
    }
    stage.finished(quiet.1 + JOBS as u64).await;
    settle(Duration::from_secs(1)).await;
    let burst = claims.count(&stage).await;
    let (made, done) = (burst.0 - quiet.0, burst.1 - quiet.1);
    table.single("claims a job, all at once", "claims", JOBS, made as f64 / done as f64, None);
    for shelf in 0..BIRTHS {
        let mut job = quick();
        job["requirements"] = json!({"negative_requirements": {"shelf": shelf.to_string()}});
        stage.submit(job).await;
        stage.finished(burst.1 + shelf as u64 + 1).await;
        settle(Duration::from_millis(300)).await;
    }
    let births = claims.count(&stage).await;
    let made = births.0 - burst.0;
    table.single("claims a job that is the first of its kind", "claims", BIRTHS, made as f64 / BIRTHS as f64, None);
    drop(agents);

    let stage = Stage::set().await;
    let agents = start(&stage, &[("GPU_COUNT", "0")]).await;
    settle(Duration::from_secs(2)).await;
    let bare =
        table.yardstick("BLPOP ping-pong beside them", "us", &yardstick::ping_pong(&stage, 500, latency::REST).await);
    let [assigned, started, _] = latency::measure(&stage, 500).await;
    table.spread("submit to claimed", "us", &assigned, Some(&bare));
    table.spread("submit to start", "us", &started, Some(&bare));
    drop(agents);
}

async fn start(stage: &Stage, env: &[(&str, &str)]) -> Vec<Agent> {
    let agents: Vec<Agent> = (0..AGENTS).map(|at| Agent::spawn(&stage.server, &format!("idle-{at}"), env)).collect();
    for agent in &agents {
        agent.registered(&stage.server, &agent.worker).await;
    }
    agents
}

/// Counts runs of the claim script.
struct Claims {
    sum: String,
}

impl Claims {
    fn new() -> Self {
        let text = concat!(
            include_str!("../../src/protocol/lua/prelude.lua"),
            include_str!("../../src/protocol/lua/claim.lua")
        );
        Self { sum: redis::Script::new(text).get_hash().to_owned() }
    }

    /// Claims so far since the first count, and jobs completed.
    async fn count(&self, stage: &Stage) -> (u64, u64) {
        let () = stage.ask(redis::cmd("CONFIG").arg(&["SET", "slowlog-max-len", "1000000"])).await;
        let () = stage.ask(redis::cmd("CONFIG").arg(&["SET", "slowlog-log-slower-than", "0"])).await;
        let log: Vec<(u64, u64, u64, Vec<redis::Value>, String, String)> =
            stage.ask(redis::cmd("SLOWLOG").arg(&["GET", "-1"])).await;
        let is_claim = |words: &[redis::Value]| {
            words.get(1).is_some_and(|sum| *sum == redis::Value::BulkString(self.sum.clone().into_bytes()))
        };
        let claims = log.iter().filter(|(_, _, _, words, ..)| is_claim(words)).count();
        let done = stage.ask(redis::cmd("ZCARD").arg("jobs:finished")).await;
        (claims as u64, done)
    }
}
