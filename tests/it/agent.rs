//! The agent as a process: how it stops, what it survives, how it shares work, what the commands around it answer.

mod a1111;
mod cancelling;
mod comfyui;
mod commands;
mod demo;
mod ending;
mod engine_faults;
mod explaining;
mod failing;
mod instances;
mod models;
mod openai;
mod openai_models;
mod outages;
mod previews;
mod seats;
mod sharing;
mod stopping;
mod suiting;
mod systemd;

use super::support::until;
use serde_json::{Value, json};
use stand_ins::comfyui::{Options, StandIn};

/// A simulated job that works until somebody stops it.
pub(crate) fn endless() -> Value {
    json!({"type": "simulation", "payload": {"steps": 1, "step_ms": 1, "outputs": 0, "hang_at_step": 1}})
}

/// A simulated job that is done at once.
pub(crate) fn quick() -> Value {
    json!({"type": "simulation", "payload": {"steps": 1, "step_ms": 1, "outputs": 0}})
}

/// A job for ComfyUI: one picture in a few steps.
pub(crate) fn picture() -> Value {
    let graph: Value = serde_json::from_str(include_str!("../../examples/comfyui-workflow.json")).expect("JSON");
    json!({"type": "comfyui", "payload": {"workflow": graph}})
}

/// The same in so many steps that only a stop ends it.
pub(crate) fn endless_picture() -> Value {
    let mut job = picture();
    job["payload"]["workflow"]["3"]["inputs"]["steps"] = 10_000.into();
    job
}

/// Waits until the engine has begun the last job that it was given.
pub(crate) async fn is_at_work(engine: &StandIn) {
    let what = "the engine is at work";
    until(what, || async { engine.executions().last().filter(|run| run.outcome == "running").map(drop) }).await;
}

/// A ComfyUI that works only as far as the test allows.
pub(crate) async fn engine_by_hand() -> StandIn {
    let engine = StandIn::start(Options::default()).await.expect("a stand-in");
    engine.step_by_hand(true);
    engine
}
