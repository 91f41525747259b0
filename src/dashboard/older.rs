//! The names under which the reference's dashboard was asked, with its fields and ours beside them.
//! In: requests that the guard has let through. Out: JSON of one part each.

use super::live::Live;
use super::view::{in_ms, jobs, now_ms, stats};
use crate::telemetry::history;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;

type Asked = State<Arc<Live>>;

/// The routes.
pub(super) fn routes() -> Router<Arc<Live>> {
    Router::new()
        .route("/api/status", get(status))
        .route("/api/capabilities", get(capabilities))
        .route("/api/jobs/current", get(current))
        .route("/api/jobs/history", get(ended))
        .route("/api/stats", get(counts))
        .route("/api/connectors", get(connectors))
        .route("/api/system", get(system))
        .route("/api/gpus", get(gpus))
}

fn iso(at: i64) -> Option<String> {
    Some(format!("{:.3}", jiff::Timestamp::from_millisecond(at).ok()?))
}

/// Ours, and theirs on top.
fn with(ours: impl Serialize, theirs: Value) -> Json<Value> {
    let mut all = match serde_json::to_value(ours) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    };
    if let Value::Object(members) = theirs {
        all.extend(members);
    }
    Json(Value::Object(all))
}

async fn status(State(live): Asked) -> Json<Value> {
    let worker = live.source().worker();
    let theirs = json!({
        "workerId": worker.ids.first(), "status": worker.state, "isRunning": !matches!(worker.state, "draining" | "drained"),
        "lastHeartbeat": worker.heartbeat.and_then(iso), "uptime": now_ms().saturating_sub(worker.started),
        "version": env!("CARGO_PKG_VERSION"), "read_only": live.source().read_only(),
    });
    with(worker, theirs)
}

/// Those of the first worker, and all of them by id.
async fn capabilities(State(live): Asked) -> Json<Value> {
    let all = live.source().capabilities();
    let first = all.first().map(|(_, capabilities)| capabilities.clone()).unwrap_or_default();
    with(first, json!({"workers": all.into_iter().collect::<Map<String, Value>>()}))
}

async fn current(State(live): Asked) -> Json<Value> {
    let job = |slot: super::view::slots::Slot| {
        let job = slot.job?;
        let theirs = json!({"worker": slot.id, "gpu": slot.gpu, "engine": slot.engine, "startedAt": iso(job.claimed)});
        Some(with(job, theirs).0)
    };
    Json(live.source().slots().into_iter().filter_map(job).collect())
}

async fn ended() -> Json<Value> {
    let kept = history::of_process();
    let job = |job: jobs::Job| {
        let theirs = json!({
            "job": {"id": job.id, "service": job.service}, "startedAt": job.claimed.and_then(iso),
            "completedAt": iso(job.ended), "duration": job.duration_ms,
            "status": job.state, "error": job.failure.as_ref().map(|failure| failure.message.clone()),
            "result": job.outputs.iter().map(|output| output.name.clone()).collect::<Vec<_>>(),
        });
        with(job, theirs).0
    };
    Json(jobs::section(kept.between(0, kept.newest())).history.into_iter().map(job).collect())
}

async fn counts(State(live): Asked) -> Json<Value> {
    let (worker, tally) = (live.source().worker(), history::of_process().tally());
    let engines = live.source().connectors();
    let statuses: Map<String, Value> = engines
        .into_iter()
        .map(|engine| (engine.label.clone(), json!(if engine.healthy { "connected" } else { "disconnected" })))
        .collect();
    let theirs = json!({
        "totalJobsProcessed": tally.all.counts.completed, "totalJobsFailed": tally.all.counts.failed,
        "totalJobsCancelled": tally.all.counts.cancelled,
        "averageJobDuration": tally.all.durations.mean().map(|mean| in_ms(mean) as f64 / 1e3),
        "uptimeSeconds": now_ms().saturating_sub(worker.started) / 1000,
        "lastHeartbeat": worker.heartbeat.and_then(iso), "currentStatus": worker.state, "connectorStatuses": statuses,
    });
    with(stats::section(&tally), theirs)
}

async fn connectors(State(live): Asked) -> Json<Value> {
    Json(json!(live.source().connectors()))
}

async fn system(State(live): Asked) -> Json<Value> {
    let system = live.source().system();
    let memory = system.memory_total_bytes.zip(system.memory_used_bytes);
    let theirs = json!({
        "memory_usage": memory.map(|(total, used)| super::view::tenths(used as f64 / total.max(1) as f64 * 100.0)),
        "memory_free_gb": memory.map(|(total, used)| super::view::tenths(total.saturating_sub(used) as f64 / f64::from(1 << 30))),
        "cpu_usage": system.cpu_percent, "uptime": now_ms().saturating_sub(live.source().worker().started) / 1000,
        // This is none of Node's.
        "node_version": null, "pid": system.pid,
    });
    with(system, theirs)
}

async fn gpus(State(live): Asked) -> Json<Value> {
    let source = live.source();
    let series = source.series().map(|ring| ring.last(super::view::series::POINTS));
    Json(json!({"gpus": source.gpus(), "series": series}))
}
