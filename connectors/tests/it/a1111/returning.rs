//! What can be done about the request of an earlier process: its result went with its connection.
//! In: requests whose client is gone. Out: they are stopped if they are surely ours, and never collected.

use super::{client, connector, fox_job, outcomes, soon, stand_in, stand_in_with};
use connectors::conformance::Bench;
use connectors::contract::{Connector, Interrupted, Reattached};
use serde_json::{Value, json};
use stand_ins::a1111::{Options, StandIn};

/// A request as an earlier process left it: under way, and nobody listens.
async fn orphan(server: &StandIn, id: &str, steps: u64) {
    let body = json!({ "prompt": "x", "steps": steps, "width": 64, "height": 64, "force_task_id": id });
    let request = client().post(format!("{}/sdapi/v1/txt2img", server.url())).json(&body).send();
    let there = async {
        loop {
            if known(server, id).await {
                return;
            }
        }
    };
    tokio::select! {
        answer = request => panic!("{answer:?}"),
        () = there => {}
    }
}

async fn known(server: &StandIn, id: &str) -> bool {
    let question = json!({ "id_task": id, "id_live_preview": -1, "live_preview": false });
    let answer = client().post(format!("{}/internal/progress", server.url())).json(&question).send().await;
    let said: Value = answer.unwrap().json().await.unwrap();
    said["active"] == true || said["queued"] == true
}

#[tokio::test]
async fn a_run_that_goes_on_without_its_client_is_stopped_and_run_again() {
    let server = stand_in().await;
    server.step_by_hand(true);
    orphan(&server, "task(orphan)", 1000).await;
    server.allow_steps(3);
    server.starving().await;
    server.step_by_hand(false);
    let bench = Bench::new();
    let found = soon(connector(&server.url()).reattach(&fox_job(json!({})), "task(orphan)", &bench.ctx)).await.unwrap();
    assert_eq!(found, Reattached::Unknown);
    assert_eq!(outcomes(&server), ["interrupted"]);
    assert!(bench.ledger.ids().is_empty() && bench.outputs.begun() == 0);
}

#[tokio::test]
async fn one_that_waits_in_the_queue_is_stopped_when_its_turn_comes() {
    let server = stand_in().await;
    server.step_by_hand(true);
    orphan(&server, "task(theirs)", 4).await;
    server.starving().await;
    orphan(&server, "task(ours)", 1000).await;
    let (a1111, bench, job) = (connector(&server.url()), Bench::new(), fox_job(json!({})));
    let look = async {
        bench
            .progress
            .wait_for(|report| report.message.as_deref().is_some_and(|said| said.contains("to come up")))
            .await;
        assert_eq!(server.asked("POST /sdapi/v1/interrupt"), 0);
        server.step_by_hand(false);
    };
    let (found, ()) = soon(async { tokio::join!(a1111.reattach(&job, "task(ours)", &bench.ctx), look) }).await;
    assert_eq!(found.unwrap(), Reattached::Unknown);
    let ended = outcomes(&server);
    assert!(ended[0] == "success" && ["interrupted", "error"].contains(&ended[1]), "{ended:?}");
}

#[tokio::test]
async fn one_that_ended_meanwhile_cannot_be_collected() {
    let server = stand_in().await;
    server.step_by_hand(true);
    orphan(&server, "task(done)", 2).await;
    server.step_by_hand(false);
    while outcomes(&server) != ["success"] {
        tokio::task::yield_now().await;
    }
    let found = soon(connector(&server.url()).reattach(&fox_job(json!({})), "task(done)", &Bench::new().ctx)).await;
    assert_eq!(found.unwrap(), Reattached::Unknown);
    assert_eq!(soon(connector(&server.url()).interrupt("task(done)")).await.unwrap(), Interrupted::NothingToStop);
    assert_eq!(server.asked("POST /sdapi/v1/interrupt"), 0);
}

#[tokio::test]
async fn interrupting_an_orphan_stops_it() {
    let server = stand_in().await;
    server.step_by_hand(true);
    orphan(&server, "task(orphan)", 1000).await;
    server.allow_steps(3);
    server.starving().await;
    server.step_by_hand(false);
    assert_eq!(soon(connector(&server.url()).interrupt("task(orphan)")).await.unwrap(), Interrupted::Stopped);
    assert_eq!(outcomes(&server), ["interrupted"]);
}

#[tokio::test]
async fn without_task_ids_what_runs_is_left_alone_and_waited_for() {
    let server = stand_in_with(Options { nowebui: true, ..Options::default() }).await;
    server.step_by_hand(true);
    let body = json!({ "prompt": "x", "steps": 3, "width": 64, "height": 64 });
    let request = client().post(format!("{}/sdapi/v1/txt2img", server.url())).json(&body).send();
    let request = tokio::spawn(async move { request.await.unwrap().status() });
    server.starving().await;
    let a1111 = connector(&server.url());
    let (bench, job) = (Bench::new(), fox_job(json!({})));
    let found = soon(a1111.reattach(&job, "task(somebodys)", &bench.ctx)).await.unwrap();
    assert_eq!(found, Reattached::Unknown);
    let look = async {
        bench
            .progress
            .wait_for(|report| report.message.as_deref().is_some_and(|said| said.contains("somebody else")))
            .await;
        assert_eq!(server.asked("POST /sdapi/v1/txt2img"), 1);
        server.step_by_hand(false);
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), look) }).await;
    ended.unwrap();
    assert_eq!(request.await.unwrap(), 200);
    assert_eq!((outcomes(&server), server.asked("POST /sdapi/v1/interrupt")), (vec!["success", "success"], 0));
}
