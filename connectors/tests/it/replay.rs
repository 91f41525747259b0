//! A server that plays a recorded session back to the connector, under the ids that the connector chose.
//! In: a recording and the number of the run in it. Out: its answers and frames, in the recorded order, without the waits.
//!
//! ```text
//!   socket k opens ─▶ frames of recorded socket k up to the submission ─▶ POST /prompt ─▶ the frames after it
//!     ─▶ before the run's last frame: history has the entry ─▶ last frame
//!     ─▶ recorded end of the socket: ended without close frame
//! ```
//!
//! Where nobody asked for the history of a run when it was recorded, its entry is made of the frames that tell of it.

use axum::Router;
use axum::body::Body;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// What a test changes in the play.
#[derive(Clone, Default)]
pub struct Cut {
    /// These messages are not sent (a lost event).
    pub without: Vec<&'static str>,
    /// The history entry appears only after this many questions for it.
    pub history_after: usize,
    /// Ends the first socket after this many frames of the run.
    pub drop_after: Option<usize>,
    /// Sent as well, before the run's last frame; `prompt_id` in them is put in.
    pub also: Vec<Value>,
    /// The socket is refused.
    pub no_socket: bool,
}

pub struct Replay {
    stage: Arc<Stage>,
    url: String,
    _server: AbortOnDropHandle<()>,
}

struct Stage {
    steps: Vec<Value>,
    cut: Cut,
    /// What this release says of itself.
    about: Vec<Value>,
    /// Index of the recorded submission, and the id that it got.
    submission: usize,
    recorded_id: String,
    /// This release has no route to cancel jobs.
    is_older: bool,
    /// The id that the connector chose.
    posted: watch::Sender<Option<String>>,
    state: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    requests: Vec<(String, Value)>,
    sockets: Vec<String>,
    over: bool,
    frozen: bool,
    history_asked: usize,
}

pub fn recording(name: &str) -> Value {
    // One copy for two crates: the stand-in is held against the same recordings.
    let path = format!("{}/../stand-ins/tests/recordings/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))).unwrap()
}

/// The HTTP steps of a recording that went to this path.
pub fn http_steps<'a>(recording: &'a Value, method: &str, path: &str) -> Vec<&'a Value> {
    let steps = recording["steps"].as_array().unwrap().iter();
    let fits = |step: &&Value| step["request"]["method"] == method && step["request"]["path"] == path;
    steps.filter(fits).collect()
}

impl Replay {
    /// Plays the `nth` submission of a recording, counted from 0.
    pub async fn start(name: &str, nth: usize, cut: Cut) -> Self {
        let steps = recording(name)["steps"].as_array().unwrap().clone();
        let is_post = |step: &Value| step["request"]["method"] == "POST" && step["request"]["path"] == "/prompt";
        let submission = (0..steps.len()).filter(|at| is_post(&steps[*at])).nth(nth).unwrap();
        let answer = &steps[submission]["response"]["body"];
        let recorded_id = answer["prompt_id"].as_str().unwrap_or("no run came of this").to_owned();
        let release = name.split_once('/').unwrap().0;
        let stage = Arc::new(Stage {
            steps,
            cut,
            about: recording(&format!("{release}/info-endpoints"))["steps"].as_array().unwrap().clone(),
            is_older: name.starts_with("0.3.64"),
            submission,
            recorded_id,
            posted: watch::Sender::new(None),
            state: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer_any).with_state(stage.clone());
        // Small frames would else wait 40 ms for each other's acknowledgement.
        let listener = listener.tap_io(|tcp| tcp.set_nodelay(true).unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { stage, url, _server: AbortOnDropHandle::new(server) }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The recorded graph, as a payload.
    pub fn graph(&self) -> Value {
        self.stage.steps[self.stage.submission]["request"]["body"]["prompt"].clone()
    }

    /// What was sent to this path so far (the path without its query).
    pub fn bodies(&self, path: &str) -> Vec<Value> {
        let told = self.stage.state.lock().unwrap();
        told.requests.iter().filter(|(at, _)| at == path).map(|(_, body)| body.clone()).collect()
    }

    /// Paths in the order in which they were asked for.
    pub fn paths(&self) -> Vec<String> {
        self.stage.state.lock().unwrap().requests.iter().map(|(path, _)| path.clone()).collect()
    }

    /// How the played run ended when it was recorded; `None` if nobody saw it end.
    pub fn recorded_end(&self) -> Option<String> {
        self.stage.end()
    }

    /// The played run's entry named no output at all.
    pub fn names_no_output(&self) -> bool {
        let told = self.stage.recorded("GET", &format!("/history/{}", self.stage.recorded_id));
        let entry = told.map(|step| step["response"]["body"].clone()).or_else(|| self.stage.entry_by_frames());
        entry.is_some_and(|entry| {
            entry[&self.stage.recorded_id]["outputs"].as_object().is_some_and(|outputs| outputs.is_empty())
        })
    }

    /// Ends the run by hand, once it has been submitted; for plays without a socket.
    pub async fn end(&self) {
        let _ = self.stage.posted.subscribe().wait_for(Option::is_some).await;
        self.stage.state.lock().unwrap().over = true;
    }

    /// The client ids of the sockets, in order.
    pub fn sockets(&self) -> Vec<String> {
        self.stage.state.lock().unwrap().sockets.clone()
    }
}

impl Stage {
    /// The recorded id replaced by ours; numbers and everything else as recorded.
    fn ours(&self, recorded: &Value) -> String {
        let id = self.posted.borrow().clone().unwrap_or_else(|| self.recorded_id.clone());
        recorded.to_string().replace(&self.recorded_id, &id)
    }

    fn recorded(&self, method: &str, path: &str) -> Option<&Value> {
        // Up to the next submission: the same question may have another answer after it.
        let later = self.steps[self.submission + 1..].iter();
        let own = later.take_while(|step| step["request"]["path"] != "/prompt");
        own.filter(|step| step["request"]["method"] == method && step["request"]["path"] == path)
            .find(|step| step["response"]["body"].as_object().is_none_or(|body| !body.is_empty()))
    }

    /// The run's frames as history would tell of them; `None` if no frame tells how it ended.
    fn entry_by_frames(&self) -> Option<Value> {
        let own = self.steps.iter().filter(|step| step["data"]["data"]["prompt_id"] == *self.recorded_id);
        let (mut outputs, mut messages) = (serde_json::Map::new(), Vec::new());
        for step in own {
            let (kind, data) = (step["data"]["type"].as_str().unwrap(), &step["data"]["data"]);
            if kind == "executed" && !data["output"].is_null() {
                outputs.insert(data["node"].as_str().unwrap().to_owned(), data["output"].clone());
            } else if kind.starts_with("execution_") {
                messages.push(json!([kind, data]));
            }
        }
        let status = match messages.last()?[0].as_str().unwrap() {
            "execution_success" => "success",
            "execution_error" | "execution_interrupted" => "error",
            _ => return None,
        };
        let status = json!({ "status_str": status, "completed": status == "success", "messages": messages });
        Some(json!({ &self.recorded_id: { "outputs": outputs, "status": status } }))
    }

    /// How the run that is played ended, by history or else by its frames: `success`, `error` or `interrupted`.
    fn end(&self) -> Option<String> {
        let path = format!("/history/{}", self.recorded_id);
        let told = self.recorded("GET", &path).map(|step| step["response"]["body"].clone());
        let status = told.or_else(|| self.entry_by_frames())?[&self.recorded_id]["status"].clone();
        let interrupted = status["messages"].as_array()?.iter().any(|message| message[0] == "execution_interrupted");
        Some(if interrupted { "interrupted".to_owned() } else { status["status_str"].as_str()?.to_owned() })
    }

    /// Frames were cut after their first bytes; what they say of themselves and their lengths are as recorded.
    fn frame(&self, step: &Value) -> Vec<u8> {
        let mut frame = unhex(step["head_hex"].as_str().unwrap());
        let mut picture = 0;
        if step["event_type"] == 4 {
            let metadata = self.ours(&step["metadata"]);
            frame.truncate(4);
            frame.extend((metadata.len() as u32).to_be_bytes());
            frame.extend(metadata.as_bytes());
            picture = frame.len();
            frame.extend(unhex(step["image_magic"].as_str().unwrap()));
        }
        let length = step["image_len"].as_u64().map_or(step["len"].as_u64().unwrap(), |image| match picture {
            0 => step["len"].as_u64().unwrap(),
            before => before as u64 + image,
        });
        frame.resize(length as usize, 0);
        frame
    }
}

async fn answer_any(State(stage): State<Arc<Stage>>, request: Request) -> Response {
    let (path, method) = (request.uri().path().to_owned(), request.method().clone());
    if path == "/ws" {
        let client = request.uri().query().unwrap_or_default().trim_start_matches("clientId=").to_owned();
        return socket(stage, client, request).await;
    }
    let full = request.uri().to_string();
    let bytes = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let frozen = {
        let mut told = stage.state.lock().unwrap();
        told.requests.push((path.clone(), body.clone()));
        told.frozen
    };
    if frozen {
        std::future::pending::<()>().await;
    }
    match (method.clone(), path.as_str()) {
        (Method::POST, "/prompt") => {
            stage.posted.send_replace(body["prompt_id"].as_str().map(str::to_owned));
            replayed(&stage, &stage.steps[stage.submission]["response"])
        }
        (Method::GET, "/queue") => {
            let told = stage.state.lock().unwrap();
            let taken = stage.steps[stage.submission]["response"]["status"] == 200 && !told.over;
            let id = stage.posted.borrow().clone().filter(|_| taken);
            let running: Vec<_> = id.into_iter().map(|id| json!([0, id, {}, {}, []])).collect();
            axum::Json(json!({ "queue_running": running, "queue_pending": [] })).into_response()
        }
        (Method::GET, at) if at.starts_with("/history/") => {
            let mut told = stage.state.lock().unwrap();
            told.history_asked += 1;
            let recorded = stage.recorded("GET", &format!("/history/{}", stage.recorded_id));
            match recorded.filter(|_| told.over && told.history_asked > stage.cut.history_after) {
                Some(step) => replayed(&stage, &step["response"]),
                None => {
                    let made = stage.entry_by_frames().filter(|_| recorded.is_none() && told.over);
                    let made = made.filter(|_| told.history_asked > stage.cut.history_after);
                    stage.ours(&made.unwrap_or_else(|| json!({}))).into_response()
                }
            }
        }
        (Method::POST, at) if at.starts_with("/api/jobs/") && stage.is_older => {
            StatusCode::METHOD_NOT_ALLOWED.into_response()
        }
        (Method::POST, at)
            if at.starts_with("/api/jobs/") && stage.posted.borrow().as_ref().is_none_or(|id| !at.contains(id)) =>
        {
            axum::Json(json!({ "cancelled": false })).into_response()
        }
        (Method::GET, "/system_stats" | "/features") => {
            let step = stage.about.iter().find(|step| step["request"]["path"] == path);
            replayed(&stage, &step.unwrap()["response"])
        }
        (Method::POST, at) if at == "/interrupt" || at.starts_with("/api/jobs/") => {
            stage.state.lock().unwrap().over = true;
            axum::Json(json!({ "cancelled": true })).into_response()
        }
        _ => match stage.recorded(method.as_str(), &full) {
            Some(step) => replayed(&stage, &step["response"]),
            None if path == "/view" => Body::from(format!("bytes of {full}")).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        },
    }
}

fn replayed(stage: &Stage, response: &Value) -> Response {
    let status = StatusCode::from_u16(response["status"].as_u64().unwrap() as u16).unwrap();
    let body = &response["body"];
    let kind = response["headers"]["Content-Type"].as_str().unwrap_or("application/octet-stream").to_owned();
    let bytes = match body {
        Value::String(text) => text.clone().into_bytes(),
        body if body["__binary__"] == true => picture(body),
        body => stage.ours(body).into_bytes(),
    };
    (status, [("content-type", kind)], bytes).into_response()
}

/// Bodies were cut after their first bytes; the length is the recorded one.
fn picture(body: &Value) -> Vec<u8> {
    let mut bytes = unhex(body["head_hex"].as_str().unwrap());
    bytes.resize(body["len"].as_u64().unwrap() as usize, 0);
    bytes
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

async fn socket(stage: Arc<Stage>, client: String, request: Request) -> Response {
    use axum::extract::FromRequest;
    let nth = {
        let mut told = stage.state.lock().unwrap();
        told.sockets.push(client);
        told.sockets.len() - 1
    };
    if stage.cut.no_socket {
        return StatusCode::NOT_FOUND.into_response();
    }
    let upgrade = WebSocketUpgrade::from_request(request, &()).await.unwrap();
    upgrade.on_upgrade(move |socket| play(stage, nth, socket))
}

/// Plays the frames of the recorded socket `nth`; further sockets than were recorded stay silent.
async fn play(stage: Arc<Stage>, nth: usize, mut socket: WebSocket) {
    let mut conns: Vec<&str> = Vec::new();
    let opens = stage.steps.iter().filter(|step| step["kind"] == "ws_open");
    conns.extend(opens.filter_map(|step| step["conn"].as_str()).filter(|conn| *conn != "B"));
    let mut sent = 0;
    for (at, step) in stage.steps.iter().enumerate() {
        let mine = conns.get(nth).is_some_and(|conn| step["conn"] == **conn);
        if at >= stage.submission && nth == 0 {
            let _ = stage.posted.subscribe().wait_for(Option::is_some).await;
        }
        match step["kind"].as_str().unwrap() {
            "marker" if step["text"].as_str().unwrap().starts_with("signal ") && mine_alive(&stage) => {
                // What comes after is a fresh server: nothing is known there.
                stage.state.lock().unwrap().over = true;
                return;
            }
            "marker" if step["text"] == "SIGSTOP" => {
                stage.state.lock().unwrap().frozen = true;
                std::future::pending::<()>().await;
            }
            "ws_end" if mine && nth + 1 < conns.len() => return,
            "ws_text" if mine => {
                // Frames of earlier runs in the same session are not this run's.
                if at < stage.submission && step["data"]["type"] != "status" && step["data"]["type"] != "feature_flags"
                {
                    continue;
                }
                let (kind, data) = (step["data"]["type"].as_str().unwrap(), &step["data"]["data"]);
                let is_end = kind == "executing" && data["node"].is_null() && data["prompt_id"] == *stage.recorded_id;
                if is_end {
                    stage.state.lock().unwrap().over = true;
                }
                if is_end {
                    for extra in &stage.cut.also {
                        let mut extra = extra.clone();
                        extra["data"]["prompt_id"] = json!(stage.recorded_id);
                        let _ = socket.send(Message::Text(stage.ours(&extra).into())).await;
                    }
                }
                let left_out = stage.cut.without.contains(&if is_end { "executing null" } else { kind });
                if !left_out && socket.send(Message::Text(stage.ours(&step["data"]).into())).await.is_err() {
                    return;
                }
                sent += usize::from(at > stage.submission);
                if is_end {
                    break;
                }
            }
            "ws_binary" if mine && at > stage.submission => {
                if socket.send(Message::Binary(stage.frame(step).into())).await.is_err() {
                    return;
                }
            }
            _ => {}
        }
        if nth == 0 && stage.cut.drop_after.is_some_and(|most| sent >= most) {
            // The run goes on without its socket.
            stage.state.lock().unwrap().over = true;
            return;
        }
    }
    if nth == 0 {
        // Whatever else was to be seen of it was seen by others.
        stage.state.lock().unwrap().over = true;
    }
    // Reading answers pings; it ends with the client.
    while let Some(Ok(_)) = socket.recv().await {}
}

fn mine_alive(stage: &Stage) -> bool {
    stage.posted.borrow().is_some()
}
