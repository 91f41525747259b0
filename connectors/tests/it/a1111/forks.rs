//! Forge and SD.Next, as far as the stand-in answers as their source says.
//! In: a stand-in of each. Out: the same results by their ways.

use super::{connector, fox_job, fox_with, outcomes, run, run_on, soon, stand_in_with};
use connectors::conformance::Bench;
use connectors::contract::{Connector, RunError};
use serde_json::json;
use stand_ins::a1111::{Fork, Options};

#[tokio::test]
async fn options_that_forge_keeps_are_put_back() {
    let server = stand_in_with(Options { fork: Fork::Forge, ..Options::default() }).await;
    let overrides = json!({ "override_settings": { "CLIP_stop_at_last_layers": 2, "eta_noise_seed_delta": 7 } });
    run(&server, fox_with(overrides)).await.0.unwrap();
    assert_eq!(server.executions()[0].request["override_settings"]["CLIP_stop_at_last_layers"], 2);
    assert_eq!(
        (server.option("CLIP_stop_at_last_layers"), server.option("eta_noise_seed_delta")),
        (json!(1), json!(0))
    );
}

#[tokio::test]
async fn options_that_cannot_be_put_back_are_paid_before_the_next_run() {
    let server = stand_in_with(Options { fork: Fork::Forge, ..Options::default() }).await;
    let a1111 = connector(&server.url());
    server.step_by_hand(true);
    let bench = Bench::new();
    let job = fox_job(json!({ "override_settings": { "CLIP_stop_at_last_layers": 2 } }));
    let meddle = async {
        server.starving().await;
        server.quirks(|quirks| quirks.refuse_options = true);
        server.step_by_hand(false);
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), meddle) }).await;
    ended.unwrap();
    assert_eq!(server.option("CLIP_stop_at_last_layers"), 2);
    let failure = super::failure(run_on(&a1111, super::fox()).await.0);
    assert!(failure.hosts_fault, "{failure}");
    assert_eq!(server.executions().len(), 1, "no run with another job's options");
    server.quirks(|quirks| quirks.refuse_options = false);
    run_on(&a1111, super::fox()).await.0.unwrap();
    assert_eq!(server.option("CLIP_stop_at_last_layers"), 1);
}

#[tokio::test]
async fn a_cancel_while_options_are_put_back_forgives_no_debt() {
    let server = stand_in_with(Options { fork: Fork::Forge, ..Options::default() }).await;
    let a1111 = connector(&server.url());
    server.step_by_hand(true);
    let bench = Bench::new();
    let job = fox_job(json!({ "override_settings": { "CLIP_stop_at_last_layers": 2 } }));
    let meddle = async {
        server.starving().await;
        server.quirks(|quirks| quirks.refuse_options = true);
        server.step_by_hand(false);
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), meddle) }).await;
    ended.unwrap();
    assert_eq!(server.option("CLIP_stop_at_last_layers"), 2, "owed");
    // The next job is cancelled while it pays.
    for hangs in ["GET /sdapi/v1/options", "POST /sdapi/v1/options"] {
        server.quirks(|quirks| {
            quirks.refuse_options = false;
            quirks.hanging_routes = [hangs.to_owned()].into();
        });
        let (bench, asked, job) = (Bench::new(), server.asked(hangs), fox_job(json!({})));
        let cancel = async {
            while server.asked(hangs) == asked {
                tokio::task::yield_now().await;
            }
            bench.ctx.cancel.cancel();
        };
        let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), cancel) }).await;
        assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    }
    server.quirks(|quirks| quirks.hanging_routes.clear());
    let outcome = run_on(&a1111, super::fox()).await.0.unwrap();
    assert!(!outcome.data["infotexts"][0].as_str().unwrap().contains("Clip skip"), "ran with another job's options");
    assert_eq!((server.option("CLIP_stop_at_last_layers"), server.executions().len()), (json!(1), 2));
}

#[tokio::test]
async fn a_checkpoint_that_forge_loads_with_the_job_is_verified_by_the_result() {
    let server = stand_in_with(Options { fork: Fork::Forge, ..Options::default() }).await;
    let outcome = run(&server, fox_with(json!({ "sd_model_checkpoint": "sd_xl_base_1.0" }))).await.0.unwrap();
    assert_eq!(outcome.data["model"], "sd_xl_base_1.0");
}

#[tokio::test]
async fn sd_next_ignores_task_ids_and_its_runs_are_followed_and_stopped() {
    let server = stand_in_with(Options { fork: Fork::SdNext, ..Options::default() }).await;
    let a1111 = connector(&server.url());
    run_on(&a1111, fox_with(json!({ "scheduler": "whatever it calls them" }))).await.0.unwrap();
    let bench = Bench::new();
    let job = fox_job(json!({ "steps": 100_000 }));
    let cancel = async {
        bench.progress.wait_for(|report| report.step.is_some()).await;
        bench.ctx.cancel.cancel();
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), cancel) }).await;
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    assert_eq!(outcomes(&server), ["success", "interrupted"]);
}
