//! How jobs end other than well: cancelled, timed out, failed, failed for good.

use super::super::support::{Agent, Queue, RedisServer, cli};
use super::{endless, endless_picture, is_at_work};
use serde_json::json;
use stand_ins::comfyui::{Options, StandIn};

#[tokio::test]
async fn a_cancel_stops_the_engine_and_its_watcher_ends_with_2() {
    let server = RedisServer::start().await;
    let (queue, engine) = (Queue::of(&server), StandIn::start(Options::default()).await.unwrap());
    let _agent = Agent::start(&server, "w", &[("SERVICES", "comfyui"), ("COMFYUI_URL", &engine.url())]).await;
    let id = queue.submit(endless_picture()).await;
    is_at_work(&engine).await;
    let asked = cli(&server, &["cancel", &id, "--reason", "changed my mind", "--json"]).await;
    assert_eq!(asked.status.code(), Some(0));
    let said: serde_json::Value = serde_json::from_slice(&asked.stdout).unwrap();
    assert_eq!(said, json!({"job_id": id, "status": "cancel_requested"}));
    let watched = cli(&server, &["watch", &id]).await;
    assert_eq!(watched.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&watched.stdout).ends_with("cancelled\n"));
    assert_eq!(engine.executions()[0].outcome, "interrupted");
    let job = queue.job(&id).await;
    assert_eq!((job["status"].as_str(), job["error"].as_str()), ("cancelled", "changed my mind"));
    queue.ended_once(&id).await;
    // Once more: it has ended already.
    assert_eq!(cli(&server, &["cancel", &id]).await.status.code(), Some(1));
}

#[tokio::test]
async fn a_waiting_job_is_cancelled_at_once() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let id = queue.submit(endless()).await;
    assert_eq!(cli(&server, &["cancel", &id]).await.status.code(), Some(0));
    assert_eq!(cli(&server, &["watch", &id]).await.status.code(), Some(2));
    queue.ended_once(&id).await;
}

#[tokio::test]
async fn a_job_that_runs_too_long_is_stopped_and_tried_again() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let env = [("RETRY_BACKOFF_MS", "10"), ("JOB_TIMEOUT_MINUTES", "0.002")];
    let _agent = Agent::start(&server, "w", &env).await;
    let mut own_limit = endless();
    own_limit["requirements"] = json!({"timeout_minutes": 0.003});
    own_limit["max_retries"] = json!(2);
    let mut default_limit = endless();
    default_limit["max_retries"] = json!(1);
    let (own, default) = (queue.submit(own_limit).await, queue.submit(default_limit).await);
    for (id, attempts, limit) in [(&own, "2", "0.18 s"), (&default, "1", "0.12 s")] {
        let job = queue.reaches(id, "failed").await;
        let kind = (job["failure_type"].as_str(), job["failure_reason"].as_str(), job["attempt"].as_str());
        assert_eq!(kind, ("timeout", "job_timeout", attempts));
        assert!(job["error"].contains(limit), "{}", job["error"]);
        queue.ended_once(id).await;
    }
    assert!(queue.kinds(&own).await.contains(&"retry_scheduled".to_owned()));
}

#[tokio::test]
async fn a_job_that_fails_twice_completes_at_the_third_attempt() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let _agent = Agent::start(&server, "w", &[("RETRY_BACKOFF_MS", "10")]).await;
    let payload = json!({"steps": 2, "step_ms": 1, "fail_at_step": 1, "fail_attempts": 2});
    let id = queue.submit(json!({"type": "simulation", "payload": payload})).await;
    let job = queue.reaches(&id, "completed").await;
    assert_eq!((job["attempt"].as_str(), job["retry_count"].as_str()), ("3", "2"));
    assert!(!job.contains_key("error"), "no error of an earlier attempt is left: {job:?}");
    let kinds = queue.kinds(&id).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "retry_scheduled").count(), 2, "{kinds:?}");
    queue.ended_once(&id).await;
}

#[tokio::test]
async fn attempts_run_out_and_a_hopeless_job_is_not_tried_again() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let _agent = Agent::start(&server, "w", &[("RETRY_BACKOFF_MS", "10")]).await;
    let failing = |failure: &str| json!({"type": "simulation", "max_retries": 3, "payload": {"fail_at_step": 0, "failure": failure}});
    for (failure, attempts) in [("network_error", "3"), ("generation_refusal", "1"), ("auth_error", "1")] {
        let id = queue.submit(failing(failure)).await;
        let watched = cli(&server, &["watch", &id]).await;
        assert_eq!(watched.status.code(), Some(1), "{failure}");
        let job = queue.job(&id).await;
        assert_eq!((job["failure_type"].as_str(), job["attempt"].as_str()), (failure, attempts));
        queue.ended_once(&id).await;
    }
}
