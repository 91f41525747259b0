//! Holding: start, progress, renew, adopt, and what a holder may still do after it was given up.

use super::invariants::check;
use super::scene::{LEASE, Scene};
use gpu_worker::protocol::hold::{Adoption, Claim, Hold, ProgressNote};
use gpu_worker::protocol::operate::Cancelled;
use gpu_worker::protocol::outcome::{Settled, Verdict};

async fn start(scene: &Scene, claim: &Claim) -> Hold {
    scene.space.start(&mut scene.con(), claim, "engine-7").await.unwrap()
}

async fn progress(scene: &Scene, claim: &Claim, percent: f64) -> Hold {
    let step = Some((4, 20));
    let note = ProgressNote { percent, message: "sampling".to_owned(), node: "3".to_owned(), step, preview: None };
    scene.space.progress(&mut scene.con(), claim, &note).await.unwrap()
}

#[tokio::test]
async fn start_makes_the_engines_id_durable_and_is_harmless_when_repeated() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    for _ in 0..2 {
        assert_eq!(start(&scene, &claim).await, Hold::Ok);
        assert_eq!(scene.field("a", "status").await.as_deref(), Some("in_progress"));
        assert_eq!(scene.field("a", "service_job_id").await.as_deref(), Some("engine-7"));
        assert!(scene.field("a", "started_at").await.is_some());
        assert_eq!(scene.events("a").await, ["job_submitted", "assigned", "started"]);
        check(&scene).await;
    }
}

#[tokio::test]
async fn progress_lands_in_hash_and_log() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    start(&scene, &claim).await;
    assert_eq!(progress(&scene, &claim, 41.5).await, Hold::Ok);
    let hash = scene.hash("a").await;
    assert_eq!((hash["progress"].as_str(), hash["progress_message"].as_str()), ("41.5", "sampling"));
    let event = scene.last_event("a").await;
    assert_eq!((&event["type"], &event["event_type"]), (&"progress".into(), &"progress".into()));
    assert_eq!((&event["progress"], &event["step"], &event["steps"]), (&41.5.into(), &4.into(), &20.into()));
    assert_eq!((&event["node"], &event["message"], &event["attempt"]), (&"3".into(), &"sampling".into(), &1.into()));
    check(&scene).await;
}

#[tokio::test]
async fn progress_never_falls_while_it_is_the_same_work() {
    let scene = Scene::start().await;
    let old = scene.held("a", "w1").await;
    start(&scene, &old).await;
    progress(&scene, &old, 41.5).await;
    let adopted = scene.space.adopt(&mut scene.con(), &old, "w1|new", LEASE, 3).await.unwrap();
    assert!(adopted.held().is_some());
    let claim = Claim { token: "w1|new".to_owned(), ..old };
    for (told, shown) in [(0.0, 41.5), (41.5, 41.5), (50.0, 50.0), (49.0, 50.0)] {
        assert_eq!(progress(&scene, &claim, told).await, Hold::Ok);
        assert_eq!(scene.field("a", "progress").await.as_deref(), Some(&*shown.to_string()));
        assert_eq!(scene.last_event("a").await["progress"], shown);
    }
    // The engine had forgotten it: it runs once more.
    assert_eq!(scene.space.start(&mut scene.con(), &claim, "engine-8").await.unwrap(), Hold::Ok);
    progress(&scene, &claim, 3.5).await;
    assert_eq!(scene.last_event("a").await["progress"], 3.5);
    check(&scene).await;
}

#[tokio::test]
async fn a_new_picture_is_named_by_the_event_and_by_nothing_else() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    start(&scene, &claim).await;
    let preview = Some(("file:///x/7.jpg".to_owned(), "image/jpeg".to_owned()));
    let note = ProgressNote { percent: 10.0, preview, ..ProgressNote::default() };
    assert_eq!(scene.space.progress(&mut scene.con(), &claim, &note).await.unwrap(), Hold::Ok);
    let event = scene.last_event("a").await;
    assert_eq!(event["preview_url"], "file:///x/7.jpg");
    assert_eq!(event["preview_media_type"], "image/jpeg");
    assert!(scene.hash("a").await.values().all(|value| !value.contains("7.jpg")));
    progress(&scene, &claim, 20.0).await;
    assert!(scene.last_event("a").await.get("preview_url").is_none());
    check(&scene).await;
}

#[tokio::test]
async fn start_and_progress_are_refused_unless_the_job_is_held_by_this_token() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    let stranger = Claim { token: "w1|other".to_owned(), ..claim.clone() };
    let unknown = Claim { id: "nowhere".to_owned(), ..claim.clone() };
    let before = scene.hash("a").await;
    let elsewhere = Claim { token: "w2|other".to_owned(), ..claim.clone() };
    // A token of the same worker is an earlier process of it: the engine's work is not its business any more.
    for (other, expected) in [(&stranger, Hold::Moved), (&elsewhere, Hold::Lost), (&unknown, Hold::Lost)] {
        assert_eq!(start(&scene, other).await, expected);
        assert_eq!(progress(&scene, other, 5.0).await, expected);
    }
    assert_eq!(scene.hash("a").await, before);
    assert!(scene.hash("nowhere").await.is_empty());
    scene.complete(&claim).await;
    assert_eq!(start(&scene, &claim).await, Hold::Lost);
    assert_eq!(progress(&scene, &claim, 5.0).await, Hold::Lost);
    check(&scene).await;
}

#[tokio::test]
async fn a_wanted_cancellation_is_told_by_every_call_of_the_holder() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    let asked = scene.space.cancel(&mut scene.con(), "a", "not needed").await.unwrap();
    assert_eq!(asked, Cancelled::Requested { worker: "w1".to_owned() });
    assert_eq!(start(&scene, &claim).await, Hold::Cancel);
    assert_eq!(progress(&scene, &claim, 5.0).await, Hold::Cancel);
    assert_eq!(scene.renew(&claim).await, Hold::Cancel);
    check(&scene).await;
}

#[tokio::test]
async fn renew_moves_the_lease_and_answers_for_each_job() {
    let scene = Scene::start().await;
    let (mine, other) = (scene.held("a", "w1").await, scene.held("b", "w2").await);
    let wanted = scene.held("c", "w1").await;
    scene.space.cancel(&mut scene.con(), "c", "x").await.unwrap();
    let _: u64 = scene.run(&["ZADD", "jobs:leases", "XX", "CH", "5", "a"]).await;
    let foreign = Claim { token: "w1|stolen".to_owned(), ..other };
    let gone = Claim { id: "gone".to_owned(), ..mine.clone() };
    let claims = [mine, foreign, gone, wanted];
    for _ in 0..2 {
        let answers = scene.space.renew(&mut scene.con(), LEASE, &claims).await.unwrap();
        assert_eq!(answers, [Hold::Ok, Hold::Lost, Hold::Lost, Hold::Cancel]);
        assert!(scene.score("jobs:leases", "a").await.unwrap() > 1e12);
        check(&scene).await;
    }
}

#[tokio::test]
async fn an_expired_lease_holds_until_somebody_reaps_it() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    let _: u64 = scene.run(&["ZADD", "jobs:leases", "XX", "CH", "1", "a"]).await;
    assert_eq!(start(&scene, &claim).await, Hold::Ok);
    assert_eq!(scene.renew(&claim).await, Hold::Ok);
    assert_eq!(scene.tick().await.reaped, 0);
    check(&scene).await;
}

#[tokio::test]
async fn a_stalled_holder_takes_its_job_back_while_nobody_else_has_it() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    start(&scene, &claim).await;
    assert_eq!(scene.stall("a").await.reaped, 1);
    check(&scene).await;
    assert_eq!(scene.renew(&claim).await, Hold::Ok);
    assert_eq!(scene.field("a", "status").await.as_deref(), Some("in_progress"));
    assert_eq!(scene.events("a").await, ["job_submitted", "assigned", "started", "stalled", "reattached"]);
    check(&scene).await;
    assert!(scene.claim("w2").await.is_none());
    assert_eq!(scene.complete(&claim).await, Settled::Accepted);
    check(&scene).await;
}

#[tokio::test]
async fn a_stalled_holder_has_lost_the_job_once_another_has_claimed_it() {
    let scene = Scene::start().await;
    let first = scene.held("a", "w1").await;
    scene.stall("a").await;
    let second = scene.claim("w2").await.unwrap();
    assert_eq!(second.attempt, 2);
    assert_eq!(scene.renew(&first).await, Hold::Lost);
    assert_eq!(start(&scene, &first).await, Hold::Lost);
    assert_eq!(scene.renew(&second).await, Hold::Ok);
    check(&scene).await;
    // Given back by the second, it does not fall to the first again.
    scene.release(&second).await;
    assert_eq!(scene.renew(&first).await, Hold::Lost);
    check(&scene).await;
}

/// What a failover to a replica does that had not heard of the claim: the job is as it was before.
async fn forget_claim(scene: &Scene, id: &str, before: &[(Vec<u8>, Vec<u8>)]) {
    let keys: Vec<Vec<u8>> = scene.run(&["KEYS", "*"]).await;
    for key in keys {
        let _: u64 = redis::cmd("DEL").arg(key).query_async(&mut scene.con()).await.unwrap();
    }
    for (key, dump) in before {
        let _: String = redis::cmd("RESTORE").arg(key).arg(0).arg(dump).query_async(&mut scene.con()).await.unwrap();
    }
    assert_eq!(scene.field(id, "claim").await, None);
}

async fn everything(scene: &Scene) -> Vec<(Vec<u8>, Vec<u8>)> {
    let keys: Vec<Vec<u8>> = scene.run(&["KEYS", "*"]).await;
    let mut all = Vec::new();
    for key in keys {
        let dump: Vec<u8> = redis::cmd("DUMP").arg(&key).query_async(&mut scene.con()).await.unwrap();
        all.push((key, dump));
    }
    all
}

#[tokio::test]
async fn renew_repairs_a_claim_that_a_failover_forgot() {
    let scene = Scene::start().await;
    scene.submit("a").await;
    let before = everything(&scene).await;
    let claim = scene.claim("w1").await.unwrap();
    forget_claim(&scene, "a", &before).await;
    assert_eq!(scene.renew(&claim).await, Hold::Ok);
    let hash = scene.hash("a").await;
    assert_eq!((hash["claim"].as_str(), hash["attempt"].as_str()), (claim.token.as_str(), "1"));
    check(&scene).await;
    assert!(scene.claim("w2").await.is_none());
}

#[tokio::test]
async fn complete_repairs_a_claim_that_a_failover_forgot() {
    let scene = Scene::start().await;
    scene.submit("a").await;
    let before = everything(&scene).await;
    let claim = scene.claim("w1").await.unwrap();
    forget_claim(&scene, "a", &before).await;
    assert_eq!(scene.complete(&claim).await, Settled::Accepted);
    let hash = scene.hash("a").await;
    let seen = |name: &str| hash.get(name).map(String::as_str);
    assert_eq!(
        (seen("claim"), seen("attempt"), seen("worker_id")),
        (Some(claim.token.as_str()), Some("1"), Some("w1"))
    );
    assert_eq!(scene.last_event("a").await["attempt"], 1);
    check(&scene).await;
}

#[tokio::test]
async fn a_forgotten_claim_is_lost_once_another_has_claimed() {
    let scene = Scene::start().await;
    scene.submit("a").await;
    let before = everything(&scene).await;
    let claim = scene.claim("w1").await.unwrap();
    forget_claim(&scene, "a", &before).await;
    let other = scene.claim("w2").await.unwrap();
    assert_eq!(other.attempt, claim.attempt, "the failover hands the number out again");
    assert_eq!(scene.renew(&claim).await, Hold::Lost);
    assert_eq!(scene.complete(&claim).await, Settled::Lost { state: "assigned".to_owned() });
    assert_eq!(scene.complete(&other).await, Settled::Accepted);
    check(&scene).await;
}

#[tokio::test]
async fn a_failed_job_does_not_fall_back_to_whoever_failed_it() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    scene.fail(&claim, Verdict::Retry).await;
    assert_eq!(scene.renew(&claim).await, Hold::Lost);
    scene.due("a").await;
    assert_eq!(scene.renew(&claim).await, Hold::Lost);
    check(&scene).await;
}

#[tokio::test]
async fn a_restarted_agent_adopts_what_it_held_and_fences_the_process_before_it() {
    let scene = Scene::start().await;
    let old = scene.held("a", "w1").await;
    start(&scene, &old).await;
    let adopt = async || scene.space.adopt(&mut scene.con(), &old, "w1|new", LEASE, 3).await.unwrap();
    for _ in 0..2 {
        let adopted = adopt().await.held().expect("adopted");
        assert_eq!(scene.field("a", "takeovers").await.as_deref(), Some("1"), "asking again is no second loss");
        assert_eq!((adopted.attempt, &adopted.life), (1, &old.life));
        assert_eq!((adopted.service_job_id.as_deref(), adopted.payload_bytes), (Some("engine-7"), 2));
        assert_eq!(scene.events("a").await.iter().filter(|kind| *kind == "reattached").count(), 1);
        check(&scene).await;
    }
    assert_eq!(scene.renew(&old).await, Hold::Moved);
    assert_eq!(scene.complete(&old).await, Settled::Lost { state: "in_progress".to_owned() });
    check(&scene).await;
    let new = Claim { token: "w1|new".to_owned(), ..old };
    assert_eq!(scene.renew(&new).await, Hold::Ok);
    assert_eq!(scene.complete(&new).await, Settled::Accepted);
    check(&scene).await;
}

#[tokio::test]
async fn a_job_that_is_adopted_too_often_fails_as_worker_lost_and_one_that_is_cancelled_does_not() {
    let scene = Scene::start().await;
    for (id, cancelled) in [("a", false), ("b", true)] {
        let mut claim = scene.held(id, "w1").await;
        start(&scene, &claim).await;
        let adopt =
            async |old: &Claim, new: &str| scene.space.adopt(&mut scene.con(), old, new, LEASE, 3).await.unwrap();
        // Work that gets further than ever begins the count anew; what was there before does not.
        for (n, percent) in [(1, 0.0), (2, 40.0), (3, 41.0), (4, 40.0), (5, 0.0), (6, 41.0)] {
            let new = format!("w1|{n}");
            assert!(adopt(&claim, &new).await.held().is_some(), "loss {n}");
            claim.token = new;
            assert_eq!(progress(&scene, &claim, percent).await, Hold::Ok);
            check(&scene).await;
        }
        if cancelled {
            scene.space.cancel(&mut scene.con(), id, "x").await.unwrap();
            assert!(adopt(&claim, "w1|7").await.held().is_some(), "its engine is stopped first");
            continue;
        }
        assert_eq!(adopt(&claim, "w1|7").await, Adoption::GivenUp);
        let hash = scene.hash(id).await;
        let said = ["status", "failure_reason", "takeovers", "retry_count"].map(|name| hash[name].as_str());
        assert_eq!(said, ["failed", "worker_lost", "4", "0"]);
        assert_eq!(adopt(&claim, "w1|7").await, Adoption::Lost);
        assert_eq!(scene.renew(&claim).await, Hold::Lost);
        check(&scene).await;
    }
}

#[tokio::test]
async fn adopting_is_refused_to_other_workers_and_for_what_is_held_no_longer() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    let other = Claim { token: "w1|other".to_owned(), ..claim.clone() };
    let nowhere = Claim { id: "nowhere".to_owned(), ..claim.clone() };
    let adopt = async |old: &Claim, new: &str| {
        scene.space.adopt(&mut scene.con(), old, new, LEASE, 3).await.unwrap() != Adoption::Lost
    };
    assert!(!adopt(&claim, "w2|new").await);
    assert!(!adopt(&other, "w1|new").await);
    scene.stall("a").await;
    assert!(!adopt(&other, "w1|new").await);
    scene.claim("w2").await.expect("the job");
    assert!(!adopt(&claim, "w1|new").await);
    check(&scene).await;
    assert!(!adopt(&nowhere, "w1|new").await);
    assert!(scene.hash("nowhere").await.is_empty());
}

#[tokio::test]
async fn a_job_submitted_anew_under_its_id_is_not_taken_back_with_the_work_of_its_earlier_life() {
    let scene = Scene::start().await;
    let old = scene.held("a", "w1").await;
    start(&scene, &old).await;
    scene.foreign("a", &[("created_at", "2026-01-01T00:00:00.001Z")]).await;
    let adopting = scene.space.adopt(&mut scene.con(), &old, "w1|new", LEASE, 3).await;
    assert_eq!(adopting.unwrap(), Adoption::Lost);
    assert_eq!(scene.field("a", "status").await.as_deref(), Some("pending"));
    let (anew, _) = scene.claim_job("w2", &["simulation"]).await.expect("the new life waits for anybody");
    assert_eq!((anew.attempt, anew.life.as_str()), (2, "2026-01-01T00:00:00.001Z"));
    check(&scene).await;
}

#[tokio::test]
async fn what_waits_since_its_lease_ran_out_is_taken_back_and_the_loss_counts_once() {
    let scene = Scene::start().await;
    let old = scene.held("a", "w1").await;
    start(&scene, &old).await;
    scene.stall("a").await;
    for _ in 0..2 {
        let adopted = scene.space.adopt(&mut scene.con(), &old, "w1|new", LEASE, 3).await.unwrap();
        let adopted = adopted.held().expect("taken back");
        assert_eq!((adopted.attempt, adopted.service_job_id.as_deref()), (1, Some("engine-7")));
        let hash = scene.hash("a").await;
        let said = ["status", "claim", "worker_id", "stalled"].map(|name| hash[name].as_str());
        assert_eq!(said, ["in_progress", "w1|new", "w1", "1"]);
        check(&scene).await;
    }
    assert_eq!(scene.events("a").await, ["job_submitted", "assigned", "started", "stalled", "reattached"]);
    assert_eq!(scene.complete(&Claim { token: "w1|new".to_owned(), ..old }).await, Settled::Accepted);
    check(&scene).await;
}

#[tokio::test]
async fn a_holder_that_was_late_takes_its_job_back_and_was_not_lost() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    for _ in 0..5 {
        scene.stall("a").await;
        assert_eq!(scene.field("a", "stalled").await.as_deref(), Some("1"));
        assert_eq!(scene.renew(&claim).await, Hold::Ok);
        assert_eq!(scene.field("a", "stalled").await.as_deref(), Some("0"));
        check(&scene).await;
    }
    // One that another has to run again was lost.
    scene.stall("a").await;
    scene.claim("w2").await.expect("the job");
    assert_eq!(scene.renew(&claim).await, Hold::Lost);
    assert_eq!(scene.field("a", "stalled").await.as_deref(), Some("1"));
}
