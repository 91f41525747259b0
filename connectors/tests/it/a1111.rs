//! The AUTOMATIC1111 connector on its stand-in: what the tests share, and the suite in parts.
//! In: a stand-in and a payload. Out: the outcome, and what the connector did to its surroundings.

mod cancel;
mod checkpoints;
mod differing;
mod disturbed;
mod forks;
mod hazards;
mod inputs;
mod names;
mod plots;
mod previews;
mod probe;
mod recordings;
mod refusals;
mod returning;
mod stages;
mod trouble;

use connectors::a1111::{A1111, Settings, Timing};
use connectors::conformance::{Bench, job};
use connectors::contract::{Connector, Job, Outcome, RunError};
use connectors::failure::Failure;
use serde_json::{Value, json};
use stand_ins::a1111::{Options, StandIn};
use std::time::Duration;

/// Patience for tests: what is long in practice is short, and what must not fire is far away.
pub fn timing() -> Timing {
    Timing {
        poll: Duration::from_millis(10),
        idle_patience: Duration::from_secs(20),
        unnamed_after: Duration::from_millis(50),
        stop_poll: Duration::from_millis(5),
        second_look: Duration::from_millis(10),
        ..Timing::default()
    }
}

pub fn connector_with(url: &str, timing: Timing) -> A1111 {
    A1111::new(Settings { timing, ..Settings::at(url).unwrap() }).unwrap()
}

pub fn connector(url: &str) -> A1111 {
    connector_with(url, timing())
}

pub async fn stand_in() -> StandIn {
    stand_in_with(Options::default()).await
}

/// A client beside the connector. It refuses to be built without a provider, and a second installation does no harm.
pub fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// Steps of a millisecond.
pub async fn stand_in_with(options: Options) -> StandIn {
    StandIn::start(Options { step_time: Duration::from_millis(1), ..options }).await.unwrap()
}

/// What must not hang: a fault shall fail the test, not hold it for ever.
pub async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), work).await.expect("it hangs")
}

pub fn fox() -> Value {
    json!({ "prompt": "a red fox", "steps": 3, "width": 64, "height": 64, "seed": 42, "sampler_name": "Euler" })
}

/// The fox, with more said of it.
pub fn fox_with(more: Value) -> Value {
    let mut payload = fox();
    payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    payload
}

pub fn fox_job(more: Value) -> Job {
    job("job-1", "a1111", fox_with(more))
}

pub async fn run_on(a1111: &A1111, payload: Value) -> (Result<Outcome, RunError>, Bench) {
    let bench = Bench::new();
    let ended = soon(a1111.run(&job("job-1", "a1111", payload), &bench.ctx)).await;
    (ended, bench)
}

pub async fn run(server: &StandIn, payload: Value) -> (Result<Outcome, RunError>, Bench) {
    run_on(&connector(&server.url()), payload).await
}

pub fn failure(ended: Result<Outcome, RunError>) -> Failure {
    match ended {
        Err(RunError::Failed(failure)) => failure,
        other => panic!("a failure was expected, not {other:?}"),
    }
}

pub fn outcomes(server: &StandIn) -> Vec<&'static str> {
    server.executions().iter().map(|run| run.outcome).collect()
}

/// What somebody at the web page does.
pub async fn ask(server: &StandIn, path: &str) -> Value {
    client().post(format!("{}{path}", server.url())).json(&json!({})).send().await.unwrap().json().await.unwrap()
}

/// Somebody else's request, straight to the server.
pub fn other(server: &StandIn, steps: u64) -> tokio::task::JoinHandle<()> {
    let body =
        json!({ "prompt": "theirs", "steps": steps, "width": 64, "height": 64, "force_task_id": "task(theirs)" });
    let request = client().post(format!("{}/sdapi/v1/txt2img", server.url())).json(&body);
    tokio::spawn(async move { drop(request.send().await.unwrap()) })
}

/// A small PNG, in base64.
pub const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAACAAAAAYCAIAAAAUMWhjAAAAJklEQVR4nGM8IWfDQEvARFPTRy0YtWDUglELRi0YtWDUglELqAYAL3UBUtFs0cIAAAAASUVORK5CYII=";
