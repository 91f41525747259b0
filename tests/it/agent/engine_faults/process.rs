//! Engines whose process ends, begins anew or stops in its tracks.

use super::super::super::support::until;
use super::super::picture;
use super::{Site, worker};
use stand_ins::comfyui::{Options, StandIn};

#[tokio::test]
async fn an_engine_killed_in_mid_run_leaves_the_offer_at_once_and_comes_back_after_a_probe() {
    let site = Site::new(&[("HEARTBEAT_INTERVAL_SECONDS", "3600")]).await;
    let id = site.begun().await;
    site.engine.kill().await;
    site.offers(false).await;
    let job = site.queue.reaches(&id, "pending").await;
    assert_eq!((job["retry_count"].as_str(), job["handed_on"].as_str()), ("0", "1"));
    site.engine.step_by_hand(false);
    site.engine.revive().await;
    site.ends(&id, "completed", "2", "0", 2).await;
    site.offers(true).await;
}

#[tokio::test]
async fn an_engine_that_restarts_with_an_empty_queue_runs_the_job_again() {
    let site = Site::new(&[]).await;
    let id = site.begun().await;
    site.engine.restart();
    site.engine.step_by_hand(false);
    site.ends(&id, "completed", "2", "0", 2).await;
    let log = site.agent.log();
    assert!(log.contains("no longer knows the run") && log.matches("engine is healthy").count() == 2, "{log}");
}

#[tokio::test]
async fn an_engine_that_freezes_and_thaws_costs_nothing_and_is_not_offered_meanwhile() {
    let site = Site::new(&[]).await;
    let id = site.begun().await;
    site.engine.freeze();
    site.offers(false).await;
    site.engine.step_by_hand(false);
    site.engine.thaw();
    site.ends(&id, "completed", "1", "0", 1).await;
    site.offers(true).await;
}

#[tokio::test]
async fn the_job_of_an_engine_that_is_frozen_for_good_is_done_elsewhere() {
    let site = Site::new(&[("STUCK_STEP_SECONDS", "1")]).await;
    let id = site.begun().await;
    let sound = StandIn::start(Options::default()).await.unwrap();
    let _heir = worker(&site.server, "heir", &sound, &[]).await;
    site.engine.freeze();
    let job = site.ends(&id, "completed", "2", "0", 1).await;
    assert_eq!((job["worker_id"].as_str(), sound.executions().len()), ("heir", 1));
    site.offers(false).await;
}

#[tokio::test]
async fn an_engine_killed_while_idle_is_not_offered_and_a_job_waits_for_its_return() {
    let site = Site::new(&[("HEARTBEAT_INTERVAL_SECONDS", "3600"), ("POLL_INTERVAL_MS", "600000")]).await;
    site.engine.kill().await;
    site.offers(false).await;
    let id = site.queue.submit(picture()).await;
    until("the class is known to the worker", || async {
        (site.queue.field(&id, "status").await == "pending").then_some(())
    })
    .await;
    site.engine.revive().await;
    site.ends(&id, "completed", "1", "0", 1).await;
    site.offers(true).await;
}

#[tokio::test]
async fn a_frozen_engine_that_was_taken_for_healthy_is_not_given_the_job() {
    // An hour between two looks: only the run itself can find out.
    let site = Site::new(&[("HEALTH_CHECK_INTERVAL_SECONDS", "3600")]).await;
    site.engine.freeze();
    let id = site.queue.submit(picture()).await;
    site.offers(false).await;
    let job = site.queue.reaches(&id, "pending").await;
    assert_eq!((job["retry_count"].as_str(), job["failure_reason"].as_str()), ("0", "network_timeout"));
    site.engine.thaw();
    site.ends(&id, "completed", "2", "0", 1).await;
}

#[tokio::test]
async fn a_job_that_ends_its_server_each_time_is_charged_from_the_second_time() {
    let site = Site::new(&[]).await;
    site.engine.step_by_hand(true);
    let mut job = picture();
    job["max_retries"] = 2.into();
    let id = site.queue.submit(job).await;
    for n in 1..=3 {
        until("it is at work again", || async {
            let runs = site.engine.executions();
            (runs.len() == n && runs[n - 1].outcome == "running").then_some(())
        })
        .await;
        site.engine.restart();
    }
    let job = site.ends(&id, "failed", "3", "2", 3).await;
    assert_eq!((job["handed_on"].as_str(), job["failure_type"].as_str()), ("1", "service_error"));
    // The server is there, and others are not made to pay.
    site.engine.step_by_hand(false);
    let other = site.queue.submit(picture()).await;
    assert_eq!(site.queue.reaches(&other, "completed").await["retry_count"], "0");
}
