//! Submitting: all of a job at once, or nothing of it.

use super::invariants::check;
use super::scene::{Scene, class_of, job, with};
use gpu_worker::protocol::order::{Order, OrderFields, order};
use gpu_worker::protocol::submit::{QueueLimits, Submitted};

const NO_LIMITS: QueueLimits = QueueLimits { waiting: 1000, classes: 1000 };

#[tokio::test]
async fn a_submitted_job_is_in_every_index_and_leaves_a_token_for_its_class() {
    let scene = Scene::start().await;
    let before = scene.now_ms().await;
    let life = scene.submit("j1").await;
    let after = scene.now_ms().await;

    let hash = scene.hash("j1").await;
    let class = class_of("simulation").id().to_string();
    assert_eq!(hash["status"], "pending");
    assert_eq!((&hash["created_at"], &hash["life"]), (&life, &life));
    assert_eq!((hash["id"].as_str(), hash["retry_count"].as_str()), ("j1", "0"));
    assert_eq!(hash["class"], class);
    let place = Order::parse(&hash["order"]).unwrap();
    assert_eq!(place.priority(), 50);
    assert!((before..=after).contains(&place.time_ms()));
    assert_eq!(time_ms(&life), place.time_ms());
    assert_eq!(scene.score("jobs:pending", "j1").await, Some(50e15 - (place.time_ms() / 1000) as f64));
    assert_eq!(scene.score(&format!("jobs:class:{class}"), "j1").await, Some(place.value() as f64));
    assert_eq!(scene.score("jobs:heads", &class).await, Some(place.value() as f64));
    let tokens: Vec<String> = scene.run(&["LRANGE", &format!("jobs:wake:{class}"), "0", "-1"]).await;
    assert_eq!(tokens, [class.as_str()]);
    assert_eq!(scene.events("j1").await, ["job_submitted"]);
    check(&scene).await;
}

/// The time that `created_at` tells. The scripts write it without a calendar's help.
fn time_ms(created_at: &str) -> u64 {
    order(&OrderFields { created_at: Some(created_at), ..OrderFields::default() }, 0).time_ms()
}

#[tokio::test]
async fn one_token_is_enough_for_any_number_of_jobs() {
    let scene = Scene::start().await;
    for id in ["a", "b", "c"] {
        scene.submit(id).await;
    }
    let wake = format!("jobs:wake:{}", class_of("simulation").id());
    assert_eq!(scene.run::<u64>(&["LLEN", &wake]).await, 1);
    let lives: i64 = scene.run(&["TTL", &wake]).await;
    assert!((1..=60).contains(&lives));
    check(&scene).await;
}

#[tokio::test]
async fn a_taken_id_is_refused_and_its_job_stays_as_it_is() {
    let scene = Scene::start().await;
    let claim = scene.held("j1", "w1").await;
    let before = scene.hash("j1").await;
    let again = scene.space.submit(&mut scene.con(), &job("j1", "other"), NO_LIMITS).await.unwrap();
    assert_eq!(again, Submitted::Exists { status: "assigned".to_owned() });
    assert_eq!(scene.hash("j1").await, before);
    scene.complete(&claim).await;
    // What another program writes into `status` after the end does not count.
    scene.set("j1", &[("status", "in_progress")]).await;
    let again = scene.space.submit(&mut scene.con(), &job("j1", "other"), NO_LIMITS).await.unwrap();
    assert_eq!(again, Submitted::Exists { status: "completed".to_owned() });
}

#[tokio::test]
async fn a_key_of_another_type_counts_as_taken() {
    let scene = Scene::start().await;
    let _: String = scene.run(&["SET", "job:j1", "x"]).await;
    let answer = scene.space.submit(&mut scene.con(), &job("j1", "simulation"), NO_LIMITS).await.unwrap();
    assert_eq!(answer, Submitted::Exists { status: String::new() });
    assert!(scene.members("jobs:pending").await.is_empty());
}

#[tokio::test]
async fn a_full_queue_refuses_and_counts_delayed_jobs_too() {
    let scene = Scene::start().await;
    let limits = QueueLimits { waiting: 2, classes: 10 };
    scene.submit("a").await;
    let mut later = job("b", "simulation");
    later.due_ms = Some(scene.now_ms().await + 1_000_000);
    scene.submit_as(later).await;
    let answer = scene.space.submit(&mut scene.con(), &job("c", "simulation"), limits).await.unwrap();
    assert_eq!(answer, Submitted::QueueFull { waiting: 2 });
    assert!(scene.hash("c").await.is_empty());
    check(&scene).await;
}

#[tokio::test]
async fn only_so_many_classes_may_wait() {
    let scene = Scene::start().await;
    let limits = QueueLimits { waiting: 100, classes: 2 };
    for (id, service, accepted) in [("a", "s1", true), ("b", "s2", true), ("c", "s3", false), ("d", "s2", true)] {
        let answer = scene.space.submit(&mut scene.con(), &job(id, service), limits).await.unwrap();
        assert_eq!(matches!(answer, Submitted::Accepted { .. }), accepted, "{id}: {answer:?}");
        assert_eq!(answer == Submitted::TooManyClasses, !accepted, "{id}");
    }
    assert!(scene.hash("c").await.is_empty());
    check(&scene).await;
}

#[tokio::test]
async fn a_class_made_without_a_field_that_matters_is_refused() {
    let scene = Scene::start().await;
    let _: u64 = scene.run(&["SADD", "jobs:class:fields", "workflow_id", "customer_id"]).await;
    let answer = scene.space.submit(&mut scene.con(), &job("a", "simulation"), NO_LIMITS).await.unwrap();
    let names = vec!["customer_id".to_owned(), "workflow_id".to_owned()];
    assert_eq!(answer, Submitted::ClassFields(names.clone()));
    assert!(scene.hash("a").await.is_empty());
    let mut job = job("a", "simulation");
    job.class_fields = names;
    scene.submit_as(job).await;
    check(&scene).await;
}

#[tokio::test]
async fn a_job_for_later_waits_apart_until_it_is_due() {
    let scene = Scene::start().await;
    let mut later = job("a", "simulation");
    later.due_ms = Some(scene.now_ms().await + 1_000_000);
    scene.submit_as(later).await;
    check(&scene).await;
    assert_eq!(scene.members("jobs:delayed").await, ["a"]);
    assert!(scene.claim("w1").await.is_none());
    scene.due("a").await;
    check(&scene).await;
    assert_eq!(scene.claim("w1").await.unwrap().id, "a");
}

#[tokio::test]
async fn a_class_lives_on_for_a_minute_so_that_equal_jobs_change_no_version() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    let version: String = scene.run(&["HGET", "jobs:classes", "_v"]).await;
    scene.complete(&claim).await;
    scene.tick().await;
    scene.held("b", "w1").await;
    assert_eq!(scene.run::<String>(&["HGET", "jobs:classes", "_v"]).await, version);
    // Nothing waits for long: the class dies, and the version tells.
    let class = class_of("simulation").id().to_string();
    let _: u64 = scene.run(&["ZADD", "jobs:classes:idle", "XX", "CH", "1", &class]).await;
    scene.tick().await;
    assert_ne!(scene.run::<String>(&["HGET", "jobs:classes", "_v"]).await, version);
    assert_eq!(scene.run::<u64>(&["HEXISTS", "jobs:classes", &class]).await, 0);
    check(&scene).await;
}

#[tokio::test]
async fn a_class_in_use_does_not_die() {
    let scene = Scene::start().await;
    scene.submit("a").await;
    let class = class_of("simulation").id().to_string();
    let _: u64 = scene.run(&["ZADD", "jobs:classes:idle", "1", &class]).await;
    scene.tick().await;
    assert_eq!(scene.run::<u64>(&["HEXISTS", "jobs:classes", &class]).await, 1);
    check(&scene).await;
}

#[tokio::test]
async fn a_log_that_an_earlier_job_of_this_id_left_behind_is_not_continued() {
    let scene = Scene::start().await;
    let _: String = scene.run(&["XADD", "job:events:a", "*", "type", "completion"]).await;
    scene.submit("a").await;
    assert_eq!(scene.events("a").await, ["job_submitted"]);
    check(&scene).await;
}

#[tokio::test]
async fn a_job_whose_class_died_meanwhile_is_indexed_again_at_its_old_order() {
    let scene = Scene::start().await;
    let mut later = with(job("a", "simulation"), &[("priority", "70")]);
    (later.priority, later.due_ms) = (70, Some(scene.now_ms().await + 1_000_000));
    scene.submit_as(later).await;
    let order = scene.field("a", "order").await;
    let class = class_of("simulation").id().to_string();
    let _: u64 = scene.run(&["ZADD", "jobs:classes:idle", "1", &class]).await;
    scene.tick().await;
    scene.due("a").await;
    assert_eq!(scene.field("a", "class").await, None);
    check(&scene).await;
    assert_eq!(scene.claim("w1").await.unwrap().id, "a");
    assert_eq!(scene.field("a", "order").await, order);
    check(&scene).await;
}

#[tokio::test]
async fn behind_a_long_queue_the_first_claim_writes_the_first_event() {
    let scene = Scene::start().await;
    let fill = "for i = 1, 100000 do redis.call('ZADD', 'jobs:pending', i, 'waiting' .. i) end";
    let _: Option<String> = scene.run(&["EVAL", fill, "0"]).await;
    scene.submit("a").await;
    assert!(scene.events("a").await.is_empty());
    assert_eq!(scene.claim("w1").await.unwrap().id, "a");
    assert_eq!(scene.events("a").await, ["job_submitted", "assigned"]);
}

#[tokio::test]
async fn the_queue_has_the_score_that_the_reference_gives_it() {
    let scene = Scene::start().await;
    // Priority, workflow priority, time; 0 counts as not set there. Seconds collapse as the reference's own do.
    let rows = [
        ("50", "", "1760000005000", 49_999_998_239_999_992.0),
        ("50", "", "1760000011999", 49_999_998_239_999_992.0),
        ("50", "", "1760000000000", 49_999_998_240_000_000.0),
        ("9", "", "1760000000000", 8_999_998_240_000_000.0),
        ("0", "0", "1760000000000", 49_999_998_240_000_000.0),
        ("9", "0", "1760000000000", 8_999_998_240_000_000.0),
        ("9", "7", "1760000000000", 6_999_998_240_000_000.0),
    ];
    for (nth, (priority, workflow, at, expected)) in rows.into_iter().enumerate() {
        let body = serde_json::json!({
            "id": format!("j{nth}"), "service_required": "simulation", "priority": priority,
            "workflow_priority": workflow, "workflow_datetime": at,
        });
        let request = gpu_worker::queue::client::JobRequest::from_json(&body).unwrap();
        let id = gpu_worker::queue::client::submit(&scene.link, &scene.space, &request, 1 << 20).await.unwrap();
        assert_eq!(scene.score("jobs:pending", &id).await, Some(expected), "{body}");
    }
}
