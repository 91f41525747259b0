//! Models of ComfyUI across a fleet: advertised, listed anew when they change, and missing here but not there.

use super::super::support::{Agent, Queue, RedisServer, until};
use serde_json::{Value, json};
use stand_ins::comfyui::{Options, Release, StandIn};
use std::collections::BTreeMap;

const USUAL: &str = "v1-5-pruned-emaonly.safetensors";
const RARE: &str = "rare.safetensors";

async fn engine(release: Release, checkpoints: &[&str]) -> StandIn {
    let names = checkpoints.iter().map(|name| (*name).to_owned()).collect();
    let models = BTreeMap::from([("checkpoints".to_owned(), names)]);
    StandIn::start(Options { release, models, ..Options::default() }).await.unwrap()
}

async fn worker(server: &RedisServer, name: &str, engine: &StandIn) -> Agent {
    let env =
        [("HEALTH_CHECK_INTERVAL_SECONDS", "0.2"), ("HEARTBEAT_INTERVAL_SECONDS", "0.1"), ("RETRY_BACKOFF_MS", "1")];
    let own = [("SERVICES", "comfyui"), ("COMFYUI_URL", &engine.url())];
    Agent::start(server, name, &[&own[..], &env[..]].concat()).await
}

fn with(model: &str) -> Value {
    let mut job = super::picture();
    let nodes = job["payload"]["workflow"].as_object_mut().unwrap();
    let loader = nodes.values_mut().find(|node| node["inputs"]["ckpt_name"].is_string()).unwrap();
    loader["inputs"]["ckpt_name"] = model.into();
    job
}

/// The same, and says so: it is not even claimed by a worker without the model.
fn asking_for(model: &str) -> Value {
    let mut job = with(model);
    job["requirements"] = json!({ "models": [model] });
    job
}

async fn lists(server: &RedisServer, worker: &str, model: &str, listed: bool) {
    lists_for(server, worker, "comfyui", model, listed).await;
}

pub(super) async fn lists_for(server: &RedisServer, worker: &str, service: &str, model: &str, listed: bool) {
    until(&format!("{worker} lists {model}: {listed}"), || async {
        let text = server.hget(&format!("worker:{worker}"), "capabilities").await?;
        let record: Value = serde_json::from_str(&text).ok()?;
        let names = record["models"][service].as_array()?;
        (names.iter().any(|name| name == model) == listed).then_some(())
    })
    .await;
}

pub(super) async fn pause(server: &RedisServer, worker: &str, state: &str) {
    let _: u64 = server.run(&["HSET", &format!("worker:{worker}:control"), "state", state]).await;
    let word = if state == "paused" { "paused" } else { "idle" };
    until(&format!("{worker} is {word}"), || async {
        (server.hget(&format!("worker:{worker}"), "status").await? == word).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_new_file_makes_a_waiting_job_claimable_and_a_removed_one_is_no_longer_offered() {
    for release in [Release::V0_27_0, Release::V0_3_64] {
        let server = RedisServer::start().await;
        let queue = Queue::of(&server);
        let engine = engine(release, &[USUAL]).await;
        let _agent = worker(&server, "w", &engine).await;
        let waiting = queue.submit(asking_for(RARE)).await;
        // Somebody else's job goes through meanwhile.
        queue.reaches(&queue.submit(asking_for(USUAL)).await, "completed").await;
        assert_eq!(queue.field(&waiting, "status").await, "pending");
        engine.set_models("checkpoints", &[USUAL, RARE]);
        let job = queue.reaches(&waiting, "completed").await;
        assert_eq!(job["attempt"], "1", "claimed once, when it could be run");
        engine.set_models("checkpoints", &[USUAL]);
        lists(&server, "w", RARE, false).await;
        let late = queue.submit(asking_for(RARE)).await;
        queue.reaches(&queue.submit(asking_for(USUAL)).await, "completed").await;
        assert_eq!(queue.field(&late, "status").await, "pending");
    }
}

#[tokio::test]
async fn folders_of_custom_nodes_are_listed_too() {
    let server = RedisServer::start().await;
    let engine = engine(Release::V0_27_0, &[USUAL]).await;
    engine.set_models("sams", &["sam_vit_h.pth"]);
    let _agent = worker(&server, "w", &engine).await;
    lists(&server, "w", "sam_vit_h.pth", true).await;
}

#[tokio::test]
async fn a_job_whose_model_is_missing_here_is_handed_on_uncharged_to_whoever_has_it() {
    for release in [Release::V0_27_0, Release::V0_3_64] {
        let server = RedisServer::start().await;
        let queue = Queue::of(&server);
        let (poor, rich) = (engine(release, &[USUAL]).await, engine(release, &[USUAL, RARE]).await);
        let _agents = [worker(&server, "poor", &poor).await, worker(&server, "rich", &rich).await];
        lists(&server, "rich", RARE, true).await;
        // So that it comes to the wrong one first: the job does not say which models it loads.
        pause(&server, "rich", "paused").await;
        let id = queue.submit(with(RARE)).await;
        until("it is refused", || async { (queue.field(&id, "refused_by").await == "poor").then_some(()) }).await;
        pause(&server, "rich", "running").await;
        let job = queue.reaches(&id, "completed").await;
        assert_eq!((job["worker_id"].as_str(), job["retry_count"].as_str()), ("rich", "0"));
        assert_eq!(job["handed_on"], "0", "the way to whoever has it is not counted");
        assert!(poor.executions().is_empty());
        queue.ended_once(&id).await;
    }
}

fn with_strange_node() -> Value {
    let mut job = super::picture();
    job["payload"]["workflow"]["90"] = json!({"class_type": "NoSuchNode", "inputs": {"images": ["8", 0]}});
    job
}

#[tokio::test]
async fn a_node_class_that_nobody_has_is_refused_by_each_worker_once() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let engines = [engine(Release::V0_27_0, &[USUAL]).await, engine(Release::V0_3_64, &[USUAL]).await];
    let engines = [&engines[0], &engines[1], &engines[0]];
    let _agents = [
        worker(&server, "one", engines[0]).await,
        worker(&server, "two", engines[1]).await,
        worker(&server, "three", engines[2]).await,
    ];
    let id = queue.submit(with_strange_node()).await;
    let job = queue.reaches(&id, "failed").await;
    assert_eq!((job["attempt"].as_str(), job["failure_reason"].as_str()), ("3", "component_error"));
    assert_eq!((job["handed_on"].as_str(), job["failure_type"].as_str()), ("2", "validation_error"));
    assert!(job["error"].contains("NoSuchNode") && job["error"].contains("every other worker"), "{}", job["error"]);
    queue.ended_once(&id).await;
}

#[tokio::test]
async fn a_node_class_that_the_only_worker_lacks_fails_the_job_at_once() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let engine = engine(Release::V0_27_0, &[USUAL]).await;
    let _agent = worker(&server, "one", &engine).await;
    let id = queue.submit(with_strange_node()).await;
    let job = queue.reaches(&id, "failed").await;
    assert_eq!((job["attempt"].as_str(), job["failure_reason"].as_str()), ("1", "component_error"));
    assert!(job["error"].contains("NoSuchNode") && job["error"].contains("no other worker"), "{}", job["error"]);
}

#[tokio::test]
async fn a_job_whose_model_nobody_has_is_tried_by_each_once_and_fails_with_the_models_name() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let engines = [engine(Release::V0_27_0, &[USUAL]).await, engine(Release::V0_3_64, &[USUAL]).await];
    let _agents = [worker(&server, "one", &engines[0]).await, worker(&server, "two", &engines[1]).await];
    let id = queue.submit(with(RARE)).await;
    let job = queue.reaches(&id, "failed").await;
    assert_eq!((job["failure_type"].as_str(), job["failure_reason"].as_str()), ("validation_error", "model_not_found"));
    assert!(job["error"].contains(RARE) && job["error"].contains("no other worker"), "{}", job["error"]);
    assert_eq!(job["handed_on"], "1", "once to the other one, and no more");
    assert!(engines.iter().all(|engine| engine.executions().is_empty()));
    queue.ended_once(&id).await;
}
