//! What is answered where; every answer passes the guard and carries the same careful headers.
//! In: requests, how the agent is. Out: metrics, health, readiness, what became of orders, refusals.

use super::connections::Local;
use super::guard::{Guard, Refusal, refusal};
use super::live::Live;
use super::{Controls, assets, controls, launch, older, reads};
use crate::telemetry::metrics;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde_json::json;
use std::sync::Arc;

type Asked = State<Arc<Live>>;

/// For a person whose browser has no cookie yet.
const LOCKED: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>gpu-worker</title>\
    <h1>This dashboard is locked</h1>\
    <p>On its machine, <code>gpu-worker dashboard</code> prints a link that opens it in this browser.</p>";

fn wants_page(asked: &HeaderMap) -> bool {
    asked.get(header::ACCEPT).and_then(|kinds| kinds.to_str().ok()).is_some_and(|kinds| kinds.contains("text/html"))
}

fn locked(asked: &HeaderMap) -> Response {
    let mut response = (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], Html(LOCKED)).into_response();
    // Led here by another site's page a browser leaves the cookie out; led here by this one it does not.
    if asked.get("sec-fetch-site").is_some_and(|site| site == "cross-site" || site == "same-site") {
        response.headers_mut().insert(header::REFRESH, HeaderValue::from_static("0;url=/"));
    }
    response
}

/// Nothing here is for other sites, frames or caches.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // Of our own, and no line of it inside a page. `blob:` are pictures that the page has fetched.
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; \
         frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

pub(super) fn router(guard: Guard, live: Arc<Live>, controls: Arc<dyn Controls>) -> Router {
    let guard = Arc::new(guard);
    let orders = controls::routes(controls).merge(launch::routes(guard.clone()));
    let guarding = from_fn(move |Extension(Local(local)): Extension<Local>, request: Request, next: Next| {
        let guard = guard.clone();
        async move {
            let (head, body) = request.into_parts();
            let page = (head.uri.path() == "/").then(|| head.headers.clone());
            let mut response = match guard.check(&head, local) {
                Ok(()) => {
                    let mut response = next.run(Request::from_parts(head, body)).await;
                    // Our page may give orders. Other sites' pages can have this cookie set, and neither read nor use it.
                    if let Some(asked) = page.as_ref().filter(|_| guard.gives_cookie()) {
                        launch::give_cookie(&guard, asked, &mut response);
                    }
                    response
                }
                Err(refusal) => {
                    match page.filter(|asked| refusal.status == StatusCode::UNAUTHORIZED && wants_page(asked)) {
                        Some(asked) => locked(&asked),
                        None => refusal.into_response(),
                    }
                }
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
        .merge(assets::routes())
        .fallback(async || refusal(StatusCode::NOT_FOUND, "there is nothing here"))
        .merge(reads::routes())
        .merge(older::routes())
        .with_state(live)
        .merge(orders)
        .layer(guarding)
}

async fn numbers(State(live): Asked) -> Response {
    // Whoever scrapes once a minute gets the queue of now all the same.
    live.source().fresh().await;
    let text = metrics::of_process().render(&live.source().observe());
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

/// The process lives: its loops come round. Redis and engines may be away: starting anew would not bring them back.
async fn alive(State(live): Asked) -> Response {
    let loops = live.source().loops();
    let hanging: Vec<&str> = loops.iter().filter(|seen| seen.hangs).map(|seen| seen.name.as_str()).collect();
    let status = if hanging.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"alive": hanging.is_empty(), "hanging_loops": hanging}))).into_response()
}

/// Jobs can be taken: Redis answers and an engine is well.
async fn ready(State(live): Asked) -> Response {
    let obstacles = live.source().readiness().obstacles();
    let status = if obstacles.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let reasons: Vec<_> = obstacles.iter().map(|(code, message)| json!({"code": code, "message": message})).collect();
    (status, Json(json!({"ready": obstacles.is_empty(), "reasons": reasons}))).into_response()
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let told = match self.remedy {
            Some(remedy) => json!({"error": self.why, "remedy": remedy}),
            None => json!({"error": self.why}),
        };
        let mut response = (self.status, Json(told)).into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(header::ALLOW, HeaderValue::from_static(self.allow));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}
