//! Engines that answer every question and do not go on: a step without an end, a queue that nobody works off.

use super::super::super::support::until;
use super::super::picture;
use super::Site;
use serde_json::json;

#[tokio::test]
async fn a_step_that_never_ends_takes_its_engine_out_until_the_run_is_gone() {
    let site = Site::new(&[("STUCK_STEP_SECONDS", "1")]).await;
    // In a step nothing looks at interrupts.
    let id = site.begun().await;
    site.agent.logged("a run that was told to stop still goes on").await;
    site.offers(false).await;
    let job = site.queue.job(&id).await;
    let seen = (job["status"].as_str(), job["retry_count"].as_str(), job["failure_reason"].as_str());
    assert_eq!(seen, ("pending", "0", "processing_timeout"));
    assert!(job["error"].contains("no progress for 1 s at \"Sample"), "{}", job["error"]);
    site.engine.step_by_hand(false);
    site.ends(&id, "completed", "2", "0", 2).await;
    assert_eq!(site.engine.executions()[0].outcome, "interrupted");
}

#[tokio::test]
async fn steps_that_go_on_slowly_are_not_stuck() {
    let site = Site::new(&[("STUCK_STEP_SECONDS", "1")]).await;
    let id = site.begun().await;
    let began = std::time::Instant::now();
    let mut steps = tokio::time::interval(std::time::Duration::from_millis(300));
    while began.elapsed() < std::time::Duration::from_millis(2500) {
        steps.tick().await;
        site.engine.allow_steps(1);
        site.engine.starving().await;
    }
    site.engine.step_by_hand(false);
    site.ends(&id, "completed", "1", "0", 1).await;
}

#[tokio::test]
async fn work_that_tells_nothing_because_there_is_no_socket_is_not_stuck() {
    let site = Site::new(&[("STUCK_STEP_SECONDS", "0.5")]).await;
    site.engine.quirks(|quirks| quirks.hanging_routes.extend(["GET /ws".to_owned()]));
    let id = site.begun().await;
    let began = std::time::Instant::now();
    // Nothing but time can show that nothing happens.
    until("three times the patience is over", || async { (began.elapsed().as_millis() > 1500).then_some(()) }).await;
    site.engine.step_by_hand(false);
    site.ends(&id, "completed", "1", "0", 1).await;
}

#[tokio::test]
async fn a_queue_that_stands_still_takes_its_engine_out_until_it_moves() {
    let site = Site::new(&[("STUCK_STEP_SECONDS", "1")]).await;
    site.engine.quirks(|quirks| quirks.queue_stands_still = true);
    // Somebody else's prompt lies in front.
    let graph = json!({"1": {"class_type": "PreviewAny", "inputs": {"source": 1}}});
    let posted = post(&site.engine, "/prompt", &json!({"prompt": graph, "client_id": "somebody"})).await;
    assert!(posted.starts_with("HTTP/1.1 200"), "{posted}");
    let id = site.queue.submit(picture()).await;
    site.agent.logged("does not move").await;
    site.offers(false).await;
    let job = site.queue.reaches(&id, "pending").await;
    assert_eq!((job["retry_count"].as_str(), job["failure_reason"].as_str()), ("0", "queue_timeout"));
    site.engine.quirks(|quirks| quirks.queue_stands_still = false);
    // Theirs and ours.
    site.ends(&id, "completed", "2", "0", 2).await;
    site.offers(true).await;
}

/// By hand: one request on a connection of its own.
async fn post(engine: &stand_ins::comfyui::StandIn, path: &str, body: &serde_json::Value) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (body, at) = (body.to_string(), engine.address());
    let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
