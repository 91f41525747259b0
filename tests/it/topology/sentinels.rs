//! The master is found by way of Sentinels, and found again whenever it is another one.

use super::super::agent::{engine_by_hand, picture, quick};
use super::super::support::{Agent, Queue, cli_at};
use super::{NEVER, Pair, agent_of};

#[tokio::test]
async fn agent_and_commands_follow_a_master_that_is_replaced_while_it_lives() {
    let pair = Pair::start(NEVER).await;
    let url = pair.sentinels.url();
    let agent = Agent::spawn_at(&url, "w1", &[]);
    agent.logged("\"registered\"").await;
    pair.queue().reaches(&pair.queue().submit(quick()).await, "completed").await;
    // Idle, it is blocked on the master that becomes a replica.
    pair.sentinels.fail_over().await;
    let id = pair.queue().submit(quick()).await;
    pair.queue().reaches(&id, "completed").await;
    // Its former connections were closed with its change of roles.
    let status: String = pair.replica.run_anew(&["HGET", &format!("job:{id}"), "status"]).await;
    assert_eq!(status, "completed");
    let watched = cli_at(&url, &[], &["watch", &id]).await;
    assert_eq!(watched.status.code(), Some(0), "{}", String::from_utf8_lossy(&watched.stderr));
    agent.logged(&format!("127.0.0.1:{}", pair.replica.port)).await;
}

#[tokio::test]
async fn a_master_that_falls_silent_is_left_for_the_one_that_replaces_it() {
    let pair = Pair::start(500).await;
    let (url, engine) = (pair.sentinels.url(), engine_by_hand().await);
    let _busy = agent_of(&url, "busy", &engine, &[]).await;
    let idle = Agent::spawn_at(&url, "idle", &[]);
    idle.logged("\"registered\"").await;
    let id = pair.queue().submit(picture()).await;
    engine.starving().await;
    pair.master.replicated("mark").await;

    pair.master.signal("STOP");
    engine.step_by_hand(false);
    pair.sentinels.until_master_is_not(pair.master.port).await;
    let queue = pair.queue();
    let job = queue.reaches(&id, "completed").await;
    let after = queue.reaches(&queue.submit(quick()).await, "completed").await;

    assert_eq!((job["attempt"].as_str(), job["worker_id"].as_str()), ("1", "busy"));
    assert_eq!(engine.executions().len(), 1);
    assert_eq!(after["worker_id"], "idle");
    queue.ended_once(&id).await;
    // The former master comes back and takes itself for the master until a Sentinel tells it; nobody returns to it.
    pair.master.signal("CONT");
    queue.reaches(&queue.submit(quick()).await, "completed").await;
    assert_eq!(idle.log().matches("Redis cannot be reached").count(), 1, "{}", idle.log());
}

#[tokio::test]
async fn sentinels_and_master_may_ask_for_passwords_of_their_own() {
    let pair = Pair::start(NEVER).await;
    pair.sentinels.run(&["ACL", "SETUSER", "default", "resetpass", ">guard/1"]).await;
    let _: () = pair.master.run(&["CONFIG", "SET", "requirepass", "open,sesame"]).await;
    let bare = pair.sentinels.url();
    let full = bare.replace("://", "://:open,sesame@") + "?sentinel_password=guard%2F1";
    let agent = Agent::spawn_at(&full, "w1", &[]);
    agent.logged("\"registered\"").await;
    let queue = Queue::at(&full, "");
    queue.reaches(&queue.submit(quick()).await, "completed").await;

    let wrong = cli_at(&full.replace("guard", "guess"), &[], &["jobs"]).await;
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert_eq!(wrong.status.code(), Some(69), "{said}");
    for secret in ["guess", "open,sesame"] {
        assert!(!said.contains(secret) && !agent.log().contains(secret), "{said}");
    }
}

#[tokio::test]
async fn a_master_that_no_sentinel_knows_is_named() {
    let pair = Pair::start(NEVER).await;
    let output = cli_at(&pair.sentinels.url().replace("mymaster", "other"), &[], &["jobs"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("know no master of this name: other"), "{said}");
}
