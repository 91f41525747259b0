//! Registering, heartbeats, leaving: the newest process of a worker id wins.

use super::scene::{Scene, job};
use gpu_worker::protocol::class::Class;
use gpu_worker::protocol::control::Desired;
use gpu_worker::protocol::operate::{Registered, Registration};
use gpu_worker::queue::claim::{Asked, Claimer, Judgement};
use gpu_worker::queue::control::Control;
use std::time::Duration;

async fn register(scene: &Scene, instance: &str, nonce: &str, class_fields: &[String]) -> Registered {
    let fields = [("status".to_owned(), "idle".to_owned()), ("machine_id".to_owned(), "m1".to_owned())];
    let registration = Registration { worker: "w1", instance, nonce, ttl_seconds: 60, class_fields, fields: &fields };
    scene.space.register(&mut scene.con(), &registration).await.unwrap()
}

fn instance_of(answer: Registered) -> String {
    match answer {
        Registered::Ok { instance, .. } => instance,
        Registered::Superseded { by } => panic!("superseded by {by}"),
    }
}

#[tokio::test]
async fn a_registered_worker_has_a_record_a_heartbeat_and_a_place_among_the_active() {
    let scene = Scene::start().await;
    let instance = instance_of(register(&scene, "", "n", &[]).await);
    let worker = |name: &'static str| scene.server.hget("worker:w1", name);
    assert_eq!(worker("instance").await, Some(instance.clone()));
    assert_eq!((worker("status").await.as_deref(), worker("machine_id").await.as_deref()), (Some("idle"), Some("m1")));
    let connected = worker("connected_at").await.unwrap();
    assert!(connected.ends_with('Z'));
    let ttl: i64 = scene.run(&["TTL", "worker:w1:heartbeat"]).await;
    assert!((1..=60).contains(&ttl));
    assert_eq!(scene.run::<Vec<String>>(&["SMEMBERS", "workers:active"]).await, ["w1"]);
    // The same process again: the whole record, the same instance.
    let _: u64 = scene.run(&["DEL", "worker:w1:heartbeat", "workers:active"]).await;
    let _: u64 = scene.run(&["HDEL", "worker:w1", "status"]).await;
    assert_eq!(instance_of(register(&scene, &instance, "n", &[]).await), instance);
    assert_eq!(worker("status").await.as_deref(), Some("idle"));
    assert_eq!(worker("connected_at").await, Some(connected));
    assert_eq!(scene.run::<u64>(&["EXISTS", "worker:w1:heartbeat", "workers:active"]).await, 2);
}

#[tokio::test]
async fn a_newer_process_wins_and_the_older_learns_of_it() {
    let scene = Scene::start().await;
    let old = instance_of(register(&scene, "", "aaaa", &[]).await);
    let new = instance_of(register(&scene, "", "bbbb", &[]).await);
    assert!(new > old);
    assert_eq!(register(&scene, &old, "aaaa", &[]).await, Registered::Superseded { by: new.clone() });
    // The older one leaves, and takes nothing away.
    scene.space.deregister(&mut scene.con(), "w1", &old).await.unwrap();
    assert_eq!(scene.server.hget("worker:w1", "instance").await, Some(new.clone()));
    assert_eq!(scene.run::<u64>(&["EXISTS", "worker:w1:heartbeat"]).await, 1);
    assert_eq!(instance_of(register(&scene, &new, "bbbb", &[]).await), new);
}

#[tokio::test]
async fn leaving_takes_the_record_away_and_may_be_repeated() {
    let scene = Scene::start().await;
    let instance = instance_of(register(&scene, "", "n", &[]).await);
    for _ in 0..2 {
        scene.space.deregister(&mut scene.con(), "w1", &instance).await.unwrap();
        assert_eq!(scene.run::<u64>(&["EXISTS", "worker:w1", "worker:w1:heartbeat", "workers:active"]).await, 0);
    }
}

#[tokio::test]
async fn a_desired_state_is_heard_with_the_next_beat() {
    let scene = Scene::start().await;
    let _: u64 = scene.run(&["HSET", "worker:w1:control", "state", "paused"]).await;
    let answer = register(&scene, "", "n", &[]).await;
    assert!(matches!(answer, Registered::Ok { ref wanted, .. } if wanted.desired == Desired::Paused), "{answer:?}");
}

#[tokio::test]
async fn a_record_that_another_program_replaced_does_not_stop_the_heartbeat() {
    let scene = Scene::start().await;
    let instance = instance_of(register(&scene, "", "n", &[]).await);
    let _: u64 = scene.run(&["DEL", "worker:w1"]).await;
    let _: String = scene.run(&["SET", "worker:w1:control", "no hash"]).await;
    assert_eq!(instance_of(register(&scene, &instance, "n", &[]).await), instance);
    assert_eq!(scene.run::<u64>(&["EXISTS", "worker:w1:heartbeat"]).await, 1);
}

#[tokio::test]
async fn job_fields_that_a_worker_reads_become_part_of_every_class() {
    let scene = Scene::start().await;
    let fields = ["customer_id".to_owned(), "workflow_id".to_owned()];
    let answer = register(&scene, "", "n", &fields).await;
    assert!(matches!(answer, Registered::Ok { new_class_fields: 2, .. }), "{answer:?}");
    let mut names: Vec<String> = scene.run(&["SMEMBERS", "jobs:class:fields"]).await;
    names.sort();
    assert_eq!(names, fields);
}

/// A worker for one customer only.
fn judge(definition: &str) -> Judgement {
    match Class::parse(definition).unwrap().field("customer_id") {
        None => Judgement::Incomplete,
        Some("c1") => Judgement::Fits { service: None },
        Some(_) => Judgement::Misfit,
    }
}

#[tokio::test]
async fn jobs_of_a_class_without_a_field_that_matters_are_indexed_again() {
    let scene = Scene::start().await;
    scene.submit_as(super::scene::with(job("a", "simulation"), &[("customer_id", "c2")])).await;
    scene.submit_as(super::scene::with(job("b", "simulation"), &[("customer_id", "c1")])).await;
    register(&scene, "", "n", &["customer_id".to_owned()]).await;
    let mut claimer = Claimer::new("w1", Duration::from_secs(600));
    let Asked::Job(job, _) = claimer.ask(&scene.link, &scene.space, ("", &Control::new("w")), &judge).await.unwrap()
    else {
        panic!("no job")
    };
    assert_eq!(job.id, "b");
    assert_eq!(
        claimer.ask(&scene.link, &scene.space, ("", &Control::new("w")), &judge).await.unwrap(),
        Asked::Nothing { due: None, avoiding: Vec::new() }
    );
    super::invariants::check(&scene).await;
}

#[tokio::test]
async fn a_job_that_comes_back_into_a_class_without_a_field_that_matters_is_found_too() {
    let scene = Scene::start().await;
    scene.submit_as(super::scene::with(job("a", "simulation"), &[("customer_id", "c1")])).await;
    let held = scene.claim("w2").await.unwrap();
    register(&scene, "", "n", &["customer_id".to_owned()]).await;
    let mut claimer = Claimer::new("w1", Duration::from_secs(600));
    assert_eq!(
        claimer.ask(&scene.link, &scene.space, ("", &Control::new("w")), &judge).await.unwrap(),
        Asked::Nothing { due: None, avoiding: Vec::new() }
    );
    scene.release(&held).await;
    let Asked::Job(job, _) = claimer.ask(&scene.link, &scene.space, ("", &Control::new("w")), &judge).await.unwrap()
    else {
        panic!("no job")
    };
    assert_eq!(job.id, "a");
    super::invariants::check(&scene).await;
}
