//! Cancelling, confirming, refusing: ends that are no result.

use super::invariants::check;
use super::scene::{Scene, job};
use gpu_worker::protocol::hold::{Claim, Hold};
use gpu_worker::protocol::operate::Cancelled;
use gpu_worker::protocol::outcome::{Settled, Verdict};

async fn cancel(scene: &Scene, id: &str) -> Cancelled {
    scene.space.cancel(&mut scene.con(), id, "not needed").await.unwrap()
}

async fn assert_cancelled(scene: &Scene, id: &str) {
    let hash = scene.hash(id).await;
    assert_eq!(hash["status"], "cancelled");
    assert!(hash.contains_key("cancelled_at"));
    let event = scene.last_event(id).await;
    assert_eq!((&event["type"], &event["message"]), (&"cancellation".into(), &"not needed".into()));
    assert!(scene.score("jobs:finished", id).await.is_some());
    check(scene).await;
    assert_eq!(cancel(scene, id).await, Cancelled::Ended { state: "cancelled".to_owned() });
    check(scene).await;
}

#[tokio::test]
async fn a_waiting_job_is_cancelled_at_once() {
    let scene = Scene::start().await;
    scene.submit("a").await;
    assert_eq!(cancel(&scene, "a").await, Cancelled::Now);
    assert_cancelled(&scene, "a").await;
    assert!(scene.claim("w1").await.is_none());
}

#[tokio::test]
async fn a_delayed_job_is_cancelled_at_once() {
    let scene = Scene::start().await;
    let mut later = job("a", "simulation");
    later.due_ms = Some(scene.now_ms().await + 1_000_000);
    scene.submit_as(later).await;
    assert_eq!(cancel(&scene, "a").await, Cancelled::Now);
    assert_cancelled(&scene, "a").await;
}

#[tokio::test]
async fn a_job_that_failed_and_waits_is_cancelled_at_once() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    scene.fail(&claim, Verdict::Retry).await;
    assert_eq!(cancel(&scene, "a").await, Cancelled::Now);
    assert_cancelled(&scene, "a").await;
}

#[tokio::test]
async fn the_holder_of_a_running_job_is_asked_and_confirms() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    for _ in 0..2 {
        assert_eq!(cancel(&scene, "a").await, Cancelled::Requested { worker: "w1".to_owned() });
        assert_eq!(scene.field("a", "status").await.as_deref(), Some("assigned"));
        assert_eq!(scene.field("a", "cancel_requested").await.as_deref(), Some("not needed"));
        assert_eq!(scene.events("a").await, ["job_submitted", "assigned", "cancel_requested"]);
        check(&scene).await;
    }
    let confirm = async || scene.space.confirm(&mut scene.con(), &claim).await.unwrap();
    assert_eq!(confirm().await, Settled::Accepted);
    assert_cancelled(&scene, "a").await;
    assert_eq!(confirm().await, Settled::Already);
    assert_eq!(scene.complete(&claim).await, Settled::Lost { state: "cancelled".to_owned() });
    check(&scene).await;
}

#[tokio::test]
async fn only_the_holder_confirms() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    cancel(&scene, "a").await;
    let other = Claim { token: "w2|x".to_owned(), ..claim.clone() };
    let answer = scene.space.confirm(&mut scene.con(), &other).await.unwrap();
    assert_eq!(answer, Settled::Lost { state: "assigned".to_owned() });
    let gone = Claim { id: "nowhere".to_owned(), ..claim };
    let answer = scene.space.confirm(&mut scene.con(), &gone).await.unwrap();
    assert_eq!(answer, Settled::Lost { state: "gone".to_owned() });
    assert!(scene.hash("nowhere").await.is_empty());
    check(&scene).await;
}

#[tokio::test]
async fn a_wanted_cancellation_outlives_its_holder() {
    let scene = Scene::start().await;
    scene.held("a", "w1").await;
    cancel(&scene, "a").await;
    assert_eq!(scene.stall("a").await.reaped, 1);
    assert_cancelled(&scene, "a").await;
}

#[tokio::test]
async fn a_held_job_without_a_lease_is_cancelled_at_once() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    let _: u64 = scene.run(&["ZREM", "jobs:leases", "a"]).await;
    assert_eq!(cancel(&scene, "a").await, Cancelled::Now);
    assert_cancelled(&scene, "a").await;
    assert_eq!(scene.renew(&claim).await, Hold::Lost);
}

#[tokio::test]
async fn a_job_that_a_reference_worker_holds_is_cancelled_at_once() {
    let scene = Scene::start().await;
    scene.submit("a").await;
    scene.foreign_claim("a", "theirs").await;
    assert_eq!(cancel(&scene, "a").await, Cancelled::Now);
    assert_cancelled(&scene, "a").await;
    // It does not listen, and writes its end over ours.
    scene.set("a", &[("status", "completed")]).await;
    scene.space.cancel(&mut scene.con(), "a", "x").await.unwrap();
    assert_cancelled(&scene, "a").await;
}

#[tokio::test]
async fn an_ended_job_tells_how_it_ended() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    scene.complete(&claim).await;
    assert_eq!(cancel(&scene, "a").await, Cancelled::Ended { state: "completed".to_owned() });
    let claim = scene.held("b", "w1").await;
    scene.fail(&claim, Verdict::Never).await;
    assert_eq!(cancel(&scene, "b").await, Cancelled::Ended { state: "failed".to_owned() });
    check(&scene).await;
}

#[tokio::test]
async fn an_unknown_job_stays_unknown() {
    let scene = Scene::start().await;
    assert_eq!(cancel(&scene, "nowhere").await, Cancelled::Unknown);
    assert_eq!(scene.run::<u64>(&["EXISTS", "job:nowhere"]).await, 0);
}

#[tokio::test]
async fn a_waiting_job_that_nobody_understands_ends_as_a_validation_error() {
    let scene = Scene::start().await;
    let life = scene.submit("a").await;
    let reject = async |life: &str| {
        scene.space.reject(&mut scene.con(), "a", life.as_bytes(), "invalid_payload", "what is this?").await.unwrap()
    };
    assert!(!reject("another life").await);
    check(&scene).await;
    assert!(reject(&life).await);
    let hash = scene.hash("a").await;
    assert_eq!((hash["status"].as_str(), hash["failure_type"].as_str()), ("failed", "validation_error"));
    assert_eq!((hash["error"].as_str(), hash["failure_reason"].as_str()), ("what is this?", "invalid_payload"));
    check(&scene).await;
    assert!(!reject(&life).await);
    assert_eq!(scene.events("a").await, ["job_submitted", "failure"]);
}

#[tokio::test]
async fn a_job_that_somebody_holds_is_not_refused() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    let life = claim.life.as_bytes();
    assert!(!scene.space.reject(&mut scene.con(), "a", life, "invalid_payload", "x").await.unwrap());
    assert!(!scene.space.reject(&mut scene.con(), "nowhere", life, "invalid_payload", "x").await.unwrap());
    check(&scene).await;
}
