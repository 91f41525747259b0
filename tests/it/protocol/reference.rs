//! The reference's records: what its hub, monitor and forensics find in Redis, written with the transition itself.

use super::ear::{Ear, names};
use super::invariants::check;
use super::scene::{LEASE, Scene, completion, failure, job, with};
use gpu_worker::protocol::hold::{Claim, ProgressNote};
use gpu_worker::protocol::outcome::{Completion, FailedAttempt, Verdict};
use gpu_worker::protocol::submit::{NewJob, Submitted};
use serde_json::{Value, json};

fn step(id: &str) -> NewJob {
    let fields = [
        ("customer_id", "c1"),
        ("workflow_id", "wf1"),
        ("workflow_priority", "60"),
        ("workflow_datetime", "1767323045678"),
        ("current_step", "1"),
        ("total_steps", "2"),
    ];
    let mut job = with(job(id, "simulation"), &fields);
    (job.priority, job.order_time_ms) = (60, Some(1_767_323_045_678));
    job.hint = (r#"{"prompt":"a"}"#.to_owned(), r#"{"models":["x"]}"#.to_owned());
    job
}

#[tokio::test]
async fn a_submission_is_told_with_every_field_that_the_reference_s_hub_sends() {
    let scene = Scene::start().await;
    let ear = Ear::open(&scene).await;
    let life = scene.submit_as(step("a")).await;
    let hint = ear.wait("job_submitted", |_| true).await;
    assert_eq!(
        names(&hint),
        "created_at current_step customer_id job_id payload priority requirements service_required status timestamp \
         total_steps workflow_datetime workflow_id workflow_priority"
    );
    assert_eq!((&hint["job_id"], &hint["priority"], &hint["status"]), (&json!("a"), &json!(50), &json!("pending")));
    assert_eq!((&hint["payload"], &hint["requirements"]), (&json!({"prompt": "a"}), &json!({"models": ["x"]})));
    assert_eq!((&hint["created_at"], &hint["workflow_datetime"]), (&json!(life), &json!(1_767_323_045_678_u64)));
    assert!(hint["timestamp"].as_u64().is_some_and(|ms| ms > 1_700_000_000_000));
    assert_eq!(scene.score("jobs:pending", "a").await, Some(60e15 - 1_767_323_045.0));
}

#[tokio::test]
async fn a_claim_is_told_twice_as_the_reference_does() {
    let scene = Scene::start().await;
    scene.submit_as(step("a")).await;
    let ear = Ear::open(&scene).await;
    scene.claim("w1").await.unwrap();
    let claimed = ear.wait("job_claimed", |_| true).await;
    assert_eq!(
        names(&claimed),
        "claimed_at customer_id job_id message service_required status timestamp total_steps worker_id workflow_id"
    );
    assert_eq!((&claimed["status"], &claimed["message"]), (&json!("claimed"), &json!("Job claimed by worker")));
    let at = claimed["claimed_at"].as_str().unwrap();
    assert!(at.split_once('.').is_some_and(|(seconds, micros)| seconds.len() == 10 && micros.len() == 6), "{at}");
    let progress = ear.wait("update_job_progress", |_| true).await;
    assert_eq!(names(&progress), "job_id message progress status timestamp worker_id");
    assert_eq!((&progress["status"], &progress["progress"]), (&json!("assigned"), &json!(0)));
}

#[tokio::test]
async fn progress_is_told_as_1_to_99() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    let ear = Ear::open(&scene).await;
    scene.space.start(&mut scene.con(), &claim, "e").await.unwrap();
    for percent in [0.0, 0.4, 1.0, 41.7, 99.6, 100.0] {
        let note = ProgressNote { percent, message: "sampling".to_owned(), ..ProgressNote::default() };
        scene.space.progress(&mut scene.con(), &claim, &note).await.unwrap();
    }
    ear.caught_up(&scene).await;
    let told = ear.on("update_job_progress");
    let seen: Vec<(&str, u64)> =
        told.iter().map(|hint| (hint["status"].as_str().unwrap(), hint["progress"].as_u64().unwrap())).collect();
    let at = |progress| ("in_progress", progress);
    assert_eq!(seen, [("processing", 0), at(1), at(41), at(99), at(99)]);
    assert_eq!(told[2]["message"], "sampling");
    // Our own channel has the exact number, and the entry's id.
    let own = ear.on("job:events:a");
    let exact: Vec<f64> = own.iter().filter_map(|event| event["progress"].as_f64()).collect();
    assert_eq!(exact, [0.0, 0.4, 1.0, 41.7, 99.6, 100.0]);
    assert!(own.iter().all(|event| event["id"].as_str().is_some_and(|id| id.contains('-'))));
}

fn result() -> Completion {
    Completion {
        reference_result: r#"{"success":true,"data":{"image_url":"file:///a.png"}}"#.to_owned(),
        attestation: ("worker:completion:job-id:wf1:step-id:a:attempt:1".to_owned(), r#"{"job_id":"a"}"#.to_owned()),
        ..completion()
    }
}

#[tokio::test]
async fn a_result_is_told_stored_and_attested() {
    let scene = Scene::start().await;
    scene.submit_as(step("a")).await;
    let claim = scene.claim("w1").await.unwrap();
    let ear = Ear::open(&scene).await;
    scene.space.complete(&mut scene.con(), &claim, &result()).await.unwrap();
    let told = ear.wait("complete_job", |_| true).await;
    assert_eq!(
        names(&told),
        "current_step job_id message progress result status timestamp total_steps worker_id workflow_datetime workflow_id \
         workflow_priority"
    );
    assert_eq!(
        (&told["progress"], &told["status"], &told["worker_id"]),
        (&json!(100), &json!("completed"), &json!("w1"))
    );
    assert_eq!((&told["current_step"], &told["total_steps"]), (&json!(1), &json!(2)));
    assert_eq!(told["result"]["data"]["image_url"], "file:///a.png");
    let stored: Value = serde_json::from_str(&scene.server.hget("jobs:completed", "a").await.unwrap()).unwrap();
    assert_eq!(names(&stored), "completed_at data success");
    assert_eq!((&stored["success"], &stored["data"]["success"]), (&json!(true), &json!(true)));
    lives(&scene, "jobs:completed", 86_400).await;
    let attestation = "worker:completion:job-id:wf1:step-id:a:attempt:1";
    assert_eq!(scene.run::<String>(&["GET", attestation]).await, r#"{"job_id":"a"}"#);
    lives(&scene, attestation, 86_400).await;
    // Asked again, nothing is told again.
    scene.space.complete(&mut scene.con(), &claim, &result()).await.unwrap();
    ear.caught_up(&scene).await;
    assert_eq!(ear.on("complete_job").len(), 1);
}

async fn lives(scene: &Scene, key: &str, seconds: i64) {
    let ttl: i64 = scene.run(&["TTL", key]).await;
    assert!((seconds - 60..=seconds).contains(&ttl), "{key} lives for {ttl} s");
}

fn attested(verdict: Verdict) -> FailedAttempt {
    let pair = |key: &str| (key.to_owned(), format!("\"{key}\""));
    FailedAttempt {
        attestations: [
            pair("worker:failure:step-id:a:attempt:1"),
            pair("worker:failure:step-id:a:permanent"),
            pair("workflow:failure:wf1:attempt:1"),
            pair("workflow:failure:wf1:permanent"),
        ],
        final_copy: "worker:completion:step-id:a".to_owned(),
        ..failure(verdict)
    }
}

#[tokio::test]
async fn only_a_final_failure_is_told_and_each_is_attested() {
    let scene = Scene::start().await;
    scene.submit_as(step("a")).await;
    let claim = scene.claim("w1").await.unwrap();
    let ear = Ear::open(&scene).await;
    scene.space.fail(&mut scene.con(), &claim, &attested(Verdict::Retry)).await.unwrap();
    ear.caught_up(&scene).await;
    assert_eq!(ear.on("job_failed"), [] as [Value; 0]);
    assert_eq!(scene.server.hget("jobs:failed", "a").await, None);
    for key in ["worker:failure:step-id:a:attempt:1", "workflow:failure:wf1:attempt:1"] {
        assert_eq!(scene.run::<String>(&["GET", key]).await, format!("\"{key}\""));
        lives(&scene, key, 604_800).await;
    }
    assert_eq!(
        scene.run::<u64>(&["EXISTS", "worker:failure:step-id:a:permanent", "worker:completion:step-id:a"]).await,
        0
    );

    scene.due("a").await;
    let claim = scene.claim("w2").await.unwrap();
    for _ in 0..2 {
        scene.space.fail(&mut scene.con(), &claim, &attested(Verdict::Never)).await.unwrap();
    }
    ear.caught_up(&scene).await;
    let told = ear.on("job_failed");
    assert_eq!(told.len(), 1);
    assert_eq!(
        names(&told[0]),
        "can_retry current_step error failed_at job_id retry_count status timestamp total_steps worker_id \
         workflow_datetime workflow_id workflow_priority"
    );
    assert_eq!((&told[0]["can_retry"], &told[0]["status"]), (&json!(false), &json!("failed")));
    assert_eq!((&told[0]["error"], &told[0]["retry_count"]), (&json!("the engine is down"), &json!(2)));
    let stored: Value = serde_json::from_str(&scene.server.hget("jobs:failed", "a").await.unwrap()).unwrap();
    assert_eq!(names(&stored), "error failed_at retry_count");
    lives(&scene, "jobs:failed", 604_800).await;
    for key in ["worker:failure:step-id:a:permanent", "workflow:failure:wf1:permanent"] {
        assert_eq!(scene.run::<String>(&["GET", key]).await, format!("\"{key}\""));
    }
    let copy: String = scene.run(&["GET", "worker:completion:step-id:a"]).await;
    assert_eq!(copy, "\"worker:failure:step-id:a:permanent\"");
    lives(&scene, "worker:completion:step-id:a", 604_800).await;
}

#[tokio::test]
async fn a_wanted_cancellation_is_told_to_the_holder_and_its_end_is_stored() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    let ear = Ear::open(&scene).await;
    scene.space.cancel(&mut scene.con(), "a", "not needed").await.unwrap();
    let told = ear.wait("cancel_job", |_| true).await;
    assert_eq!(names(&told), "job_id reason timestamp worker_id");
    assert_eq!(
        (&told["job_id"], &told["worker_id"], &told["reason"]),
        (&json!("a"), &json!("w1"), &json!("not needed"))
    );
    scene.space.confirm(&mut scene.con(), &claim).await.unwrap();
    let stored: Value = serde_json::from_str(&scene.server.hget("jobs:failed", "a").await.unwrap()).unwrap();
    assert_eq!(names(&stored), "cancelled error failed_at");
    assert_eq!(stored["error"], "Job cancelled by user");
    // A job that waits has nobody to be told.
    scene.submit("b").await;
    scene.space.cancel(&mut scene.con(), "b", "x").await.unwrap();
    ear.caught_up(&scene).await;
    assert_eq!(ear.on("cancel_job").len(), 1);
}

/// Everything that can be told about three jobs.
async fn three_lives(scene: &Scene) {
    let by_prefix = with(job("a", "simulation"), &[]);
    for id in ["a", "b", "c"] {
        let mut job = by_prefix.clone();
        job.id = id.to_owned();
        let answer = scene.space.submit(&mut scene.con(), &job, Default::default()).await.unwrap();
        assert!(matches!(answer, Submitted::Accepted { .. }));
    }
    let mut claims: Vec<Claim> = Vec::new();
    for _ in 0..3 {
        claims.push(scene.claim("w1").await.expect("a job"));
    }
    for claim in &claims {
        scene.space.start(&mut scene.con(), claim, "e").await.unwrap();
        let note = ProgressNote { percent: 50.0, ..ProgressNote::default() };
        scene.space.progress(&mut scene.con(), claim, &note).await.unwrap();
    }
    scene.space.complete(&mut scene.con(), &claims[0], &result()).await.unwrap();
    scene.space.fail(&mut scene.con(), &claims[1], &attested(Verdict::Never)).await.unwrap();
    scene.space.cancel(&mut scene.con(), "c", "x").await.unwrap();
    scene.space.confirm(&mut scene.con(), &claims[2]).await.unwrap();
    scene.space.renew(&mut scene.con(), LEASE, &claims).await.unwrap();
    check(scene).await;
}

#[tokio::test]
async fn nothing_of_it_is_written_when_the_reference_s_readers_are_not_served() {
    let mut scene = Scene::start().await;
    scene.space.reference_events = false;
    let ear = Ear::open(&scene).await;
    three_lives(&scene).await;
    ear.caught_up(&scene).await;
    let channels: Vec<String> = ear.channels().into_iter().collect();
    // A wanted cancellation travels by this channel in any case.
    let ours = ["cancel_job", "job:events:a", "job:events:b", "job:events:c", "jobs:classes:born", "mark"];
    assert_eq!(channels, ours);
    let keys: Vec<String> = scene.run(&["KEYS", "*"]).await;
    for key in keys {
        let theirs = ["jobs:completed", "jobs:failed", "worker:completion", "worker:failure", "workflow:"];
        assert!(!theirs.iter().any(|name| key.starts_with(name)), "{key} is written");
    }
}

#[tokio::test]
async fn every_key_and_channel_stands_behind_the_prefix() {
    let mut scene = Scene::start().await;
    scene.space.prefix = "{pool-a}:".to_owned();
    let ear = Ear::open(&scene).await;
    three_lives(&scene).await;
    scene.sweep().await;
    scene.tick().await;
    ear.caught_up(&scene).await;
    for channel in ear.channels() {
        assert!(channel.starts_with("{pool-a}:") || channel == "mark", "{channel}");
    }
    let keys: Vec<String> = scene.run(&["KEYS", "*"]).await;
    assert!(keys.len() > 10);
    for key in keys {
        assert!(key.starts_with("{pool-a}:"), "{key}");
    }
}
