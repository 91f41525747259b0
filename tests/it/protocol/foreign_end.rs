//! Ends that the reference's programs write without asking: adopted once, and told once.

use super::invariants::check;
use super::scene::Scene;
use gpu_worker::protocol::hold::Hold;
use gpu_worker::protocol::outcome::{Settled, Verdict};

#[tokio::test]
async fn a_waiting_job_cancelled_by_the_reference_s_hub_gets_its_last_event_from_the_sweep() {
    let scene = Scene::start().await;
    scene.submit("a").await;
    scene.foreign_cancel("a").await;
    scene.sweep().await;
    assert_eq!(scene.events("a").await, ["job_submitted", "cancellation"]);
    assert_eq!(scene.field("a", "status").await.as_deref(), Some("cancelled"));
    check(&scene).await;
}

#[tokio::test]
async fn a_waiting_job_cancelled_by_the_reference_s_hub_is_not_claimed() {
    let scene = Scene::start().await;
    scene.submit("a").await;
    scene.foreign_cancel("a").await;
    assert!(scene.claim("w1").await.is_none());
    assert_eq!(scene.events("a").await, ["job_submitted", "cancellation"]);
    check(&scene).await;
}

#[tokio::test]
async fn a_delayed_job_cancelled_by_the_reference_s_hub_is_not_promoted() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    scene.fail(&claim, Verdict::Retry).await;
    scene.foreign_cancel("a").await;
    scene.due("a").await;
    assert_eq!(scene.field("a", "status").await.as_deref(), Some("cancelled"));
    assert_eq!(scene.events("a").await.last().unwrap(), "cancellation");
    check(&scene).await;
}

#[tokio::test]
async fn a_running_job_cancelled_by_the_reference_s_hub_is_cancelled_at_the_next_renewal() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    scene.foreign_cancel("a").await;
    assert_eq!(scene.renew(&claim).await, Hold::Lost);
    assert_eq!(scene.field("a", "status").await.as_deref(), Some("cancelled"));
    assert_eq!(scene.complete(&claim).await, Settled::Lost { state: "cancelled".to_owned() });
    assert_eq!(scene.events("a").await, ["job_submitted", "assigned", "cancellation"]);
    check(&scene).await;
}

#[tokio::test]
async fn a_result_behind_the_reference_s_cancellation_is_thrown_away() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    scene.foreign_cancel("a").await;
    assert!(matches!(scene.complete(&claim).await, Settled::Lost { .. }));
    assert_eq!(scene.field("a", "status").await.as_deref(), Some("cancelled"));
    assert_eq!(scene.field("a", "result").await, None);
    check(&scene).await;
}

#[tokio::test]
async fn a_running_job_cancelled_by_the_reference_s_hub_whose_holder_is_gone_is_cancelled_by_the_tick() {
    let scene = Scene::start().await;
    scene.held("a", "w1").await;
    scene.foreign_cancel("a").await;
    scene.stall("a").await;
    assert_eq!(scene.events("a").await, ["job_submitted", "assigned", "cancellation"]);
    check(&scene).await;
}

#[tokio::test]
async fn a_reference_worker_takes_a_waiting_job_and_ours_leave_it_alone() {
    let scene = Scene::start().await;
    scene.submit("a").await;
    scene.foreign_claim("a", "theirs").await;
    assert!(scene.claim("w1").await.is_none());
    scene.sweep().await;
    scene.tick().await;
    let hash = scene.hash("a").await;
    assert_eq!((hash["status"].as_str(), hash["worker_id"].as_str()), ("assigned", "theirs"));
    check(&scene).await;
    // It gives the job back the way it does, and the job is claimed at its old place.
    let order = scene.field("a", "order").await;
    scene.set("a", &[("status", "pending"), ("worker_id", ""), ("assigned_at", ""), ("retry_count", "1")]).await;
    let _: u64 = scene.run(&["ZADD", "jobs:pending", "9005439304740991", "a"]).await;
    assert_eq!(scene.claim("w1").await.unwrap().id, "a");
    assert_eq!(scene.field("a", "order").await, order);
    check(&scene).await;
}

#[tokio::test]
async fn the_result_of_a_reference_worker_counts_and_is_told_once_somebody_looks() {
    let scene = Scene::start().await;
    let stalled = scene.held("a", "w1").await;
    scene.stall("a").await;
    scene.foreign_claim("a", "theirs").await;
    assert_eq!(scene.renew(&stalled).await, Hold::Lost);
    scene.set("a", &[("status", "completed"), ("completed_at", "2026-01-02T03:05:00.000Z")]).await;
    for _ in 0..2 {
        assert_eq!(scene.complete(&stalled).await, Settled::Lost { state: "completed".to_owned() });
        assert_eq!(scene.events("a").await.iter().filter(|kind| *kind == "completion").count(), 1);
        check(&scene).await;
    }
}

#[tokio::test]
async fn a_failure_written_by_others_stays_a_failure() {
    let scene = Scene::start().await;
    scene.submit("a").await;
    scene.set("a", &[("status", "failed"), ("error", "out of memory")]).await;
    let _: u64 = scene.run(&["ZREM", "jobs:pending", "a"]).await;
    scene.sweep().await;
    let event = scene.last_event("a").await;
    assert_eq!((&event["type"], &event["error"]), (&"failure".into(), &"out of memory".into()));
    assert!(scene.score("jobs:dead", "a").await.is_some());
    check(&scene).await;
}

#[tokio::test]
async fn an_end_that_only_others_know_becomes_one_that_we_have() {
    for (status, ours) in [("timeout", "failed"), ("unworkable", "failed"), ("completed", "completed")] {
        let scene = Scene::start().await;
        scene.submit("a").await;
        scene.set("a", &[("status", status)]).await;
        scene.sweep().await;
        scene.claim("w1").await;
        assert_eq!(scene.field("a", "status").await.as_deref(), Some(ours), "{status}");
        check(&scene).await;
    }
}
