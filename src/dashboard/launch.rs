//! Launch links: a code that gives one browser the cookie.
//! In: a request for a code, by whoever shows the token; the code, handed in by the page behind the link. Out: a code; a cookie.
//!
//! ```text
//!   POST /api/launch ──▶ link ──GET: a page, nothing is used up──▶ its script: POST ──▶ cookie, once ──▶ /
//!                                └── fetched ahead by a browser, or by a chat for a preview: no visit
//! ```
//! No redirect: a browser that was led here by another site's page (a terminal in a web page, say) would not send the cookie
//! behind one. The page moves on by itself, and the secret leaves the address bar.

use super::cross_site::is_ahead;
use super::guard::Guard;
use super::named::Named;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;

const PAGE: &str = include_str!("launch/enter.html");
const SCRIPT: &str = include_str!("launch/enter.js");

type Asked = State<Arc<Guard>>;

pub(super) fn routes(guard: Arc<Guard>) -> Router {
    let script = async || ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT);
    Router::new()
        .route("/api/launch", post(launch))
        .route("/launch/enter.js", get(script))
        .route("/launch/{code}", get(show).post(enter))
        .with_state(guard)
}

/// A code that opens the page once.
async fn launch(State(guard): Asked) -> Response {
    let path = format!("/launch/{}", guard.access.launch(Instant::now()));
    let elsewhere = guard.elsewhere.map(|at| format!("http://{at}{path}"));
    let lasts = super::access::LAUNCH_LASTS.as_secs();
    Json(json!({"ok": true, "path": path, "elsewhere": elsewhere, "expires_s": lasts})).into_response()
}

/// The page says nothing of the code: only who hands it in learns whether it is good.
async fn show(Named(_): Named<String>, asked: HeaderMap) -> Response {
    if is_ahead(&asked) { ahead() } else { Html(PAGE).into_response() }
}

async fn enter(State(guard): Asked, Named(code): Named<String>, asked: HeaderMap) -> Response {
    const USED: &str = "this link has been used, or is too old";
    if is_ahead(&asked) {
        return ahead();
    }
    if !guard.access.use_launch(&code, Instant::now()) {
        let told = json!({"error": USED, "remedy": "`gpu-worker dashboard` prints a new one"});
        return (StatusCode::GONE, Json(told)).into_response();
    }
    let mut response = Json(json!({"ok": true})).into_response();
    give_cookie(&guard, &asked, &mut response);
    response
}

fn ahead() -> Response {
    let told = json!({"error": "this is opened by whoever follows it, and not ahead"});
    (StatusCode::SERVICE_UNAVAILABLE, Json(told)).into_response()
}

/// Gives the browser what our page needs to give orders.
pub(super) fn give_cookie(guard: &Guard, asked: &HeaderMap, response: &mut Response) {
    let is_secure = asked.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    if let Ok(cookie) = HeaderValue::try_from(guard.access.set_cookie(is_secure)) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}
