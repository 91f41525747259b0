//! What is answered where; every answer passes the guard and carries the same careful headers.
//! In: requests, how the agent is. Out: metrics, health, readiness, refusals.

use super::connections::Local;
use super::guard::{Guard, Refusal};
use super::live::Live;
use super::{older, reads};
use crate::telemetry::metrics;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde_json::json;
use std::sync::Arc;

type Asked = State<Arc<Live>>;

/// Nothing here is for other sites, frames or caches.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

pub(super) fn router(guard: Guard, live: Arc<Live>) -> Router {
    let guard = Arc::new(guard);
    let guarding = from_fn(move |Extension(Local(local)): Extension<Local>, request: Request, next: Next| {
        let guard = guard.clone();
        async move {
            let (head, body) = request.into_parts();
            let mut response = match guard.check(&head, local) {
                Ok(()) => next.run(Request::from_parts(head, body)).await,
                Err(refusal) => refusal.into_response(),
            };
            for (name, value) in HEADERS {
                response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
            }
            response
        }
    });
    Router::new()
        .route("/metrics", get(numbers))
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .fallback(async || Refusal { status: StatusCode::NOT_FOUND, why: "there is nothing here" })
        .merge(reads::routes())
        .merge(older::routes())
        .with_state(live)
        .layer(guarding)
}

async fn numbers(State(live): Asked) -> Response {
    live.source().looked_at();
    let text = metrics::of_process().render(&live.source().observe());
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

/// The process lives: its loops come round. Redis and engines may be away: starting anew would not bring them back.
async fn alive(State(live): Asked) -> Response {
    let observed = live.source().observe();
    let hanging = observed.hanging();
    let status = if hanging.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"alive": hanging.is_empty(), "hanging_loops": hanging}))).into_response()
}

/// Jobs can be taken: Redis answers and an engine is well.
async fn ready(State(live): Asked) -> Response {
    let obstacles = live.source().observe().obstacles();
    let status = if obstacles.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let reasons: Vec<_> = obstacles.iter().map(|(code, message)| json!({"code": code, "message": message})).collect();
    (status, Json(json!({"ready": obstacles.is_empty(), "reasons": reasons}))).into_response()
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({"error": self.why}))).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}
