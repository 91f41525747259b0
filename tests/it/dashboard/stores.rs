//! What is told of an agent whose outputs have no place.

use super::numbers::numbers;
use super::{address, get};
use crate::agent::quick;
use crate::outputs::agent::{borrowed, bucket_of};
use crate::support::s3::S3Server;
use crate::support::{Agent, Queue, RedisServer, cli, until};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// An agent of so many workers with outputs in this store.
async fn agent(server: &RedisServer, store: &S3Server, workers: &str) -> (Agent, SocketAddr) {
    let answering = [("WORKER_DASHBOARD_ENABLED", "true"), ("WORKER_DASHBOARD_PORT", "0")];
    let bucket = bucket_of(store.address);
    let env = [borrowed(&bucket), answering.to_vec(), vec![("CONCURRENT_JOBS", workers)]].concat();
    let agent = Agent::spawn(server, "w", &env);
    let address = address(&agent).await;
    (agent, address)
}

#[tokio::test]
async fn an_agent_whose_store_takes_nothing_is_not_ready_and_none_of_its_workers_is_called_idle() {
    let (server, store) = (RedisServer::start().await, S3Server::start(&["pictures"]).await);
    let queue = Queue::of(&server);
    store.refuse("PutObject", "SlowDown", usize::MAX);
    let (agent, at) = agent(&server, &store, "2").await;
    let ready = async || {
        let answer = get(at, "/readyz").await;
        (answer.status, serde_json::from_str::<Value>(&answer.body).unwrap())
    };
    let id = queue.submit(quick()).await;
    let (_, told) = until("Redis is no reason any more", || async {
        Some(ready().await).filter(|(_, told)| told["reasons"].as_array().is_some_and(|reasons| reasons.len() == 1))
    })
    .await;
    assert_eq!((&told["ready"], &told["reasons"][0]["code"]), (&json!(false), &json!("outputs")), "{told}");
    let message = told["reasons"][0]["message"].as_str().unwrap();
    assert!(message.contains("s3://pictures/base cannot take it at present (SlowDown)"), "{message}");
    let slots = async |state: &str| numbers(at).await[&format!("gpu_worker_slots{{state=\"{state}\"}}")];
    assert_eq!((slots("no_store").await, slots("idle").await), (2.0, 0.0));
    let listed = async || String::from_utf8(cli(&server, &["workers"]).await.stdout).unwrap();
    let table = until("both are listed", || async {
        Some(listed().await).filter(|table| table.contains("w-0") && table.contains("w-1"))
    })
    .await;
    assert!(table.matches("no_store").count() == 2 && !table.contains("idle"), "{table}");
    assert_eq!(queue.job(&id).await["status"], "pending", "nothing is claimed");

    store.relent();
    queue.reaches(&id, "completed").await;
    until("it is ready", || async { (ready().await.0 == 200).then_some(()) }).await;
    until("both are idle", || async { (slots("idle").await == 2.0).then_some(()) }).await;
    until("both are listed as idle", || async { (listed().await.matches("idle").count() == 2).then_some(()) }).await;
    assert_eq!(agent.log().matches("no jobs are claimed until they can").count(), 1, "{}", agent.log());
}

#[tokio::test]
async fn a_store_is_asked_once_for_all_workers_of_an_agent() {
    let (server, store) = (RedisServer::start().await, S3Server::start(&["pictures"]).await);
    let queue = Queue::of(&server);
    let (_agent, at) = agent(&server, &store, "4").await;
    let mut job = quick();
    job["payload"]["outputs"] = json!(0);
    for _ in 0..8 {
        let id = queue.submit(job.clone()).await;
        queue.reaches(&id, "completed").await;
    }
    until("all are idle", || async { (numbers(at).await["gpu_worker_slots{state=\"idle\"}"] == 4.0).then_some(()) })
        .await;
    assert_eq!((store.asked("PutObject"), store.keys("pictures")), (1, vec![]));
}
