//! Interrupts of somebody else's, and the flag that stays up behind each until the next run begins.
//! In: runs that are interrupted, and requests that never begin. Out: who is told what.

use super::{PNG, ask, connector, failure, fox, fox_job, fox_with, other, outcomes, run_on, soon, stand_in};
use connectors::a1111::A1111;
use connectors::conformance::Bench;
use connectors::contract::{Connector, RunError};
use connectors::failure::Reason;
use serde_json::{Value, json};
use stand_ins::a1111::StandIn;

/// Two whole looks at the progress of a run: the second begins after this was called.
async fn looked_at(server: &StandIn) {
    let looks = server.asked("GET /sdapi/v1/progress");
    while server.asked("GET /sdapi/v1/progress") < looks + 2 {
        tokio::task::yield_now().await;
    }
}

/// Leaves the flag up: an interrupted run, and none begun behind it.
async fn cancelled_one(server: &StandIn, a1111: &A1111) {
    let (bench, job) = (Bench::new(), fox_job(json!({ "steps": 100_000 })));
    let cancel = async {
        bench.progress.wait_for(|report| report.step.is_some()).await;
        bench.ctx.cancel.cancel();
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), cancel) }).await;
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    assert_eq!(outcomes(server), ["interrupted"]);
}

#[tokio::test]
async fn an_unfinished_picture_is_not_taken_though_the_next_run_has_wiped_the_flag() {
    let server = stand_in().await;
    server.step_by_hand(true);
    let bench = Bench::new();
    let (a1111, job) = (connector(&server.url()), fox_job(json!({ "steps": 9 })));
    let mut theirs = None;
    let meddle = async {
        server.starving().await;
        server.allow_steps(4);
        bench.progress.wait_for(|report| report.step.is_some()).await;
        server.starving().await;
        theirs = Some(other(&server, 3));
        while !ask_pending(&server).await.contains("task(theirs)") {}
        ask(&server, "/sdapi/v1/interrupt").await;
        looked_at(&server).await;
        // Ours ends with this step; theirs begins behind it, and waits for its own.
        server.allow_steps(1);
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), meddle) }).await;
    let failure = failure(ended);
    assert_eq!((failure.reason, failure.hosts_fault), (Reason::ServiceUnavailable, false));
    assert!(failure.message.contains("interrupted"), "{failure}");
    assert!(bench.outputs.files().is_empty(), "an unfinished picture was kept");
    server.step_by_hand(false);
    soon(theirs.unwrap()).await.unwrap();
    assert_eq!(outcomes(&server), ["interrupted", "success"], "theirs was left alone");
}

async fn ask_pending(server: &StandIn) -> String {
    let url = format!("{}/internal/pending-tasks", server.url());
    super::client().get(url).send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn a_refusal_behind_a_cancelled_job_is_told_as_what_it_is() {
    let refused = [
        (json!({ "cfg_scale": "abc" }), Reason::InvalidPayload),
        // 500, and yet it never began.
        (json!({ "init_images": ["AAAA"] }), Reason::InvalidFormat),
    ];
    for (more, reason) in refused {
        let server = stand_in().await;
        let a1111 = connector(&server.url());
        cancelled_one(&server, &a1111).await;
        let failure = failure(run_on(&a1111, fox_with(more.clone())).await.0);
        assert_eq!(failure.reason, reason, "{more}: {failure}");
        run_on(&a1111, fox()).await.0.unwrap();
    }
}

#[tokio::test]
async fn a_run_interrupted_before_its_first_picture_is_not_the_jobs_fault() {
    // With the flag of a run before it still up, and without.
    for flag in [true, false] {
        let server = stand_in().await;
        let a1111 = connector(&server.url());
        if flag {
            cancelled_one(&server, &a1111).await;
        }
        server.step_by_hand(true);
        let (bench, job) = (Bench::new(), fox_job(json!({})));
        let meddle = async {
            bench.progress.wait_for(|report| report.message.as_deref() == Some("the server has begun")).await;
            ask(&server, "/sdapi/v1/interrupt").await;
            server.step_by_hand(false);
        };
        let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), meddle) }).await;
        let failure = failure(ended);
        assert_eq!(failure.reason, Reason::ServiceUnavailable, "{flag}: {failure}");
        assert_eq!(outcomes(&server).last(), Some(&"error"), "it has no first picture");
    }
}

#[tokio::test]
async fn a_picture_that_cannot_be_read_is_no_interruption_on_a_server_without_task_ids() {
    let server = super::stand_in_with(stand_ins::a1111::Options { nowebui: true, ..Default::default() }).await;
    let a1111 = connector(&server.url());
    cancelled_one(&server, &a1111).await;
    let payload: Value = fox_with(json!({ "init_images": [PNG], "mask": PNG, "cfg_scale": "abc" }));
    assert_eq!(failure(run_on(&a1111, payload).await.0).reason, Reason::InvalidPayload);
    let failure = failure(run_on(&a1111, fox_with(json!({ "init_images": ["AAAA"] }))).await.0);
    assert_eq!(failure.reason, Reason::InvalidFormat, "{failure}");
}
