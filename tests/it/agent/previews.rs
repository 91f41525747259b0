//! Pictures of work that goes on, for those who watch the events of a job: only if the job asks, and never as bytes.

use super::super::support::{Agent, Queue, RedisServer, until};
use gpu_worker::protocol::event::Event;
use serde_json::{Value, json};
use stand_ins::comfyui::{Options, Release, StandIn};
use std::path::PathBuf;

/// Three steps, each with a picture, whatever the release.
fn shown_steps(ctx: Value) -> Value {
    let graph = json!({
        "1": { "class_type": "EmptyImage", "inputs": { "width": 64, "height": 64, "batch_size": 1, "color": 7 } },
        "2": {
            "class_type": "LabSteps",
            "inputs": { "image": ["1", 0], "steps": 3, "seconds": 0.001, "preview": "JPEG", "salt": 1 },
        },
        "9": { "class_type": "SaveImage", "inputs": { "images": ["2", 0], "filename_prefix": "fx" } },
    });
    json!({ "type": "comfyui", "payload": { "workflow": graph }, "ctx": ctx })
}

fn references(events: &[Event]) -> Vec<(String, String)> {
    let named = |event: &Event| {
        let text = |name: &str| event.get(name).map(str::to_owned);
        Some((text("preview_url")?, text("preview_media_type")?))
    };
    events.iter().filter_map(named).collect()
}

fn path_of(url: &str) -> PathBuf {
    url::Url::parse(url).unwrap().to_file_path().unwrap()
}

/// Waits until an event names a picture, and gives what the picture holds and where it is.
async fn picture_of(queue: &Queue, id: &str, agent: &Agent) -> (Vec<u8>, PathBuf, String) {
    let (url, media_type) = until(&format!("an event names a picture; log:\n{}", agent.log()), || async {
        references(&queue.events(id).await).pop()
    })
    .await;
    let path = path_of(&url);
    (std::fs::read(&path).unwrap(), path, media_type)
}

#[tokio::test]
async fn a_job_that_asks_is_shown_by_reference_and_leaves_no_picture_behind() {
    for release in [Release::V0_27_0, Release::V0_3_64] {
        let server = RedisServer::start().await;
        let queue = Queue::of(&server);
        let engine = StandIn::start(Options { release, ..Options::default() }).await.unwrap();
        engine.step_by_hand(true);
        let agent = Agent::start(&server, "w", &[("SERVICES", "comfyui"), ("COMFYUI_URL", &engine.url())]).await;
        let id = queue.submit(shown_steps(json!({ "previews": true }))).await;
        engine.starving().await;
        engine.allow_steps(1);
        let (bytes, path, media_type) = picture_of(&queue, &id, &agent).await;
        assert!(bytes.starts_with(&[0xFF, 0xD8, 0xFF]), "a JPEG");
        assert_eq!(media_type, "image/jpeg");
        let own = agent.folder.path().join("outputs").join(".previews").join(&id);
        assert!(path.starts_with(&own), "{}", path.display());
        engine.step_by_hand(false);
        let job = queue.reaches(&id, "completed").await;
        assert!(!job["result"].contains(".previews") && job["result"].len() < 5_000);
        assert!(!own.exists(), "the result is there, the pictures are gone");
        queue.ended_once(&id).await;
    }
}

#[tokio::test]
async fn a_job_that_does_not_ask_is_not_shown() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let engine = StandIn::start(Options::default()).await.unwrap();
    let agent = Agent::start(&server, "w", &[("SERVICES", "comfyui"), ("COMFYUI_URL", &engine.url())]).await;
    for ctx in [json!({}), json!({ "previews": false }), json!({ "previews": "yes" })] {
        let id = queue.submit(shown_steps(ctx)).await;
        queue.reaches(&id, "completed").await;
        assert_eq!(references(&queue.events(&id).await), []);
    }
    assert!(!agent.folder.path().join("outputs").join(".previews").exists());
}

#[tokio::test]
async fn automatic1111_is_asked_for_pictures_of_our_own_task() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let engine = stand_ins::a1111::StandIn::start(stand_ins::a1111::Options {
        step_time: std::time::Duration::from_millis(1),
        ..Default::default()
    })
    .await
    .unwrap();
    let agent = Agent::start(&server, "w", &[("SERVICES", "a1111"), ("A1111_URL", &engine.url())]).await;
    let payload = json!({ "prompt": "a red fox", "steps": 1_000_000, "width": 64, "height": 64 });
    let id = queue.submit(json!({ "type": "a1111", "payload": payload, "ctx": { "previews": true } })).await;
    let (bytes, path, media_type) = picture_of(&queue, &id, &agent).await;
    assert!(bytes.starts_with(b"\x89PNG") && media_type == "image/png");
    // A job that does not end well leaves its last picture for a while: it may tell why.
    assert_eq!(super::super::support::cli(&server, &["cancel", &id]).await.status.code(), Some(0));
    queue.reaches(&id, "cancelled").await;
    assert!(path.parent().unwrap().read_dir().unwrap().next().is_some());
}
