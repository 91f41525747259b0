//! `explain`: why a job waits, by what the live workers advertise.

use super::super::support::{Agent, Queue, RedisServer, cli, until};
use super::{endless, quick};
use serde_json::{Value, json};

async fn told(server: &RedisServer, id: &str) -> (Value, String) {
    let output = cli(server, &["explain", id, "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = cli(server, &["explain", id]).await;
    (serde_json::from_slice(&output.stdout).unwrap(), String::from_utf8(text.stdout).unwrap())
}

fn waits_for(told: &Value, state: &str) -> bool {
    told["state"].as_str().is_some_and(|text| text.contains(state))
}

#[tokio::test]
async fn a_job_that_fits_nowhere_is_told_with_every_reason_of_every_worker() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let mut job = quick();
    job["requirements"] = json!({"hardware": {"gpu_memory_gb": 100}});
    let id = queue.submit(job).await;
    let (nobody, _) = told(&server, &id).await;
    assert!(waits_for(&nobody, "no worker lives"), "{nobody}");
    let _agents = [
        Agent::start(&server, "w1", &[]).await,
        Agent::start(&server, "w2", &[("GPU_COUNT", "1"), ("GPU_MEMORY_GB", "24")]).await,
    ];
    let mut gone = Agent::start(&server, "w3", &[]).await;
    gone.signal("TERM");
    gone.ended().await;
    let (found, text) = told(&server, &id).await;
    assert!(waits_for(&found, "none of the 2 that live does"), "{found}");
    assert_eq!(found["needs"], json!(["100 GB of GPU memory"]));
    let codes = |at: usize| (&found["workers"][at]["worker"], &found["workers"][at]["codes"]);
    assert_eq!(codes(0), (&json!("w1"), &json!(["gpu_memory"])));
    assert_eq!(codes(1), (&json!("w2"), &json!(["gpu_memory"])));
    for words in ["the service simulation", "w1 does not fit", "there is no GPU", "w2 does not fit", "the GPU has 24"] {
        assert!(text.contains(words), "{words:?} is missing:\n{text}");
    }
}

#[tokio::test]
async fn a_job_that_fits_waits_for_its_turn_and_what_holds_the_workers_up_is_named() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let _agent = Agent::start(&server, "w", &[]).await;
    let running = queue.submit(endless()).await;
    queue.reaches(&running, "in_progress").await;
    let id = queue.submit(quick()).await;
    assert_eq!(cli(&server, &["pause", "w"]).await.status.code(), Some(0));
    let (found, text) = until("the record says what it is at", || async {
        let (found, text) = told(&server, &id).await;
        (found["workers"][0]["codes"] == json!(["paused", "busy"])).then_some((found, text))
    })
    .await;
    assert!(waits_for(&found, "1 fit, and none of them is free"), "{found}");
    assert!(text.contains("w fits") && text.contains("gpu-worker resume w") && text.contains(&running), "{text}");
    let (found, _) = told(&server, &running).await;
    assert!(waits_for(&found, "it runs on w"), "{found}");
    assert_eq!(cli(&server, &["cancel", &running]).await.status.code(), Some(0));
    queue.reaches(&running, "cancelled").await;
    assert!(waits_for(&told(&server, &running).await.0, "it is cancelled"));
    assert_eq!(cli(&server, &["explain", "unknown"]).await.status.code(), Some(1));
}

#[tokio::test]
async fn a_job_that_waits_for_its_next_attempt_is_told_with_its_failure() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let _agent = Agent::start(&server, "w", &[("RETRY_BACKOFF_MS", "60000")]).await;
    let mut job = quick();
    job["payload"] = json!({"fail_at_step": 0, "failure": "service_error"});
    let id = queue.submit(job).await;
    let found = until("its attempt has failed", || async {
        let (found, _) = told(&server, &id).await;
        waits_for(&found, "it waits for its time").then_some(found)
    })
    .await;
    assert!(waits_for(&found, "s from now, since its last attempt failed: the simulation failed"), "{found}");
}
