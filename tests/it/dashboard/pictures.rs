//! Pictures of work that goes on and of results: shown by what stands in them, found by the agent's own notes.

use super::stream::{Stream, json};
use super::{agent, get};
use crate::support::{Queue, RedisServer, until};
use serde_json::json;
use stand_ins::comfyui::{Options, StandIn};

#[tokio::test]
async fn a_running_job_is_shown_as_its_picture_sharpens() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let engine = StandIn::start(Options::default()).await.unwrap();
    engine.step_by_hand(true);
    let (_agent, at) = agent(&server, "w", &[("SERVICES", "comfyui"), ("COMFYUI_URL", &engine.url())]).await;
    let graph = json!({
        "1": { "class_type": "EmptyImage", "inputs": { "width": 64, "height": 64, "batch_size": 1, "color": 7 } },
        "2": {
            "class_type": "LabSteps",
            "inputs": { "image": ["1", 0], "steps": 3, "seconds": 0.001, "preview": "JPEG", "salt": 1 },
        },
        "9": { "class_type": "SaveImage", "inputs": { "images": ["2", 0], "filename_prefix": "fx" } },
    });
    let job = json!({ "type": "comfyui", "payload": { "workflow": graph }, "ctx": { "previews": true } });
    let mut page = Stream::open(at).await;
    let id = queue.submit(job).await;
    let mut shown = String::new();
    for _ in 0..2 {
        engine.starving().await;
        engine.allow_steps(1);
        shown = page
            .section("slots", "another picture", |slots| {
                let preview = slots[0]["job"]["preview"].as_str()?;
                (preview != shown).then(|| preview.to_owned())
            })
            .await;
        assert!(shown.starts_with("/api/preview/w?v="), "{shown}");
        let picture = get(at, &shown).await;
        assert_eq!((picture.status, picture.headers["content-type"].as_str()), (200, "image/jpeg"));
        assert_eq!(picture.headers["x-content-type-options"], "nosniff");
    }
    let slots = json(at, "/api/jobs/current").await;
    assert_eq!((&slots[0]["id"], &slots[0]["worker"]), (&json!(id), &json!("w")));
    engine.step_by_hand(false);
    queue.reaches(&id, "completed").await;
    until("nothing is to be seen any more", || async { (get(at, &shown).await.status == 204).then_some(()) }).await;
    assert_eq!(get(at, "/api/preview/nobody").await.status, 404);
}

#[tokio::test]
async fn an_output_is_shown_if_it_is_a_picture_of_ours_and_nothing_else_is() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let (agent, at) = agent(&server, "w", &[]).await;
    let id = queue
        .submit(
            json!({"type": "simulation", "payload": {"steps": 1, "step_ms": 1, "outputs": 2, "width": 8, "height": 8}}),
        )
        .await;
    let history = until("its end", || async {
        let history = json(at, "/api/jobs/history").await;
        (history[0]["id"] == id.as_str()).then_some(history)
    })
    .await;
    let end = format!("/api/outputs/{id}/{}", history[0]["number"]);
    assert_eq!(history[0]["outputs"][1]["url"], format!("{end}/1"));
    assert_eq!(get(at, &format!("{end}/1")).await.status, 200);
    let log = agent.folder.path().join("log");
    assert!(log.exists(), "something to steal");
    for path in [
        format!("{end}/2"),
        format!("{end}/-1"),
        format!("{end}/"),
        format!("{end}/+1"),
        format!("{end}/..%2f..%2f..%2flog"),
        format!("/api/outputs/..%2f{id}/1/0"),
        format!("/api/outputs/{id}%2f1/0"),
        format!("/api/outputs/{id}%2f1/1/0"),
        "/api/outputs/%2e%2e/1/0".to_owned(),
        "/api/outputs/no-such-job/1/0".to_owned(),
        format!("{end}/99999999999999999999999"),
    ] {
        assert_eq!(get(at, &path).await.status, 404, "{path}");
    }
    // What lies there now counts, not what was noted.
    let file = agent.folder.path().join("outputs").join(&id).join("1").join("simulation-1.png");
    std::fs::write(&file, "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>").unwrap();
    assert_eq!(get(at, &format!("{end}/0")).await.status, 404);
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&log, &file).unwrap();
    assert_eq!(get(at, &format!("{end}/0")).await.status, 404);
}

#[tokio::test]
async fn a_tile_is_given_a_small_picture_and_each_end_its_own() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let (agent, at) = agent(&server, "w", &[]).await;
    let large = json!({"steps": 1, "step_ms": 1, "outputs": 1, "width": 900, "height": 700});
    let id = queue.submit(json!({"type": "simulation", "payload": large})).await;
    let end = until("its end", || async {
        let history = json(at, "/api/jobs/history").await;
        (history[0]["id"] == id.as_str()).then(|| history[0].clone())
    })
    .await;
    let output = &end["outputs"][0];
    let (thumb, url) = (output["thumb"].as_str().unwrap(), output["url"].as_str().unwrap());
    let number = end["number"].as_u64().unwrap();
    assert_eq!((url, thumb), (&*format!("/api/outputs/{id}/{number}/0"), &*format!("{url}/small")));
    let whole = get(at, url).await;
    assert_eq!((whole.status, whole.headers["content-length"].parse().ok()), (200, output["bytes"].as_u64()));
    let small = get(at, thumb).await;
    assert_eq!((small.status, small.headers["content-type"].as_str()), (200, "image/webp"), "{}", agent.log());
    let length: u64 = small.headers["content-length"].parse().unwrap();
    assert!(length < 20_000 && length * 4 < output["bytes"].as_u64().unwrap(), "{length} bytes of {output}");
    let stranger =
        queue.submit(json!({"type": "simulation", "payload": {"steps": 1, "step_ms": 1, "outputs": 0}})).await;
    queue.reaches(&stranger, "completed").await;
    for path in [
        format!("/api/outputs/{id}/{}/0", number + 1),
        format!("/api/outputs/{stranger}/{number}/0"),
        format!("/api/outputs/{stranger}/{number}/0/small"),
        format!("/api/outputs/{id}/0/0/small"),
    ] {
        assert_eq!(get(at, &path).await.status, 404, "{path}");
    }
    // A file that says that it is a picture and is none.
    let file = agent.folder.path().join("outputs").join(&id).join("1").join("simulation-1.png");
    let mut broken = std::fs::read(&file).unwrap();
    let middle = broken.len() / 2;
    broken[middle..].fill(7);
    broken.extend(vec![7; 200_000]);
    std::fs::write(&file, broken).unwrap();
    assert_eq!(get(at, thumb).await.status, 404);
    assert_eq!(get(at, "/healthz").await.status, 200);
}
