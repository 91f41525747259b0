//! Cancelling a job at work: from the request until the engine has stopped.
//! In: jobs that only a stop ends, in the simulation and in a ComfyUI. Out: microseconds until `cancellation` is read,
//! which the agent writes when it has seen the engine stop; how many prompts ended otherwise than interrupted.

use crate::stage::{NO_GPU, Stage, see, settle};
use crate::support::{Agent, until};
use crate::table::{Table, us};
use crate::{latency, yardstick};
use serde_json::{Value, json};
use stand_ins::comfyui::{Options, StandIn};
use std::time::{Duration, Instant};

const JOBS: usize = 300;
const PROMPTS: usize = 100;
/// The engine looks at interrupts between two steps.
const STEP: Duration = Duration::from_millis(5);

pub async fn run(table: &mut Table) {
    let stage = Stage::set().await;
    let agent = Agent::start(&stage.server, "idle", &NO_GPU).await;
    let bare = table.yardstick("BLPOP ping-pong", "us", &yardstick::ping_pong(&stage, JOBS, latency::REST).await);
    let job = json!({"service_required": "simulation", "payload": {"steps": 1, "hang_at_step": 0}});
    let mut samples = Vec::new();
    for _ in 0..JOBS {
        samples.push(cancelled_after(&stage, &job, "started").await);
    }
    table.spread("cancel to stopped, simulation", "us", &samples, Some(&bare));
    drop(agent);

    let engine = StandIn::start(Options { step_time: STEP, ..Options::default() }).await.expect("an engine");
    let url = engine.url();
    let env = [NO_GPU.as_slice(), &[("SERVICES", "comfyui"), ("COMFYUI_URL", &url)]].concat();
    let _agent = Agent::start(&stage.server, "painter", &env).await;
    let mut samples = Vec::new();
    for _ in 0..PROMPTS {
        // The first progress of the sampler: the prompt is at work.
        samples.push(cancelled_after(&stage, &endless_picture(), "progress").await);
    }
    until("the last prompt has ended", || async {
        engine.executions().iter().all(|run| run.outcome != "running").then_some(())
    })
    .await;
    table.spread("cancel to stopped, ComfyUI with steps of 5 ms", "us", &samples, Some(&bare));
    let missed = engine.executions().iter().filter(|run| run.outcome != "interrupted").count();
    table.single("prompts that were not interrupted", "prompts", PROMPTS, missed as f64, None);
}

fn endless_picture() -> Value {
    let mut graph: Value = serde_json::from_str(include_str!("../../examples/comfyui-workflow.json")).expect("JSON");
    graph["3"]["inputs"]["steps"] = 10_000.into();
    json!({"service_required": "comfyui", "payload": {"workflow": graph}})
}

/// Microseconds from the cancel of a job that has shown this event until its cancellation is read.
async fn cancelled_after(stage: &Stage, job: &Value, at_work: &str) -> f64 {
    let mut reader = stage.connection().await;
    let id = stage.submit(job.clone()).await;
    see(&mut reader, &stage.space, &id, [at_work]).await;
    settle(latency::REST).await;
    let mut con = stage.con.clone();
    let began = Instant::now();
    let asked = stage.space.cancel(&mut con, &id, "bench");
    let (asked, [ended]) = tokio::join!(asked, see(&mut reader, &stage.space, &id, ["cancellation"]));
    asked.expect("cancelled");
    us(ended.duration_since(began))
}
