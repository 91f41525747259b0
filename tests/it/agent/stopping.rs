//! Stopping in order: SIGTERM drains, time over gives back, a second SIGTERM does not wait.

use super::super::support::{Agent, Queue, RedisServer, until};
use super::{endless, endless_picture, engine_by_hand, is_at_work, picture};
use stand_ins::comfyui::{Options, StandIn};

/// All that a worker leaves behind when it goes in order: nothing.
async fn is_deregistered(server: &RedisServer, worker: &str) {
    let left: Vec<String> = server.run(&["KEYS", &format!("*{worker}*")]).await;
    assert!(left.is_empty(), "{left:?}");
    let members: Vec<String> = server.run(&["SMEMBERS", "workers:active"]).await;
    assert!(!members.contains(&worker.to_owned()));
}

#[tokio::test]
async fn sigterm_lets_the_running_job_finish_and_takes_no_other() {
    let server = RedisServer::start().await;
    let (queue, engine) = (Queue::of(&server), engine_by_hand().await);
    let env = [("SERVICES", "comfyui"), ("COMFYUI_URL", &engine.url())];
    let mut agent = Agent::start(&server, "drains", &env).await;
    let running = queue.submit(picture()).await;
    engine.starving().await;
    agent.signal("TERM");
    agent.logged("draining").await;
    let late = queue.submit(picture()).await;
    engine.step_by_hand(false);
    assert_eq!(agent.ended().await, Some(0), "{}", agent.log());
    assert_eq!(queue.field(&running, "status").await, "completed");
    queue.ended_once(&running).await;
    let late = queue.job(&late).await;
    assert_eq!((late["status"].as_str(), late.get("attempt")), ("pending", None));
    is_deregistered(&server, "drains").await;
}

#[tokio::test]
async fn a_job_that_outlasts_the_drain_goes_back_unharmed_and_another_agent_completes_it() {
    let server = RedisServer::start().await;
    let (queue, engine) = (Queue::of(&server), StandIn::start(Options::default()).await.unwrap());
    let url = engine.url();
    let env = [("SERVICES", "comfyui"), ("COMFYUI_URL", url.as_str()), ("DRAIN_SECONDS", "0.1")];
    let mut agent = Agent::start(&server, "hurried", &env).await;
    let id = queue.submit(endless_picture()).await;
    is_at_work(&engine).await;
    agent.signal("TERM");
    assert_eq!(agent.ended().await, Some(0), "{}", agent.log());
    let job = queue.job(&id).await;
    assert_eq!((job["status"].as_str(), job["retry_count"].as_str(), job["worker_id"].as_str()), ("pending", "0", ""));
    assert_eq!(engine.executions()[0].outcome, "interrupted", "the engine works for nobody");
    is_deregistered(&server, "hurried").await;

    engine.step_by_hand(true);
    engine.allow_steps(100_000);
    let _heir = Agent::start(&server, "heir", &env).await;
    let job = queue.reaches(&id, "completed").await;
    assert_eq!((job["worker_id"].as_str(), job["retry_count"].as_str()), ("heir", "0"));
    assert!(queue.kinds(&id).await.contains(&"released".to_owned()));
    queue.ended_once(&id).await;
}

#[tokio::test]
async fn a_second_sigterm_stops_now() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let mut agent = Agent::start(&server, "impatient", &[]).await;
    let id = queue.submit(endless()).await;
    queue.reaches(&id, "in_progress").await;
    agent.signal("TERM");
    agent.logged("draining").await;
    assert_eq!(queue.field(&id, "status").await, "in_progress");
    agent.signal("TERM");
    assert_eq!(agent.ended().await, Some(0), "{}", agent.log());
    let job = queue.job(&id).await;
    assert_eq!((job["status"].as_str(), job["retry_count"].as_str()), ("pending", "0"));
    is_deregistered(&server, "impatient").await;
}

#[tokio::test]
async fn an_idle_agent_leaves_at_once_on_ctrl_c_too() {
    let server = RedisServer::start().await;
    let mut agent = Agent::start(&server, "idle", &[("POLL_INTERVAL_MS", "600000")]).await;
    agent.signal("INT");
    assert_eq!(agent.ended().await, Some(0), "{}", agent.log());
    is_deregistered(&server, "idle").await;
}

#[tokio::test]
async fn a_newer_process_of_the_same_id_wins_and_the_running_job_is_not_lost() {
    let server = RedisServer::start().await;
    let (queue, engine) = (Queue::of(&server), engine_by_hand().await);
    let url = engine.url();
    let env = [("SERVICES", "comfyui"), ("COMFYUI_URL", url.as_str()), ("HEARTBEAT_INTERVAL_SECONDS", "0.2")];
    let mut older = Agent::start(&server, "twin", &env).await;
    let id = queue.submit(picture()).await;
    engine.starving().await;
    let newer = Agent::spawn(&server, "twin", &env);
    assert_eq!(older.ended().await, Some(0), "{}", older.log());
    let log = older.log();
    assert!(log.contains("another gpu-worker with the id twin has started"), "{log}");
    engine.step_by_hand(false);
    let job = queue.reaches(&id, "completed").await;
    assert_eq!(job["retry_count"], "0");
    queue.ended_once(&id).await;
    // The older one has taken nothing of the newer one's away.
    until("the newer one is registered", || async {
        let record: bool = server.run(&["EXISTS", "worker:twin"]).await;
        let member: bool = server.run(&["SISMEMBER", "workers:active", "twin"]).await;
        (record && member).then_some(())
    })
    .await;
    assert!(!newer.log().contains("another gpu-worker"), "{}", newer.log());
}
