//! What happens as time passes: reaping, promoting, purging, and time that jumps.

use super::invariants::check;
use super::scene::{LEASE, Scene, class_of, job};
use crate::support::until;
use gpu_worker::protocol::claim::ClaimReply;
use gpu_worker::protocol::hold::Hold;
use gpu_worker::protocol::operate::Ticked;
use gpu_worker::protocol::outcome::Verdict;
use std::time::Duration;

#[tokio::test]
async fn nothing_is_due_and_nothing_happens() {
    let scene = Scene::start().await;
    scene.submit("a").await;
    scene.held("b", "w1").await;
    assert_eq!(scene.tick().await, Ticked::default());
    assert_eq!(scene.tick().await, Ticked::default());
    check(&scene).await;
}

#[tokio::test]
async fn a_lease_that_really_runs_out_is_reaped() {
    let scene = Scene::start().await;
    scene.submit("a").await;
    let ClaimReply::Job(_) = scene.claim_with("w1|t", 20).await else { panic!("no job") };
    until("the lease has run out and is reaped", || async { (scene.tick().await.reaped == 1).then_some(()) }).await;
    check(&scene).await;
}

#[tokio::test]
async fn a_stalled_job_waits_at_its_old_place_and_keeps_its_claim() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    scene.submit("b").await;
    let order = scene.field("a", "order").await;
    assert_eq!(scene.stall("a").await, Ticked { reaped: 1, ..Ticked::default() });
    let hash = scene.hash("a").await;
    assert_eq!((hash["status"].as_str(), hash["worker_id"].as_str(), hash["stalled"].as_str()), ("pending", "", "1"));
    assert_eq!((hash.get("order").cloned(), hash["claim"].as_str()), (order, claim.token.as_str()));
    assert_eq!(hash["retry_count"], "0");
    let event = scene.last_event("a").await;
    assert_eq!((&event["type"], &event["stalled"], &event["worker_id"]), (&"stalled".into(), &1.into(), &"w1".into()));
    check(&scene).await;
    assert_eq!(scene.claim("w2").await.unwrap().id, "a");
}

#[tokio::test]
async fn a_job_lost_too_often_fails_as_worker_lost() {
    let scene = Scene::start().await;
    scene.submit("a").await;
    for n in 1..=3 {
        scene.claim(&format!("w{n}")).await.unwrap();
        assert_eq!(scene.stall("a").await, Ticked { reaped: 1, ..Ticked::default() }, "stall {n}");
        check(&scene).await;
    }
    let last = scene.claim("w4").await.unwrap();
    assert_eq!(scene.stall("a").await, Ticked { reaped: 1, given_up: 1, ..Ticked::default() });
    let hash = scene.hash("a").await;
    assert_eq!((hash["status"].as_str(), hash["failure_reason"].as_str()), ("failed", "worker_lost"));
    assert_eq!(scene.renew(&last).await, Hold::Lost);
    assert_eq!(scene.events("a").await.iter().filter(|kind| *kind == "stalled").count(), 3);
    check(&scene).await;
}

#[tokio::test]
async fn a_lease_that_the_hash_contradicts_is_dropped_and_the_hash_left_alone() {
    let scene = Scene::start().await;
    scene.submit("waits").await;
    scene.submit("theirs").await;
    scene.foreign_claim("theirs", "w9").await;
    let before = (scene.hash("waits").await, scene.hash("theirs").await);
    let _: u64 = scene.run(&["ZADD", "jobs:leases", "1", "waits", "1", "theirs", "1", "gone"]).await;
    assert_eq!(scene.tick().await.reaped, 0);
    assert!(scene.members("jobs:leases").await.is_empty());
    assert_eq!((scene.hash("waits").await, scene.hash("theirs").await), before);
    assert_eq!(scene.run::<u64>(&["EXISTS", "job:gone"]).await, 0);
}

#[tokio::test]
async fn when_time_stood_still_every_holder_gets_one_more_lease() {
    for (id, last) in [("a", "1"), ("b", "99999999999999")] {
        let scene = Scene::start().await;
        scene.held(id, "w1").await;
        scene.tick().await;
        let _: u64 = scene.run(&["ZADD", "jobs:leases", "XX", "CH", "1", id]).await;
        let _: String = scene.run(&["SET", "jobs:tick", last]).await;
        let before = scene.now_ms().await;
        assert_eq!(scene.tick().await, Ticked { time_jumped: true, ..Ticked::default() });
        assert!(scene.score("jobs:leases", id).await.unwrap() >= (before + LEASE) as f64);
        assert_eq!(scene.stall(id).await.reaped, 1, "a holder that is really gone is reaped one lease later");
        check(&scene).await;
    }
}

#[tokio::test]
async fn when_time_stood_still_no_lease_becomes_shorter() {
    let scene = Scene::start().await;
    scene.held("a", "w1").await;
    scene.tick().await;
    let lease = scene.score("jobs:leases", "a").await;
    let _: String = scene.run(&["SET", "jobs:tick", "1"]).await;
    // An agent with shorter leases than the holder's notices.
    assert!(scene.space.tick(&mut scene.con(), 100, 3, &[]).await.unwrap().time_jumped);
    assert_eq!(scene.score("jobs:leases", "a").await, lease);
}

#[tokio::test]
async fn whatever_makes_a_job_claimable_leaves_a_token() {
    let scene = Scene::start().await;
    let wake = format!("jobs:wake:{}", class_of("simulation").id());
    let token = async |what: &str| {
        assert_eq!(scene.run::<u64>(&["LLEN", &wake]).await, 1, "{what}");
        let _: u64 = scene.run(&["DEL", &wake]).await;
    };
    scene.submit("a").await;
    token("submit").await;
    let claim = scene.claim("w1").await.unwrap();
    scene.stall("a").await;
    token("a stalled holder").await;
    assert_eq!(scene.renew(&claim).await, Hold::Ok);
    scene.fail(&claim, Verdict::Retry).await;
    scene.due("a").await;
    token("a pause that is over").await;
    scene.space.cancel(&mut scene.con(), "a", "x").await.unwrap();
    scene.space.replay(&mut scene.con(), "a").await.unwrap();
    token("replay").await;
    scene.foreign("b", &[]).await;
    scene.index(&["b"]).await;
    token("indexing").await;
}

#[tokio::test]
async fn delayed_jobs_are_promoted_and_contradicted_entries_dropped() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    scene.fail(&claim, Verdict::Retry).await;
    scene.held("held", "w1").await;
    let before = scene.hash("held").await;
    let _: u64 = scene.run(&["ZADD", "jobs:delayed", "1", "held", "1", "gone", "1", "a"]).await;
    assert_eq!(scene.tick().await.promoted, 3);
    assert!(scene.members("jobs:delayed").await.is_empty());
    assert_eq!(scene.members("jobs:pending").await, ["a"]);
    assert_eq!(scene.hash("held").await, before);
    assert_eq!(scene.run::<u64>(&["EXISTS", "job:gone"]).await, 0);
    check(&scene).await;
}

#[tokio::test]
async fn at_most_64_of_each_kind_in_one_go() {
    let scene = Scene::start().await;
    for n in 0..70 {
        let mut later = job(&format!("j{n}"), "simulation");
        later.due_ms = Some(scene.now_ms().await + 1_000_000);
        scene.submit_as(later).await;
        let _: u64 = scene.run(&["ZADD", "jobs:delayed", "1", &format!("j{n}")]).await;
    }
    assert_eq!(scene.tick().await.promoted, 64);
    assert_eq!(scene.tick().await.promoted, 6);
    check(&scene).await;
}

#[tokio::test]
async fn ended_jobs_are_deleted_when_their_time_has_come() {
    let scene = Scene::start().await;
    let claim = scene.held("done", "w1").await;
    scene.complete(&claim).await;
    let claim = scene.held("failed", "w1").await;
    scene.fail(&claim, Verdict::Never).await;
    assert_eq!(scene.tick().await.purged, 0);
    for (list, id) in [("jobs:finished", "done"), ("jobs:dead", "failed")] {
        let _: u64 = scene.run(&["ZADD", list, "XX", "CH", "1", id]).await;
    }
    assert_eq!(scene.tick().await.purged, 2);
    for key in ["job:done", "job:failed", "job:events:done", "job:events:failed", "jobs:finished", "jobs:dead"] {
        assert_eq!(scene.run::<u64>(&["EXISTS", key]).await, 0, "{key}");
    }
    check(&scene).await;
}

#[tokio::test]
async fn nothing_is_deleted_that_goes_on_in_another_life() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    scene.complete(&claim).await;
    scene.foreign("a", &[]).await;
    let _: u64 = scene.run(&["ZADD", "jobs:finished", "XX", "CH", "1", "a"]).await;
    assert_eq!(scene.tick().await.purged, 0);
    assert_eq!(scene.claim("w1").await.unwrap().id, "a");
    check(&scene).await;
}

#[tokio::test]
async fn workers_whose_record_is_gone_leave_the_set() {
    let scene = Scene::start().await;
    let _: u64 = scene.run(&["SADD", "workers:active", "ghost"]).await;
    scene.tick().await;
    assert_eq!(scene.run::<u64>(&["SCARD", "workers:active"]).await, 0);
}

#[tokio::test]
async fn whatever_is_due_is_done_in_one_go_however_much_it_is() {
    let scene = Scene::start().await;
    // At a page a second these would take longer than a test waits.
    let make = "for i = 1, 3000 do
        redis.call('HSET', 'job:old' .. i, 'status', 'completed', 'created_at', 'x', 'final', 'completed w|1 x')
        redis.call('ZADD', 'jobs:finished', 1, 'old' .. i)
      end
      return 'OK'";
    let _: String = scene.run(&["EVAL", make, "0"]).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let keep =
        gpu_worker::queue::tick::keep(&scene.link, &scene.space, Duration::from_secs(30), 3, &[], || (), stop.clone());
    let gone = async {
        until("all of them are forgotten", || async {
            let left: u64 = scene.run(&["ZCARD", "jobs:finished"]).await;
            (left == 0).then_some(())
        })
        .await;
        stop.cancel();
    };
    tokio::join!(keep, gone);
    let left: Vec<String> = scene.run(&["KEYS", "job:*"]).await;
    assert!(left.is_empty(), "{left:?}");
}
