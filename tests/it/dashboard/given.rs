//! What the page is given to tell: times of changes, words of states, whole counts, what may be done.

use super::browser::ask;
use super::controls::{done, order};
use super::stream::json;
use super::{agent, get};
use crate::agent::{endless, quick};
use crate::fencing::bench::Bench;
use crate::support::{Agent, Queue, RedisServer, cli, until};
use serde_json::{Value, json};

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.expect("after 1970").as_millis()).expect("before the year 292 million")
}

#[tokio::test]
async fn a_change_is_told_with_its_own_time_and_not_with_that_of_the_first_look() {
    let mut server = RedisServer::start_durable().await;
    let (agent, at) = agent(&server, "w", &[]).await;
    json(at, "/api/status").await;
    server.kill();
    agent.logged("Redis cannot be reached").await;
    server.revive().await;
    agent.logged("Redis is back").await;
    let queue = Queue::of(&server);
    let _: i64 = server.run(&["HSET", "worker:w:control", "state", "paused"]).await;
    agent.logged("claims no more jobs").await;
    // Whatever woke with the change has had its turn by the time that a later request is answered.
    get(at, "/healthz").await;
    let told_by = now_ms();
    until("time has passed", || async { (now_ms() > told_by + 20).then_some(()) }).await;
    let status = json(at, "/api/status").await;
    assert_eq!(status["state"], "paused", "{status}");
    assert!(status["redis"]["since"].as_i64().unwrap() <= told_by, "it was back before anybody looked: {status}");
    assert!(status["since"].as_i64().unwrap() <= told_by, "it was paused before anybody looked: {status}");
    drop(queue);
}

#[tokio::test]
async fn an_agent_that_is_drained_says_so_and_one_that_drains_says_that() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let (agent, at) = agent(&server, "w", &[]).await;
    let id = queue.submit(endless()).await;
    queue.reaches(&id, "in_progress").await;
    done(&agent, at, "drain").await;
    let busy = json(at, "/api/status").await;
    assert_eq!((&busy["status"], &busy["isRunning"]), (&json!("draining"), &json!(false)), "{busy}");
    assert_eq!(cli(&server, &["cancel", &id]).await.status.code(), Some(0));
    let drained = until("it is drained", || async {
        Some(json(at, "/api/status").await).filter(|status| status["status"] == "drained")
    })
    .await;
    assert_eq!((&drained["state"], &drained["isRunning"]), (&json!("drained"), &json!(false)), "{drained}");
    assert!(drained["sentence"].as_str().unwrap().starts_with("Nothing runs"), "{drained}");
}

#[tokio::test]
async fn the_agent_is_named_with_its_machine() {
    let server = RedisServer::start().await;
    let (_agent, at) = agent(&server, "box-gpu7", &[]).await;
    let snapshot = json(at, "/api/snapshot").await;
    assert_eq!(snapshot["worker"]["id"], "box-gpu7");
    assert!(snapshot["worker"]["host"].as_str().is_some_and(|host| !host.is_empty()), "{}", snapshot["worker"]);
    assert_eq!(snapshot["worker"]["host"], snapshot["system"]["host"]);
}

#[tokio::test]
async fn every_loop_says_what_it_is_for_and_an_order_is_logged_in_words() {
    let server = RedisServer::start().await;
    let (agent, at) = agent(&server, "w", &[]).await;
    let snapshot = json(at, "/api/snapshot").await;
    let loops = snapshot["loops"].as_array().unwrap();
    assert!(loops.iter().any(|one| one["name"] == "dashboards"), "{loops:?}");
    for one in loops {
        assert_ne!(one["doing"], "comes round", "{one}");
    }
    assert_eq!(order(&agent, at, "retry-job/no-such-job").await.0, 404);
    agent.logged("\"order\":\"retry job no-such-job\"").await;
    done(&agent, at, "pause").await;
    agent.logged("\"order\":\"pause\"").await;
}

#[tokio::test]
async fn whatever_path_is_asked_for_the_refusal_is_json() {
    let server = RedisServer::start().await;
    let (_agent, at) = agent(&server, "w", &[]).await;
    for path in [
        "/api/outputs/x/-1",
        "/api/outputs/x/1/-1",
        "/api/outputs/x/99999999999999999999999/0",
        "/api/outputs/x/1/0/small/er",
        "/api/outputs/%ff/1/0",
        "/api/outputs/%ff/1/0/small",
        "/api/preview/%ff",
        "/api/nothing",
    ] {
        let answer = get(at, path).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.body);
        assert_eq!(answer.headers.get("content-type").map(String::as_str), Some("application/json"), "{path}");
        let told: Value = serde_json::from_str(&answer.body).unwrap();
        assert!(told["error"].as_str().is_some_and(|error| !error.is_empty()), "{path}: {told}");
    }
}

#[tokio::test]
async fn orders_with_paths_that_are_no_text_are_refused_in_json() {
    let server = RedisServer::start().await;
    let (agent, at) = agent(&server, "w", &[]).await;
    for path in ["pause/%ff", "cancel-job/%ff", "free-vram/%ff", "free-vram/-1"] {
        let (status, told) = order(&agent, at, path).await;
        assert_eq!(status, 404, "{path}: {told}");
        assert!(told["error"].is_string() && told["remedy"].is_string(), "{path}: {told}");
    }
    assert_eq!(ask(at, format!("GET /launch/%ff HTTP/1.1\r\nHost: {at}\r\n\r\n")).await.status, 404);
}

#[tokio::test]
async fn what_ended_says_whether_it_can_be_tried_again_and_counts_are_whole() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let (agent, at) = agent(&server, "w", &[("RETRY_BACKOFF_MS", "10")]).await;
    let good = queue.submit(quick()).await;
    queue.reaches(&good, "completed").await;
    let failing = json!({"type": "simulation", "max_retries": 2, "payload": {
        "steps": 1, "step_ms": 1, "outputs": 0, "fail_at_step": 0, "failure": "network_error",
    }});
    let bad = queue.submit(failing).await;
    queue.reaches(&bad, "failed").await;
    let stopped = queue.submit(endless()).await;
    queue.reaches(&stopped, "in_progress").await;
    assert_eq!(cli(&server, &["cancel", &stopped]).await.status.code(), Some(0));
    let history = until("the last end is in the history", || async {
        let snapshot = json(at, "/api/snapshot").await;
        let history = snapshot["jobs"]["history"].as_array()?.clone();
        (history.first()?["id"] == stopped.as_str()).then_some(history)
    })
    .await;
    let of = |id: &str| -> Vec<(&str, bool)> {
        let ends = history.iter().filter(|end| end["id"] == id);
        ends.map(|end| (end["state"].as_str().unwrap(), end["can_retry"].as_bool().unwrap())).collect()
    };
    assert_eq!((of(&stopped), of(&good)), (vec![("cancelled", true)], vec![("completed", false)]));
    // An attempt that another one follows is not the job's end.
    let failed = of(&bad);
    assert_eq!(failed.first(), Some(&("failed", true)), "{failed:?}");
    assert!(failed.len() > 1 && failed[1..].iter().all(|end| *end == ("failed", false)), "{failed:?}");
    let stats = json(at, "/api/stats").await;
    assert_eq!(stats["completed_last_hour"], json!(1), "{stats}");
    assert_eq!(done(&agent, at, &format!("retry-job/{stopped}")).await, format!("{stopped} waits again"));
    queue.reaches(&stopped, "in_progress").await;
    cli(&server, &["cancel", &stopped]).await;
}

#[tokio::test]
async fn memory_that_is_declared_is_told_and_what_nobody_reads_is_not() {
    let server = RedisServer::start().await;
    let env = [("GPU_COUNT", "1"), ("GPU_MEMORY_GB", "24")];
    let (_agent, at): (Agent, _) = agent(&server, "w", &env).await;
    let gpus = json(at, "/api/gpus").await;
    let memory = &gpus["gpus"][0]["memory"];
    assert_eq!((&memory["total_bytes"], &memory["used_bytes"]), (&json!(24_u64 << 30), &Value::Null), "{gpus}");
    assert_eq!(gpus["gpus"][0]["can_free"], false, "the simulation holds nothing: {gpus}");
}

#[tokio::test]
async fn memory_can_be_freed_where_an_engine_on_the_card_can_let_it_go() {
    let bench = Bench::ready(&[("WORKER_DASHBOARD_ENABLED", "true"), ("WORKER_DASHBOARD_PORT", "0")]).await;
    let at = super::address(&bench.agent).await;
    let gpus = json(at, "/api/gpus").await;
    assert_eq!((&gpus["gpus"][0]["can_free"], &gpus["gpus"][1]["can_free"]), (&json!(true), &json!(true)), "{gpus}");
}
