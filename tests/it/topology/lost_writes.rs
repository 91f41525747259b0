//! A failover that loses what the old master had confirmed: the agent tells the new one again.

use super::super::agent::{engine_by_hand, is_at_work, picture};
use super::super::support::{Queue, RedisServer, until};
use super::{NEVER, Pair, agent_of};
use stand_ins::comfyui::{Options, StandIn};
use std::time::Duration;

#[tokio::test]
async fn a_result_that_a_failover_lost_is_handed_in_again() {
    let mut pair = Pair::start(NEVER).await;
    let engine = engine_by_hand().await;
    let agent = agent_of(&pair.sentinels.url(), "w1", &engine, &[]).await;
    let id = pair.queue().submit(picture()).await;
    engine.starving().await;
    pair.cut_off_replica().await;
    engine.step_by_hand(false);
    pair.queue().reaches(&id, "completed").await;
    assert_eq!(pair.replica.hget(&format!("job:{id}"), "status").await.as_deref(), Some("in_progress"));

    pair.fail_over().await;
    let queue = pair.queue();
    let job = queue.reaches(&id, "completed").await;

    assert_eq!((job["attempt"].as_str(), job["worker_id"].as_str()), ("1", "w1"));
    assert!(job["result"].contains("image/png"), "{}", job["result"]);
    assert_eq!(engine.executions().len(), 1);
    queue.ended_once(&id).await;
    agent.logged("told it again").await;
    assert!(agent.log().contains("\"ends\":1,\"restored\":1"), "{}", agent.log());
    queue.reaches(&queue.submit(picture()).await, "completed").await;
}

#[tokio::test]
async fn a_job_whose_claim_and_result_were_lost_is_not_run_again_by_the_agent_that_has_done_it() {
    let mut pair = Pair::start(NEVER).await;
    let engine = engine_by_hand().await;
    engine.step_by_hand(false);
    let id = pair.queue().submit(picture()).await;
    pair.cut_off_replica().await;
    let _agent = agent_of(&pair.sentinels.url(), "w1", &engine, &[]).await;
    pair.queue().reaches(&id, "completed").await;
    assert_eq!(pair.replica.hget(&format!("job:{id}"), "status").await.as_deref(), Some("pending"));

    pair.fail_over().await;
    let queue = pair.queue();
    let job = queue.reaches(&id, "completed").await;

    assert_eq!(job["attempt"], "1");
    assert_eq!(engine.executions().len(), 1);
    queue.ended_once(&id).await;
    // The new master had never heard of this worker.
    until("the worker is registered", || async {
        let there: bool = pair.replica.run_anew(&["EXISTS", "worker:w1:heartbeat"]).await;
        there.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_job_at_work_whose_claim_was_lost_is_taken_back() {
    let mut pair = Pair::start(NEVER).await;
    let engine = engine_by_hand().await;
    let id = pair.queue().submit(picture()).await;
    pair.cut_off_replica().await;
    let _agent = agent_of(&pair.sentinels.url(), "w1", &engine, &[]).await;
    engine.starving().await;
    assert_eq!(pair.replica.hget(&format!("job:{id}"), "status").await.as_deref(), Some("pending"));

    pair.fail_over().await;
    let queue = pair.queue();
    until("it is held again", || async { queue.kinds(&id).await.contains(&"reattached".to_owned()).then_some(()) })
        .await;
    engine.step_by_hand(false);
    let job = queue.reaches(&id, "completed").await;

    assert_eq!((job["attempt"].as_str(), job["worker_id"].as_str()), ("1", "w1"));
    assert_eq!(engine.executions().len(), 1);
    queue.ended_once(&id).await;
}

#[tokio::test]
async fn an_agent_whose_lost_claim_went_to_another_lets_go_and_stops_its_own_prompt() {
    let mut pair = Pair::start(NEVER).await;
    let slow = StandIn::start(Options { step_time: Duration::from_millis(100), ..Options::default() }).await.unwrap();
    let fast = StandIn::start(Options { step_time: Duration::from_millis(1), ..Options::default() }).await.unwrap();
    fast.step_by_hand(true);
    let mut job = picture();
    job["payload"]["workflow"]["3"]["inputs"]["steps"] = 300.into();
    let id = pair.queue().submit(job).await;
    pair.cut_off_replica().await;
    let first = agent_of(&pair.sentinels.url(), "first", &slow, &[]).await;
    is_at_work(&slow).await;
    let _second = agent_of(&pair.sentinels.url(), "second", &fast, &[]).await;
    // Away for just as long as it takes the other to be quicker.
    first.signal("STOP");
    pair.fail_over().await;
    fast.starving().await;
    first.signal("CONT");
    first.logged("no longer held").await;
    fast.step_by_hand(false);
    let queue = pair.queue();
    let job = queue.reaches(&id, "completed").await;

    assert_eq!(job["worker_id"], "second");
    assert_eq!(slow.executions()[0].outcome, "interrupted");
    assert_eq!((slow.executions().len(), fast.executions().len()), (1, 1));
    queue.ended_once(&id).await;
}

#[tokio::test]
async fn a_result_that_a_restart_lost_with_the_tail_of_the_log_is_handed_in_again() {
    let mut server = RedisServer::start_durable().await;
    let engine = engine_by_hand().await;
    let agent = agent_of(&server.url, "w1", &engine, &[]).await;
    let id = Queue::of(&server).submit(picture()).await;
    engine.starving().await;
    // Nothing of what follows reaches the disk.
    let _: () = server.run(&["CONFIG", "SET", "appendonly", "no"]).await;
    engine.step_by_hand(false);
    Queue::of(&server).reaches(&id, "completed").await;

    server.kill();
    server.revive().await;
    let queue = Queue::of(&server);
    let job = queue.reaches(&id, "completed").await;

    assert_eq!(job["attempt"], "1");
    assert_eq!(engine.executions().len(), 1);
    queue.ended_once(&id).await;
    agent.logged("\"restored\":1").await;
}
