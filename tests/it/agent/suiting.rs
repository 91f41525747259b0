//! Which jobs an agent takes: customers, workflows, prefixes, and a pause on request.

use super::super::support::{Agent, Queue, RedisServer, cli, until};
use super::quick;
use serde_json::{Value, json};

fn of(field: &str, value: &str) -> Value {
    let mut job = quick();
    job[field] = json!(value);
    job
}

#[tokio::test]
async fn customers_count_even_for_jobs_that_waited_before_anybody_asked() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let early = queue.submit(of("customer_id", "acme")).await;
    let foreign = queue.submit(of("customer_id", "rival")).await;
    let nobodys = queue.submit(quick()).await;
    let env = [("ALLOWED_CUSTOMERS", "acme,beta"), ("DENIED_CUSTOMERS", "beta")];
    let mut agent = Agent::start(&server, "theirs", &env).await;
    queue.reaches(&early, "completed").await;
    // By now the class is made of customers, too; the denied one is on both lists.
    let denied = queue.submit(of("customer_id", "beta")).await;
    let late = queue.submit(of("customer_id", "acme")).await;
    queue.reaches(&late, "completed").await;
    let fields: Vec<String> = server.run(&["SMEMBERS", "jobs:class:fields"]).await;
    assert_eq!(fields, ["customer_id"]);
    agent.signal("TERM");
    assert_eq!(agent.ended().await, Some(0));
    for id in [&foreign, &nobodys, &denied] {
        let job = queue.job(id).await;
        assert_eq!((job["status"].as_str(), job.get("attempt")), ("pending", None), "{job:?}");
    }
    // Anybody's worker takes them.
    let _open = Agent::start(&server, "open", &[]).await;
    for id in [&foreign, &nobodys, &denied] {
        queue.reaches(id, "completed").await;
    }
}

#[tokio::test]
async fn a_worker_dedicated_to_a_workflow_takes_no_other_job() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let other = queue.submit(of("workflow_id", "wf-2")).await;
    let without = queue.submit(quick()).await;
    let own = queue.submit(of("workflow_id", "wf-1")).await;
    let mut agent = Agent::start(&server, "dedicated", &[("WORKER_WORKFLOW_ID", "wf-1")]).await;
    queue.reaches(&own, "completed").await;
    queue.reaches(&queue.submit(of("workflow_id", "wf-1")).await, "completed").await;
    agent.signal("TERM");
    assert_eq!(agent.ended().await, Some(0));
    for id in [&other, &without] {
        assert_eq!(queue.field(id, "status").await, "pending");
        assert_eq!(queue.field(id, "attempt").await, "");
    }
}

#[tokio::test]
async fn everything_stays_behind_the_prefix() {
    let server = RedisServer::start().await;
    let mut agent = Agent::spawn(&server, "apart", &[("REDIS_KEY_PREFIX", "{pool-a}:")]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.json");
    std::fs::write(&file, quick().to_string()).unwrap();
    let file = file.to_str().unwrap();
    let set = ["--set", "REDIS_KEY_PREFIX={pool-a}:"];
    let output = cli(&server, &[&["submit", file, "--watch"], set.as_slice()].concat()).await;
    assert_eq!(output.status.code(), Some(0), "{}{}", String::from_utf8_lossy(&output.stderr), agent.log());
    let keys: Vec<String> = server.run(&["KEYS", "*"]).await;
    let outside: Vec<&String> = keys.iter().filter(|key| !key.starts_with("{pool-a}:")).collect();
    assert!(outside.is_empty() && !keys.is_empty(), "{outside:?}");
    // Whoever has no prefix sees none of it.
    let output = cli(&server, &["jobs"]).await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "no jobs\n");
    agent.signal("TERM");
    assert_eq!(agent.ended().await, Some(0));
}

#[tokio::test]
async fn a_paused_worker_claims_nothing_until_it_may_again() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let _: u64 = server.run(&["HSET", "worker:resting:control", "state", "paused"]).await;
    let _agent = Agent::start(&server, "resting", &[("HEARTBEAT_INTERVAL_SECONDS", "0.1")]).await;
    until("it says that it is paused", || async {
        (server.hget("worker:resting", "status").await? == "paused").then_some(())
    })
    .await;
    let id = queue.submit(quick()).await;
    for _ in 0..3 {
        let beat = server.hget("worker:resting", "last_heartbeat").await;
        until("another heartbeat", || async {
            (server.hget("worker:resting", "last_heartbeat").await != beat).then_some(())
        })
        .await;
    }
    assert_eq!(queue.field(&id, "status").await, "pending");
    let _: u64 = server.run(&["HSET", "worker:resting:control", "state", "running"]).await;
    queue.reaches(&id, "completed").await;
}

#[tokio::test]
async fn a_pause_reaches_an_agent_that_is_blocked_on_its_queue() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let env = [("HEARTBEAT_INTERVAL_SECONDS", "0.1"), ("POLL_INTERVAL_MS", "600000")];
    let _agent = Agent::start(&server, "blocked", &env).await;
    queue.reaches(&queue.submit(quick()).await, "completed").await;
    let _: u64 = server.run(&["HSET", "worker:blocked:control", "state", "paused"]).await;
    until("it says that it is paused", || async {
        (server.hget("worker:blocked", "status").await? == "paused").then_some(())
    })
    .await;
    let id = queue.submit(quick()).await;
    // Somebody else finds the job, and the token that wakes for it, too.
    let _other = Agent::start(&server, "other", &[("POLL_INTERVAL_MS", "600000")]).await;
    assert_eq!(queue.reaches(&id, "completed").await["worker_id"], "other");
    let _: u64 = server.run(&["DEL", "worker:blocked:control"]).await;
}
