//! Scripts broken on purpose: the checks that these tests rest on must notice.

use super::invariants::violations;
use super::scene::{LEASE, Scene, class_of, completion, job};
use gpu_worker::protocol::hold::Claim;
use std::collections::BTreeSet;

const PRELUDE: &str = include_str!("../../../src/protocol/lua/prelude.lua");
const CLAIM: &str = include_str!("../../../src/protocol/lua/claim.lua");
const COMPLETE: &str = include_str!("../../../src/protocol/lua/complete.lua");

/// The text without this part, which must be there once.
fn without(text: &str, part: &str) -> String {
    assert_eq!(text.matches(part).count(), 1, "the script has changed: {part:?} is to be found once");
    text.replace(part, "")
}

/// A script's text, by its name.
pub fn lua(name: &str) -> &'static str {
    macro_rules! files {
        ($($file:literal)*) => {
            match name {
                $($file => include_str!(concat!("../../../src/protocol/lua/", $file, ".lua")),)*
                _ => panic!("there is no script {name}"),
            }
        };
    }
    files!("prelude" "adopt" "cancel" "claim" "complete" "confirm" "fail" "progress" "release" "renew" "start" "tick")
}

/// Runs a script's text as the program would run the script.
pub async fn call_with(scene: &Scene, prelude: &str, script: &str, words: &[&str]) -> Vec<String> {
    let shared = ["", "1", "5000", "86400000", "604800000"];
    let mut command = redis::cmd("EVAL");
    command.arg(format!("{prelude}\n{script}")).arg(0).arg(&shared).arg(words);
    command.query_async(&mut scene.con()).await.expect("the script runs")
}

async fn complete(scene: &Scene, prelude: &str, script: &str, claim: &Claim) -> Vec<String> {
    let (result, attempt) = (completion(), claim.attempt.to_string());
    let words = [&claim.id, &claim.token, &attempt, &claim.life, &result.result, &result.reference_result, "", ""];
    call_with(scene, prelude, script, &words).await
}

async fn claim(scene: &Scene, prelude: &str, script: &str) -> Vec<String> {
    let (lease, class) = (LEASE.to_string(), class_of("simulation").id().to_string());
    call_with(scene, prelude, script, &["w1|t", "w1", &lease, "", "1", &class]).await
}

async fn problems(scene: &Scene) -> String {
    violations(scene, &BTreeSet::new()).await.join("\n")
}

/// A job that the first agent has lost to the second.
async fn lost_to_another(scene: &Scene) -> [Claim; 2] {
    let first = scene.held("a", "w1").await;
    scene.stall("a").await;
    [first, scene.claim("w2").await.unwrap()]
}

#[tokio::test]
async fn the_scripts_as_they_are_pass() {
    let scene = Scene::start().await;
    let [first, second] = lost_to_another(&scene).await;
    assert_eq!(complete(&scene, PRELUDE, COMPLETE, &first).await, ["lost", "assigned"]);
    assert_eq!(complete(&scene, PRELUDE, COMPLETE, &second).await, ["ok"]);
    scene.submit("b").await;
    assert_eq!(claim(&scene, PRELUDE, CLAIM).await[1], "b");
    assert_eq!(problems(&scene).await, "");
}

#[tokio::test]
async fn a_result_accepted_without_looking_at_the_token_is_noticed() {
    let scene = Scene::start().await;
    let [first, second] = lost_to_another(&scene).await;
    let check = "if not mine(job, token, attempt, life) then return { 'lost', job.status } end\n";
    assert_eq!(complete(&scene, PRELUDE, &without(COMPLETE, check), &first).await, ["ok"]);
    // The holder's own result, which is the one that counts, is refused.
    assert_eq!(complete(&scene, PRELUDE, COMPLETE, &second).await, ["lost", "completed"]);
}

#[tokio::test]
async fn a_second_result_is_noticed() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    scene.complete(&claim).await;
    let blind =
        PRELUDE.replace("local function ended(job)\n", "local function ended(job)\n  if true then return nil end\n");
    assert_ne!(blind, PRELUDE);
    let script = without(COMPLETE, "if not mine(job, token, attempt, life) then return { 'lost', job.status } end\n");
    assert_eq!(complete(&scene, &blind, &script, &claim).await, ["ok"]);
    let found = problems(&scene).await;
    assert!(found.contains("has not exactly one last event"), "{found}");
}

#[tokio::test]
async fn a_lease_that_stays_behind_is_noticed() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    let prelude = PRELUDE.replace("  redis.call('ZREM', LEASES, id)\n  leave_class", "  leave_class");
    assert_ne!(prelude, PRELUDE);
    assert_eq!(complete(&scene, &prelude, COMPLETE, &claim).await, ["ok"]);
    let found = problems(&scene).await;
    assert!(found.contains("still has a lease"), "{found}");
}

#[tokio::test]
async fn a_head_that_is_not_brought_up_to_date_is_noticed() {
    let scene = Scene::start().await;
    for (id, time) in [("a", 1000), ("b", 2000)] {
        let mut job = job(id, "simulation");
        job.order_time_ms = Some(time);
        scene.submit_as(job).await;
    }
    let update =
        "if class and class ~= '' and redis.call('ZREM', class_key(class), id) == 1 then update_head(class) end";
    let prelude = PRELUDE.replace(update, "if class then redis.call('ZREM', class_key(class), id) end");
    assert_ne!(prelude, PRELUDE);
    assert_eq!(claim(&scene, &prelude, CLAIM).await[1], "a");
    let found = problems(&scene).await;
    assert!(found.contains("heads are"), "{found}");
}

#[tokio::test]
async fn a_claimed_job_that_stays_in_the_queue_is_noticed() {
    let scene = Scene::start().await;
    scene.submit("a").await;
    assert_eq!(claim(&scene, PRELUDE, &without(CLAIM, "  leave(id, job)\n")).await[1], "a");
    let found = problems(&scene).await;
    assert!(found.contains("is held and waits"), "{found}");
}

#[tokio::test]
async fn a_claim_without_an_entry_of_its_holder_is_noticed() {
    let scene = Scene::start().await;
    scene.submit("a").await;
    let script = without(CLAIM, "  set_lease(id, worker, token, job, lease)\n");
    assert_eq!(claim(&scene, PRELUDE, &script).await[1], "a");
    let found = problems(&scene).await;
    assert!(found.contains("a lease is not there"), "{found}");
}
