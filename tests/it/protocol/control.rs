//! What is wanted of a worker: written once, asked by the claim, heard with the tick, said again after a loss.

use super::scene::{LEASE, Scene};
use crate::support::until;
use gpu_worker::protocol::claim::ClaimReply;
use gpu_worker::protocol::control::{Desired, Wanted};
use gpu_worker::queue::control::Control;
use std::sync::Arc;
use std::time::Duration;

impl Scene {
    async fn order(&self, worker: &str, desired: Desired) -> Wanted {
        self.space.control(&mut self.con(), worker, desired, "somebody").await.unwrap()
    }

    async fn say_again(&self, worker: &str, known: &Wanted) -> Wanted {
        self.space.assert_control(&mut self.con(), worker, known).await.unwrap()
    }

    async fn wanted(&self, worker: &str) -> Wanted {
        self.space.wanted(&mut self.con(), worker).await.unwrap()
    }
}

#[tokio::test]
async fn nothing_is_claimed_from_the_moment_that_it_is_written() {
    let scene = Scene::start().await;
    scene.submit("a").await;
    let told = scene.order("w", Desired::Paused).await;
    assert_eq!((told.desired, told.by.as_str()), (Desired::Paused, "somebody"));
    assert!(told.at_ms.abs_diff(scene.now_ms().await) < 60_000, "{told:?}");
    assert_eq!(scene.claim_with("w|1", LEASE).await, ClaimReply::Paused(told));
    for word in ["draining", "drain", "paused", "stop, please"] {
        let _: u64 = scene.run(&["HSET", "worker:w:control", "state", word]).await;
        let reply = scene.claim_with("w|1", LEASE).await;
        let expected = if word.starts_with("drain") { Desired::Draining } else { Desired::Paused };
        assert!(matches!(&reply, ClaimReply::Paused(wanted) if wanted.desired == expected), "{word}: {reply:?}");
    }
    assert!(
        matches!(scene.claim_with("other|1", LEASE).await, ClaimReply::Job(job) if job.id == "a"),
        "no other is meant"
    );
    scene.submit("b").await;
    scene.order("w", Desired::Running).await;
    assert!(matches!(scene.claim_with("w|1", LEASE).await, ClaimReply::Job(job) if job.id == "b"));
}

#[tokio::test]
async fn a_job_whose_claim_was_not_heard_of_is_not_lost_by_a_pause() {
    let scene = Scene::start().await;
    scene.submit("a").await;
    assert!(matches!(scene.claim_with("w|1", LEASE).await, ClaimReply::Job(_)));
    scene.order("w", Desired::Paused).await;
    let again = scene.claim_with("w|1", LEASE).await;
    assert!(matches!(&again, ClaimReply::Job(job) if job.again && job.id == "a"), "{again:?}");
    assert!(matches!(scene.claim_with("w|2", LEASE).await, ClaimReply::Paused(_)));
}

#[tokio::test]
async fn what_is_said_again_gives_way_to_what_is_newer_and_nothing_else() {
    let scene = Scene::start().await;
    let paused = scene.order("w", Desired::Paused).await;
    let old = Wanted { at_ms: paused.at_ms - 1000, desired: Desired::Running, ..paused.clone() };
    assert_eq!(scene.say_again("w", &old).await, paused, "newer is known");
    let new = Wanted { at_ms: paused.at_ms + 1000, desired: Desired::Draining, by: "another".to_owned() };
    assert_eq!(scene.say_again("w", &new).await, new, "that was lost");
    let _: u64 = scene.run(&["DEL", "worker:w:control"]).await;
    let by_hand = Wanted { desired: Desired::Paused, ..Wanted::default() };
    assert_eq!(scene.say_again("w", &by_hand).await, by_hand, "written by hand, without a time, and lost");
    assert_eq!(scene.wanted("w").await, by_hand);
}

#[tokio::test]
async fn an_order_lasts_and_mends_a_key_that_another_program_replaced() {
    let scene = Scene::start().await;
    let _: String = scene.run(&["SET", "worker:w:control", "no hash", "EX", "100"]).await;
    assert_eq!(
        scene.claim_with("w|1", LEASE).await,
        ClaimReply::Nothing { next_due_ms: None, avoiding: Vec::new() },
        "no order"
    );
    scene.order("w", Desired::Paused).await;
    let lasts = async || -> i64 { scene.run(&["TTL", "worker:w:control"]).await };
    assert_eq!(lasts().await, -1);
    scene.order("w", Desired::Running).await;
    assert!(lasts().await > 0, "to go on is the rule");
    scene.order("w", Desired::Draining).await;
    assert_eq!(lasts().await, -1);
}

#[tokio::test]
async fn what_is_wanted_of_each_worker_is_heard_with_the_tick() {
    let scene = Scene::start().await;
    let controls = ["a", "b", "c"].map(|worker| Arc::new(Control::new(worker)));
    scene.order("b", Desired::Paused).await;
    scene.order("c", Desired::Draining).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let lease = Duration::from_secs(30);
    let keep = gpu_worker::queue::tick::keep(&scene.link, &scene.space, lease, 3, &controls, || (), stop.clone());
    let heard = async |expected: [Desired; 3]| {
        until("all is heard", || async {
            (controls.each_ref().map(|control| control.desired()) == expected).then_some(())
        })
        .await;
    };
    let hearing = async {
        heard([Desired::Running, Desired::Paused, Desired::Draining]).await;
        let _: u64 = scene.run(&["DEL", "worker:c:control"]).await;
        let _: u64 = scene.run(&["HSET", "worker:a:control", "state", "paused"]).await;
        heard([Desired::Paused, Desired::Paused, Desired::Running]).await;
        stop.cancel();
    };
    tokio::join!(keep, hearing);
}

#[tokio::test]
async fn an_answer_that_was_late_over_a_restart_of_redis_is_dropped_and_the_next_one_is_heard() {
    let mut scene = Scene::start().await;
    let answers = async |scene: &Scene| scene.link.call(async |con| scene.space.wanted(con, "w").await).await;
    answers(&scene).await.unwrap();
    let before = scene.link.history();
    let control = Control::new("w");
    scene.server.kill();
    scene.server.revive().await;
    until("Redis is back", || async { answers(&scene).await.ok() }).await;
    let after = scene.link.history();
    assert_ne!(before, after);
    let paused = Wanted { desired: Desired::Paused, at_ms: 7, by: "somebody".to_owned() };
    control.hear(&scene.link, after, paused.clone());
    assert_eq!(control.desired(), Desired::Running, "it has not been told yet");
    control.assert(&scene.link, &scene.space, after).await.unwrap();
    control.hear(&scene.link, before, paused.clone());
    assert_eq!(control.desired(), Desired::Running, "nobody knows which history that is of");
    control.hear(&scene.link, after, paused.clone());
    assert_eq!(control.wanted(), paused);
}

#[tokio::test]
async fn a_pause_written_by_hand_outlives_a_replica_that_lagged_behind() {
    let scene = Scene::start().await;
    let control = Control::new("w");
    let running = scene.order("w", Desired::Running).await;
    let (history, at) = (scene.link.history(), running.at_ms.to_string());
    control.hear(&scene.link, history, running);
    let _: u64 = scene.run(&["HSET", "worker:w:control", "state", "paused"]).await;
    for _ in 0..2 {
        control.hear(&scene.link, history, scene.wanted("w").await);
    }
    let _: u64 = scene.run(&["HSET", "worker:w:control", "state", "running", "at", &at]).await;
    control.assert(&scene.link, &scene.space, history).await.unwrap();
    assert_eq!((scene.wanted("w").await.desired, control.desired()), (Desired::Paused, Desired::Paused));
    // What is older than that still ends it, once it is heard.
    let _: u64 = scene.run(&["HSET", "worker:w:control", "state", "running", "at", &at]).await;
    control.hear(&scene.link, history, scene.wanted("w").await);
    assert_eq!(control.desired(), Desired::Running);
}
