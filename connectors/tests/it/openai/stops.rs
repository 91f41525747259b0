//! Runs that are stopped, servers that vanish, and what silence costs.
//! In: the stand-in stepped by hand. Out: connections closed, responses cancelled, typed failures.

use super::{connector, connector_with, failure, run, soon, stand_in, timing};
use connectors::conformance::{Bench, job};
use connectors::contract::{Connector, Freed, Interrupted, Reattached, RunError};
use connectors::failure::Reason;
use connectors::openai::Timing;
use serde_json::json;
use stand_ins::openai::{Flavour, Options, StandIn};
use std::time::Duration;

async fn ends_as(server: &StandIn, outcome: &str) {
    soon(async {
        while server.executions().last().is_none_or(|run| run.outcome != outcome) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_cancel_in_mid_text_hangs_up_and_the_server_sees_it() {
    for service in ["openai_text", "openai"] {
        let server = stand_in().await;
        server.step_by_hand(true);
        let (openai, bench) = (connector(&server.url()), Bench::new());
        let slow = job("job-1", service, json!({ "prompt": "hello", "model": "stand-in-text", "max_tokens": 1000 }));
        let meddle = async {
            server.allow_steps(3);
            bench.tokens.wait_for(3).await;
            bench.ctx.cancel.cancel();
        };
        let (ended, ()) = soon(async { tokio::join!(openai.run(&slow, &bench.ctx), meddle) }).await;
        assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
        ends_as(&server, "hung_up").await;
        assert!(bench.outputs.files().is_empty());
    }
}

#[tokio::test]
async fn a_cancelled_response_in_the_background_is_cancelled_by_its_id() {
    let server = stand_in().await;
    server.step_by_hand(true);
    let (openai, bench) = (connector(&server.url()), Bench::new());
    let slow = job("job-1", "openai", json!({ "input": "hello", "model": "stand-in-text", "background": true }));
    let meddle = async {
        server.starving().await;
        while bench.ledger.ids().len() < 2 {
            tokio::task::yield_now().await;
        }
        bench.ctx.cancel.cancel();
    };
    let (ended, ()) = soon(async { tokio::join!(openai.run(&slow, &bench.ctx), meddle) }).await;
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    assert_eq!(server.executions()[0].outcome, "cancelled");
    let id = bench.ledger.ids().pop().unwrap();
    let again = soon(openai.reattach(&slow, &id, &Bench::new().ctx)).await;
    assert!(matches!(again, Ok(Reattached::Unknown)), "it was told to stop: {again:?}");
    // By another process, and once more.
    let other = connector(&server.url());
    assert_eq!(soon(other.interrupt(&id)).await.unwrap(), Interrupted::Stopped);
    assert_eq!(soon(other.interrupt("resp_of_nobody")).await.unwrap(), Interrupted::NothingToStop);
}

/// A server that answers a request for a response only when it is told to. Its POSTs, in order.
async fn hesitant(go_on: std::sync::Arc<tokio::sync::Notify>) -> (String, tokio::sync::watch::Receiver<Vec<String>>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (posted, posts) = tokio::sync::watch::channel(Vec::new());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (posted, go_on) = (posted.clone(), go_on.clone());
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap_or(0);
                let line = String::from_utf8_lossy(&request[..length]).lines().next().unwrap_or_default().to_owned();
                let body = match line.strip_prefix("POST ") {
                    None => "{}",
                    Some(path) => {
                        posted.send_modify(|posts| posts.push(path.replace(" HTTP/1.1", "")));
                        match path.contains("/cancel") {
                            true => r#"{"id":"resp_7","status":"cancelled"}"#,
                            false => {
                                go_on.notified().await;
                                r#"{"id":"resp_7","status":"in_progress"}"#
                            }
                        }
                    }
                };
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _ = stream.write_all((head + body).as_bytes()).await;
            });
        }
    });
    (url, posts)
}

#[tokio::test]
async fn a_response_that_is_cancelled_before_its_id_is_known_is_cancelled_once_it_is() {
    let go_on = std::sync::Arc::default();
    let (url, mut posts) = hesitant(std::sync::Arc::clone(&go_on)).await;
    let (openai, bench) = (connector(&url), Bench::new());
    let slow = job("job-1", "openai", json!({ "input": "hello", "model": "m", "background": true }));
    let meddle = async {
        posts.wait_for(|posts| posts.len() == 1).await.unwrap();
        bench.ctx.cancel.cancel();
        // The order to stop comes before the answer does.
        tokio::task::yield_now().await;
        go_on.notify_one();
    };
    let (ended, ()) = soon(async { tokio::join!(openai.run(&slow, &bench.ctx), meddle) }).await;
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    assert_eq!(*posts.borrow(), ["/v1/responses", "/v1/responses/resp_7/cancel"]);
}

#[tokio::test]
async fn a_response_in_the_background_that_takes_too_long_is_given_up_and_cancelled() {
    let server = stand_in().await;
    server.step_by_hand(true);
    let openai = connector_with(&server.url(), Timing { background: Duration::from_millis(30), ..timing() });
    let payload = json!({ "input": "hello", "model": "stand-in-text", "background": true });
    let failure = failure(super::run_on(&openai, "openai", payload).await.0);
    assert_eq!(failure.reason, Reason::ProcessingTimeout);
    assert_eq!(server.executions()[0].outcome, "cancelled");
}

#[tokio::test]
async fn a_server_that_falls_silent_in_mid_text_is_given_up_and_comments_win_it_no_time() {
    let server = stand_in().await;
    server.step_by_hand(true);
    // For the silence; short enough to wait for, long enough for good answers on a loaded machine.
    let short = Duration::from_millis(500);
    let payload = || json!({ "prompt": "hello", "model": "stand-in-text" });
    let openai = connector_with(&server.url(), Timing { idle: short, ..timing() });
    server.allow_steps(2);
    let (ended, bench) = super::run_on(&openai, "openai_text", payload()).await;
    let failure = failure(ended);
    assert_eq!((failure.reason, failure.hosts_fault), (Reason::ProcessingTimeout, true));
    assert_eq!(bench.tokens.pieces().len(), 2);
    ends_as(&server, "hung_up").await;
    let comments: Vec<&[u8]> = vec![b": ping\n\n"; 50];
    server.answer(stand_ins::openai::Answer::events(&comments).then(stand_ins::openai::Then::Hang));
    let openai = connector_with(&server.url(), Timing { first: short, ..timing() });
    let failure = super::failure(super::run_on(&openai, "openai_text", payload()).await.0);
    assert_eq!(failure.reason, Reason::ProcessingTimeout);
}

#[tokio::test]
async fn a_server_that_dies_in_mid_text_ends_the_run_and_one_that_is_gone_begins_none() {
    let server = stand_in().await;
    server.step_by_hand(true);
    let (openai, bench) = (connector(&server.url()), Bench::new());
    let slow = job("job-1", "openai_text", json!({ "prompt": "hello", "model": "stand-in-text" }));
    let meddle = async {
        server.allow_steps(2);
        bench.tokens.wait_for(2).await;
        server.kill().await;
    };
    let (ended, ()) = soon(async { tokio::join!(openai.run(&slow, &bench.ctx), meddle) }).await;
    let failed = failure(ended);
    assert_eq!((failed.reason, failed.hosts_fault), (Reason::ConnectionFailed, true));
    let (ended, bench) = run(&server, "openai_text", json!({ "prompt": "hello" })).await;
    let failed = failure(ended);
    assert_eq!((failed.reason, failed.hosts_fault), (Reason::ServiceDown, true));
    assert!(bench.ledger.ids().is_empty());
}

#[tokio::test]
async fn memory_is_freed_by_unloading_what_is_loaded_where_that_can_be_asked_for() {
    let options = Options { flavour: Flavour::Ollama, models: vec!["m:latest".into()], ..Options::default() };
    let server = super::stand_in_with(options).await;
    let openai = connector(&server.url());
    super::run_on(&openai, "ollama", json!({ "prompt": "x", "model": "m", "num_ctx": 512 })).await.0.unwrap();
    assert_eq!(server.loaded(), ["m"]);
    assert_eq!(openai.free_memory().await.unwrap(), Freed::Requested);
    assert!(server.loaded().is_empty());
    assert_eq!(
        connector(&stand_in().await.url()).free_memory().await.unwrap_or(Freed::NotSupported),
        Freed::NotSupported
    );
}
