//! A pool in a Redis Cluster: all of it in one slot, found wherever that is.

use super::super::agent::{endless, engine_by_hand, picture, quick};
use super::super::support::{Agent, Cluster, Queue, cli_at};
use super::agent_of;

const PREFIX: &str = "{pool-a}:";
const ENV: &[(&str, &str)] = &[("REDIS_KEY_PREFIX", PREFIX)];
const PROBE: &str = "{pool-a}:jobs:pending";

/// A command that must succeed; answers what it said.
async fn must(url: &str, words: &[&str]) -> String {
    let output = cli_at(url, ENV, words).await;
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn agent_and_commands_work_in_a_cluster_and_find_a_slot_that_has_moved() {
    let cluster = Cluster::start().await;
    let url = cluster.url();
    let mut agent = Agent::spawn_at(&url, "w1", ENV);
    agent.logged("\"registered\"").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.json");
    std::fs::write(&file, quick().to_string()).unwrap();
    let watched = must(&url, &["submit", file.to_str().unwrap(), "--watch"]).await;
    assert!(watched.contains("completed"), "{watched}");
    std::fs::write(&file, endless().to_string()).unwrap();
    let id = must(&url, &["submit", file.to_str().unwrap()]).await.trim().to_owned();
    let queue = Queue::at(&url, PREFIX);
    queue.reaches(&id, "in_progress").await;
    assert!(must(&url, &["workers"]).await.contains("w1"));
    must(&url, &["cancel", &id]).await;
    assert_eq!(cli_at(&url, ENV, &["watch", &id]).await.status.code(), Some(2));
    queue.ended_once(&id).await;

    agent.signal("TERM");
    assert_eq!(agent.ended().await, Some(0));
    let waiting = queue.submit(quick()).await;
    let owner = cluster.owner_of(PROBE).await;
    cluster.move_slot_of(PROBE, (owner + 1) % 3).await;
    // By way of one node, and not the right one.
    let former = format!("redis+cluster://127.0.0.1:{}", cluster.nodes[owner].port);
    let again = Agent::spawn_at(&former, "w1", ENV);
    again.logged("\"registered\"").await;
    Queue::at(&former, PREFIX).reaches(&waiting, "completed").await;
}

#[tokio::test]
async fn a_job_outlives_the_master_of_its_slot() {
    let mut cluster = Cluster::start().await;
    let owner = cluster.owner_of(PROBE).await;
    cluster.add_replica_of(owner).await;
    let (url, engine) = (cluster.url(), engine_by_hand().await);
    let agent = agent_of(&url, "w1", &engine, ENV).await;
    let id = Queue::at(&url, PREFIX).submit(picture()).await;
    engine.starving().await;
    cluster.nodes[owner].replicated("{pool-a}:mark").await;

    cluster.nodes[owner].kill();
    engine.step_by_hand(false);
    agent.logged("Redis is back").await;
    let queue = Queue::at(&url, PREFIX);
    let job = queue.reaches(&id, "completed").await;

    assert_eq!(job["attempt"], "1");
    assert_eq!(engine.executions().len(), 1);
    queue.ended_once(&id).await;
    queue.reaches(&queue.submit(picture()).await, "completed").await;
    assert!(agent.log().contains(&format!("127.0.0.1:{}", cluster.nodes[3].port)), "{}", agent.log());
}

#[tokio::test]
async fn a_plain_address_that_leads_into_a_cluster_is_followed_or_explained() {
    let cluster = Cluster::start().await;
    let wrong = (cluster.owner_of(PROBE).await + 1) % 3;
    let url = format!("redis://127.0.0.1:{}", cluster.nodes[wrong].port);
    let agent = Agent::spawn_at(&url, "w1", ENV);
    agent.logged("\"registered\"").await;
    let queue = Queue::at(&url, PREFIX);
    queue.reaches(&queue.submit(quick()).await, "completed").await;

    let output = cli_at(&url, &[], &["jobs"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(69), "{said}");
    assert!(said.contains("redis+cluster://") && said.contains("REDIS_KEY_PREFIX"), "{said}");
}
