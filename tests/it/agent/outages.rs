//! What the agent survives: Redis away at the start, Redis gone in mid-job, its own sudden death.

use super::super::support::{Agent, Queue, RedisServer, free_port};
use super::{engine_by_hand, picture, quick};
use stand_ins::comfyui::{Options, StandIn};

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
async fn a_job_that_outlives_many_leases_stays_with_its_worker() {
    let server = RedisServer::start().await;
    let (queue, engine) = (Queue::of(&server), engine_by_hand().await);
    let url = engine.url();
    let env = [("SERVICES", "comfyui"), ("COMFYUI_URL", url.as_str()), ("LEASE_SECONDS", "0.3")];
    let _one = Agent::start(&server, "one", &env).await;
    let id = queue.submit(picture()).await;
    engine.starving().await;
    let _rival = Agent::start(&server, "rival", &env).await;
    let first: f64 = server.run(&["ZSCORE", "jobs:leases", &id]).await;
    super::super::support::until("five leases have gone by", || async {
        let now: Option<f64> = server.run(&["ZSCORE", "jobs:leases", &id]).await;
        now.is_some_and(|now| now > first + 1500.0).then_some(())
    })
    .await;
    engine.step_by_hand(false);
    let job = queue.reaches(&id, "completed").await;
    assert_eq!((job["worker_id"].as_str(), job["attempt"].as_str()), ("one", "1"));
    assert_eq!(engine.executions().len(), 1);
}
