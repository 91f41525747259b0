//! Completing: one result in one life, whoever else believes to hold the job.

use super::invariants::check;
use super::scene::{Scene, completion};
use gpu_worker::protocol::hold::{Claim, Hold};
use gpu_worker::protocol::outcome::{Settled, Verdict};

#[tokio::test]
async fn a_completed_job_keeps_its_result_and_leaves_every_index() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    assert_eq!(scene.complete(&claim).await, Settled::Accepted);
    let hash = scene.hash("a").await;
    assert_eq!((hash["status"].as_str(), hash["result"].as_str()), ("completed", completion().result.as_str()));
    assert_eq!(hash["final"], format!("completed {} {}", claim.token, claim.life));
    assert_eq!(hash["progress"], "100");
    assert!(hash.contains_key("completed_at"));
    let retention = scene.score("jobs:finished", "a").await.unwrap() - scene.now_ms().await as f64;
    assert!((86_000_000.0..=86_400_000.0).contains(&retention));
    let event = scene.last_event("a").await;
    assert_eq!(event["type"], "completion");
    assert_eq!((&event["progress"], &event["result"]["data"]["n"]), (&100.into(), &1.into()));
    let lives: i64 = scene.run(&["TTL", "job:events:a"]).await;
    assert!((3500..=3600).contains(&lives), "the log lives for an hour after the end, not {lives} s");
    check(&scene).await;
}

#[tokio::test]
async fn completing_again_says_already_and_changes_nothing() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    scene.complete(&claim).await;
    let before = scene.hash("a").await;
    assert_eq!(scene.complete(&claim).await, Settled::Already);
    assert_eq!(scene.hash("a").await, before);
    assert_eq!(scene.events("a").await, ["job_submitted", "assigned", "completion"]);
    check(&scene).await;
}

#[tokio::test]
async fn a_result_from_nobody_s_claim_is_thrown_away() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    let before = scene.hash("a").await;
    for (token, life) in [("w1|other", claim.life.as_str()), ("w2|x", &claim.life)] {
        let other = Claim { token: token.to_owned(), life: life.to_owned(), ..claim.clone() };
        assert_eq!(scene.complete(&other).await, Settled::Lost { state: "assigned".to_owned() });
    }
    let gone = Claim { id: "nowhere".to_owned(), ..claim };
    assert_eq!(scene.complete(&gone).await, Settled::Lost { state: "gone".to_owned() });
    assert!(scene.hash("nowhere").await.is_empty());
    assert_eq!(scene.hash("a").await, before);
    check(&scene).await;
}

#[tokio::test]
async fn a_late_result_of_a_stalled_holder_is_welcome() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    scene.stall("a").await;
    assert_eq!(scene.complete(&claim).await, Settled::Accepted);
    check(&scene).await;
    assert!(scene.claim("w2").await.is_none());
    assert_eq!(scene.field("a", "worker_id").await.as_deref(), Some("w1"));
}

#[tokio::test]
async fn a_late_result_is_lost_after_somebody_else_claimed() {
    let scene = Scene::start().await;
    let first = scene.held("a", "w1").await;
    scene.stall("a").await;
    let second = scene.claim("w2").await.unwrap();
    assert_eq!(scene.complete(&first).await, Settled::Lost { state: "assigned".to_owned() });
    check(&scene).await;
    assert_eq!(scene.complete(&second).await, Settled::Accepted);
    assert_eq!(scene.complete(&first).await, Settled::Lost { state: "completed".to_owned() });
    assert_eq!(scene.complete(&second).await, Settled::Already);
    check(&scene).await;
}

#[tokio::test]
async fn a_result_of_an_earlier_life_is_lost() {
    let scene = Scene::start().await;
    let old = scene.held("a", "w1").await;
    scene.stall("a").await;
    // Its producer submits the same id again: another life, and nobody has claimed in it.
    scene.foreign("a", &[("created_at", "2026-05-05T05:05:05.000Z")]).await;
    assert_eq!(scene.complete(&old).await, Settled::Lost { state: "pending".to_owned() });
    assert_eq!(scene.renew(&old).await, Hold::Lost);
    assert_eq!(scene.claim("w2").await.unwrap().life, "2026-05-05T05:05:05.000Z");
    check(&scene).await;
}

#[tokio::test]
async fn a_result_that_arrives_before_the_cancellation_is_confirmed_wins() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    scene.space.cancel(&mut scene.con(), "a", "not needed").await.unwrap();
    assert_eq!(scene.complete(&claim).await, Settled::Accepted);
    let confirmed = scene.space.confirm(&mut scene.con(), &claim).await.unwrap();
    assert_eq!(confirmed, Settled::Lost { state: "completed".to_owned() });
    assert_eq!(scene.field("a", "cancel_requested").await, None);
    check(&scene).await;
}

#[tokio::test]
async fn an_end_stays_whatever_others_write_into_status_afterwards() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    scene.complete(&claim).await;
    // A reference worker believes that the job is to be tried again.
    scene.set("a", &[("status", "pending"), ("worker_id", "")]).await;
    let _: u64 = scene.run(&["ZADD", "jobs:pending", "9e15", "a"]).await;
    assert!(scene.claim("w2").await.is_none());
    assert_eq!(scene.field("a", "status").await.as_deref(), Some("completed"));
    assert_eq!(scene.events("a").await, ["job_submitted", "assigned", "completion"]);
    check(&scene).await;
}

#[tokio::test]
async fn a_failure_after_the_result_changes_nothing() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    scene.complete(&claim).await;
    assert_eq!(scene.fail(&claim, Verdict::Never).await, Settled::Already);
    assert_eq!(scene.release(&claim).await, Settled::Already);
    assert_eq!(scene.field("a", "status").await.as_deref(), Some("completed"));
    check(&scene).await;
}
