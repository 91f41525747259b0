//! What the ComfyUI tests share: settings with short waits, and one way to run a job.
//! In: an address and a payload. Out: the outcome, and what the connector did to its surroundings.

use connectors::comfyui::{ComfyUi, Settings, Timing};
use connectors::conformance::{Bench, job};
use connectors::contract::{Connector, Job, Outcome, RunError};
use connectors::failure::Failure;
use serde_json::{Value, json};
use std::time::Duration;

/// Patience for tests: what is long in practice is short, and what must not fire is far away.
pub fn timing() -> Timing {
    Timing {
        silence: Duration::from_millis(100),
        poll: Duration::from_millis(20),
        settle_poll: Duration::from_millis(5),
        locate: Duration::from_millis(300),
        second_look: Duration::from_millis(20),
        stop_poll: Duration::from_millis(5),
        refused: Duration::from_millis(100),
        ..Timing::default()
    }
}

pub fn connector_with(url: &str, timing: Timing) -> ComfyUi {
    ComfyUi::new(Settings { timing, ..Settings::at(url).unwrap() }).unwrap()
}

pub fn connector(url: &str) -> ComfyUi {
    connector_with(url, timing())
}

/// What must not hang: a fault shall fail the test, not hold it for ever.
pub async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), work).await.expect("it hangs")
}

/// A claimed job with this graph.
pub fn graph_job(graph: Value) -> Job {
    job("job-1", "comfyui", json!({ "workflow": graph }))
}

pub async fn run(url: &str, graph: Value) -> (Result<Outcome, RunError>, Bench) {
    let bench = Bench::new();
    let ended = soon(connector(url).run(&graph_job(graph), &bench.ctx)).await;
    (ended, bench)
}

pub fn failure(ended: Result<Outcome, RunError>) -> Failure {
    match ended {
        Err(RunError::Failed(failure)) => failure,
        other => panic!("a failure was expected, not {other:?}"),
    }
}

/// A graph without models: a picture of that colour, some steps, a saved file.
pub fn steps_graph(color: u32, steps: u32, seconds: f64) -> Value {
    json!({
        "1": { "class_type": "EmptyImage", "inputs": { "width": 64, "height": 64, "batch_size": 1, "color": color } },
        "2": {
            "class_type": "LabSteps",
            "inputs": { "image": ["1", 0], "steps": steps, "seconds": seconds, "preview": "none", "salt": color },
        },
        "9": {
            "class_type": "SaveImage",
            "inputs": { "images": ["2", 0], "filename_prefix": "fx/picture" },
            "_meta": { "title": "Final picture" },
        },
    })
}
