//! What the agent survives: Redis away at the start, Redis gone in mid-job, its own sudden death.

use super::super::support::agent::command;
use super::super::support::{Agent, Queue, RedisServer, cli, free_port, until};
use super::{endless, engine_by_hand, picture, quick};
use stand_ins::comfyui::{Options, StandIn};
use tokio::io::{AsyncBufReadExt, BufReader};

#[tokio::test]
async fn redis_may_be_down_at_the_start() {
    // A port is only borrowed: should somebody take it meanwhile, another one is tried.
    for _ in 0..10 {
        let port = free_port();
        let agent = Agent::spawn_at(&format!("redis://127.0.0.1:{port}/"), "early", &[]);
        agent.logged("Redis cannot be reached").await;
        let Some(server) = RedisServer::start_at(port, false).await else { continue };
        let queue = Queue::of(&server);
        agent.registered(&server, "early").await;
        agent.logged("Redis is back").await;
        queue.reaches(&queue.submit(quick()).await, "completed").await;
        return;
    }
    panic!("no port stays free");
}

#[tokio::test]
async fn redis_goes_and_comes_back_in_mid_job_and_the_job_runs_once() {
    let mut server = RedisServer::start_durable().await;
    let (queue, engine) = (Queue::of(&server), engine_by_hand().await);
    let agent = Agent::start(&server, "steadfast", &[("SERVICES", "comfyui"), ("COMFYUI_URL", &engine.url())]).await;
    let id = queue.submit(picture()).await;
    engine.starving().await;
    server.kill();
    // The engine is done before Redis is back: the result waits.
    engine.step_by_hand(false);
    agent.logged("Redis cannot be reached").await;
    server.revive().await;
    let queue = Queue::of(&server);
    let job = queue.reaches(&id, "completed").await;
    assert_eq!((job["attempt"].as_str(), job["worker_id"].as_str()), ("1", "steadfast"));
    assert_eq!(engine.executions().len(), 1, "{:?}", engine.executions());
    queue.ended_once(&id).await;
    // The agent takes work again, on fresh connections.
    queue.reaches(&queue.submit(picture()).await, "completed").await;
}

#[tokio::test]
async fn the_job_of_a_killed_agent_is_completed_by_another() {
    let server = RedisServer::start().await;
    let (queue, engine) = (Queue::of(&server), engine_by_hand().await);
    let url = engine.url();
    let env = [("SERVICES", "comfyui"), ("COMFYUI_URL", url.as_str()), ("LEASE_SECONDS", "1")];
    let mut doomed = Agent::start(&server, "doomed", &env).await;
    let id = queue.submit(picture()).await;
    engine.starving().await;
    doomed.signal("KILL");
    doomed.ended().await;
    let other = StandIn::start(Options::default()).await.unwrap();
    let url = other.url();
    let env = [("SERVICES", "comfyui"), ("COMFYUI_URL", url.as_str()), ("LEASE_SECONDS", "1")];
    let _heir = Agent::start(&server, "heir", &env).await;
    let job = queue.reaches(&id, "completed").await;
    let seen = (job["worker_id"].as_str(), job["attempt"].as_str(), job["retry_count"].as_str());
    assert_eq!(seen, ("heir", "2", "0"), "a death is not charged to the job");
    assert!(queue.kinds(&id).await.contains(&"stalled".to_owned()));
    queue.ended_once(&id).await;
}

#[tokio::test]
async fn a_job_that_outlives_its_leases_stays_with_its_worker() {
    let server = RedisServer::start().await;
    let (queue, engine) = (Queue::of(&server), engine_by_hand().await);
    let url = engine.url();
    let env = [("SERVICES", "comfyui"), ("COMFYUI_URL", url.as_str()), ("LEASE_SECONDS", "2")];
    let _one = Agent::start(&server, "one", &env).await;
    let id = queue.submit(picture()).await;
    engine.starving().await;
    let _rival = Agent::start(&server, "rival", &env).await;
    let first: f64 = server.run(&["ZSCORE", "jobs:leases", &id]).await;
    until("three leases have gone by", || async {
        let now: Option<f64> = server.run(&["ZSCORE", "jobs:leases", &id]).await;
        now.is_some_and(|now| now > first + 6000.0).then_some(())
    })
    .await;
    engine.step_by_hand(false);
    let job = queue.reaches(&id, "completed").await;
    assert_eq!((job["worker_id"].as_str(), job["attempt"].as_str()), ("one", "1"));
    assert_eq!(engine.executions().len(), 1);
}

#[tokio::test]
async fn redis_may_hang_for_a_while() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let agent = Agent::start(&server, "calm", &[]).await;
    server.signal("STOP");
    agent.logged("Redis cannot be reached").await;
    server.signal("CONT");
    agent.logged("Redis is back").await;
    queue.reaches(&queue.submit(quick()).await, "completed").await;
}

#[tokio::test]
async fn an_agent_with_a_job_and_without_redis_stops_when_told_twice() {
    let mut server = RedisServer::start_durable().await;
    let queue = Queue::of(&server);
    let mut agent = Agent::start(&server, "cut-off", &[("LEASE_SECONDS", "1")]).await;
    let id = queue.submit(endless()).await;
    queue.reaches(&id, "in_progress").await;
    server.kill();
    agent.logged("Redis cannot be reached").await;
    agent.signal("TERM");
    agent.logged("draining").await;
    agent.signal("TERM");
    assert_eq!(agent.ended().await, Some(0), "{}", agent.log());
    // Nobody could say goodbye, but the job is not lost.
    server.revive().await;
    let _heir = Agent::start(&server, "heir", &[("LEASE_SECONDS", "1")]).await;
    let queue = Queue::of(&server);
    until("the heir has it", || async { (queue.field(&id, "worker_id").await == "heir").then_some(()) }).await;
}

#[tokio::test]
async fn an_agent_that_redis_does_not_let_in_says_so() {
    let server = RedisServer::start().await;
    let _: () = server.run(&["CONFIG", "SET", "requirepass", "open-sesame"]).await;
    let agent = Agent::spawn(&server, "stranger", &[]);
    agent.logged("NOAUTH").await;
    let with = |login: &str| server.url.replace("redis://", &format!("redis://{login}@"));
    let wrong = Agent::spawn_at(&with(":guess-what"), "guessing", &[]);
    wrong.logged("authentication failed").await;
    assert!(!wrong.log().contains("guess-what"), "{}", wrong.log());
    for url in [server.url.clone(), with(":guess-what")] {
        let output = cli(&server, &["jobs", "--redis", &url]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(69), "{said}");
        assert!(said.contains("does not let us in") && said.contains("HUB_REDIS_URL"), "{said}");
        assert!(!said.contains("guess-what"), "{said}");
    }
    let right = Agent::spawn_at(&with(":open-sesame"), "known", &[]);
    right.logged("registered").await;
    let _: () = server.run(&["ACL", "SETUSER", "half", "on", ">pw", "~*", "&*", "+@all", "-evalsha", "-eval"]).await;
    let half = Agent::spawn_at(&with("half:pw"), "half", &[]);
    half.logged("no permissions").await;
}

#[tokio::test]
async fn whoever_watches_a_job_sees_its_end_although_redis_was_away() {
    let mut server = RedisServer::start_durable().await;
    let (queue, engine) = (Queue::of(&server), engine_by_hand().await);
    let _agent = Agent::start(&server, "w1", &[("SERVICES", "comfyui"), ("COMFYUI_URL", &engine.url())]).await;
    let id = queue.submit(picture()).await;
    engine.starving().await;
    let folder = tempfile::tempdir().unwrap();
    let mut watching = tokio::process::Command::from(command(&server.url, folder.path(), &[]));
    watching.args(["watch", &id, "--json"]).stdout(std::process::Stdio::piped()).kill_on_drop(true);
    let mut watching = watching.spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    while !lines.next_line().await.unwrap().expect("more events").contains("\"started\"") {}

    server.kill();
    server.revive().await;
    engine.step_by_hand(false);
    let mut last = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        last = line;
    }

    assert!(last.contains("\"completion\""), "{last}");
    assert_eq!(watching.wait().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_password_that_is_changed_under_the_agent_is_told_as_what_it_is() {
    let server = RedisServer::start().await;
    let _: String = server.run(&["CONFIG", "SET", "requirepass", "the first"]).await;
    let agent = Agent::spawn_at(&server.url.replace("redis://", "redis://:the%20first@"), "w", &[]);
    agent.logged("\"registered\"").await;
    let _: String = server.run(&["CONFIG", "SET", "requirepass", "another"]).await;
    let _: i64 = server.run(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    agent.logged("Password authentication failed").await;
    assert!(!agent.log().contains("first"), "{}", agent.log());
}
