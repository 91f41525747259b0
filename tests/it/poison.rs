//! A job that kills its workers: it must not do so for ever, people must be able to see what it did, and it must get
//! another life when they ask for one. And the other way round: jobs whose worker has died for other reasons go on.

use super::agent::{endless, picture};
use super::support::{Agent, Queue, RedisServer, cli, until};
use serde_json::{Value, json};
use stand_ins::comfyui::{Options, StandIn};
use std::time::Duration;

/// Takes its worker with it each time, right after the engine has got the work.
const DEADLY: (&str, &str) = ("GPU_WORKER_FAILPOINT", "prompt.accepted:kill");

fn env(url: &str) -> Vec<(&'static str, &str)> {
    vec![
        ("SERVICES", "comfyui"),
        ("COMFYUI_URL", url),
        ("GPU_COUNT", "0"),
        ("LEASE_SECONDS", "0.5"),
        ("MAX_STALLS", "2"),
    ]
}

/// What the command line says of a job that has been given up, and that its next life ends well.
async fn is_seen_and_replayed(server: &RedisServer, id: &str, last: &str, losses: &str) {
    let listed = cli(server, &["jobs"]).await;
    let listed = String::from_utf8(listed.stdout).unwrap();
    let line = listed.lines().find(|line| line.contains(id)).expect("it is listed");
    assert!(line.contains("failed") && line.contains("lost by its worker 3 times"), "{line}");
    let shown = cli(server, &["jobs", "show", id, "--json"]).await;
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let count = if losses == "stalled" { "stalled" } else { "takeovers" };
    let job =
        ["failure_type", "failure_reason", count, "retry_count", "last_failed_worker"].map(|name| &shown["job"][name]);
    assert_eq!(job, ["system_error", "worker_lost", "3", "0", last], "the budget of attempts is untouched");
    let events = shown["events"].as_array().unwrap();
    let kinds: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == losses).count(), 2, "{kinds:?}");
    assert_eq!(kinds.last(), Some(&"failure"));

    assert_eq!(cli(server, &["jobs", "replay", id]).await.status.code(), Some(0));
    let queue = Queue::of(server);
    let job = queue.reaches(id, "completed").await;
    let lost = [job.get("stalled"), job.get("takeovers")];
    assert_eq!(lost, [None, None], "a life of its own");
    queue.ended_once(id).await;
}

#[tokio::test]
async fn a_job_that_kills_its_worker_at_each_restart_is_given_up_and_its_engine_stopped() {
    let server = RedisServer::start().await;
    let options = Options { step_time: Duration::from_millis(60), ..Options::default() };
    let (queue, engine) = (Queue::of(&server), StandIn::start(options).await.unwrap());
    let url = engine.url();
    // The lease does not run out meanwhile: it is the restarts that count.
    let env = [&env(&url)[..], &[("LEASE_SECONDS", "30")]].concat();
    let mut long = picture();
    long["payload"]["workflow"]["3"]["inputs"]["steps"] = 1000.into();
    let id = queue.submit(long).await;
    // The second and third process take the job up from the engine and die at the next thing that they do.
    let deaths = ["prompt.accepted:kill", "engine.work_found:kill", "engine.socket_open:kill"];
    for (n, death) in deaths.into_iter().enumerate() {
        let armed = [&env[..], &[("GPU_WORKER_FAILPOINT", death)]].concat();
        let mut agent = Agent::spawn(&server, "w1", &armed);
        assert_eq!(agent.ended().await, None, "killed at {death}: {}", agent.log());
        assert_eq!(queue.job(&id).await.get("takeovers").map_or(0, |text| text.parse().unwrap()), n);
    }
    let agent = Agent::start(&server, "w1", &env).await;
    queue.reaches(&id, "failed").await;
    queue.ended_once(&id).await;
    until("the engine works for nobody", || async { (engine.executions()[0].outcome == "interrupted").then_some(()) })
        .await;
    agent.logged("failed as worker_lost").await;
    // All steps at once.
    engine.step_by_hand(true);
    engine.allow_steps(100_000);
    is_seen_and_replayed(&server, &id, "w1", "reattached").await;
}

#[tokio::test]
async fn a_job_that_kills_one_worker_after_the_other_is_given_up_by_whoever_is_left() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    // It serves nothing that the job asks for: all that it does is to notice.
    let witness = Agent::start(&server, "witness", &[("LEASE_SECONDS", "0.5"), ("MAX_STALLS", "2")]).await;
    let id = queue.submit(picture()).await;
    for worker in ["w1", "w2", "w3"] {
        let engine = StandIn::start(Options::default()).await.unwrap();
        let url = engine.url();
        let mut agent = Agent::spawn(&server, worker, &[&env(&url)[..], &[DEADLY]].concat());
        assert_eq!(agent.ended().await, None, "{}", agent.log());
        assert_eq!(queue.field(&id, "worker_id").await, worker);
        until("the loss is noticed", || async { (queue.field(&id, "status").await != "in_progress").then_some(()) })
            .await;
    }
    queue.reaches(&id, "failed").await;
    queue.ended_once(&id).await;
    witness.logged("\"given_up\":1").await;
    let engine = StandIn::start(Options::default()).await.unwrap();
    let url = engine.url();
    let _heir = Agent::start(&server, "w4", &env(&url)).await;
    is_seen_and_replayed(&server, &id, "w3", "stalled").await;
}

#[tokio::test]
async fn the_budget_of_lost_workers_and_the_budget_of_attempts_are_two() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let env = [("LEASE_SECONDS", "0.5"), ("MAX_STALLS", "1"), ("RETRY_BACKOFF_MS", "1")];
    // Fails at its first two attempts of three; before them a worker dies with it.
    let payload = json!({"steps": 1, "step_ms": 1, "outputs": 0, "fail_at_step": 0, "fail_attempts": 3});
    let id = queue.submit(json!({"type": "simulation", "max_retries": 3, "payload": payload})).await;
    let deadly = [&env[..], &[("GPU_WORKER_FAILPOINT", "job.read:kill")]].concat();
    let mut agent = Agent::spawn(&server, "w1", &deadly);
    assert_eq!(agent.ended().await, None, "{}", agent.log());
    let _heir = Agent::start(&server, "w2", &env).await;
    let job = queue.reaches(&id, "completed").await;
    let counts = ["attempt", "retry_count", "stalled"].map(|name| job[name].as_str());
    assert_eq!(counts, ["4", "2", "1"], "{:?}", queue.kinds(&id).await);
    queue.ended_once(&id).await;
}

#[tokio::test]
async fn all_that_an_agent_ran_runs_elsewhere_when_it_never_returns() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let lease = ("LEASE_SECONDS", "1");
    let mut gone = Agent::spawn(&server, "gone", &[lease, ("CONCURRENT_JOBS", "3"), ("GPU_COUNT", "0")]);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(queue.submit(endless()).await);
    }
    for id in &ids {
        assert!(queue.reaches(id, "in_progress").await["worker_id"].starts_with("gone-"));
    }
    let heir = Agent::spawn(&server, "heir", &[lease, ("CONCURRENT_JOBS", "3"), ("GPU_COUNT", "0")]);
    for slot in ["heir-0", "heir-1", "heir-2"] {
        heir.registered(&server, slot).await;
    }
    gone.signal("KILL");
    gone.ended().await;
    for id in &ids {
        until("the job runs elsewhere", || async {
            let job = queue.job(id).await;
            (job["worker_id"].starts_with("heir-") && job["status"] == "in_progress").then_some(())
        })
        .await;
        assert_eq!(queue.field(id, "retry_count").await, "0");
    }
}
