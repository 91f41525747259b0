//! The unified view of pending, running and ended prompts that the newer release has, and cancelling by it.
//! In: queue and history. Out: `/api/jobs`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::ledger::{Ended, Item};
use super::server::Server;

type App = State<Arc<Server>>;

const STATUSES: [&str; 5] = ["pending", "in_progress", "completed", "failed", "cancelled"];

pub(crate) fn routes() -> Router<Arc<Server>> {
    Router::new()
        .route("/jobs", get(list))
        .route("/jobs/{id}", get(one))
        .route("/jobs/{id}/cancel", post(cancel_one))
        .route("/jobs/cancel", post(cancel_several))
}

fn bad(error: Value) -> Response {
    (StatusCode::BAD_REQUEST, Json(error)).into_response()
}

fn waiting(item: &Item, status: &str) -> Value {
    let mut job = json!({
        "id": item.id, "status": status, "priority": item.number.json(), "create_time": item.create_time, "outputs_count": 0,
    });
    if let Some(workflow) = item.extra_data["extra_pnginfo"]["workflow"]["id"].as_str() {
        job["workflow_id"] = json!(workflow);
    }
    job
}

fn ended(entry: &Ended) -> Value {
    let last = entry.messages.last();
    let status = match last.map(|(event, _)| event.as_str()) {
        _ if entry.success => "completed",
        Some("execution_interrupted") => "cancelled",
        _ => "failed",
    };
    let mut job = waiting(&entry.item, status);
    job["execution_start_time"] = entry.messages.first().map(|(_, data)| data["timestamp"].clone()).unwrap_or_default();
    job["execution_end_time"] = last.map(|(_, data)| data["timestamp"].clone()).unwrap_or_default();
    if status == "failed" {
        job["execution_error"] = last.map(|(_, data)| data.clone()).unwrap_or_default();
    }
    let mut count = 0;
    let mut shown: Option<Value> = None;
    for (node, kinds) in entry.outputs.as_object().into_iter().flatten() {
        for (kind, list) in kinds.as_object().into_iter().flatten().filter(|(kind, _)| *kind != "animated") {
            count += list.as_array().map_or(0, Vec::len);
            let first = list.as_array().and_then(|list| list.iter().find(|entry| entry["filename"].is_string()));
            let better = shown.as_ref().is_none_or(|shown| shown["type"] == "temp");
            if let Some(first) = first.filter(|_| better) {
                let mut preview = first.clone();
                preview["nodeId"] = json!(node);
                preview["mediaType"] = json!(kind);
                shown = Some(preview);
            }
        }
    }
    job["outputs_count"] = json!(count);
    if let Some(preview) = shown {
        job["preview_output"] = preview;
    }
    job
}

/// All jobs, in no particular order.
fn all(server: &Server) -> Vec<Value> {
    let ledger = server.ledger();
    let pending = ledger.pending().iter().map(|item| waiting(item, "pending"));
    let running = ledger.running().map(|item| waiting(item, "in_progress"));
    pending.chain(running).chain(ledger.history().iter().map(ended)).collect()
}

async fn list(State(server): App, Query(query): Query<HashMap<String, String>>) -> Response {
    let wanted: Option<Vec<&str>> = query.get("status").map(|list| list.split(',').collect());
    let invalid: Vec<&str> = wanted.iter().flatten().copied().filter(|status| !STATUSES.contains(status)).collect();
    if !invalid.is_empty() {
        let error = format!("Invalid status value(s): {}. Valid values: {}", invalid.join(", "), STATUSES.join(", "));
        return bad(json!({"error": error}));
    }
    let mut jobs = all(&server);
    jobs.retain(|job| wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|status| job["status"] == **status)));
    jobs.sort_by_key(|job| job["create_time"].as_u64());
    if query.get("sort_order").is_none_or(|order| order != "asc") {
        jobs.reverse();
    }
    let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
    let (offset, limit, total) = (number("offset").unwrap_or(0), number("limit"), jobs.len());
    let page: Vec<Value> = jobs.into_iter().skip(offset).take(limit.unwrap_or(usize::MAX)).collect();
    let pagination = json!({"offset": offset, "limit": limit, "total": total, "has_more": offset + page.len() < total});
    Json(json!({"jobs": page, "pagination": pagination})).into_response()
}

async fn one(State(server): App, Path(id): Path<String>) -> Response {
    let Some(mut job) = all(&server).into_iter().find(|job| job["id"] == *id) else {
        return (StatusCode::NOT_FOUND, Json(json!({"error": "Job not found"}))).into_response();
    };
    if let Some(entry) = server.ledger().history().iter().find(|entry| entry.item.id == id) {
        job["outputs"] = entry.outputs.clone();
        job["execution_status"] = entry.status();
        job["workflow"] = json!({"prompt": entry.item.graph, "extra_data": entry.item.extra_data});
    }
    Json(job).into_response()
}

fn cancel(server: &Server, id: &str) -> bool {
    let (removed, running) = {
        let mut ledger = server.ledger();
        (ledger.delete_pending(id), ledger.running().is_some_and(|item| item.id == id))
    };
    if removed {
        server.tell_queue_length();
    }
    if running {
        server.interrupt.store(true, Ordering::SeqCst);
    }
    removed || running
}

async fn cancel_one(State(server): App, Path(id): Path<String>) -> Json<Value> {
    Json(json!({"cancelled": cancel(&server, &id)}))
}

async fn cancel_several(State(server): App, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(ids) = body["job_ids"].as_array() else {
        return bad(json!({"error": "job_ids must be a list"}));
    };
    let is_valid = |id: &&Value| id.as_str().is_some_and(|id| uuid::Uuid::parse_str(id).is_ok());
    let invalid: Vec<&Value> = ids.iter().filter(|id| !is_valid(id)).collect();
    if !invalid.is_empty() {
        return bad(json!({"error": "job_ids contains invalid id(s)", "invalid_ids": invalid}));
    }
    let hits = ids.iter().filter_map(Value::as_str).filter(|id| cancel(&server, id)).count();
    Json(json!({"cancelled": hits > 0})).into_response()
}
