//! Faults and quirks, each called for by hand: what a client sees of them, and what the handle tells.
//! In: a stand-in per test. Out: green if each fault does what its name says and nothing else.

use std::time::Duration;

use serde_json::{Value, json};
use stand_ins::comfyui::{Options, StandIn, serve};
use tokio_util::sync::CancellationToken;

use crate::client::{self, Frame};
use crate::oddities::{entry, get, graph, steps, submit, until_ended};

async fn started() -> StandIn {
    StandIn::start(Options::default()).await.expect("a stand-in")
}

async fn status(server: &StandIn, method: &str, path: &str, body: Option<Value>) -> u16 {
    let mut request = client::http().request(method.parse().expect("method"), format!("{}{path}", server.url()));
    if let Some(body) = body {
        request = request.json(&body);
    }
    request.send().await.expect("an answer").status().as_u16()
}

/// No answer within a time that is long for a request on loopback.
async fn hangs(server: &StandIn, method: &str, path: &str, body: Value) -> bool {
    let request = client::http().request(method.parse().expect("method"), format!("{}{path}", server.url()));
    let answer = request.json(&body).timeout(Duration::from_millis(200)).send().await;
    answer.is_err_and(|error| error.is_timeout())
}

#[tokio::test]
async fn the_example_workflow_leaves_a_picture_that_says_stand_in() {
    let server = started().await;
    let workflow = json!({
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-pruned-emaonly.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 256, "height": 128, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lighthouse", "clip": ["4", 1]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1]}},
        "3": {"class_type": "KSampler", "inputs": {
            "seed": 42, "steps": 3, "cfg": 7, "sampler_name": "euler", "scheduler": "normal", "denoise": 1,
            "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "job-1/picture"}},
    });
    let mut pictures = vec![];
    for _ in 0..2 {
        let id = submit(&server, &workflow, "demo").await;
        let ended = until_ended(&server, &id).await;
        let file = &ended["outputs"]["9"]["images"][0];
        assert_eq!(file["subfolder"], "job-1");
        let path = format!("/view?filename={}&subfolder=job-1&type=output", file["filename"].as_str().expect("a name"));
        let bytes = client::http()
            .get(format!("{}{path}", server.url()))
            .send()
            .await
            .expect("an answer")
            .bytes()
            .await
            .expect("bytes");
        assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"));
        assert_eq!(bytes[16..24], [0, 0, 1, 0, 0, 0, 0, 128]);
        assert_eq!(server.runs_of(&id), 1);
        pictures.push(bytes);
        assert_eq!(status(&server, "POST", "/free", Some(json!({"free_memory": true}))).await, 200);
    }
    assert_eq!(pictures[0], pictures[1], "the same seed makes the same picture");
    assert_eq!(server.files_written().len(), 2);
    assert_eq!(server.executions()[1].nodes, ["4", "5", "6", "7", "3", "8", "9"]);
}

#[tokio::test]
async fn a_frozen_server_keeps_its_sockets_and_goes_on_when_thawed() {
    let server = started().await;
    server.step_by_hand(true);
    let mut socket = client::connect(&server.url(), "/ws?clientId=frozen", &[]).await.expect("a socket");
    let id = submit(&server, &graph(steps(2, 1), "frozen"), "frozen").await;
    server.starving().await;
    server.freeze();
    server.allow_steps(2);
    assert!(hangs(&server, "GET", "/queue", Value::Null).await);
    server.thaw();
    socket.until_idle(&id).await;
    assert_eq!(server.runs_of(&id), 1);
}

#[tokio::test]
async fn dropped_connections_leave_the_prompt_running() {
    let server = started().await;
    server.step_by_hand(true);
    let mut socket = client::connect(&server.url(), "/ws?clientId=dropped", &[]).await.expect("a socket");
    let id = submit(&server, &graph(steps(1, 1), "dropped"), "dropped").await;
    server.starving().await;
    server.drop_connections();
    while !matches!(socket.next().await, Frame::End) {}
    server.allow_steps(1);
    assert_eq!(until_ended(&server, &id).await["status"]["status_str"], "success");
}

#[tokio::test]
async fn a_restart_loses_queue_and_history() {
    let server = started().await;
    let ended = submit(&server, &graph(steps(1, 1), "ended"), "restart").await;
    until_ended(&server, &ended).await;
    server.step_by_hand(true);
    let running = submit(&server, &graph(steps(1, 2), "running"), "restart").await;
    let pending = submit(&server, &graph(steps(1, 3), "pending"), "restart").await;
    server.starving().await;
    server.restart();
    for id in [&ended, &running, &pending] {
        assert_eq!(entry(&server, id).await, None);
    }
    assert_eq!(get(&server, "/queue").await, json!({"queue_running": [], "queue_pending": []}));
    server.step_by_hand(false);
    let body = json!({"prompt": graph(steps(1, 4), "after")});
    let answer = client::http().post(format!("{}/prompt", server.url())).json(&body).send().await.expect("an answer");
    let answer: Value = answer.json().await.expect("JSON");
    assert_eq!(answer["number"], 0);
    until_ended(&server, answer["prompt_id"].as_str().expect("an id")).await;
    let outcomes: Vec<&str> = server.executions().iter().map(|run| run.outcome).collect();
    assert_eq!(outcomes, ["success", "lost", "success"]);
}

#[tokio::test]
async fn endings_can_be_withheld() {
    let server = started().await;
    server.quirks(|quirks| quirks.withhold_endings = true);
    let mut socket = client::connect(&server.url(), "/ws?clientId=silent", &[]).await.expect("a socket");
    let silent = submit(&server, &graph(steps(1, 1), "silent"), "silent").await;
    until_ended(&server, &silent).await;
    server.quirks(|quirks| quirks.withhold_endings = false);
    let told = submit(&server, &graph(steps(1, 2), "told"), "silent").await;
    let success = socket.until("execution_success").await;
    assert_eq!(success["prompt_id"], told.as_str(), "the first end was never told");
}

#[tokio::test]
async fn a_route_can_hang_alone() {
    let server = started().await;
    server.quirks(|quirks| quirks.hanging_routes.extend(["GET /history/{id}".to_owned()]));
    assert!(hangs(&server, "GET", "/history/some-id", Value::Null).await);
    assert!(hangs(&server, "GET", "/api/history/some-id", Value::Null).await);
    for path in ["/history", "/queue"] {
        assert_eq!(status(&server, "GET", path, None).await, 200);
    }
    server.quirks(|quirks| quirks.hanging_routes.clear());
    assert_eq!(status(&server, "GET", "/history/some-id", None).await, 200);
}

#[tokio::test]
async fn interrupts_can_be_left_until_the_node_ends() {
    let server = started().await;
    server.quirks(|quirks| quirks.interrupts_wait_for_node_end = true);
    server.step_by_hand(true);
    let id = submit(&server, &graph(steps(3, 1), "deaf"), "deaf").await;
    server.starving().await;
    assert_eq!(status(&server, "POST", "/interrupt", None).await, 200);
    server.allow_steps(3);
    let messages = until_ended(&server, &id).await["status"]["messages"].clone();
    let last = &messages.as_array().expect("messages").last().expect("a message")[1];
    assert_eq!((&last["node_id"], &last["executed"]), (&json!("9"), &json!(["1", "2"])));
}

#[tokio::test]
async fn a_refused_submission_may_be_queued_all_the_same() {
    let server = started().await;
    server.quirks(|quirks| quirks.refuse_but_queue = true);
    let id = "0b6d1d7c-8d0a-4a39-9f6c-6a7d3b0f2c11";
    let body = json!({"prompt": graph(steps(1, 1), "refused"), "prompt_id": id});
    assert_eq!(status(&server, "POST", "/prompt", Some(body)).await, 500);
    until_ended(&server, id).await;
    assert_eq!(server.runs_of(id), 1);
}

#[tokio::test]
async fn the_answer_to_a_submission_may_never_come() {
    let server = started().await;
    server.quirks(|quirks| quirks.swallow_prompt_answer = true);
    let id = "5f0c1a52-0d6f-4c55-9d0e-1f2a3b4c5d6e";
    let body = json!({"prompt": graph(steps(1, 1), "swallowed"), "prompt_id": id});
    assert!(hangs(&server, "POST", "/prompt", body).await);
    until_ended(&server, id).await;
    assert_eq!(server.runs_of(id), 1);
}

#[tokio::test]
async fn a_killed_server_refuses_connections_until_it_is_revived() {
    let server = started().await;
    server.kill().await;
    assert!(tokio::net::TcpStream::connect(server.address()).await.is_err());
    server.revive().await;
    assert_eq!(status(&server, "GET", "/system_stats", None).await, 200);
}

#[tokio::test]
async fn outputs_can_vanish() {
    let server = started().await;
    let id = submit(&server, &graph(steps(1, 1), "vanished"), "vanished").await;
    until_ended(&server, &id).await;
    assert_eq!(status(&server, "GET", "/view?filename=vanished_00001_.png", None).await, 200);
    server.delete_outputs().expect("an empty folder");
    assert_eq!(status(&server, "GET", "/view?filename=vanished_00001_.png", None).await, 404);
}

#[tokio::test]
async fn other_machines_are_never_served() {
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.expect("a port");
    let refused = serve(listener, Options::default(), CancellationToken::new()).await.expect_err("a refusal");
    assert_eq!(refused.kind(), std::io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn the_end_leaves_nothing_behind() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, Options::default(), shutdown.clone()));
    let mut socket = client::connect(&format!("http://{address}"), "/ws", &[]).await.expect("a socket");
    shutdown.cancel();
    serving.await.expect("a task").expect("an orderly end");
    while !matches!(socket.next().await, Frame::End) {}
    assert!(tokio::net::TcpStream::connect(address).await.is_err());

    let server = started().await;
    let folder = server.output_folder();
    assert!(folder.is_dir());
    server.stop().await;
    assert!(!folder.exists());
}
