//! Cancelling in ComfyUI: waiting, running, deaf nodes, other people's work, both releases.
//! In: the stand-in, stepped by hand. Out: what was stopped, and what was not.

use crate::comfyui::{connector, connector_with, graph_job, soon, steps_graph, timing};
use connectors::comfyui::Timing;
use connectors::conformance::{Bench, MemoryLedger};
use connectors::contract::{Connector, Interrupted, RunError};
use connectors::failure::Reason;
use serde_json::json;
use stand_ins::comfyui::{Options, Release, StandIn};
use std::time::Duration;

const RELEASES: [Release; 2] = [Release::V0_27_0, Release::V0_3_64];

async fn stepped(release: Release) -> StandIn {
    let server = StandIn::start(Options { release, ..Options::default() }).await.unwrap();
    server.step_by_hand(true);
    server
}

fn outcome(server: &StandIn, id: &str) -> Vec<&'static str> {
    server.executions().into_iter().filter(|run| run.prompt_id == id).map(|run| run.outcome).collect()
}

#[tokio::test]
async fn a_waiting_prompt_is_deleted_and_never_runs() {
    for release in RELEASES {
        let server = stepped(release).await;
        let (running, waiting) = (Bench::new(), Bench::new());
        let comfy = connector(&server.url());
        let (first, second) = (graph_job(steps_graph(1, 3, 0.0)), graph_job(steps_graph(2, 3, 0.0)));
        let queue_up = async {
            server.starving().await;
            let run = comfy.run(&second, &waiting.ctx);
            let cancel = async {
                let said = |report: &connectors::contract::Progress| {
                    report.message.as_deref() == Some("waiting in ComfyUI's queue behind 1 other")
                };
                waiting.progress.wait_for(said).await;
                waiting.ctx.cancel.cancel();
            };
            let (ended, ()) = soon(async { tokio::join!(run, cancel) }).await;
            assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
            assert!(outcome(&server, &waiting.ledger.ids()[0]).is_empty());
            server.step_by_hand(false);
        };
        let (ended, ()) = soon(async { tokio::join!(comfy.run(&first, &running.ctx), queue_up) }).await;
        assert_eq!(ended.unwrap().outputs.len(), 1, "the running one went on");
        assert!(outcome(&server, &waiting.ledger.ids()[0]).is_empty());
    }
}

#[tokio::test]
async fn a_running_prompt_is_interrupted_and_its_neighbour_runs() {
    for release in RELEASES {
        let server = stepped(release).await;
        let (doomed, neighbour) = (Bench::new(), Bench::new());
        let comfy = connector(&server.url());
        let (first, second) = (graph_job(steps_graph(1, 5, 0.0)), graph_job(steps_graph(2, 1, 0.0)));
        let cancel = async {
            server.starving().await;
            let queued = async {
                neighbour.ledger.first_id().await;
                doomed.ctx.cancel.cancel();
                server.step_by_hand(false);
            };
            soon(async { tokio::join!(comfy.run(&second, &neighbour.ctx), queued) }).await.0
        };
        let (ended, other) = soon(async { tokio::join!(comfy.run(&first, &doomed.ctx), cancel) }).await;
        // By hand or by clock: if the last steps were faster than the cancel, the result is thrown away all the same.
        assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
        assert_eq!(other.unwrap().outputs.len(), 1);
        assert!(doomed.outputs.files().is_empty());
    }
}

#[tokio::test]
async fn interrupt_says_what_became_of_it() {
    for release in RELEASES {
        let server = StandIn::start(Options { release, ..Options::default() }).await.unwrap();
        let comfy = connector(&server.url());
        let bench = Bench::new();
        let job = graph_job(steps_graph(3, 9_000, 0.01));
        let stop = async {
            bench.progress.wait_for(|report| report.step.is_some()).await;
            let id = bench.ledger.ids()[0].clone();
            assert_eq!(comfy.interrupt(&id).await.unwrap(), Interrupted::Stopped);
            assert_eq!(comfy.interrupt(&id).await.unwrap(), Interrupted::NothingToStop);
            id
        };
        let (ended, id) = soon(async { tokio::join!(comfy.run(&job, &bench.ctx), stop) }).await;
        assert!(matches!(ended, Err(RunError::Failed(_))), "{ended:?}");
        assert_eq!(outcome(&server, &id), ["interrupted"]);
    }
}

#[tokio::test]
async fn a_node_that_never_looks_is_said_to_be_still_running() {
    let server = StandIn::start(Options::default()).await.unwrap();
    server.quirks(|quirks| quirks.interrupts_wait_for_node_end = true);
    let impatient = Timing { stop: Duration::from_millis(60), ..timing() };
    let comfy = connector_with(&server.url(), impatient);
    let bench = Bench::new();
    let mut graph = steps_graph(4, 1, 0.0);
    graph["2"] = json!({ "class_type": "LabBlock", "inputs": { "image": ["1", 0], "seconds": 500.0, "salt": 1 } });
    let job = graph_job(graph);
    let stop = async {
        bench.progress.wait_for(|report| report.node.as_deref() == Some("2")).await;
        let id = bench.ledger.ids()[0].clone();
        assert_eq!(comfy.interrupt(&id).await.unwrap(), Interrupted::StillRunning);
        bench.ctx.cancel.cancel();
    };
    let (ended, ()) = soon(async { tokio::join!(comfy.run(&job, &bench.ctx), stop) }).await;
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
}

#[tokio::test]
async fn a_cancel_while_the_id_is_being_recorded_submits_nothing() {
    let server = StandIn::start(Options::default()).await.unwrap();
    let bench = Bench::with(MemoryLedger::held());
    let (comfy, job) = (connector(&server.url()), graph_job(steps_graph(5, 1, 0.0)));
    let cancel = async {
        bench.ledger.first_id().await;
        bench.ctx.cancel.cancel();
        bench.ledger.release();
    };
    let (ended, ()) = soon(async { tokio::join!(comfy.run(&job, &bench.ctx), cancel) }).await;
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    assert!(server.executions().is_empty());
}

#[tokio::test]
async fn a_cancel_while_the_submission_hangs_still_stops_the_prompt() {
    let server = StandIn::start(Options::default()).await.unwrap();
    server.quirks(|quirks| quirks.swallow_prompt_answer = true);
    let comfy = connector_with(&server.url(), Timing { submit_grace: Duration::from_millis(20), ..timing() });
    let bench = Bench::new();
    let job = graph_job(steps_graph(6, 9_000, 0.01));
    let cancel = async {
        // The server has it before the answer, which never comes.
        let id = bench.ledger.first_id().await;
        while server.runs_of(&id) == 0 {
            tokio::task::yield_now().await;
        }
        bench.ctx.cancel.cancel();
        id
    };
    let (ended, id) = soon(async { tokio::join!(comfy.run(&job, &bench.ctx), cancel) }).await;
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    assert_eq!(outcome(&server, &id), ["interrupted"]);
}

#[tokio::test]
async fn a_cancel_on_a_frozen_server_returns_within_its_bound() {
    let server = stepped(Release::V0_27_0).await;
    let comfy = connector_with(&server.url(), Timing { stop: Duration::from_millis(60), ..timing() });
    let bench = Bench::new();
    let job = graph_job(steps_graph(7, 3, 0.0));
    let cancel = async {
        server.starving().await;
        server.freeze();
        bench.ctx.cancel.cancel();
    };
    let (ended, ()) = soon(async { tokio::join!(comfy.run(&job, &bench.ctx), cancel) }).await;
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    let id = bench.ledger.ids()[0].clone();
    assert_eq!(comfy.interrupt(&id).await.unwrap_err().reason, Reason::NetworkTimeout);
    server.thaw();
    server.kill().await;
    assert_eq!(comfy.interrupt(&id).await.unwrap(), Interrupted::NothingToStop);
}
