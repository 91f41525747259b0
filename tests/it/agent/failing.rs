//! Every reason of failure from an engine's mouth to all who read of it: event, hash, attestation, metrics, commands.

use super::super::support::{Agent, Queue, RedisServer, cli, until};
use connectors::failure::Reason;
use serde_json::{Value, json};

fn failing(reason: Reason, max_retries: u8) -> Value {
    let payload = json!({"steps": 1, "step_ms": 1, "outputs": 0, "fail_at_step": 0, "failure": reason.as_str()});
    json!({"type": "simulation", "max_retries": max_retries, "payload": payload})
}

#[tokio::test]
async fn every_reason_reaches_event_hash_and_attestation_unchanged() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let mut jobs = Vec::new();
    for reason in Reason::ALL {
        jobs.push((*reason, queue.submit(failing(*reason, 1)).await));
        // An engine at which different jobs fail one after the other would be left alone for a while.
        queue.submit(super::quick()).await;
    }
    let _agent = Agent::start(&server, "w", &[]).await;
    for (reason, id) in jobs {
        let job = queue.reaches(&id, "failed").await;
        let (kind, word) = (reason.kind().as_str(), reason.as_str());
        assert_eq!((job["failure_type"].as_str(), job["failure_reason"].as_str()), (kind, word));
        let last = queue.events(&id).await.pop().unwrap().to_json();
        assert_eq!((&last["type"], &last["will_retry"]), (&json!("failure"), &json!(false)), "{word}");
        assert_eq!((&last["failure_type"], &last["failure_reason"]), (&json!(kind), &json!(word)));
        let attested: String = server.run(&["GET", &format!("worker:failure:step-id:{id}:permanent")]).await;
        let attested: Value = serde_json::from_str(&attested).unwrap();
        assert_eq!((&attested["failure_type"], &attested["failure_reason"]), (&json!(kind), &json!(word)));
        assert_eq!(attested["will_retry"], false);
    }
}

#[tokio::test]
async fn watch_and_jobs_say_why_what_comes_next_and_what_to_do() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let _agent = Agent::start(&server, "w", &[("RETRY_BACKOFF_MS", "1")]).await;
    let id = queue.submit(failing(Reason::ConnectionFailed, 2)).await;
    queue.reaches(&id, "failed").await;
    let said = |output: std::process::Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let watched = said(cli(&server, &["watch", &id]).await);
    let retried = watched.lines().find(|line| line.starts_with("attempt failed: ")).unwrap();
    assert!(retried.contains("(network_error/connection_failed); trying again in 0.0 s"), "{watched}");
    let remedy = "what to do: look at the network, and at the server that the message names";
    assert_eq!(watched.matches(remedy).count(), 2, "{watched}");
    assert!(
        watched.lines().any(|line| line.starts_with("failed: ") && line.ends_with("(network_error/connection_failed)"))
    );
    let listed = said(cli(&server, &["jobs"]).await);
    assert!(listed.lines().any(|line| line.contains(&id) && line.contains("connection_failed")), "{listed}");
    let listed = said(cli(&server, &["jobs", "--json"]).await);
    let line: Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&line["failure_type"], &line["failure_reason"]),
        (&json!("network_error"), &json!("connection_failed"))
    );
    let shown = said(cli(&server, &["jobs", "show", &id]).await);
    assert!(
        shown.lines().any(|line| line.starts_with("what to do") && line.contains("look at the network")),
        "{shown}"
    );
}

#[tokio::test]
async fn a_job_that_lost_its_workers_is_told_as_worker_lost_with_a_remedy() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let env = [("LEASE_SECONDS", "0.2"), ("MAX_STALLS", "1")];
    let id = queue.submit(super::endless()).await;
    for n in 0..2 {
        let mut agent = Agent::spawn(&server, &format!("w{n}"), &env);
        queue.reaches(&id, "in_progress").await;
        let key = format!("w{n}");
        until("this one has it", || async { (queue.field(&id, "worker_id").await == key).then_some(()) }).await;
        agent.child.kill().unwrap();
        agent.ended().await;
    }
    // Somebody must notice.
    let _heir = Agent::start(&server, "w3", &env).await;
    let job = queue.reaches(&id, "failed").await;
    assert_eq!((job["failure_type"].as_str(), job["failure_reason"].as_str()), ("system_error", "worker_lost"));
    let last = queue.events(&id).await.pop().unwrap().to_json();
    assert_eq!((&last["failure_reason"], &last["will_retry"]), (&json!("worker_lost"), &json!(false)));
    let watched = String::from_utf8_lossy(&cli(&server, &["watch", &id]).await.stdout).into_owned();
    assert!(watched.contains("what to do: see what its workers died of"), "{watched}");
}
