//! A small HTTP engine for the tests: synchronous and asynchronous, with faults on request.
//! In: payloads that say what is to happen. Out: a real server on loopback that counts and remembers.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[derive(Default)]
pub struct Engine {
    runs: Mutex<BTreeMap<String, Running>>,
    /// Everything that came in: method, path, headers, body.
    pub seen: Mutex<Vec<(String, HeaderMap, Value)>>,
}

struct Running {
    payload: Value,
    polls: u64,
    cancelled: bool,
    /// Polls that still find it at work after a cancel.
    lingers: u64,
    began: Instant,
}

impl Running {
    /// Whether all polls but the first fail in this way until somebody cancels.
    fn fails_polls(&self, how: &str) -> bool {
        self.polls > 0 && !self.cancelled && self.payload["polls"] == how
    }
}

/// A server of the test's own.
pub struct Server {
    pub url: String,
    pub engine: Arc<Engine>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start() -> Self {
        let engine = Arc::new(Engine::default());
        let app = Router::new()
            .route("/base/health", get(|| async { "fine" }))
            .route("/base/jobs", post(submit))
            .route("/base/jobs/{id}", get(poll).delete(cancel))
            .route("/base/files/{id}", get(file))
            .route("/base/sync", post(sync))
            .route("/base/free/{status}", post(free))
            .route("/base/hang", get(std::future::pending::<StatusCode>))
            .route("/base/echo/{*rest}", post(echo))
            .with_state(engine.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/base", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, engine, task }
    }

    pub fn requests(&self, path: &str) -> Vec<(String, HeaderMap, Value)> {
        self.engine.seen.lock().unwrap().iter().filter(|(line, ..)| line.contains(path)).cloned().collect()
    }

    pub fn cancelled(&self, id: &str) -> bool {
        self.engine.runs.lock().unwrap().get(id).is_some_and(|run| run.cancelled)
    }

    /// Whether the engine itself would still say that it is at work.
    pub fn is_at_work(&self, id: &str) -> bool {
        self.engine.runs.lock().unwrap().get(id).is_some_and(|run| !run.cancelled || run.lingers > 0)
    }

    pub fn ids(&self) -> Vec<String> {
        self.engine.runs.lock().unwrap().keys().cloned().collect()
    }
}

impl Engine {
    fn note(&self, line: &str, headers: HeaderMap, body: Value) {
        self.seen.lock().unwrap().push((line.to_owned(), headers, body));
    }
}

/// What a payload's `status` asks for.
fn asked(body: &Value) -> Option<Response> {
    let status = body["status"].as_u64()?;
    let status = StatusCode::from_u16(u16::try_from(status).unwrap()).unwrap();
    let answer =
        Json(json!({ "error": { "message": body["says"].as_str().unwrap_or("as asked"), "code": body["code"] } }));
    Some((status, [(header::RETRY_AFTER, "7"), (header::LOCATION, "/base/health")], answer).into_response())
}

async fn submit(State(engine): State<Arc<Engine>>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    engine.note("POST /jobs", headers, body.clone());
    if let Some(answer) = asked(&body) {
        return answer;
    }
    if body["mute"] == true {
        return Json(json!({ "queued": true })).into_response();
    }
    let own = body["run_id"].as_str().map(str::to_owned);
    let id = own.unwrap_or_else(|| format!("r/{}", engine.seen.lock().unwrap().len()));
    engine.runs.lock().unwrap().insert(
        id.clone(),
        Running {
            lingers: body["lingers"].as_u64().unwrap_or(0),
            payload: body,
            polls: 0,
            cancelled: false,
            began: Instant::now(),
        },
    );
    Json(json!({ "id": id })).into_response()
}

async fn poll(State(engine): State<Arc<Engine>>, Path(id): Path<String>) -> Response {
    let hangs = engine.runs.lock().unwrap().get(&id).is_some_and(|run| run.fails_polls("hang"));
    if hangs {
        std::future::pending::<()>().await;
    }
    let mut runs = engine.runs.lock().unwrap();
    let Some(run) = runs.get_mut(&id) else { return StatusCode::NOT_FOUND.into_response() };
    if run.fails_polls("500") {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    run.polls += 1;
    let at_work = !run.cancelled || run.lingers > 0;
    run.lingers = run.lingers.saturating_sub(u64::from(run.cancelled));
    let payload = &run.payload;
    let steps = payload["steps"].as_u64().unwrap_or(3);
    let place = format!("files/{}", id.replace('/', "%2F"));
    let state = match () {
        () if !at_work => "cancelled",
        () if payload["poll_status"].is_u64() && run.polls == 2 => {
            let status = u16::try_from(payload["poll_status"].as_u64().unwrap()).unwrap();
            return StatusCode::from_u16(status).unwrap().into_response();
        }
        () if payload["nonsense"] == true && run.polls == 2 => return "no json".into_response(),
        () if payload["poll_bytes"].is_u64() => {
            return Body::from(vec![b' '; usize::try_from(payload["poll_bytes"].as_u64().unwrap()).unwrap()])
                .into_response();
        }
        () if run.polls <= steps => "running",
        () if payload["forget"] == true => {
            runs.remove(&id);
            return StatusCode::NOT_FOUND.into_response();
        }
        () if payload["fail"].is_string() => "failed",
        () => "done",
    };
    let files = match payload.get("files") {
        Some(Value::String(elsewhere)) => json!([elsewhere]),
        Some(other) => other.clone(),
        None => json!([place]),
    };
    let mut progress = 100 * run.polls.min(steps) / steps.max(1);
    // One that takes a cancel, and works on: its word goes on, too, or its figure alone.
    let goes_on = payload["deaf"].as_str().filter(|_| run.cancelled);
    let state = if goes_on == Some("words") { "running" } else { state };
    if goes_on == Some("figures") {
        progress = u64::try_from(run.began.elapsed().as_millis()).unwrap();
    }
    Json(json!({
        "status": state, "progress": progress, "note": payload["note"].as_str().unwrap_or("at it"),
        "result": { "files": files, "facts": { "steps": steps } },
        "error": { "message": "it hurts", "code": payload["fail"] },
    }))
    .into_response()
}

async fn cancel(State(engine): State<Arc<Engine>>, Path(id): Path<String>) -> StatusCode {
    match engine.runs.lock().unwrap().get_mut(&id) {
        Some(run) => {
            run.cancelled = true;
            StatusCode::ACCEPTED
        }
        None => StatusCode::NOT_FOUND,
    }
}

async fn file(State(engine): State<Arc<Engine>>, Path(id): Path<String>) -> Response {
    match engine.runs.lock().unwrap().get(&id) {
        Some(_) => ([(header::CONTENT_TYPE, "image/png")], format!("picture of {id}")).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn sync(State(engine): State<Arc<Engine>>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    engine.note("POST /sync", headers, body.clone());
    if let Some(answer) = asked(&body) {
        return answer;
    }
    if body["slow"] == true {
        std::future::pending::<()>().await;
    }
    if let Some(bytes) = body["bytes"].as_u64() {
        return Body::from(vec![b'x'; usize::try_from(bytes).unwrap()]).into_response();
    }
    let mut answer = json!({ "image": body["image"], "facts": { "for": body["for"] } });
    if let Some(over) = body["answer"].as_object() {
        answer = Value::Object(over.clone());
    }
    Json(answer).into_response()
}

async fn echo(State(engine): State<Arc<Engine>>, Path(rest): Path<String>, Json(body): Json<Value>) -> Json<Value> {
    engine.note(&format!("POST /echo/{rest}"), HeaderMap::new(), body);
    tokio::time::sleep(Duration::ZERO).await;
    Json(json!({ "rest": rest }))
}

async fn free(State(engine): State<Arc<Engine>>, Path(status): Path<u16>, headers: HeaderMap) -> StatusCode {
    engine.note("POST /free", headers, Value::Null);
    StatusCode::from_u16(status).unwrap()
}
