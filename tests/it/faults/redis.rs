//! Redis behind a bad wire: every fault at every moment that matters costs time and no job.
//! Rows run side by side, each with a Redis, an engine and an agent of its own.

use super::super::support::proxy::{Cut, Door, Fault, Then, Way};
use super::super::support::until;
use super::scene::Scene;
use futures_util::future::join_all;
use serde_json::json;
use std::time::Duration;

/// A fault that lasts until it is lifted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outage {
    /// Connections are reset, new ones refused.
    Refused,
    /// Connections of now are dead without a word, and so are new ones.
    Deaf,
    /// Connections of now are dead without a word, new ones work.
    HalfOpen,
    /// Nothing moves until it all does.
    Stalled,
    /// Requests arrive, answers do not.
    Unanswered,
    /// One byte a second.
    Crawling,
}

const OUTAGES: [Outage; 6] =
    [Outage::Refused, Outage::Deaf, Outage::HalfOpen, Outage::Stalled, Outage::Unanswered, Outage::Crawling];

impl Outage {
    async fn begin(self, scene: &Scene) {
        let proxy = &scene.proxy;
        match self {
            Self::Refused => {
                proxy.door(Door::Closed).await;
                proxy.cut(Cut::Reset);
            }
            Self::Deaf => {
                proxy.door(Door::Deaf).await;
                proxy.strand();
            }
            Self::HalfOpen => proxy.strand(),
            Self::Stalled => proxy.both(Fault::Stall),
            Self::Unanswered => proxy.set(Way::ToClient, Fault::Swallow),
            Self::Crawling => proxy.both(Fault::Throttle(1)),
        }
    }
}

fn name(moment: &str, what: impl std::fmt::Debug) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    format!("{moment}-{what:?}").chars().map(plain).collect()
}

#[tokio::test]
async fn an_outage_while_the_agent_is_idle_costs_no_job() {
    join_all(OUTAGES.map(async |outage| {
        let scene = Scene::set(&name("idle", outage), &[]).await;
        outage.begin(&scene).await;
        let id = scene.submit().await;
        scene.is_noticed().await;
        scene.proxy.heal().await;
        scene.has_cost_nothing(&id, 1).await;
    }))
    .await;
}

#[tokio::test]
async fn an_outage_that_begins_and_ends_while_a_job_runs_costs_nothing() {
    join_all(OUTAGES.map(async |outage| {
        let scene = Scene::set(&name("running", outage), &[]).await;
        let id = scene.at_work().await;
        outage.begin(&scene).await;
        scene.is_noticed().await;
        scene.proxy.heal().await;
        scene.agent.logged("Redis is back").await;
        scene.engine.step_by_hand(false);
        scene.has_cost_nothing(&id, 1).await;
    }))
    .await;
}

#[tokio::test]
async fn a_job_that_ends_while_redis_is_out_of_reach_is_handed_in_later() {
    join_all(OUTAGES.map(async |outage| {
        let scene = Scene::set(&name("ending", outage), &[]).await;
        let id = scene.at_work().await;
        outage.begin(&scene).await;
        scene.engine.step_by_hand(false);
        until("the engine is done", || async { (scene.engine.executions()[1].outcome == "success").then_some(()) })
            .await;
        scene.is_noticed().await;
        scene.proxy.heal().await;
        scene.has_cost_nothing(&id, 1).await;
    }))
    .await;
}

/// What goes over the wire when a script is called.
macro_rules! script {
    ($file:literal) => {
        redis::Script::new(concat!(
            include_str!("../../../src/protocol/lua/prelude.lua"),
            include_str!(concat!("../../../src/protocol/lua/", $file))
        ))
        .get_hash()
        .to_owned()
    };
}

/// One call of a job's life is hit: it does not arrive, or its answer does not, or only the beginning of it.
async fn hit(call: &str, hash: String) {
    let blows = [
        Then::LoseRequest(Cut::Reset),
        Then::LoseRequest(Cut::Finish),
        Then::CutAnswer(0, Cut::Reset),
        Then::CutAnswer(0, Cut::Finish),
        Then::CutAnswer(3, Cut::Reset),
        Then::CutAnswer(3, Cut::Finish),
        Then::Strand(0),
        Then::Strand(3),
    ];
    join_all(blows.map(async |then| {
        let scene = Scene::set(&name(call, then), &[]).await;
        scene.proxy.on(&hash, then);
        let id = scene.submit().await;
        until(&format!("{call} is hit by {then:?}"), || async { (scene.proxy.sprung() == 1).then_some(()) }).await;
        scene.has_cost_nothing(&id, 1).await;
    }))
    .await;
}

#[tokio::test]
async fn a_claim_that_is_hit_is_made_once() {
    hit("claim", script!("claim.lua")).await;
}

#[tokio::test]
async fn a_start_that_is_hit_is_recorded_once_and_the_engine_gets_the_work_once() {
    hit("start", script!("start.lua")).await;
}

#[tokio::test]
async fn an_end_that_is_hit_is_accepted_once() {
    hit("complete", script!("complete.lua")).await;
}

#[tokio::test]
async fn an_agent_that_waits_for_ten_minutes_notices_within_seconds_that_it_is_not_heard() {
    // Neither a poll nor the end of a wait comes round within the test's patience.
    let scene = Scene::set("long-wait", &[("POLL_INTERVAL_MS", "600000")]).await;
    scene.proxy.strand();
    let id = scene.submit().await;
    scene.has_cost_nothing(&id, 1).await;
}

#[tokio::test]
async fn a_wait_that_only_redis_believes_in_takes_no_token() {
    let scene = Scene::set("exorcist", &[("POLL_INTERVAL_MS", "600000")]).await;
    let list: String = scene.server.run(&["CLIENT", "LIST"]).await;
    let ids = |list: &str| -> Vec<u64> {
        let blocked = list.lines().filter(|line| line.contains(" cmd=blpop ") && line.contains(" flags=b "));
        blocked.filter_map(|line| line.strip_prefix("id=")?.split(' ').next()?.parse().ok()).collect()
    };
    let before = ids(&list).into_iter().max().expect("it waits");
    scene.proxy.strand();
    until("it waits anew", || async {
        let list: String = scene.server.run(&["CLIENT", "LIST"]).await;
        ids(&list).iter().any(|id| *id > before).then_some(())
    })
    .await;
    // The one from before the fault was there first.
    let id = scene.submit().await;
    scene.has_cost_nothing(&id, 1).await;
}

#[tokio::test]
async fn latency_is_no_outage() {
    let scene = Scene::set("far-away", &[]).await;
    scene.proxy.both(Fault::Latency(Duration::from_millis(1100)));
    let id = scene.submit().await;
    scene.queue.reaches(&id, "in_progress").await;
    scene.proxy.both(Fault::Latency(Duration::from_millis(100)));
    scene.has_cost_nothing(&id, 0).await;
}

#[tokio::test]
async fn a_large_payload_on_a_slow_line_holds_up_neither_leases_nor_itself() {
    let scene = Scene::set("thin-line", &[("LEASE_SECONDS", "1")]).await;
    let mut job = scene.picture();
    job["payload"]["workflow"]["3"]["_meta"] = json!({"title": "x".repeat(900_000)});
    // Longer than a silence that is taken for death; each connection has a line of its own.
    scene.proxy.set(Way::ToClient, Fault::Throttle(200_000));
    let id = scene.queue.submit(job).await;
    scene.has_cost_nothing(&id, 0).await;
    assert!(!scene.queue.kinds(&id).await.contains(&"stalled".to_owned()));
}
