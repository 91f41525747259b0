//! An engine that looks healthy and answers nonsense: what its jobs' node classes ask for.

use super::row::Expect::{Completes, Failed};
use super::row::{Expect, Row, hand};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Prompt id to the class that it asks for.
type Seen = Arc<Mutex<BTreeMap<String, String>>>;

/// Serves on a free port for as long as the test's runtime lives; answers the URL.
pub async fn serve() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let stats = json!({"system": {"comfyui_version": "0.27.0"}, "devices": []});
    let none = json!({"queue_running": [], "queue_pending": []});
    let load = json!({"exec_info": {"queue_remaining": 0}});
    let router = Router::new()
        .route("/system_stats", get(|| async move { axum::Json(stats) }))
        .route("/queue", get(|| async move { axum::Json(none) }))
        .route("/prompt", post(prompt).get(|| async move { axum::Json(load) }))
        .route("/history/{id}", get(history))
        .route("/view", get(view))
        .with_state(Seen::default());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn prompt(State(seen): State<Seen>, body: axum::body::Bytes) -> Response {
    let said: Value = serde_json::from_slice(&body).unwrap_or_default();
    let id = said["prompt_id"].as_str().unwrap_or_default().to_owned();
    let class = said["prompt"]["1"]["class_type"].as_str().unwrap_or_default().to_owned();
    let json = |text: String| ([("content-type", "application/json")], text).into_response();
    match class.as_str() {
        "Page" => ([("content-type", "text/html")], "<html>It works!</html>").into_response(),
        "Error" => (StatusCode::INTERNAL_SERVER_ERROR, "Traceback (most recent call last)").into_response(),
        "Redirect" => (StatusCode::FOUND, [("location", "http://169.254.169.254/")]).into_response(),
        "Garbage" => json(r#"{"prompt_id": "#.to_owned()),
        "Stranger" => json(r#"{"prompt_id": "11111111-1111-4111-8111-111111111111"}"#.to_owned()),
        "Silence" => std::future::pending().await,
        "Cut" => {
            let broken = futures_util::stream::iter([Err::<axum::body::Bytes, _>(std::io::Error::other("cut"))]);
            Body::from_stream(broken).into_response()
        }
        "Refusal" => (
            StatusCode::BAD_REQUEST,
            json(r#"{"error": {"type": "\u001b[2Jevil", "message": 5}, "node_errors": [1, 2]}"#.to_owned()),
        )
            .into_response(),
        _ => {
            seen.lock().expect("unpoisoned").insert(id.clone(), class);
            json(json!({"prompt_id": id, "number": 1, "node_errors": {}}).to_string())
        }
    }
}

async fn history(State(seen): State<Seen>, Path(id): Path<String>) -> Response {
    let class = seen.lock().expect("unpoisoned").get(&id).cloned();
    let file = |name: &str| json!({"1": {"images": [{"filename": name, "subfolder": "", "type": "output"}]}});
    let success = json!({"status_str": "success", "messages": []});
    let entry = match class.as_deref() {
        Some("OddOutputs") => json!({"outputs": {"1": "text", "2": {"images": [5, null]}}, "status": success}),
        Some("Escape") => json!({"outputs": file("../../../../tmp/escaped.png"), "status": success}),
        Some("Missing") => json!({"outputs": file("missing.png"), "status": success}),
        Some("NoOutputs") => json!({"outputs": {}, "status": success}),
        Some("OddStatus") => json!({"outputs": {}, "status": {"status_str": "\u{1b}[2Jerror", "messages": []}}),
        _ => return axum::Json(json!({})).into_response(),
    };
    axum::Json(json!({ id: entry })).into_response()
}

async fn view(axum::extract::RawQuery(query): axum::extract::RawQuery) -> Response {
    match query.unwrap_or_default().contains("missing") {
        true => StatusCode::NOT_FOUND.into_response(),
        false => b"\x89PNG\r\n\x1a\nnot much of a picture".as_slice().into_response(),
    }
}

pub fn rows() -> Vec<Row> {
    let ask = |name, class: &str, expect: Expect| {
        let workflow = json!({"workflow": {"1": {"class_type": class, "inputs": {"filename_prefix": "x"}}}});
        // Handed on as often as allowed already: the fault of a box counts at once.
        let change = |job: super::row::Hand| {
            job.with("service_required", "comfyui").with("payload", workflow.to_string()).with("handed_on", "16")
        };
        hand(name, change, expect)
    };
    vec![
        ask("engine answers a page", "Page", Failed("response_error", "invalid_response_format", "ComfyUI")),
        ask("engine answers 500", "Error", Failed("service_error", "service_unavailable", "500")),
        ask("engine leads elsewhere", "Redirect", Failed("response_error", "invalid_response_format", "302")),
        ask("engine answers half a JSON", "Garbage", Failed("response_error", "invalid_response_format", "ComfyUI")),
        ask("engine ignores our id", "Stranger", Failed("system_error", "dependency_error", "ignores prompt ids")),
        ask("engine cuts the answer", "Cut", Failed("network_error", "connection_failed", "ComfyUI")),
        ask(
            "engine refuses with nonsense",
            "Refusal",
            Failed("validation_error", "invalid_payload", "refuses the workflow"),
        ),
        ask(
            "engine names odd outputs",
            "OddOutputs",
            Failed("response_error", "missing_expected_data", "no output file"),
        ),
        ask("engine names a file outside", "Escape", Completes),
        ask("engine lacks its own file", "Missing", Failed("response_error", "missing_expected_data", "")),
        ask(
            "engine succeeds with nothing",
            "NoOutputs",
            Failed("response_error", "missing_expected_data", "no output file"),
        ),
        ask("engine says an odd status", "OddStatus", Failed("system_error", "internal_error", "not why")),
        hand(
            "engine never answers",
            |job| {
                let workflow = r#"{"workflow":{"1":{"class_type":"Silence","inputs":{}}}}"#;
                let job = job.with("service_required", "comfyui").with("payload", workflow);
                job.with("requirements", r#"{"timeout_minutes":0.005}"#)
            },
            Failed("timeout", "job_timeout", "allowed"),
        ),
        hand(
            "workflow without nodes",
            |job| job.with("service_required", "comfyui").with("payload", r#"{"workflow":{}}"#),
            Failed("validation_error", "missing_required_field", "no workflow"),
        ),
        hand(
            "workflow with a node of nothing",
            |job| {
                let workflow = r#"{"workflow":{"1":{"class_type":"A","inputs":{}},"2":null}}"#;
                job.with("service_required", "comfyui").with("payload", workflow)
            },
            Failed("validation_error", "invalid_format", "node `2` of the workflow has no class_type"),
        ),
    ]
}
