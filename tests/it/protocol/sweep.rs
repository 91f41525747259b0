//! The sweep: finds in both directions what hints and claims missed.

use super::invariants::check;
use super::scene::{Scene, class_of};
use gpu_worker::queue::sweep::page;

#[tokio::test]
async fn jobs_that_nobody_has_heard_of_are_indexed() {
    let scene = Scene::start().await;
    for n in 0..450 {
        scene.foreign(&format!("j{n}"), &[("priority", &(n % 90).to_string())]).await;
    }
    scene.sweep().await;
    let class = format!("jobs:class:{}", class_of("simulation").id());
    assert_eq!(scene.run::<u64>(&["ZCARD", &class]).await, 450);
    check(&scene).await;
}

#[tokio::test]
async fn members_of_a_class_that_wait_no_longer_leave_it() {
    let scene = Scene::start().await;
    for id in ["deleted", "taken", "cancelled", "waits"] {
        scene.submit(id).await;
    }
    let _: u64 = scene.run(&["DEL", "job:deleted"]).await;
    let _: u64 = scene.run(&["ZREM", "jobs:pending", "deleted"]).await;
    scene.foreign_claim("taken", "theirs").await;
    scene.foreign_cancel("cancelled").await;
    scene.sweep().await;
    assert_eq!(scene.members(&format!("jobs:class:{}", class_of("simulation").id())).await, ["waits"]);
    assert_eq!(scene.hash("taken").await["status"], "assigned");
    check(&scene).await;
}

#[tokio::test]
async fn ids_in_the_queue_whose_hash_is_gone_leave_it() {
    let scene = Scene::start().await;
    scene.submit("a").await;
    scene.submit("b").await;
    let _: u64 = scene.run(&["DEL", "job:a"]).await;
    scene.sweep().await;
    assert_eq!(scene.members("jobs:pending").await, ["b"]);
    // Its class is not known any more, so the other direction finds its entry there.
    scene.sweep().await;
    check(&scene).await;
}

#[tokio::test]
async fn an_indexed_job_that_fell_out_of_its_class_is_put_back() {
    let scene = Scene::start().await;
    scene.submit("a").await;
    let class = class_of("simulation").id().to_string();
    let _: u64 = scene.run(&["DEL", &format!("jobs:class:{class}")]).await;
    let _: u64 = scene.run(&["ZREM", "jobs:heads", &class]).await;
    let order = scene.field("a", "order").await;
    scene.sweep().await;
    assert_eq!(scene.field("a", "order").await, order);
    check(&scene).await;
}

#[tokio::test]
async fn a_new_life_of_an_indexed_job_is_indexed_anew() {
    let scene = Scene::start().await;
    scene.submit("a").await;
    scene.foreign("a", &[("created_at", "2026-07-07T07:07:07.000Z"), ("service_required", "comfyui")]).await;
    scene.sweep().await;
    assert_eq!(scene.field("a", "class").await, Some(class_of("comfyui").id().to_string()));
    check(&scene).await;
}

#[tokio::test]
async fn the_walk_is_paged_and_comes_to_an_end() {
    let scene = Scene::start().await;
    for n in 0..401 {
        scene.submit_as(super::scene::job(&format!("j{n}"), &format!("s{}", n % 3))).await;
    }
    let (mut cursor, mut pages) = (String::new(), 1);
    while let (Some(next), _) = page(&scene.link, &scene.space, &cursor).await.unwrap() {
        assert_ne!(next, cursor);
        (cursor, pages) = (next, pages + 1);
        assert!(pages < 20, "no end at {cursor}");
    }
    // 401 ids in three pages, and as many members of three classes together in three more.
    assert_eq!(pages, 6);
}

#[tokio::test]
async fn a_job_in_the_queue_that_others_hold_is_not_touched() {
    let scene = Scene::start().await;
    scene.foreign("a", &[("status", "in_progress"), ("worker_id", "theirs")]).await;
    let before = scene.hash("a").await;
    scene.sweep().await;
    assert_eq!(scene.hash("a").await, before);
    assert_eq!(scene.members("jobs:pending").await, ["a"]);
}

#[tokio::test]
async fn indexes_that_were_lost_are_made_again() {
    for lost in ["jobs:heads", "jobs:classes"] {
        let scene = Scene::start().await;
        scene.submit("a").await;
        scene.submit("b").await;
        let _: u64 = scene.run(&["DEL", lost]).await;
        scene.sweep().await;
        check(&scene).await;
        for id in ["a", "b"] {
            assert_eq!(scene.claim("w1").await.expect("a job").id, id);
        }
    }
}
