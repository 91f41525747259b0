//! What the page is told of how far a job is and of what is left: by its own pace, by its likes, or not at all.

use super::agent;
use super::stream::{Stream, json};
use crate::support::{Queue, RedisServer, cli};
use serde_json::{Value, json};
use stand_ins::comfyui::{Options, StandIn};

fn steps(steps: u64, step_ms: u64) -> Value {
    json!({"type": "simulation", "payload": {"steps": steps, "step_ms": step_ms, "outputs": 0}})
}

/// The job at work in the first slot, if it is this one.
fn job<'a>(slots: &'a Value, id: &str) -> Option<&'a Value> {
    Some(&slots[0]["job"]).filter(|job| job["id"] == id)
}

#[tokio::test]
async fn a_job_of_another_size_goes_by_its_own_pace_and_not_by_the_runs_before_it() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let (_agent, at) = agent(&server, "w", &[]).await;
    for _ in 0..3 {
        let small = queue.submit(steps(4, 5)).await;
        queue.reaches(&small, "completed").await;
    }
    let mut page = Stream::open(at).await;
    let large = queue.submit(steps(400, 50)).await;
    let told = page
        .section("slots", "what is left", |slots| {
            let job = job(slots, &large)?;
            job["eta_ms"].is_u64().then(|| job.clone())
        })
        .await;
    // No step takes less than it was told to take, and one may be at work.
    let least = (400 - told["step"][0].as_u64().unwrap() - 1) * 50;
    assert!(told["eta_ms"].as_u64().unwrap() >= least, "at least {least} ms are left: {told}");
    assert_eq!((&told["eta_from"], &told["eta_from_runs"]), (&json!("pace"), &Value::Null), "{told}");
    assert_eq!(cli(&server, &["cancel", &large]).await.status.code(), Some(0));
}

#[tokio::test]
async fn before_it_has_a_pace_a_job_goes_by_runs_of_the_same_size() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let (_agent, at) = agent(&server, "w", &[]).await;
    let slow = steps(2, 700);
    let first = queue.submit(slow.clone()).await;
    queue.reaches(&first, "completed").await;
    let mut page = Stream::open(at).await;
    // Two steps are too few for a pace.
    let second = queue.submit(slow).await;
    let told = page
        .section("slots", "what is left", |slots| {
            let job = job(slots, &second)?;
            job["eta_ms"].is_u64().then(|| job.clone())
        })
        .await;
    assert_eq!((&told["eta_from"], &told["eta_from_runs"]), (&json!("runs"), &json!(1)), "{told}");
    queue.reaches(&second, "completed").await;
}

#[tokio::test]
async fn the_share_of_the_whole_job_and_the_step_of_its_node_do_not_contradict_each_other() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let engine = StandIn::start(Options::default()).await.unwrap();
    engine.step_by_hand(true);
    let (_agent, at) = agent(&server, "w", &[("SERVICES", "comfyui"), ("COMFYUI_URL", &engine.url())]).await;
    let mut page = Stream::open(at).await;
    let mut shares = Vec::new();
    // In the second run the engine has the first node's result still.
    for salt in [1, 2] {
        let graph = json!({
            "1": { "class_type": "EmptyImage", "inputs": { "width": 64, "height": 64, "batch_size": 1, "color": 7 } },
            "2": {
                "class_type": "LabSteps", "_meta": { "title": "The sampler" },
                "inputs": { "image": ["1", 0], "steps": 60, "seconds": 0.001, "preview": "none", "salt": salt },
            },
            "9": { "class_type": "SaveImage", "inputs": { "images": ["2", 0], "filename_prefix": "fx" } },
        });
        engine.step_by_hand(true);
        engine.allow_steps(55);
        let id = queue.submit(json!({ "type": "comfyui", "payload": { "workflow": graph } })).await;
        let told = page
            .section("slots", "step 55", |slots| {
                let job = job(slots, &id)?;
                (job["step"] == json!([55, 60])).then(|| job.clone())
            })
            .await;
        let said = (&told["node"], &told["message"]);
        assert_eq!(said, (&json!("2"), &json!("The sampler: step 55 of 60")), "{told}");
        shares.push(told["progress"].as_f64().unwrap());
        engine.step_by_hand(false);
        queue.reaches(&id, "completed").await;
    }
    assert!(shares.iter().all(|share| (85.0..95.0).contains(share)), "55 of 60 steps are most of it: {shares:?}");
    assert_eq!(json(at, "/api/jobs/current").await, json!([]));
}
