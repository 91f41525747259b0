//! The HTTP surface: which route goes where, who is let in, and the small routes of queue and history.
//! In: requests. Out: answers, all of them under `/api` as well.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State, WebSocketUpgrade};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::server::Server;
use super::{hub, info, jobs, submit, upload, view};

type App = State<Arc<Server>>;

/// What the real server says when one of its handlers raises.
pub(crate) fn trouble() -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, "500 Internal Server Error\n\nServer got itself in trouble").into_response()
}

pub(crate) fn router(server: Arc<Server>) -> Router {
    let everywhere = Router::new()
        .route("/prompt", get(prompt).post(submit::post_prompt))
        .route("/queue", get(queue).post(edit_queue))
        .route("/interrupt", post(interrupt))
        .route("/history", get(history).post(edit_history))
        .route("/history/{id}", get(history_of))
        .route("/view", get(view::view))
        .route("/upload/image", post(upload::image))
        .route("/upload/mask", post(upload::image))
        .route("/free", post(free))
        .route("/ws", get(socket))
        .merge(info::routes());
    let mut under_api = everywhere.clone();
    if server.options.release.is_new() {
        under_api = under_api.merge(jobs::routes());
    }
    everywhere
        .nest("/api", under_api)
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(server.options.max_upload_size))
        .layer(from_fn_with_state(server.clone(), guard))
        .with_state(server)
}

/// Whatever is no route is looked for among the files of the web page, which can only be read.
async fn unknown(method: Method) -> Response {
    if method != Method::GET && method != Method::HEAD {
        return ([(header::ALLOW, "GET,HEAD")], wrong_method().await).into_response();
    }
    (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "application/octet-stream")], "").into_response()
}

async fn wrong_method() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed").into_response()
}

/// Loopback hosts turn away pages of other origins, and bodies over the limit are turned away unread.
async fn guard(State(server): App, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if is_foreign(headers)
        || (server.options.release.is_new() && named(headers, "sec-fetch-site") == Some("cross-site"))
    {
        return StatusCode::FORBIDDEN.into_response();
    }
    let limit = server.options.max_upload_size;
    let length = named(headers, "content-length").and_then(|length| length.parse::<usize>().ok());
    if length.is_some_and(|length| length > limit) {
        return (StatusCode::PAYLOAD_TOO_LARGE, format!("Maximum request body size {limit} exceeded.")).into_response();
    }
    let hangs = server.quirks().hanging_routes.iter().any(|route| is_route(route, &request));
    if hangs {
        std::future::pending::<()>().await;
    }
    let is_missing = server.quirks().missing_routes.iter().any(|route| is_route(route, &request));
    if is_missing {
        return unknown(request.method().clone()).await;
    }
    next.run(request).await
}

fn named<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn is_foreign(headers: &HeaderMap) -> bool {
    let (Some(origin), Some(host)) = (named(headers, "origin"), named(headers, "host")) else {
        return false;
    };
    origin.split_once("://").map_or(origin, |(_, rest)| rest) != host
}

/// `GET /history/{id}` and the like; a part in braces stands for anything.
fn is_route(route: &str, request: &Request) -> bool {
    let path = request.uri().path();
    let path = path.strip_prefix("/api").unwrap_or(path);
    let Some((method, pattern)) = route.split_once(' ') else {
        return false;
    };
    let same = |(pattern, part): (&str, &str)| pattern == part || (pattern.starts_with('{') && !part.is_empty());
    request.method().as_str() == method
        && pattern.split('/').count() == path.split('/').count()
        && pattern.split('/').zip(path.split('/')).all(same)
}

async fn prompt(State(server): App) -> Json<Value> {
    Json(json!({"exec_info": {"queue_remaining": server.ledger().remaining()}}))
}

async fn queue(State(server): App) -> Json<Value> {
    Json(server.ledger().queue_json())
}

async fn edit_queue(State(server): App, body: Bytes) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return trouble();
    };
    let mut changed = false;
    if body["clear"] == json!(true) {
        server.ledger().clear_pending();
        changed = true;
    }
    for id in body["delete"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        changed |= server.ledger().delete_pending(id);
    }
    if changed {
        server.tell_queue_length();
    }
    StatusCode::OK.into_response()
}

/// A body that is no JSON object with a prompt id counts as an interrupt of whatever runs.
async fn interrupt(State(server): App, body: Bytes) -> StatusCode {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let hit = match body["prompt_id"].as_str().filter(|id| !id.is_empty()) {
        Some(_) if server.quirks().interrupts_ignore_ids => true,
        Some(id) => server.ledger().running().is_some_and(|item| item.id == id),
        None => true,
    };
    if hit {
        server.interrupt.store(true, Ordering::SeqCst);
    }
    StatusCode::OK
}

async fn history(State(server): App, Query(query): Query<HashMap<String, String>>) -> Response {
    let number = |name: &str| query.get(name).map(|text| text.parse::<i64>()).transpose();
    let (Ok(max_items), Ok(offset)) = (number("max_items"), number("offset")) else {
        return trouble();
    };
    let offset = offset.filter(|offset| *offset >= 0).map(|offset| offset as usize);
    Json(server.ledger().entries(max_items.map(|max| max.max(0) as usize), offset)).into_response()
}

async fn history_of(State(server): App, Path(id): Path<String>) -> Response {
    Json(server.ledger().entry(&id)).into_response()
}

async fn edit_history(State(server): App, body: Bytes) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return trouble();
    };
    if body["clear"] == json!(true) {
        server.ledger().forget_all();
    }
    for id in body["delete"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        server.ledger().forget(id);
    }
    StatusCode::OK.into_response()
}

/// Carried out when the runner is idle or between two prompts.
async fn free(State(server): App, body: Bytes) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return trouble();
    };
    {
        let mut freeing = server.freeing();
        freeing.unload_models |= body["unload_models"] == json!(true);
        freeing.free_memory |= body["free_memory"] == json!(true);
    }
    server.work.notify_one();
    StatusCode::OK.into_response()
}

async fn socket(
    State(server): App,
    Query(mut query): Query<HashMap<String, String>>,
    upgrade: WebSocketUpgrade,
) -> Response<Body> {
    let client_id = query.remove("clientId");
    upgrade.on_upgrade(move |socket| hub::attend(server, socket, client_id))
}
