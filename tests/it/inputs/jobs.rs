//! Whole jobs with inputs: from the queue through a real agent into the engine's stand-in, and what may go wrong on the way.

use super::super::support::{Agent, Queue, RedisServer, until};
use super::hostile::{OPEN, TRAP};
use super::server::{Server, Then, bare, whole};
use serde_json::{Value, json};
use stand_ins::comfyui::{Options, StandIn};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Enough of a picture for a loader.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x20\0\0\0\x18 and what follows";

struct Scene {
    redis: RedisServer,
    queue: Queue,
    engine: StandIn,
    folder: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let redis = RedisServer::start().await;
        let folder = tempfile::tempdir().unwrap();
        let options = Options { folder: Some(folder.path().join("engine")), ..Options::default() };
        let engine = StandIn::start(options).await.unwrap();
        Self { queue: Queue::of(&redis), redis, engine, folder }
    }

    async fn agent(&self, more: &[(&str, &str)]) -> Agent {
        let (url, state) = (self.engine.url(), self.folder.path().join("state"));
        let mut env = vec![("SERVICES", "comfyui"), ("COMFYUI_URL", &*url), ("STATE_DIR", state.to_str().unwrap())];
        env.extend([("ALLOWED_INPUT_HOSTS", "127.0.0.3"), ("RETRY_BACKOFF_MS", "50")]);
        env.extend(more);
        Agent::start(&self.redis, "painter", &env).await
    }

    /// What is kept of inputs on the agent's disk.
    fn kept(&self) -> usize {
        files(&self.folder.path().join("state/inputs")).len()
    }

    fn uploaded(&self) -> Vec<String> {
        files(&self.folder.path().join("engine/input/gpu-worker"))
    }
}

fn files(folder: &Path) -> Vec<String> {
    let found = std::fs::read_dir(folder).into_iter().flatten().flatten();
    found.map(|file| file.file_name().to_string_lossy().into_owned()).collect()
}

fn invert(image: &str) -> Value {
    json!({ "type": "comfyui", "payload": { "inputs": { "photo": image }, "workflow": {
        "1": { "class_type": "LoadImage", "inputs": { "image": "{{photo}}" } },
        "2": { "class_type": "ImageInvert", "inputs": { "image": ["1", 0] } },
        "9": { "class_type": "SaveImage", "inputs": { "images": ["2", 0], "filename_prefix": "x" } },
    } } })
}

#[tokio::test]
async fn a_picture_named_by_url_arrives_under_a_plain_name_and_its_result_is_the_next_jobs_input() {
    let scene = Scene::new().await;
    let server = Server::start(OPEN, 0, |_| whole("Content-Type: image/png\r\n", PNG)).await;
    let proxy = Server::start(TRAP, 0, |_| bare("502 Bad Gateway", "")).await;
    let through = format!("http://{}", proxy.address);
    let proxies: Vec<(&str, &str)> = ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"]
        .iter()
        .map(|name| (*name, &*through))
        .collect();
    let agent = scene.agent(&proxies).await;
    let id = scene.queue.submit(invert(&format!("http://127.0.0.3:{}/ä?key=secret", server.port()))).await;
    let job = scene.queue.reaches(&id, "completed").await;
    let [name] = &scene.uploaded()[..] else { panic!("{:?}", scene.uploaded()) };
    assert!(name.starts_with(&id) && name.ends_with(".png") && name.is_ascii() && !name.contains(' '), "{name}");
    let file = scene.folder.path().join("engine/input/gpu-worker").join(name);
    assert_eq!(std::fs::read(file).unwrap(), PNG);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let history = format!("{}/history/{}", scene.engine.url(), job["service_job_id"]);
    let history: Value =
        reqwest::Client::builder().no_proxy().build().unwrap().get(history).send().await.unwrap().json().await.unwrap();
    let graph = &history[&job["service_job_id"]]["prompt"][2];
    assert_eq!(graph["1"]["inputs"]["image"], format!("gpu-worker/{name}"));
    assert_eq!((scene.kept(), proxy.heads().len()), (0, 0), "{}", agent.log());
    assert!(!agent.log().contains("secret"));
    let made = files(&agent.folder.path().join("outputs").join(&id).join("1"));
    let next = scene.queue.submit(invert(&format!("output:{id}/{}", made[0]))).await;
    scene.queue.reaches(&next, "completed").await;
    assert_eq!((scene.uploaded().len(), scene.engine.executions().len()), (2, 2));
}

#[tokio::test]
async fn a_hostile_url_fails_its_job_for_good_and_nothing_is_asked() {
    let scene = Scene::new().await;
    let trap = Server::start(TRAP, 0, |_| whole("", PNG)).await;
    let agent = scene.agent(&[]).await;
    for source in [format!("http://127.1:{}/?secret", trap.port()), format!("http://localhost:{}/?secret", trap.port())]
    {
        let id = scene.queue.submit(invert(&source)).await;
        let job = scene.queue.reaches(&id, "failed").await;
        assert_eq!(job["failure_type"], "validation_error", "{job:?}");
        assert_eq!(job["attempt"], "1", "{job:?}");
        assert!(job["error"].contains("loopback") && !job["error"].contains("secret"), "{}", job["error"]);
        scene.queue.ended_once(&id).await;
    }
    assert_eq!((trap.heads().len(), scene.engine.executions().len(), scene.uploaded().len()), (0, 0, 0));
    let good = scene.queue.submit(invert("data:image/png;base64,iVBORw0KGgo=")).await;
    scene.queue.reaches(&good, "completed").await;
    assert!(!agent.log().contains("secret"), "{}", agent.log());
}

#[tokio::test]
async fn an_input_server_that_dies_in_the_middle_costs_an_attempt_and_not_the_engine() {
    let scene = Scene::new().await;
    let asked = AtomicUsize::new(0);
    let server = Server::start(OPEN, 0, move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => (b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n\x89PNG".to_vec(), Then::Close),
        1 => bare("503 Service Unavailable", "Retry-After: 0\r\n"),
        _ => whole("", PNG),
    })
    .await;
    let agent = scene.agent(&[]).await;
    let id = scene.queue.submit(invert(&format!("http://127.0.0.3:{}/", server.port()))).await;
    let job = scene.queue.reaches(&id, "completed").await;
    assert_eq!((job["retry_count"].as_str(), server.heads().len()), ("2", 3), "{job:?}");
    assert_eq!((scene.engine.executions().len(), scene.kept()), (1, 0));
    assert!(!agent.log().contains("left out"), "{}", agent.log());
}

#[tokio::test]
async fn a_job_that_is_cancelled_while_its_input_comes_ends_at_once() {
    let scene = Scene::new().await;
    let drip = |_: &str| (b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), Then::Drip("x", Duration::from_millis(5)));
    let server = Server::start(OPEN, 0, drip).await;
    let _agent = scene.agent(&[]).await;
    let id = scene.queue.submit(invert(&format!("http://127.0.0.3:{}/", server.port()))).await;
    until("the input comes", || async { (scene.kept() == 1).then_some(()) }).await;
    let cancelled = super::super::support::cli(&scene.redis, &["cancel", &id]).await;
    assert_eq!(cancelled.status.code(), Some(0));
    scene.queue.reaches(&id, "cancelled").await;
    assert_eq!((scene.kept(), scene.engine.executions().len()), (0, 0));
    scene.queue.ended_once(&id).await;
}

#[tokio::test]
async fn an_agent_that_is_killed_while_it_fetches_comes_back_fetches_again_and_leaves_nothing() {
    let scene = Scene::new().await;
    let asked = AtomicUsize::new(0);
    let server = Server::start(OPEN, 0, move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => (b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), Then::Drip("x", Duration::from_millis(5))),
        _ => whole("", PNG),
    })
    .await;
    let mut agent = scene.agent(&[]).await;
    let id = scene.queue.submit(invert(&format!("http://127.0.0.3:{}/", server.port()))).await;
    until("the input comes", || async { (scene.kept() == 1).then_some(()) }).await;
    agent.child.kill().unwrap();
    agent.child.wait().unwrap();
    assert_eq!(scene.kept(), 1, "it could not clear up");
    let _again = scene.agent(&[]).await;
    let job = scene.queue.reaches(&id, "completed").await;
    assert_eq!((job["retry_count"].as_str(), scene.kept(), scene.engine.executions().len()), ("0", 0, 1));
}
