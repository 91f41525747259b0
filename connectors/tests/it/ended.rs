//! Servers that end while they work on a job: it is told apart whether that job may be why.
//! In: stand-ins that are killed and restarted at work. Out: failures that say that the engine has ended, or that do not.

use crate::a1111::{self, fox_job, fox_with, other};
use crate::comfyui::{self, graph_job, soon, steps_graph};
use connectors::conformance::Bench;
use connectors::contract::Connector;
use connectors::failure::{Failure, Reason};
use serde_json::json;
use stand_ins::a1111::Options;
use stand_ins::comfyui::StandIn;
use std::time::Duration;

fn suspected(failure: &Failure) -> bool {
    assert!(failure.hosts_fault, "it is for others to charge it: {failure:?}");
    failure.ended_engine
}

async fn comfyui_by_hand() -> StandIn {
    let server = StandIn::start(stand_ins::comfyui::Options::default()).await.unwrap();
    server.step_by_hand(true);
    server
}

#[tokio::test]
async fn the_run_that_comfyui_ends_or_restarts_at_is_suspected() {
    for (restarts, reason) in [(false, Reason::ServiceDown), (true, Reason::ServiceUnavailable)] {
        let server = comfyui_by_hand().await;
        let (comfy, bench) = (comfyui::connector(&server.url()), Bench::new());
        let job = graph_job(steps_graph(1, 3, 0.0));
        let meddle = async {
            server.starving().await;
            if restarts { server.restart() } else { server.kill().await }
        };
        let (ended, ()) = soon(async { tokio::join!(comfy.run(&job, &bench.ctx), meddle) }).await;
        let failure = comfyui::failure(ended);
        assert!(suspected(&failure) && failure.reason == reason, "{failure:?}");
    }
}

#[tokio::test]
async fn a_prompt_that_waits_behind_others_when_comfyui_restarts_is_not_suspected() {
    let server = comfyui_by_hand().await;
    let (comfy, running, waiting) = (comfyui::connector(&server.url()), Bench::new(), Bench::new());
    let (first, second) = (graph_job(steps_graph(1, 3, 0.0)), graph_job(steps_graph(2, 3, 0.0)));
    let behind = async {
        server.starving().await;
        let restart = async {
            let said = |message: &str| message == "waiting in ComfyUI's queue behind 1 other";
            waiting.progress.wait_for(|report| report.message.as_deref().is_some_and(said)).await;
            server.restart();
        };
        tokio::join!(comfy.run(&second, &waiting.ctx), restart).0
    };
    let (at_work, behind) = soon(async { tokio::join!(comfy.run(&first, &running.ctx), behind) }).await;
    assert!(suspected(&comfyui::failure(at_work)));
    assert!(!suspected(&comfyui::failure(behind)));
}

#[tokio::test]
async fn the_run_that_automatic1111_ends_at_is_suspected() {
    for comes_back in [false, true] {
        let server = a1111::stand_in().await;
        server.step_by_hand(true);
        let (connector, bench, job) = (a1111::connector(&server.url()), Bench::new(), fox_job(json!({})));
        let meddle = async {
            server.starving().await;
            bench.progress.wait_for(|report| report.message.as_deref() == Some("the server has begun")).await;
            server.kill().await;
            if comes_back {
                server.revive().await;
            }
        };
        let (ended, ()) = soon(async { tokio::join!(connector.run(&job, &bench.ctx), meddle) }).await;
        let failure = a1111::failure(ended);
        assert!(suspected(&failure) && failure.reason == Reason::ServiceDown, "{failure:?}");
    }
}

#[tokio::test]
async fn a_request_that_waits_behind_others_when_automatic1111_ends_is_not_suspected() {
    let server = a1111::stand_in().await;
    server.step_by_hand(true);
    let _theirs = other(&server, 1000);
    server.starving().await;
    let timing = connectors::a1111::Timing { idle_patience: Duration::ZERO, ..a1111::timing() };
    let connector = a1111::connector_with(&server.url(), timing);
    let (bench, job) = (Bench::new(), fox_job(json!({})));
    let meddle = async {
        let said = |message: &str| message.starts_with("waiting in the server's queue");
        bench.progress.wait_for(|report| report.message.as_deref().is_some_and(said)).await;
        server.kill().await;
    };
    let (ended, ()) = soon(async { tokio::join!(connector.run(&job, &bench.ctx), meddle) }).await;
    assert!(!suspected(&a1111::failure(ended)));
}

#[tokio::test]
async fn a_checkpoint_that_ends_automatic1111_when_it_is_loaded_makes_its_job_suspected() {
    let options = Options { load_time: Duration::from_secs(600), ..Options::default() };
    let server = a1111::stand_in_with(options).await;
    let job =
        connectors::conformance::job("job-1", "a1111", fox_with(json!({ "sd_model_checkpoint": "sd_xl_base_1.0" })));
    let (connector, bench) = (a1111::connector(&server.url()), Bench::new());
    let meddle = async {
        let mut pulse = tokio::time::interval(Duration::from_millis(5));
        while server.asked("POST /sdapi/v1/options") == 0 {
            pulse.tick().await;
        }
        server.kill().await;
    };
    let (ended, ()) = soon(async { tokio::join!(connector.run(&job, &bench.ctx), meddle) }).await;
    let failure = a1111::failure(ended);
    assert!(suspected(&failure) && failure.reason == Reason::ServiceDown, "{failure:?}");
}
