//! Claiming: the best fitting job, once, whatever the indexes say wrongly.

use super::invariants::check;
use super::scene::{LEASE, Scene, claim_of, class_of, job, with};
use gpu_worker::protocol::claim::{ClaimReply, ClaimRequest};
use gpu_worker::protocol::operate::{Registered, Registration};
use gpu_worker::protocol::outcome::Verdict;
use gpu_worker::protocol::submit::NewJob;

fn at(id: &str, priority: u64, time_ms: u64) -> NewJob {
    let mut job = with(job(id, "simulation"), &[("priority", &priority.to_string())]);
    (job.priority, job.order_time_ms) = (priority, Some(time_ms));
    job
}

#[tokio::test]
async fn a_claimed_job_is_held_and_leaves_the_queue() {
    let scene = Scene::start().await;
    let life = scene.submit("j1").await;
    let before = scene.now_ms().await;
    let (claim, job) = scene.claim_job("w1", &[]).await.unwrap();
    assert_eq!((job.id.as_str(), job.again, job.payload_bytes, job.attempt), ("j1", false, 2, 1));
    assert_eq!((job.life, job.class), (life.clone(), class_of("simulation").id().to_string()));
    let hash = scene.hash("j1").await;
    assert_eq!(
        (hash["status"].as_str(), hash["worker_id"].as_str(), hash["attempt"].as_str()),
        ("assigned", "w1", "1")
    );
    assert_eq!(hash["claim"], claim.token);
    assert!(claim.token.starts_with("w1|"));
    assert!(hash.contains_key("assigned_at"));
    let expiry = scene.score("jobs:leases", "j1").await.unwrap();
    assert!(expiry >= (before + LEASE) as f64 && expiry <= (scene.now_ms().await + LEASE) as f64);
    assert_eq!(scene.events("j1").await, ["job_submitted", "assigned"]);
    let event = scene.last_event("j1").await;
    assert_eq!((&event["worker_id"], &event["attempt"]), (&"w1".into(), &1.into()));
    check(&scene).await;
    assert!(scene.claim("w2").await.is_none());
}

#[tokio::test]
async fn asking_again_with_the_same_token_gives_the_same_job() {
    let scene = Scene::start().await;
    scene.submit("a").await;
    scene.submit("b").await;
    let ClaimReply::Job(first) = scene.claim_with("w1|t1", LEASE).await else { panic!("no job") };
    let ClaimReply::Job(again) = scene.claim_with("w1|t1", LEASE).await else { panic!("no job") };
    assert!(!first.again && again.again);
    assert_eq!((&again.id, again.attempt, &again.life), (&first.id, 1, &first.life));
    let ClaimReply::Job(second) = scene.claim_with("w1|t2", LEASE).await else { panic!("no job") };
    assert_ne!(second.id, first.id);
    assert_eq!(scene.events(&first.id).await, ["job_submitted", "assigned"]);
    check(&scene).await;
}

#[tokio::test]
async fn an_ended_token_gets_another_job() {
    let scene = Scene::start().await;
    scene.submit("a").await;
    let ClaimReply::Job(job) = scene.claim_with("w1|t1", LEASE).await else { panic!("no job") };
    scene.complete(&claim_of(&job, "w1|t1")).await;
    assert_eq!(scene.claim_with("w1|t1", LEASE).await, ClaimReply::Nothing { next_due_ms: None, avoiding: Vec::new() });
}

#[tokio::test]
async fn higher_priority_first_then_older_then_by_id() {
    let scene = Scene::start().await;
    for job in
        [at("d", 50, 2000), at("c", 50, 1000), at("b", 50, 1000), at("a", 50, 3000), at("z", 51, 9000), at("y", 0, 1)]
    {
        scene.submit_as(job).await;
    }
    let mut order = Vec::new();
    while let Some(claim) = scene.claim("w1").await {
        order.push(claim.id);
        check(&scene).await;
    }
    assert_eq!(order, ["z", "b", "c", "d", "a", "y"]);
}

#[tokio::test]
async fn a_job_that_does_not_fit_is_left_to_others() {
    let scene = Scene::start().await;
    scene.submit_as(job("a", "comfyui")).await;
    scene.submit_as(job("b", "simulation")).await;
    assert_eq!(scene.claim_job("w1", &["simulation"]).await.unwrap().0.id, "b");
    assert!(scene.claim_job("w1", &["simulation"]).await.is_none());
    assert_eq!(scene.claim_job("w2", &["comfyui"]).await.unwrap().0.id, "a");
    check(&scene).await;
}

#[tokio::test]
async fn the_best_class_is_found_among_many_that_fit_and_many_that_do_not() {
    let scene = Scene::start().await;
    let services: Vec<String> = (0..240).map(|n| format!("s{n}")).collect();
    for (n, service) in services.iter().enumerate() {
        let mut job = job(&format!("j{n}"), service);
        job.order_time_ms = Some(1000 + n as u64);
        scene.submit_as(job).await;
    }
    // Fewer and more than the 32 classes up to which their heads are asked for by name.
    for fitting in [&services[200..230], &services[150..230]] {
        let names: Vec<&str> = fitting.iter().map(String::as_str).collect();
        let best = fitting.first().unwrap().replace('s', "j");
        let (claim, _) = scene.claim_job("w1", &names).await.unwrap();
        assert_eq!(claim.id, best);
        scene.release(&claim).await;
    }
}

#[tokio::test]
async fn stale_entries_in_front_are_dropped_and_do_not_let_a_worse_job_pass() {
    let scene = Scene::start().await;
    for (id, service, time) in [("a1", "a", 1000), ("a2", "a", 9000), ("b1", "b", 2000)] {
        let mut job = job(id, service);
        job.order_time_ms = Some(time);
        scene.submit_as(job).await;
    }
    scene.foreign_cancel("a1").await;
    assert_eq!(scene.claim("w1").await.unwrap().id, "b1");
    assert_eq!(scene.events("a1").await, ["job_submitted", "cancellation"]);
    check(&scene).await;
    assert_eq!(scene.claim("w1").await.unwrap().id, "a2");
}

#[tokio::test]
async fn a_job_that_was_taken_off_the_queue_is_not_claimed() {
    let scene = Scene::start().await;
    for id in ["off", "over"] {
        scene.submit(id).await;
    }
    // Somebody holds it back, or an end of it was recorded whatever its status says.
    let _: u64 = scene.run(&["ZREM", "jobs:pending", "off"]).await;
    let life = scene.field("over", "created_at").await.unwrap();
    scene.set("over", &[("final", &format!("completed w9|x {life}"))]).await;
    assert!(scene.claim("w1").await.is_none());
    assert_eq!(scene.field("off", "status").await.as_deref(), Some("pending"));
    assert_eq!(scene.field("over", "status").await.as_deref(), Some("completed"));
}

#[tokio::test]
async fn a_new_life_is_not_claimed_from_the_class_of_the_earlier_one() {
    let scene = Scene::start().await;
    // In front, and for others: what is behind it is not indexed by the claim.
    scene.submit_as(at_service("front", "comfyui", 900)).await;
    scene.submit("a").await;
    scene.foreign("a", &[("created_at", "2026-07-07T07:07:07.000Z"), ("service_required", "comfyui")]).await;
    assert!(scene.claim_job("w1", &["simulation"]).await.is_none());
    scene.sweep().await;
    check(&scene).await;
    assert_eq!(scene.claim_job("w2", &["comfyui"]).await.unwrap().0.id, "front");
    assert_eq!(scene.claim_job("w2", &["comfyui"]).await.unwrap().0.id, "a");
}

fn at_service(id: &str, service: &str, priority: u64) -> NewJob {
    let mut job = with(job(id, service), &[("priority", &priority.to_string())]);
    job.priority = priority;
    job
}

#[tokio::test]
async fn a_job_is_avoided_for_a_while_only() {
    let scene = Scene::start().await;
    scene.submit_as(with(job("a", "simulation"), &[("avoid", "w1 1")])).await;
    assert_eq!(scene.claim("w1").await.unwrap().id, "a");
}

#[tokio::test]
async fn any_number_of_stale_entries_ends_in_the_good_job_behind_them() {
    let scene = Scene::start().await;
    for n in 0..150 {
        let id = format!("j{n}");
        scene.submit_as(at(&id, 60, 1000 + n)).await;
        let _: u64 = scene.run(&["DEL", &format!("job:{id}")]).await;
    }
    scene.submit_as(at("good", 10, 1)).await;
    assert_eq!(scene.claim("w1").await.unwrap().id, "good");
    check(&scene).await;
}

#[tokio::test]
async fn a_claim_says_when_its_picture_of_the_classes_is_old() {
    let scene = Scene::start().await;
    scene.submit("a").await;
    let request = ClaimRequest {
        token: "w1|t",
        worker: "w1",
        lease_ms: LEASE,
        version: "old",
        force: false,
        fitting: "",
        instance: "",
    };
    let answer = scene.space.claim(&mut scene.con(), &request).await.unwrap();
    let class = class_of("simulation");
    let ClaimReply::Classes { version, definitions } = answer else { panic!("{answer:?}") };
    assert_eq!(definitions, Some(vec![(class.id().to_string(), class.definition().to_owned())]));
    assert_eq!(version, scene.run::<String>(&["HGET", "jobs:classes", "_v"]).await);
    // Many classes are read apart.
    for n in 0..70 {
        scene.submit_as(job(&format!("j{n}"), &format!("s{n}"))).await;
    }
    let answer = scene.space.claim(&mut scene.con(), &request).await.unwrap();
    assert!(matches!(answer, ClaimReply::Classes { definitions: None, .. }), "{answer:?}");
}

#[tokio::test]
async fn a_claim_says_when_the_next_delayed_job_is_due() {
    let scene = Scene::start().await;
    assert_eq!(scene.claim_with("w1|t", LEASE).await, ClaimReply::Nothing { next_due_ms: None, avoiding: Vec::new() });
    let mut later = job("a", "simulation");
    later.due_ms = Some(scene.now_ms().await + 500_000);
    scene.submit_as(later).await;
    let ClaimReply::Nothing { next_due_ms: Some(ms), .. } = scene.claim_with("w1|t", LEASE).await else {
        panic!("no time")
    };
    assert!(ms <= 500_000);
}

#[tokio::test]
async fn a_claim_promotes_what_is_due_without_waiting_for_a_tick() {
    let scene = Scene::start().await;
    let mut later = job("a", "simulation");
    later.due_ms = Some(scene.now_ms().await + 500_000);
    scene.submit_as(later).await;
    let _: u64 = scene.run(&["ZADD", "jobs:delayed", "XX", "CH", "1", "a"]).await;
    assert_eq!(scene.claim("w1").await.unwrap().id, "a");
    check(&scene).await;
}

#[tokio::test]
async fn a_claim_that_leaves_jobs_behind_leaves_a_token_too() {
    let scene = Scene::start().await;
    scene.submit("a").await;
    scene.submit("b").await;
    let wake = format!("jobs:wake:{}", class_of("simulation").id());
    for left in [1, 0] {
        let _: Option<String> = scene.run(&["LPOP", &wake]).await;
        scene.claim("w1").await.unwrap();
        assert_eq!(scene.run::<u64>(&["LLEN", &wake]).await, left);
    }
}

#[tokio::test]
async fn whoever_failed_a_job_leaves_it_to_others_for_a_while() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    scene.submit("b").await;
    scene.fail(&claim, Verdict::Elsewhere).await;
    scene.due("a").await;
    // It is the older one, and yet w1 gets the job behind it.
    assert_eq!(scene.claim("w1").await.unwrap().id, "b");
    assert!(scene.claim("w1").await.is_none());
    assert_eq!(scene.claim("w2").await.unwrap().id, "a");
    check(&scene).await;
}

#[tokio::test]
async fn an_avoided_job_does_not_let_a_worse_one_of_its_class_pass_a_better_class() {
    let scene = Scene::start().await;
    let mut avoided = job("a1", "a");
    avoided.order_time_ms = Some(1000);
    scene.submit_as(avoided).await;
    let claim = scene.claim("w1").await.unwrap();
    scene.fail(&claim, Verdict::Elsewhere).await;
    scene.due("a1").await;
    for (id, service, time) in [("a2", "a", 9000), ("b1", "b", 2000)] {
        let mut job = job(id, service);
        job.order_time_ms = Some(time);
        scene.submit_as(job).await;
    }
    assert_eq!(scene.claim("w1").await.unwrap().id, "b1");
    assert_eq!(scene.claim("w1").await.unwrap().id, "a2");
    check(&scene).await;
}

#[tokio::test]
async fn many_avoided_jobs_in_many_classes_do_not_hide_the_rest() {
    let scene = Scene::start().await;
    let far = scene.now_ms().await + 1_000_000;
    for n in 0..80 {
        let mut avoided = with(job(&format!("a{n}"), &format!("s{}", n / 8)), &[("avoid", &format!("w1 {far}"))]);
        avoided.order_time_ms = Some(1000 + n);
        scene.submit_as(avoided).await;
    }
    scene.submit_as(job("good", "last")).await;
    assert_eq!(scene.claim("w1").await.unwrap().id, "good");
}

#[tokio::test]
async fn jobs_that_avoid_the_caller_do_not_hide_one_of_their_class_behind_them() {
    let scene = Scene::start().await;
    let far = scene.now_ms().await + 1_000_000;
    for n in 0..60 {
        let mut avoided = with(job(&format!("a{n}"), "simulation"), &[("avoid", &format!("w2 w1 {far}"))]);
        avoided.order_time_ms = Some(1000 + n);
        scene.submit_as(avoided).await;
    }
    assert!(scene.claim("w1").await.is_none());
    scene.submit("good").await;
    assert_eq!(scene.claim("w1").await.unwrap().id, "good");
    assert_eq!(scene.claim("w3").await.unwrap().id, "a0");
    check(&scene).await;
}

/// Puts `count` jobs that avoid w1 into each of the classes, in front of what comes later.
async fn avoided(scene: &Scene, classes: u64, count: u64) {
    let far = scene.now_ms().await + 1_000_000;
    for n in 0..classes * count {
        let (id, service) = (format!("a{n}"), format!("s{}", n % classes));
        let mut avoided = with(job(&id, &service), &[("avoid", &format!("w1 {far}"))]);
        avoided.order_time_ms = Some(1000 + n);
        scene.submit_as(avoided).await;
    }
}

#[tokio::test]
async fn however_many_jobs_avoid_the_caller_in_some_classes_the_others_are_searched() {
    // Fewer and more than the 32 classes up to which their heads are asked for by name.
    for (classes, count) in [(8, 64), (33, 16)] {
        let scene = Scene::start().await;
        avoided(&scene, classes, count).await;
        scene.submit_as(job("good", "last")).await;
        assert_eq!(scene.claim("w1").await.map(|claim| claim.id).as_deref(), Some("good"), "{classes} classes");
        let ClaimReply::Nothing { avoiding, .. } = scene.claim_with("w1|t", LEASE).await else { panic!("a job") };
        assert_eq!(avoiding.len() as u64, classes, "it stands by for every one of them");
    }
}

#[tokio::test]
async fn a_class_that_is_not_looked_through_is_looked_at_again_soon() {
    let scene = Scene::start().await;
    avoided(&scene, 1, 512).await;
    let left = async || match scene.claim_with("w1|t", LEASE).await {
        ClaimReply::Nothing { avoiding, .. } => avoiding[0].1,
        reply => panic!("{reply:?}"),
    };
    assert!(left().await > 900_000, "that is all of them");
    scene.submit_as(job("good", "s0")).await;
    assert!(left().await <= 5000);
    assert_eq!(scene.claim("w2").await.unwrap().id, "a0");
    assert_eq!(scene.claim("w1").await.map(|claim| claim.id).as_deref(), Some("good"));
}

#[tokio::test]
async fn whoever_passes_a_class_over_is_told_until_when_and_is_called_once_for_what_comes_new() {
    let scene = Scene::start().await;
    let class = class_of("simulation").id().to_string();
    let calls = async |worker: &str| -> u64 { scene.run(&["LLEN", &format!("jobs:wake:bystander:{worker}")]).await };
    let far = scene.now_ms().await + 1_000_000;
    for (id, till) in [("a", far + 5000), ("b", far)] {
        scene.submit_as(with(job(id, "simulation"), &[("avoid", &format!("w1 {till}"))])).await;
    }
    for _ in 0..2 {
        let ClaimReply::Nothing { avoiding, .. } = scene.claim_with("w1|t", LEASE).await else { panic!("a job") };
        let [(named, left)] = &avoiding[..] else { panic!("{avoiding:?}") };
        assert!(*named == class && (900_000..=1_000_000).contains(left), "{avoiding:?}");
    }
    assert_eq!(calls("w1").await, 0, "nothing new yet");
    for id in ["c", "d"] {
        scene.submit(id).await;
        assert_eq!(calls("w1").await, 1, "{id}");
    }
    assert!(!scene.run::<bool>(&["EXISTS", &format!("jobs:bystanders:{class}")]).await);
    assert_eq!(calls("w2").await, 0, "it waits for tokens as everybody does");
    // A foreign job that is indexed calls, too.
    let _: u64 = scene.run(&["DEL", "jobs:wake:bystander:w1"]).await;
    for id in ["c", "d"] {
        assert_eq!(scene.claim("w1").await.unwrap().id, id);
    }
    assert!(scene.claim("w1").await.is_none());
    scene.foreign("e", &[("priority", "50")]).await;
    assert!(scene.claim_job("w9", &["something else"]).await.is_none());
    assert_eq!(calls("w1").await, 1);
    check(&scene).await;
}

#[tokio::test]
async fn a_class_that_moves_back_while_the_heads_are_walked_hides_no_other() {
    let scene = Scene::start().await;
    let far = scene.now_ms().await + 1_000_000;
    let avoided = |id: &str, service: &str| with(job(id, service), &[("avoid", &format!("w1 {far}"))]);
    for n in 0..120 {
        let (id, service) = (format!("j{n}"), format!("s{n}"));
        let mut waiting = if n == 100 { job(&id, &service) } else { avoided(&id, &service) };
        waiting.order_time_ms = Some(1000 + n);
        scene.submit_as(waiting).await;
    }
    // The sixth class loses its first job and goes behind all others; the hundred and first moves up in its place.
    let mut behind = avoided("behind", "s5");
    behind.order_time_ms = Some(9000);
    scene.submit_as(behind).await;
    scene.foreign_cancel("j5").await;
    assert_eq!(scene.claim("w1").await.unwrap().id, "j100");
}

#[tokio::test]
async fn entries_of_the_callers_own_list_that_it_does_not_hold_are_removed() {
    let scene = Scene::start().await;
    scene.held("a", "w2").await;
    for id in ["a", "gone"] {
        let _: u64 = scene.run(&["HSET", "jobs:active:w1", id, "{}"]).await;
    }
    scene.claim("w1").await;
    assert_eq!(scene.run::<u64>(&["HLEN", "jobs:active:w1"]).await, 0);
    check(&scene).await;
}

#[tokio::test]
async fn an_unindexed_job_in_front_is_indexed_first() {
    let scene = Scene::start().await;
    scene.submit("ours").await;
    scene.foreign("theirs", &[("priority", "90")]).await;
    assert_eq!(scene.claim("w1").await.unwrap().id, "theirs");
    check(&scene).await;
}

#[tokio::test]
async fn a_job_in_front_that_cannot_be_indexed_does_not_stop_those_behind() {
    let scene = Scene::start().await;
    scene.foreign("odd", &[("priority", "90"), ("status", "queued")]).await;
    scene.submit("good").await;
    assert_eq!(scene.claim("w1").await.unwrap().id, "good");
}

#[tokio::test]
async fn an_older_process_of_a_worker_claims_nothing_once_a_newer_one_has_registered() {
    let scene = Scene::start().await;
    let instance_of = async |nonce| {
        let registration =
            Registration { worker: "w1", instance: "", nonce, ttl_seconds: 60, class_fields: &[], fields: &[] };
        match scene.space.register(&mut scene.con(), &registration).await.unwrap() {
            Registered::Ok { instance, .. } => instance,
            Registered::Superseded { by } => panic!("superseded by {by}"),
        }
    };
    let (old, new) = (instance_of("a").await, instance_of("b").await);
    scene.submit("a").await;
    let fitting = class_of("simulation").id().to_string();
    let claim = async |instance: &str, token: &str| {
        let request = ClaimRequest {
            token,
            worker: "w1",
            lease_ms: LEASE,
            version: "",
            force: true,
            fitting: &fitting,
            instance,
        };
        scene.space.claim(&mut scene.con(), &request).await.unwrap()
    };
    assert_eq!(claim(&old, "w1|1").await, ClaimReply::Superseded);
    assert_eq!(scene.field("a", "status").await.as_deref(), Some("pending"));
    assert!(matches!(claim(&new, "w1|2").await, ClaimReply::Job(_)));
    check(&scene).await;
}
