//! Giving back: unharmed, at the old place, uncharged.

use super::invariants::check;
use super::scene::{Scene, class_of};
use gpu_worker::protocol::hold::Claim;
use gpu_worker::protocol::outcome::Settled;

#[tokio::test]
async fn a_released_job_waits_at_its_old_place_uncharged() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    scene.submit("b").await;
    let (order, class) = (scene.field("a", "order").await, scene.field("a", "class").await);
    assert_eq!(scene.release(&claim).await, Settled::Accepted);
    let hash = scene.hash("a").await;
    assert_eq!((hash["status"].as_str(), hash["retry_count"].as_str()), ("pending", "0"));
    assert_eq!((hash.get("order").cloned(), hash.get("class").cloned()), (order, class));
    assert_eq!((hash.get("claim"), hash["done"].as_str()), (None, claim.token.as_str()));
    check(&scene).await;
    assert_eq!(scene.claim("w2").await.unwrap().id, "a");
}

#[tokio::test]
async fn releasing_wakes_somebody() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    let wake = format!("jobs:wake:{}", class_of("simulation").id());
    let _: u64 = scene.run(&["DEL", &wake]).await;
    scene.release(&claim).await;
    assert_eq!(scene.run::<u64>(&["LLEN", &wake]).await, 1);
}

#[tokio::test]
async fn releasing_again_changes_nothing() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    scene.release(&claim).await;
    let before = scene.hash("a").await;
    assert_eq!(scene.release(&claim).await, Settled::Already);
    assert_eq!(scene.hash("a").await, before);
    let other = scene.claim("w2").await.unwrap();
    assert_eq!(scene.release(&claim).await, Settled::Lost { state: "assigned".to_owned() });
    scene.complete(&other).await;
    assert_eq!(scene.release(&claim).await, Settled::Lost { state: "completed".to_owned() });
    check(&scene).await;
}

#[tokio::test]
async fn a_misfit_is_released_to_be_indexed_again() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    // Whoever wrote the job has changed it since it was indexed.
    scene.set("a", &[("service_required", "comfyui")]).await;
    let order = scene.field("a", "order").await;
    scene.space.release(&mut scene.con(), &claim, true, "it does not fit").await.unwrap();
    assert_eq!(scene.field("a", "class").await, None);
    check(&scene).await;
    assert!(scene.claim_job("w1", &["simulation"]).await.is_none());
    assert_eq!(scene.claim_job("w2", &["comfyui"]).await.unwrap().0.id, "a");
    assert_eq!(scene.field("a", "order").await, order);
    check(&scene).await;
}

#[tokio::test]
async fn a_release_with_a_wanted_cancellation_is_the_cancellation() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    scene.space.cancel(&mut scene.con(), "a", "not needed").await.unwrap();
    assert_eq!(scene.release(&claim).await, Settled::Cancelled);
    assert_eq!(scene.field("a", "status").await.as_deref(), Some("cancelled"));
    check(&scene).await;
}

#[tokio::test]
async fn a_release_is_refused_unless_held() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    let other = Claim { token: "w1|x".to_owned(), ..claim.clone() };
    assert_eq!(scene.release(&other).await, Settled::Lost { state: "assigned".to_owned() });
    let gone = Claim { id: "nowhere".to_owned(), ..claim };
    assert_eq!(scene.release(&gone).await, Settled::Lost { state: "gone".to_owned() });
    assert!(scene.hash("nowhere").await.is_empty());
    check(&scene).await;
}
