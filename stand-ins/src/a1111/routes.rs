//! The HTTP surface: which route goes where, who is let in, in how many threads.
//! In: requests. Out: answers in the server's two shapes of errors.
//!
//! A client that hangs up is not noticed: its request was handed to a thread, and runs on.

use super::generate::{generate, scripts};
use super::options::Fork;
use super::request;
use super::server::Server;
use super::settings::Raised;
use super::upscale::upscale;
use super::{base64, lists};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

type App = State<Arc<Server>>;

/// An error that a handler chose.
pub(crate) fn http_error(status: u16, detail: &str) -> Response {
    let body = Json(json!({"error": "HTTPException", "detail": detail, "body": "", "errors": ""}));
    (StatusCode::from_u16(status).unwrap_or_default(), body).into_response()
}

/// An error that a handler met.
pub(crate) fn raised((class, text): &Raised) -> Response {
    let body = Json(json!({"error": class, "detail": "", "body": "", "errors": text}));
    (StatusCode::INTERNAL_SERVER_ERROR, body).into_response()
}

pub(crate) fn router(server: Arc<Server>) -> Router {
    let mut router = Router::new()
        .route(
            "/sdapi/v1/txt2img",
            post(async |State(server): App, body: Bytes| {
                work(server, |server| async move { generate(&server, "txt2img", &body).await }).await
            }),
        )
        .route(
            "/sdapi/v1/img2img",
            post(async |State(server): App, body: Bytes| {
                work(server, |server| async move { generate(&server, "img2img", &body).await }).await
            }),
        )
        .route(
            "/sdapi/v1/extra-single-image",
            post(async |State(server): App, body: Bytes| {
                work(server, |server| async move { upscale(&server, false, &body).await }).await
            }),
        )
        .route(
            "/sdapi/v1/extra-batch-images",
            post(async |State(server): App, body: Bytes| {
                work(server, |server| async move { upscale(&server, true, &body).await }).await
            }),
        )
        .route(
            "/sdapi/v1/options",
            get(options).post(async |State(server): App, body: Bytes| {
                work(server, |server| async move { set_options(&server, &body).await }).await
            }),
        )
        .route("/sdapi/v1/progress", get(progress))
        .route("/sdapi/v1/interrupt", post(interrupt))
        .route("/sdapi/v1/skip", post(skip))
        .route("/sdapi/v1/interrogate", post(async || http_error(404, "Model not found")))
        .route("/sdapi/v1/refresh-checkpoints", post(refresh))
        .route("/sdapi/v1/unload-checkpoint", post(unload))
        .route("/sdapi/v1/reload-checkpoint", post(reload))
        .route("/sdapi/v1/{list}", get(list))
        .route("/docs", get(async || Html("(page)")))
        .route("/openapi.json", get(async || Json(json!({"openapi": "3.0.2", "paths": {}}))));
    if server.options.server_stop {
        router = router
            .route("/sdapi/v1/server-kill", post(kill))
            .route("/sdapi/v1/server-restart", post(async || StatusCode::NOT_IMPLEMENTED))
            .route("/sdapi/v1/server-stop", post(async || "Stopping."));
    }
    if !server.options.nowebui {
        router = router
            .route("/", get(async || Html("<!doctype html>\n<html\n\tlang=\"en\">")))
            .route("/internal/ping", get(async || Json(json!({}))))
            .route("/internal/pending-tasks", get(async |State(server): App| Json(server.progress().pending())))
            .route("/internal/progress", post(task_progress))
            .route("/internal/sysinfo", get(async || Json(json!({"Version": super::info::VERSION}))));
    }
    let nothing = async || (StatusCode::NOT_FOUND, Json(json!({"detail": "Not Found"})));
    let wrong_method = async || (StatusCode::METHOD_NOT_ALLOWED, Json(json!({"detail": "Method Not Allowed"})));
    router
        .fallback(nothing)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(server.clone(), guard))
        .with_state(server)
}

/// In a thread of the pool, until it is done or the process ends, whoever still listens.
async fn work<F>(server: Arc<Server>, job: impl FnOnce(Arc<Server>) -> F) -> Response
where
    F: Future<Output = Response> + Send + 'static,
{
    let (life, server_too) = (server.life(), server.clone());
    let job = job(server);
    let running = tokio::spawn(async move {
        let thread = server_too.threads.acquire().await;
        let answer = tokio::select! {
            biased;
            () = life.cancelled() => None,
            answer = job => Some(answer),
        };
        drop(thread);
        answer
    });
    match running.await {
        Ok(Some(answer)) => answer,
        // The process has ended; its connections are cut.
        _ => std::future::pending().await,
    }
}

async fn guard(State(server): App, request: Request, next: Next) -> Response {
    let route = format!("{} {}", request.method(), request.uri().path());
    server.requests().push(route.clone());
    let path = request.uri().path();
    let (is_api, is_internal) = (path.starts_with("/sdapi/"), path.starts_with("/internal/"));
    if is_api && let Err(refused) = let_in(&server, request.headers()) {
        return *refused;
    }
    if server.quirks().lacking_routes.contains(&route) {
        return (StatusCode::NOT_FOUND, Json(json!({"detail": "Not Found"}))).into_response();
    }
    let hangs = server.quirks().hanging_routes.contains(&route);
    if hangs {
        std::future::pending::<()>().await;
    }
    let blocking =
        ["/txt2img", "/img2img", "/extra-single-image", "/extra-batch-images"].iter().any(|end| path.ends_with(end))
            || route == "POST /sdapi/v1/options";
    // Pages are served without the pool, work takes its place there itself.
    let _thread = if (is_api || is_internal) && !blocking { server.threads.acquire().await.ok() } else { None };
    next.run(request).await
}

fn let_in(server: &Server, headers: &HeaderMap) -> Result<(), Box<Response>> {
    let Some((name, password)) = &server.options.login else { return Ok(()) };
    let refuse = |why: &str| {
        let mut refused = http_error(401, why);
        refused.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Basic"));
        Box::new(refused)
    };
    let given = headers.get(header::AUTHORIZATION).and_then(|given| given.to_str().ok()?.strip_prefix("Basic "));
    let given = given.ok_or_else(|| refuse("Not authenticated"))?;
    match base64::decode(given).is_some_and(|given| given == format!("{name}:{password}").as_bytes()) {
        true => Ok(()),
        false => Err(refuse("Incorrect username or password")),
    }
}

fn preview_interval(server: &Server) -> i64 {
    let settings = server.settings();
    let enabled = settings.values["live_previews_enable"] == json!(true);
    if enabled { settings.values["show_progress_every_n_steps"].as_i64().unwrap_or(0) } else { 0 }
}

async fn progress(State(server): App, Query(query): Query<HashMap<String, String>>) -> Json<Value> {
    let skips = query.get("skip_current_image").is_some_and(|skips| skips == "true");
    let every = preview_interval(&server);
    Json(server.progress().global(!skips, every))
}

async fn task_progress(State(server): App, Json(question): Json<Value>) -> Json<Value> {
    let id = question["id_task"].as_str().unwrap_or_default();
    let known = question["id_live_preview"].as_i64().unwrap_or(-1);
    let every = preview_interval(&server);
    Json(server.progress().of_task(id, known, question["live_preview"] != json!(false), every))
}

async fn interrupt(State(server): App) -> Json<Value> {
    server.progress().interrupted = true;
    Json(json!({}))
}

async fn skip(State(server): App) -> Json<Value> {
    server.progress().skipped = true;
    Json(Value::Null)
}

async fn options(State(server): App) -> Json<Value> {
    Json(server.settings().all())
}

/// With a checkpoint among them it waits for the running job, loads, and answers then.
async fn set_options(server: &Server, body: &[u8]) -> Response {
    let changes = match request::object(body) {
        Ok(changes) => changes,
        Err(refused) => return *refused,
    };
    let quirks = server.quirks().clone();
    if quirks.refuse_options {
        return raised(&("OSError", "[Errno 30] Read-only file system: '/opt/webui/config.json'".to_owned()));
    }
    let mut changes = changes;
    if quirks.ignore_switches {
        changes.remove("sd_model_checkpoint");
    }
    let _turn = if changes.contains_key("sd_model_checkpoint") { Some(server.lock.lock().await) } else { None };
    if let Err(error) = server.settings().set(&changes) {
        return raised(&error);
    }
    // Forge loads with the next job.
    if changes.contains_key("sd_model_checkpoint") && server.options.fork != Fork::Forge {
        let chosen = server.settings().current();
        if let Some(chosen) = chosen
            && server.settings().load(&chosen.name)
        {
            server.pace.step(server.options.load_time).await;
            server.wire.thawed().await;
        }
    }
    Json(Value::Null).into_response()
}

/// Under the same lock as all work.
async fn refresh(State(server): App) -> Json<Value> {
    let _turn = server.lock.lock().await;
    let mut settings = server.settings();
    let unseen = std::mem::take(&mut settings.unseen);
    settings.checkpoints.extend(unseen);
    Json(Value::Null)
}

async fn unload(State(server): App) -> Json<Value> {
    server.settings().loaded = None;
    server.quirks().full_until_unloaded = false;
    Json(json!({}))
}

async fn reload(State(server): App) -> Response {
    let current = server.settings().current();
    match current {
        Some(one) => {
            server.settings().load(&one.name);
            Json(json!({})).into_response()
        }
        None => raised(&("AttributeError", "'NoneType' object has no attribute 'lowvram'".to_owned())),
    }
}

async fn kill(State(server): App) -> Response {
    server.wire.go_down();
    server.forget();
    std::future::pending().await
}

async fn list(State(server): App, Path(name): Path<String>) -> Response {
    if name == "schedulers" && server.options.fork == Fork::SdNext {
        return (StatusCode::NOT_FOUND, Json(json!({"detail": "Not Found"}))).into_response();
    }
    let answer = match name.as_str() {
        "sd-models" => server.settings().list(),
        "memory" => {
            json!({"ram": {"free": 24e9, "used": 795_000_000, "total": 25e9}, "cuda": {"error": "unavailable"}})
        }
        "scripts" => json!({"txt2img": scripts(&server, "txt2img"), "img2img": scripts(&server, "img2img")}),
        "loras" => {
            let lora = |name: &String| json!({"name": name, "alias": name, "path": format!("/opt/webui/models/Lora/{name}.safetensors"), "metadata": {}});
            server.options.loras.iter().map(lora).collect()
        }
        "cmd-flags" => {
            let mut flags = lists::object("cmd-flags");
            let login = server.options.login.as_ref().map(|(name, password)| format!("{name}:{password}"));
            flags.insert("api".to_owned(), json!(!server.options.nowebui));
            flags.insert("nowebui".to_owned(), json!(server.options.nowebui));
            let port = if server.options.nowebui { "7861" } else { "7860" };
            flags.insert("port".to_owned(), json!(port));
            flags.insert("api_auth".to_owned(), json!(login));
            flags.insert("api_server_stop".to_owned(), json!(server.options.server_stop));
            Value::Object(flags)
        }
        "txt2img" | "img2img" | "options" => Value::Null,
        name => lists::list(name).clone(),
    };
    match answer {
        // Routes that only take POST, and names that are none.
        Value::Null => match name.as_str() {
            "txt2img" | "img2img" => {
                (StatusCode::METHOD_NOT_ALLOWED, Json(json!({"detail": "Method Not Allowed"}))).into_response()
            }
            _ => (StatusCode::NOT_FOUND, Json(json!({"detail": "Not Found"}))).into_response(),
        },
        answer => Json(answer).into_response(),
    }
}
