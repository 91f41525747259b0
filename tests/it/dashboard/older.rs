//! The names and fields under which the reference's dashboard was asked.

use super::agent;
use super::stream::json;
use crate::agent::endless;
use crate::support::{Queue, RedisServer, cli, until};
use serde_json::{Value, json};

#[tokio::test]
async fn the_references_fields_are_there_with_ours_beside_them() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let (_agent, at) = agent(&server, "w", &[]).await;
    let id = queue.submit(endless()).await;
    queue.reaches(&id, "in_progress").await;
    let status = json(at, "/api/status").await;
    assert_eq!(
        (&status["workerId"], &status["status"], &status["isRunning"]),
        (&json!("w"), &json!("working"), &json!(true))
    );
    assert!(status["lastHeartbeat"].as_str().unwrap().ends_with('Z') && status["uptime"].is_i64(), "{status}");
    assert!(status["sentence"].as_str().unwrap().starts_with("One job running"), "{status}");
    let offers = json(at, "/api/capabilities").await;
    assert_eq!(
        (&offers["services"], &offers["workers"]["w"]["services"]),
        (&json!(["simulation"]), &json!(["simulation"]))
    );
    let current = json(at, "/api/jobs/current").await;
    assert_eq!((&current[0]["id"], current.as_array().unwrap().len()), (&json!(id), 1));
    assert!(current[0].get("payload").is_none());
    assert_eq!(cli(&server, &["cancel", &id]).await.status.code(), Some(0));
    let history = until("it has ended", || async {
        Some(json(at, "/api/jobs/history").await).filter(|history| history[0]["status"] == "cancelled")
    })
    .await;
    let end = &history[0];
    assert_eq!((&end["job"]["id"], &end["error"], &end["result"]), (&json!(id), &Value::Null, &json!([])));
    assert!(end["duration"].is_u64() && end["startedAt"].is_string() && end["completedAt"].is_string(), "{end}");
    assert_eq!(json(at, "/api/jobs/current").await, json!([]));
    let stats = json(at, "/api/stats").await;
    for (name, value) in [
        ("totalJobsProcessed", json!(0)),
        ("totalJobsFailed", json!(0)),
        ("totalJobsCancelled", json!(1)),
        ("averageJobDuration", Value::Null),
        ("currentStatus", json!("idle")),
        ("connectorStatuses", json!({"simulation": "connected"})),
        ("success_rate", Value::Null),
    ] {
        assert_eq!(stats[name], value, "{name}: {stats}");
    }
    let system = json(at, "/api/system").await;
    for name in ["memory_usage", "memory_free_gb", "uptime", "pid", "agent_rss_bytes"] {
        assert!(system[name].is_number(), "{name}: {system}");
    }
    let engines = json(at, "/api/connectors").await;
    assert_eq!(
        (&engines[0]["label"], &engines[0]["healthy"], &engines[0]["why"]),
        (&json!("simulation"), &json!(true), &Value::Null)
    );
    assert!(engines[0]["probed"].is_i64());
    let gpus = json(at, "/api/gpus").await;
    assert!(gpus["gpus"].is_array() && gpus["series"]["step_ms"] == 2000, "{gpus}");
}
