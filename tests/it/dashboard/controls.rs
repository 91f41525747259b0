//! Orders to a real agent: what is wanted of it lasts, is heard wherever it comes from, and the jobs tell.

use super::browser::{Answer, ask};
use super::{address, agent, get};
use crate::agent::{endless, quick};
use crate::support::{Agent, Queue, RedisServer, cli, until};
use serde_json::Value;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// The file below the agent's state folder.
fn state_file(agent: &Agent, name: &str) -> PathBuf {
    agent.folder.path().join(".local/state/gpu-worker/dashboard").join(name)
}

/// The token that the agent has made.
fn token(agent: &Agent) -> String {
    std::fs::read_to_string(state_file(agent, &format!("{}.token", agent.worker))).expect("the agent has made a token")
}

/// Gives an order as a program does; the answer's status and what it says.
pub async fn order(agent: &Agent, at: SocketAddr, path: &str) -> (u16, Value) {
    let token = token(agent);
    let request = format!(
        "POST /api/control/{path} HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    let Answer { status, body, .. } = ask(at, request).await;
    (status, serde_json::from_str(&body).unwrap_or_default())
}

pub async fn done(agent: &Agent, at: SocketAddr, path: &str) -> String {
    let (status, told) = order(agent, at, path).await;
    assert_eq!((status, &told["ok"]), (200, &Value::Bool(true)), "{path}: {told}");
    told["message"].as_str().expect("a sentence").to_owned()
}

/// The worker's record says so.
pub async fn record_says(server: &RedisServer, worker: &str, status: &str, desired: &str) {
    until(&format!("{worker} is {status} and {desired}"), || async {
        let now: (Option<String>, Option<String>) =
            server.run(&["HMGET", &format!("worker:{worker}"), "status", "desired"]).await;
        (now == (Some(status.to_owned()), Some(desired.to_owned()))).then_some(())
    })
    .await;
}

/// A job handed in to an agent that claims none is still there after the agent has had every chance: a job that comes later
/// and that another worker takes has ended, and the agent's record shows another heartbeat.
async fn is_left_alone(server: &RedisServer, queue: &Queue, worker: &str, id: &str) {
    let beat = async || -> Option<String> { server.run(&["GET", "jobs:tick"]).await };
    let before = beat().await;
    until("the queue's time has passed", || async { (beat().await != before).then_some(()) }).await;
    let before = beat().await;
    until("and once more", || async { (beat().await != before).then_some(()) }).await;
    assert_eq!(queue.field(id, "status").await, "pending", "{worker} leaves it alone");
}

#[tokio::test]
async fn a_paused_agent_claims_nothing_over_its_own_death_until_it_is_resumed() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    // Only what it hears starts a job within the test's patience.
    let slow = ("POLL_INTERVAL_MS", "600000");
    let (mut first, at) = agent(&server, "w", &[slow]).await;
    let running = queue.submit(endless()).await;
    queue.reaches(&running, "in_progress").await;
    let told = done(&first, at, "pause").await;
    assert_eq!(told, "this worker may claim no more jobs; one job still runs, to its end");
    record_says(&server, "w", "busy", "paused").await;
    let unready = get(at, "/readyz").await;
    assert!(unready.status == 503 && unready.body.contains(r#""code":"paused""#), "{}", unready.body);
    let numbers = get(at, "/metrics").await.body;
    assert!(numbers.contains("gpu_worker_slots_desired{desired=\"paused\"} 1"), "{numbers}");
    let listed = String::from_utf8(cli(&server, &["workers"]).await.stdout).unwrap();
    assert!(listed.contains("busy, paused"), "{listed}");
    assert_eq!(queue.field(&running, "status").await, "in_progress", "it goes on");
    assert_eq!(cli(&server, &["cancel", &running]).await.status.code(), Some(0));
    queue.reaches(&running, "cancelled").await;
    record_says(&server, "w", "paused", "paused").await;
    let waiting = queue.submit(quick()).await;
    is_left_alone(&server, &queue, "w", &waiting).await;

    // The order is Redis': neither death nor a new process ends it, and the new one does not even begin.
    first.signal("KILL");
    first.ended().await;
    let second =
        Agent::start(&server, "w", &[("WORKER_DASHBOARD_ENABLED", "true"), ("WORKER_DASHBOARD_PORT", "0"), slow]).await;
    let at = address(&second).await;
    record_says(&server, "w", "paused", "paused").await;
    is_left_alone(&server, &queue, "w", &waiting).await;
    assert_eq!(done(&second, at, "resume").await, "this worker may claim jobs again");
    let job = queue.reaches(&waiting, "completed").await;
    assert_eq!(job["attempt"], "1");
    record_says(&server, "w", "idle", "running").await;
    until("it is ready", || async { (get(at, "/readyz").await.status == 200).then_some(()) }).await;
}

#[tokio::test]
async fn what_was_wanted_outlives_a_redis_that_forgets_it() {
    let mut server = RedisServer::start().await;
    let (agent, at) = agent(&server, "w", &[]).await;
    done(&agent, at, "pause").await;
    record_says(&server, "w", "paused", "paused").await;
    // Nothing of it was on a disk.
    server.kill();
    agent.logged("Redis cannot be reached").await;
    server.revive().await;
    let queue = Queue::of(&server);
    let waiting = queue.submit(quick()).await;
    record_says(&server, "w", "paused", "paused").await;
    let said: Option<String> = server.run(&["HGET", "worker:w:control", "state"]).await;
    assert_eq!(said.as_deref(), Some("paused"), "the agent has told it again");
    is_left_alone(&server, &queue, "w", &waiting).await;
    let lasts: i64 = server.run(&["TTL", "worker:w:control"]).await;
    assert_eq!(lasts, -1, "for as long as nobody says otherwise");
    done(&agent, at, "resume").await;
    queue.reaches(&waiting, "completed").await;
    let lasts: i64 = server.run(&["TTL", "worker:w:control"]).await;
    assert!(lasts > 0, "that it may go on needs no lasting record");
}

#[tokio::test]
async fn orders_from_elsewhere_are_heard_after_redis_has_restarted() {
    let mut server = RedisServer::start().await;
    let (agent, _) = agent(&server, "w", &[]).await;
    server.kill();
    agent.logged("Redis cannot be reached").await;
    server.revive().await;
    record_says(&server, "w", "idle", "running").await;
    let _: u64 = server.run(&["HSET", "worker:w:control", "state", "paused"]).await;
    record_says(&server, "w", "paused", "paused").await;
    let _: u64 = server.run(&["HSET", "worker:w:control", "state", "running"]).await;
    record_says(&server, "w", "idle", "running").await;
}

#[tokio::test]
async fn an_order_written_into_redis_by_hand_is_followed() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let (_agent, at) = agent(&server, "w", &[]).await;
    let set = async |words: &[&str]| -> u64 { server.run(words).await };
    set(&["HSET", "worker:w:control", "state", "paused"]).await;
    // The script of the claim asks, so nothing is claimed from here on, whatever the agent knows.
    let waiting = queue.submit(quick()).await;
    record_says(&server, "w", "paused", "paused").await;
    assert_eq!(queue.field(&waiting, "status").await, "pending");
    assert!(get(at, "/readyz").await.body.contains(r#""code":"paused""#));
    set(&["HSET", "worker:w:control", "state", "running"]).await;
    queue.reaches(&waiting, "completed").await;
    set(&["HSET", "worker:w:control", "state", "draining"]).await;
    record_says(&server, "w", "drained", "draining").await;
    set(&["DEL", "worker:w:control"]).await;
    record_says(&server, "w", "idle", "running").await;
}

#[tokio::test]
async fn an_agent_that_drains_says_when_nothing_runs_any_more_and_stays() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let (agent, at) = agent(&server, "w", &[]).await;
    let running = queue.submit(endless()).await;
    queue.reaches(&running, "in_progress").await;
    assert!(done(&agent, at, "drain").await.contains("drains: one job still runs"));
    assert!(get(at, "/readyz").await.body.contains(r#""code":"draining""#));
    let waiting = queue.submit(quick()).await;
    assert!(!agent.log().contains("drained: nothing"), "{}", agent.log());
    assert!(done(&agent, at, &format!("cancel-job/{running}")).await.contains("asked to stop"));
    queue.reaches(&running, "cancelled").await;
    record_says(&server, "w", "drained", "draining").await;
    agent.logged("drained: nothing of it runs any more").await;
    assert!(get(at, "/readyz").await.body.contains(r#""code":"drained""#));
    assert_eq!(queue.field(&waiting, "status").await, "pending");
    done(&agent, at, "resume").await;
    queue.reaches(&waiting, "completed").await;
}

#[tokio::test]
async fn one_of_several_workers_is_paused_and_the_agent_stays_ready() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let env = [("CONCURRENT_JOBS", "2"), ("WORKER_DASHBOARD_ENABLED", "true"), ("WORKER_DASHBOARD_PORT", "0")];
    let agent = Agent::spawn(&server, "w", &env);
    agent.registered(&server, "w-0").await;
    agent.registered(&server, "w-1").await;
    let at = address(&agent).await;
    assert!(done(&agent, at, "pause/w-0").await.starts_with("w-0 may claim no more jobs"));
    for _ in 0..4 {
        let id = queue.submit(quick()).await;
        assert_eq!(queue.reaches(&id, "completed").await["worker_id"], "w-1");
    }
    until("it is ready", || async { (get(at, "/readyz").await.status == 200).then_some(()) }).await;
    let (status, told) = order(&agent, at, "pause/w-9").await;
    assert_eq!((status, told["error"].as_str()), (404, Some("this agent has no worker w-9")));
    assert!(done(&agent, at, "pause").await.starts_with("all 2 workers of this agent"));
    record_says(&server, "w-1", "paused", "paused").await;
    assert!(get(at, "/readyz").await.body.contains(r#""code":"paused""#));
}

#[tokio::test]
async fn a_failed_job_is_tried_again_and_what_cannot_be_done_is_refused_with_a_remedy() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let (agent, at) = agent(&server, "w", &[]).await;
    let mut refused = quick();
    refused["payload"]["fail_at_step"] = 0.into();
    refused["payload"]["failure"] = "generation_refusal".into();
    refused["payload"]["fail_attempts"] = 1.into();
    let id = queue.submit(refused).await;
    queue.reaches(&id, "failed").await;
    let life = queue.field(&id, "created_at").await;
    assert_eq!(done(&agent, at, &format!("retry-job/{id}")).await, format!("{id} waits again"));
    until("it has ended once more, in another life", || async {
        let job = queue.job(&id).await;
        (job["created_at"] != life && ["failed", "completed"].contains(&job["status"].as_str())).then_some(())
    })
    .await;
    let good = queue.submit(quick()).await;
    queue.reaches(&good, "completed").await;
    for (path, expected, says) in [
        (format!("cancel-job/{good}"), 409, "has ended already: completed"),
        (format!("retry-job/{good}"), 409, "is completed"),
        ("cancel-job/nothing".to_owned(), 404, "there is no job nothing"),
        ("retry-job/nothing".to_owned(), 404, "there is no job nothing"),
        ("cancel-job/..%2f..%2fworker:w".to_owned(), 404, "a job id is"),
        ("retry-job/a%20b".to_owned(), 404, "a job id is"),
        ("free-vram/7".to_owned(), 404, "no GPU 7"),
    ] {
        let (status, told) = order(&agent, at, &path).await;
        assert_eq!(status, expected, "{path}: {told}");
        assert!(told["error"].as_str().is_some_and(|error| error.contains(says)), "{path}: {told}");
        assert!(told["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{path}: {told}");
    }
    assert_eq!(done(&agent, at, "probe").await, "asked: all engines are well (1)");
}

#[tokio::test]
async fn without_redis_an_order_is_refused_at_once_and_says_so() {
    let mut server = RedisServer::start().await;
    let (agent, at) = agent(&server, "w", &[]).await;
    server.kill();
    agent.logged("Redis cannot be reached").await;
    let (status, told) = order(&agent, at, "pause").await;
    assert_eq!(status, 503, "{told}");
    assert!(told["error"].as_str().is_some_and(|error| error.contains("Redis")), "{told}");
}

#[tokio::test]
async fn the_token_is_in_a_file_of_the_owner_alone_new_at_each_start_and_gone_with_the_agent() {
    let server = RedisServer::start().await;
    let (mut agent, at) = agent(&server, "w", &[]).await;
    for name in ["w.token", "w.url"] {
        let mode = std::fs::metadata(state_file(&agent, name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{name}");
    }
    let folder = state_file(&agent, "");
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::read_to_string(state_file(&agent, "w.url")).unwrap(), format!("http://{at}/"));
    let made = token(&agent);
    assert!(made.len() >= 32 && !agent.log().contains(&made));
    agent.signal("TERM");
    assert_eq!(agent.ended().await, Some(0));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "nothing is left");
    let (other, _) = super::agent(&server, "w", &[]).await;
    assert_ne!(token(&other), made);
    let set = [("WORKER_DASHBOARD_TOKEN", "0123456789abcdef0123")];
    let (given, _) = super::agent(&server, "w2", &set).await;
    assert!(!state_file(&given, "w2.token").exists(), "a token that was set is in no file of ours");
}
