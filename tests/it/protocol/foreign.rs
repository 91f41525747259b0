//! Indexing what other programs put into the queue by hand, whatever they put there.

use super::invariants::check;
use super::scene::{Scene, class_of};
use gpu_worker::protocol::foreign::{Indexed, ToIndex};
use gpu_worker::protocol::order::Order;
use gpu_worker::protocol::submit::QueueLimits;
use gpu_worker::queue::index::index;

async fn index_one(scene: &Scene, id: &str, life: &str, limits: QueueLimits) -> Indexed {
    let class = class_of("simulation");
    let job = ToIndex {
        id: id.as_bytes().to_vec(),
        class: (class.id().to_string(), class.definition().to_owned()),
        order: Order::new(50, 1000).to_string(),
        life: life.as_bytes().to_vec(),
        exists: true,
    };
    scene.space.index(&mut scene.con(), &[job], limits).await.unwrap()[0]
}

#[tokio::test]
async fn a_job_written_by_hand_becomes_claimable_in_its_order() {
    let scene = Scene::start().await;
    scene.foreign("later", &[("created_at", "2026-01-02T03:04:05.679Z")]).await;
    scene.foreign("first", &[("created_at", "2026-01-02T03:04:05.678Z")]).await;
    scene.foreign("best", &[("priority", "10"), ("workflow_priority", "60")]).await;
    assert_eq!(scene.index(&["later", "first", "best"]).await, 3);
    check(&scene).await;
    let hash = scene.hash("first").await;
    let order = Order::parse(&hash["order"]).unwrap();
    assert_eq!((order.priority(), order.time_ms()), (50, 1_767_323_045_678));
    assert_eq!((&hash["life"], &hash["class"]), (&hash["created_at"], &class_of("simulation").id().to_string()));
    for expected in ["best", "first", "later"] {
        assert_eq!(scene.claim("w1").await.unwrap().id, expected);
        check(&scene).await;
    }
    assert_eq!(scene.events("first").await, ["job_submitted", "assigned"]);
}

#[tokio::test]
async fn indexing_again_changes_nothing() {
    let scene = Scene::start().await;
    scene.foreign("a", &[]).await;
    scene.index(&["a"]).await;
    let before = scene.hash("a").await;
    assert_eq!(scene.index(&["a"]).await, 0);
    assert_eq!(scene.hash("a").await, before);
    check(&scene).await;
}

#[tokio::test]
async fn an_old_cancellation_request_does_not_stop_a_job_that_waits_anew() {
    let scene = Scene::start().await;
    scene.foreign("a", &[("cancel_requested", "x")]).await;
    scene.index(&["a"]).await;
    assert_eq!(scene.field("a", "cancel_requested").await, None);
    check(&scene).await;
}

#[tokio::test]
async fn ids_without_a_hash_leave_every_index() {
    let scene = Scene::start().await;
    for key in ["jobs:pending", "jobs:delayed", "jobs:leases"] {
        let _: u64 = scene.run(&["ZADD", key, "1", "ghost"]).await;
    }
    assert_eq!(scene.index(&["ghost"]).await, 1);
    assert_eq!(scene.run::<u64>(&["EXISTS", "job:ghost"]).await, 0);
    check(&scene).await;
}

#[tokio::test]
async fn a_key_of_another_type_is_no_job() {
    let scene = Scene::start().await;
    let _: String = scene.run(&["SET", "job:text", "x"]).await;
    let _: u64 = scene.run(&["ZADD", "jobs:pending", "9e17", "text"]).await;
    scene.submit("good").await;
    assert_eq!(scene.claim("w1").await.unwrap().id, "good");
    assert!(scene.members("jobs:pending").await.is_empty());
    assert_eq!(scene.run::<String>(&["GET", "job:text"]).await, "x");
}

#[tokio::test]
async fn ids_that_no_key_can_be_named_by_are_expelled() {
    let scene = Scene::start().await;
    scene.submit("good").await;
    let long = "x".repeat(129);
    let ids: [&[u8]; 8] = [b"a:b", b"", b"a b", b"events:x", b"\xff\xfe", "\u{e9}".as_bytes(), b"a\n", long.as_bytes()];
    for requirements in ["", "this is no JSON"] {
        for id in ids {
            let key = [b"job:", id].concat();
            let fields = ["status", "pending", "created_at", "x", "requirements", requirements];
            let _: u64 = redis::cmd("HSET").arg(&key).arg(&fields).query_async(&mut scene.con()).await.unwrap();
            let add = redis::cmd("ZADD").arg("jobs:pending").arg("9e17").arg(id).query_async(&mut scene.con()).await;
            let _: u64 = add.unwrap();
        }
        let ids: Vec<Vec<u8>> = ids.iter().map(|id| id.to_vec()).collect();
        assert_eq!(index(&scene.link, &scene.space, &ids).await.unwrap().settled, ids.len(), "{requirements:?}");
        assert_eq!(scene.members("jobs:pending").await, ["good"]);
    }
}

#[tokio::test]
async fn requirements_that_cannot_be_understood_fail_that_one_job() {
    let scene = Scene::start().await;
    scene.foreign("bad", &[("requirements", "{\"hardware\":"), ("priority", "90")]).await;
    scene.foreign("good", &[]).await;
    assert_eq!(scene.claim("w1").await.unwrap().id, "good");
    let hash = scene.hash("bad").await;
    assert_eq!((hash["status"].as_str(), hash["failure_type"].as_str()), ("failed", "validation_error"));
    assert!(hash["error"].starts_with("requirements"), "{}", hash["error"]);
    assert_eq!(scene.events("bad").await, ["failure"]);
    check(&scene).await;
}

#[tokio::test]
async fn a_job_that_changed_since_it_was_read_is_left_for_the_next_look() {
    let scene = Scene::start().await;
    scene.foreign("a", &[("created_at", "now")]).await;
    assert_eq!(index_one(&scene, "a", "before", QueueLimits::default()).await, Indexed::Changed);
    scene.set("a", &[("status", "assigned")]).await;
    assert_eq!(index_one(&scene, "a", "now", QueueLimits::default()).await, Indexed::Changed);
    scene.set("a", &[("status", "pending")]).await;
    let _: u64 = scene.run(&["ZREM", "jobs:pending", "a"]).await;
    assert_eq!(index_one(&scene, "a", "now", QueueLimits::default()).await, Indexed::Changed);
    assert_eq!(scene.field("a", "class").await, None);
    assert_eq!(index_one(&scene, "nowhere", "now", QueueLimits::default()).await, Indexed::Gone);
}

#[tokio::test]
async fn too_many_classes_leave_the_job_waiting() {
    let scene = Scene::start().await;
    scene.submit_as(super::scene::job("other", "other")).await;
    scene.foreign("a", &[("created_at", "now")]).await;
    let limits = QueueLimits { waiting: 100, classes: 1 };
    assert_eq!(index_one(&scene, "a", "now", limits).await, Indexed::TooManyClasses);
    check(&scene).await;
    assert_eq!(index_one(&scene, "a", "now", QueueLimits::default()).await, Indexed::Indexed);
    check(&scene).await;
}

#[tokio::test]
async fn a_changed_job_moves_to_its_new_class() {
    let scene = Scene::start().await;
    scene.foreign("a", &[]).await;
    scene.index(&["a"]).await;
    scene.set("a", &[("service_required", "comfyui")]).await;
    scene.index(&["a"]).await;
    check(&scene).await;
    assert_eq!(scene.field("a", "class").await, Some(class_of("comfyui").id().to_string()));
}

#[tokio::test]
async fn an_ended_job_that_waits_again_in_the_same_life_is_sent_away() {
    let scene = Scene::start().await;
    scene.foreign("a", &[]).await;
    let claim = scene.claim("w1").await.unwrap();
    scene.complete(&claim).await;
    scene.set("a", &[("status", "pending")]).await;
    let _: u64 = scene.run(&["ZADD", "jobs:pending", "9e15", "a"]).await;
    assert_eq!(index_one(&scene, "a", &claim.life, QueueLimits::default()).await, Indexed::Ended);
    assert_eq!(scene.field("a", "status").await.as_deref(), Some("completed"));
    check(&scene).await;
}

#[tokio::test]
async fn wild_numbers_do_not_raise_an_error_half_way() {
    let scene = Scene::start().await;
    let wild = ["nan", "-inf", "1e400", "-1e308", "1e308", "0x1F", "12abc", "9007199254740993", "-5", "0.5"];
    for (n, value) in wild.iter().enumerate() {
        let id = format!("j{n}");
        let names = [
            "priority",
            "workflow_priority",
            "workflow_datetime",
            "max_retries",
            "retry_count",
            "total_steps",
            "current_step",
            "stalled",
            "attempt",
            "handed_on",
            "order",
        ];
        let fields: Vec<(&str, &str)> = names.iter().map(|name| (*name, *value)).collect();
        scene.foreign(&id, &[]).await;
        scene.set(&id, &fields).await;
        scene.index(&[&id]).await;
        check(&scene).await;
        let claim = scene.claim("w1").await.unwrap_or_else(|| panic!("{value} is not claimed"));
        check(&scene).await;
        scene.release(&claim).await;
        check(&scene).await;
        scene.claim("w1").await.unwrap();
        scene.stall(&id).await;
        check(&scene).await;
        if let Some(claim) = scene.claim("w1").await {
            scene.fail(&claim, gpu_worker::protocol::outcome::Verdict::Uncharged).await;
            check(&scene).await;
            scene.space.cancel(&mut scene.con(), &id, "x").await.unwrap();
        }
        check(&scene).await;
    }
}
