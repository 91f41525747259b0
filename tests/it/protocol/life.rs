//! Lives: a job that is replayed or submitted again begins anew, and nothing of its earlier life counts.

use super::invariants::check;
use super::scene::Scene;
use crate::support::until;
use gpu_worker::protocol::order::Order;
use gpu_worker::protocol::outcome::{Settled, Verdict};
use gpu_worker::protocol::submit::Replayed;

async fn replay(scene: &Scene, id: &str) -> Replayed {
    scene.space.replay(&mut scene.con(), id).await.unwrap()
}

#[tokio::test]
async fn a_replayed_job_begins_anew() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    scene.fail(&claim, Verdict::Never).await;
    let Replayed::Waiting { created_at } = replay(&scene, "a").await else { panic!("not replayed") };
    assert_ne!(created_at, claim.life);
    let hash = scene.hash("a").await;
    assert_eq!(
        (&hash["created_at"], hash["status"].as_str(), hash["retry_count"].as_str()),
        (&created_at, "pending", "0")
    );
    for gone in ["final", "claim", "done", "error", "failure_type", "stalled", "avoid", "failed_at"] {
        assert!(!hash.contains_key(gone), "{gone}");
    }
    assert_eq!(scene.events("a").await, ["job_submitted"]);
    assert_eq!(scene.run::<u64>(&["HEXISTS", "jobs:failed", "a"]).await, 0);
    check(&scene).await;
    // The holder of its earlier life has no say in this one.
    assert_eq!(scene.complete(&claim).await, Settled::Lost { state: "pending".to_owned() });
    let second = scene.claim("w1").await.unwrap();
    assert_eq!((second.attempt, &second.life), (2, &created_at), "no number of the earlier life comes again");
    assert_eq!(scene.complete(&claim).await, Settled::Lost { state: "assigned".to_owned() });
    assert_eq!(scene.complete(&second).await, Settled::Accepted);
    assert_eq!(scene.events("a").await, ["job_submitted", "assigned", "completion"]);
    check(&scene).await;
}

#[tokio::test]
async fn a_cancelled_job_can_be_replayed_again_and_again() {
    let scene = Scene::start().await;
    let mut lives = vec![scene.submit("a").await];
    for _ in 0..3 {
        scene.space.cancel(&mut scene.con(), "a", "x").await.unwrap();
        let Replayed::Waiting { created_at } = replay(&scene, "a").await else { panic!("not replayed") };
        assert!(!lives.contains(&created_at));
        lives.push(created_at);
        check(&scene).await;
    }
}

#[tokio::test]
async fn what_goes_on_or_is_completed_is_not_replayed() {
    let scene = Scene::start().await;
    assert_eq!(replay(&scene, "a").await, Replayed::Unknown);
    scene.submit("a").await;
    assert_eq!(replay(&scene, "a").await, Replayed::NotEnded { status: "pending".to_owned() });
    let claim = scene.claim("w1").await.unwrap();
    assert_eq!(replay(&scene, "a").await, Replayed::NotEnded { status: "assigned".to_owned() });
    scene.complete(&claim).await;
    assert_eq!(replay(&scene, "a").await, Replayed::NotEnded { status: "completed".to_owned() });
    check(&scene).await;
}

#[tokio::test]
async fn a_replayed_job_asks_for_the_priority_that_it_had() {
    let scene = Scene::start().await;
    scene.foreign("a", &[("priority", "10"), ("workflow_priority", "90")]).await;
    scene.foreign("b", &[("priority", "80")]).await;
    scene.index(&["a", "b"]).await;
    scene.space.cancel(&mut scene.con(), "a", "x").await.unwrap();
    replay(&scene, "a").await;
    check(&scene).await;
    // It is claimable at once, where indexing would put it.
    assert_eq!(scene.index(&["a"]).await, 0);
    assert_eq!(scene.claim("w1").await.unwrap().id, "a");
}

#[tokio::test]
async fn a_replayed_job_queues_up_behind_those_that_waited() {
    let scene = Scene::start().await;
    scene.submit("a").await;
    scene.submit("b").await;
    scene.space.cancel(&mut scene.con(), "a", "x").await.unwrap();
    until_later(&scene, "b").await;
    replay(&scene, "a").await;
    assert_eq!(scene.index(&["a"]).await, 0);
    assert_eq!(scene.claim("w1").await.unwrap().id, "b");
    assert_eq!(scene.claim("w1").await.unwrap().id, "a");
    check(&scene).await;
}

/// The server's clock has moved on since this job was submitted.
async fn until_later(scene: &Scene, id: &str) {
    let submitted = Order::parse(&scene.field(id, "order").await.unwrap()).unwrap().time_ms();
    until("the next millisecond", || async { (scene.now_ms().await > submitted).then_some(()) }).await;
}

#[tokio::test]
async fn an_id_submitted_again_by_another_program_is_a_new_life() {
    let scene = Scene::start().await;
    let first = scene.held("a", "w1").await;
    scene.complete(&first).await;
    let life = "2026-07-07T07:07:07.000Z";
    scene.foreign("a", &[("created_at", life)]).await;
    scene.index(&["a"]).await;
    let hash = scene.hash("a").await;
    for gone in ["final", "result", "claim"] {
        assert!(!hash.contains_key(gone), "{gone}");
    }
    check(&scene).await;
    let second = scene.claim("w2").await.unwrap();
    assert_eq!((second.life.as_str(), second.attempt), (life, 2));
    assert_eq!(scene.complete(&first).await, Settled::Lost { state: "assigned".to_owned() });
    assert_eq!(scene.complete(&second).await, Settled::Accepted);
    assert_eq!(scene.events("a").await.iter().filter(|kind| *kind == "completion").count(), 1);
    check(&scene).await;
}

#[tokio::test]
async fn a_life_that_ended_before_it_was_indexed_counts_as_a_life() {
    let scene = Scene::start().await;
    scene.foreign("a", &[]).await;
    scene.space.cancel(&mut scene.con(), "a", "x").await.unwrap();
    check(&scene).await;
    scene.foreign("a", &[("created_at", "2026-07-07T07:07:07.000Z")]).await;
    let claim = scene.claim("w1").await.unwrap();
    check(&scene).await;
    scene.complete(&claim).await;
    check(&scene).await;
}

#[tokio::test]
async fn a_new_life_that_ends_before_it_is_indexed_has_a_log_of_its_own() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    scene.complete(&claim).await;
    scene.foreign("a", &[("created_at", "2026-07-07T07:07:07.000Z")]).await;
    scene.space.cancel(&mut scene.con(), "a", "not needed").await.unwrap();
    assert_eq!(scene.events("a").await, ["cancellation"]);
    assert_eq!(scene.field("a", "result").await, None);
    check(&scene).await;
}

#[tokio::test]
async fn an_id_submitted_again_while_it_is_held_takes_the_job_from_its_holder() {
    let scene = Scene::start().await;
    let first = scene.held("a", "w1").await;
    scene.foreign("a", &[("created_at", "2026-07-07T07:07:07.000Z")]).await;
    scene.index(&["a"]).await;
    let waits = scene.hash("a").await;
    assert_eq!((waits["status"].as_str(), waits.get("claim")), ("pending", None));
    check(&scene).await;
    assert_eq!(scene.complete(&first).await, Settled::Lost { state: "pending".to_owned() });
    // The first one may still be at work: what it stores and asks of its engine goes by another number.
    assert_eq!(scene.claim("w2").await.unwrap().attempt, 2);
    assert_eq!(scene.events("a").await, ["job_submitted", "assigned"], "a log of its own");
    check(&scene).await;
}

#[tokio::test]
async fn an_id_submitted_again_while_it_is_delayed_waits_once() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    scene.fail(&claim, Verdict::Elsewhere).await;
    scene.foreign("a", &[("created_at", "2026-07-07T07:07:07.000Z")]).await;
    scene.index(&["a"]).await;
    check(&scene).await;
    // What its first life avoided is open to the second.
    assert_eq!(scene.claim("w1").await.unwrap().attempt, 2);
    check(&scene).await;
}
