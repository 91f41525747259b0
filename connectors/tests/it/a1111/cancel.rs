//! Cancelling: before, while others are served, in mid-run, on servers that do not listen, and when nobody waits any more.
//! In: the stand-in, stepped by hand. Out: what was stopped, and what was not.

use super::{
    PNG, connector, connector_with, fox_job, fox_with, outcomes, run_on, soon, stand_in, stand_in_with, timing,
};
use connectors::a1111::Timing;
use connectors::conformance::{Bench, MemoryLedger, job};
use connectors::contract::{Connector, Interrupted, RunError};
use serde_json::json;
use stand_ins::a1111::Options;
use std::time::Duration;

#[tokio::test]
async fn a_cancel_while_the_id_is_being_recorded_sends_nothing() {
    let server = stand_in().await;
    let bench = Bench::with(MemoryLedger::held());
    let (a1111, job) = (connector(&server.url()), fox_job(json!({})));
    let cancel = async {
        bench.ledger.first_id().await;
        bench.ctx.cancel.cancel();
        bench.ledger.release();
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), cancel) }).await;
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    assert_eq!(server.asked("POST /sdapi/v1/txt2img"), 0);
}

#[tokio::test]
async fn a_cancel_stops_all_batches_and_keeps_nothing() {
    let server = stand_in().await;
    let bench = Bench::new();
    let (a1111, job) = (connector(&server.url()), fox_job(json!({ "steps": 10_000, "n_iter": 3 })));
    let cancel = async {
        bench.progress.wait_for(|report| report.step.is_some()).await;
        bench.ctx.cancel.cancel();
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), cancel) }).await;
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    assert_eq!(outcomes(&server), ["interrupted"]);
    assert!(server.executions()[0].steps < 10_000);
    assert!(bench.outputs.files().is_empty());
    assert_eq!(server.asked("POST /sdapi/v1/skip"), 0, "a skip would go on with the next batch");
}

#[tokio::test]
async fn a_cancel_while_a_checkpoint_loads_returns_at_once_and_the_next_job_gets_its_own() {
    let server = stand_in_with(Options { load_time: Duration::from_millis(1), ..Options::default() }).await;
    server.step_by_hand(true);
    let (a1111, bench) = (connector(&server.url()), Bench::new());
    let job = fox_job(json!({ "sd_model_checkpoint": "sd_xl_base_1.0" }));
    let cancel = async {
        server.starving().await;
        bench.ctx.cancel.cancel();
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), cancel) }).await;
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    assert_eq!(server.asked("POST /sdapi/v1/txt2img"), 0);
    assert_eq!(server.asked("POST /sdapi/v1/interrupt"), 0, "loading looks at none");
    // It goes on loading; the next job's own checkpoint is loaded behind it.
    let next = Bench::new();
    let job = fox_job(json!({ "sd_model_checkpoint": "v1-5-pruned-emaonly" }));
    let go_on = async {
        while server.asked("POST /sdapi/v1/options") < 2 {
            tokio::task::yield_now().await;
        }
        server.step_by_hand(false);
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &next.ctx), go_on) }).await;
    assert_eq!(ended.unwrap().data["model"], "v1-5-pruned-emaonly");
    assert_eq!(outcomes(&server), ["success"]);
}

#[tokio::test]
async fn a_cancel_while_options_are_stored_leaves_them_as_they_were() {
    let server = stand_in().await;
    let hangs = "POST /sdapi/v1/options";
    server.quirks(|quirks| quirks.hanging_routes = [hangs.to_owned()].into());
    let (a1111, bench) = (connector(&server.url()), Bench::new());
    let job = fox_job(json!({ "override_settings": { "eta_noise_seed_delta": 7 } }));
    let cancel = async {
        while server.asked(hangs) == 0 {
            tokio::task::yield_now().await;
        }
        bench.ctx.cancel.cancel();
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), cancel) }).await;
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    assert_eq!((server.option("eta_noise_seed_delta"), server.executions().len()), (json!(0), 0));
    server.quirks(|quirks| quirks.hanging_routes.clear());
    let (ended, _) = run_on(&a1111, fox_with(json!({ "override_settings": { "eta_noise_seed_delta": 7 } }))).await;
    ended.unwrap();
    assert_eq!(server.option("eta_noise_seed_delta"), 0);
}

#[tokio::test]
async fn interrupt_says_what_became_of_it() {
    let server = stand_in().await;
    let (a1111, bench) = (connector(&server.url()), Bench::new());
    let job = fox_job(json!({ "steps": 100_000 }));
    let stop = async {
        bench.progress.wait_for(|report| report.step.is_some()).await;
        let id = bench.ledger.ids()[0].clone();
        assert_eq!(a1111.interrupt("task(unknown)").await.unwrap(), Interrupted::NothingToStop);
        assert_eq!(server.asked("POST /sdapi/v1/interrupt"), 0);
        assert_eq!(a1111.interrupt(&id).await.unwrap(), Interrupted::Stopped);
        assert_eq!(a1111.interrupt(&id).await.unwrap(), Interrupted::NothingToStop);
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), stop) }).await;
    assert!(matches!(ended, Err(RunError::Failed(_))), "{ended:?}");
    assert_eq!(outcomes(&server), ["interrupted"]);
}

#[tokio::test]
async fn a_server_deaf_to_interrupts_is_left_behind_and_watched() {
    let server = stand_in().await;
    server.quirks(|quirks| quirks.deaf_to_interrupts = true);
    server.step_by_hand(true);
    let a1111 = connector_with(&server.url(), Timing { stop: Duration::from_millis(60), ..timing() });
    let bench = Bench::new();
    let job = fox_job(json!({ "steps": 4 }));
    let stop = async {
        server.starving().await;
        let id = bench.ledger.first_id().await;
        assert_eq!(a1111.interrupt(&id).await.unwrap(), Interrupted::StillRunning);
        bench.ctx.cancel.cancel();
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), stop) }).await;
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    // The next job is not sent beside it.
    let next = Bench::new();
    let job = fox_job(json!({}));
    let look = async {
        next.ledger.first_id().await;
        server.starving().await;
        assert_eq!(server.asked("POST /sdapi/v1/txt2img"), 1);
        server.step_by_hand(false);
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &next.ctx), look) }).await;
    assert_eq!(ended.unwrap().outputs.len(), 1);
    assert_eq!(server.executions().len(), 2);
}

#[tokio::test]
async fn a_run_that_nobody_waits_for_any_more_is_stopped_all_the_same() {
    let server = stand_in().await;
    let a1111 = connector(&server.url());
    let bench = Bench::new();
    let job = fox_job(json!({ "steps": 100_000 }));
    tokio::select! {
        ended = a1111.run(&job, &bench.ctx) => panic!("{ended:?}"),
        () = bench.progress.wait_for(|report| report.step.is_some()) => {}
    }
    // The future is gone; what it had handed over is stopped, and the next job finds the server free.
    let (ended, _) = run_on(&a1111, super::fox()).await;
    ended.unwrap();
    assert_eq!(outcomes(&server), ["interrupted", "success"]);
    assert!(bench.outputs.files().is_empty());
}

#[tokio::test]
async fn an_upscaling_cannot_be_stopped_and_its_result_is_thrown_away() {
    let server = stand_in().await;
    server.step_by_hand(true);
    let a1111 = connector_with(&server.url(), Timing { stop: Duration::from_millis(60), ..timing() });
    let bench = Bench::new();
    let upscale = job("job-1", "a1111", json!({ "image": PNG, "upscaler_1": "Lanczos" }));
    let cancel = async {
        server.starving().await;
        let id = bench.ledger.first_id().await;
        let elsewhere = connector_with(&server.url(), Timing { stop: Duration::from_millis(60), ..timing() });
        assert_eq!(elsewhere.interrupt(&id).await.unwrap(), Interrupted::StillRunning);
        bench.ctx.cancel.cancel();
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&upscale, &bench.ctx), cancel) }).await;
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    assert_eq!(server.asked("POST /sdapi/v1/interrupt"), 0, "it would hit whoever comes next");
    server.step_by_hand(false);
    run_on(&a1111, super::fox()).await.0.unwrap();
    assert_eq!(outcomes(&server), ["success", "success"]);
    assert!(bench.outputs.files().is_empty());
}

#[tokio::test]
async fn a_cancel_on_a_frozen_server_returns_within_its_bound() {
    let server = stand_in().await;
    server.step_by_hand(true);
    // For the silence; short enough to wait for, long enough for good answers on a loaded machine.
    let short = Duration::from_millis(500);
    let a1111 = connector_with(&server.url(), Timing { stop: short, request: short, ..timing() });
    let bench = Bench::new();
    let job = fox_job(json!({}));
    let cancel = async {
        server.starving().await;
        server.freeze();
        bench.ctx.cancel.cancel();
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), cancel) }).await;
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
}
