//! Plays a recording against a stand-in: sends what was sent, in order, and compares what comes back.
//! In: one recording. Out: the list of differences.
//!
//! Time is taken out: nodes step by hand. A recorded message tells which step has to be allowed for it, so an interrupt
//! that was recorded after two steps comes after exactly two here. `status` messages are a stream of their own, for
//! they come from requests and runs at once; all other messages of a socket are compared in their order.

use std::collections::{HashMap, VecDeque};

use serde_json::{Value, json};
use stand_ins::comfyui::StandIn;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{self, Frame, PATIENCE, Socket};
use crate::expect::Names;

struct Line {
    socket: Socket,
    statuses: VecDeque<Value>,
    others: VecDeque<Frame>,
    ended: bool,
}

pub struct Player<'a> {
    server: &'a StandIn,
    client: reqwest::Client,
    lines: HashMap<String, Line>,
    pub names: Names,
    /// Node blocks may come in any order; they are compared when the run is over.
    pub blocks: bool,
    classes: HashMap<(String, String), String>,
    allowed: HashMap<(String, String), u64>,
    multiparts: u32,
    pub differences: Vec<String>,
}

impl<'a> Player<'a> {
    pub fn new(server: &'a StandIn) -> Player<'a> {
        server.step_by_hand(true);
        Player {
            server,
            client: client::http(),
            lines: HashMap::new(),
            names: Names::default(),
            blocks: false,
            classes: HashMap::new(),
            allowed: HashMap::new(),
            multiparts: 0,
            differences: vec![],
        }
    }

    pub async fn play(&mut self, recording: &Value) {
        let mut steps: Vec<Value> = recording["steps"].as_array().expect("steps").clone();
        // Requests are listed by their end, but what they cause may come before that.
        steps.sort_by(|one, other| one["t_ms"].as_f64().partial_cmp(&other["t_ms"].as_f64()).expect("times"));
        let mut at = 0;
        while at < steps.len() {
            let step = &steps[at];
            let place = format!("step {at} at {} ms", step["t_ms"]);
            let known = self.differences.len();
            at += 1;
            match step["kind"].as_str().expect("kind") {
                "http" => self.http(step).await,
                "ws_open" => self.open(step, &steps[at..]).await,
                "ws_refused" => self.refused(step).await,
                "ws_sent" => self.send(step),
                "ws_text" | "ws_binary" if self.blocks && step["data"]["type"] == "execution_cached" => {
                    at += self.branches(&steps[at - 1..]).await - 1;
                }
                "ws_text" => self.message(step).await,
                "ws_binary" => self.frame(step).await,
                "ws_client_close" => self.close(step).await,
                "ws_end" => self.end(step).await,
                "marker" => self.marker(step["text"].as_str().expect("text"), &steps[at..]).await,
                other => panic!("no way to replay `{other}`"),
            }
            for difference in &mut self.differences[known..] {
                *difference = format!("{place}: {difference}");
            }
            if self.differences.len() > 8 {
                return;
            }
        }
    }

    fn differ(&mut self, what: impl Into<String>) {
        self.differences.push(what.into());
    }

    fn compare(&mut self, recorded: &Value, actual: &Value) {
        let found = self.names.compare(recorded, actual);
        self.differences.extend(found);
    }

    fn url(&self, path: &str) -> String {
        format!("{}{}", self.server.url(), self.names.translate(path))
    }

    async fn http(&mut self, step: &Value) {
        let (request, recorded) = (&step["request"], &step["response"]);
        let method = request["method"].as_str().expect("method").parse().expect("method");
        let path = request["path"].as_str().expect("path");
        let mut builder = self.client.request(method, self.url(path));
        for (name, value) in request["headers"].as_object().into_iter().flatten() {
            let own = self.server.address().to_string();
            builder = builder.header(name, value.as_str().expect("header").replace("127.0.0.1:8188", &own));
        }
        let mut graph = None;
        if let Some(description) = request["multipart"].as_str() {
            builder = builder.multipart(self.form(description, recorded));
        } else if let Some(raw) = request["raw_body"].as_str() {
            let raw = self.names.translate(raw);
            graph = serde_json::from_str(&raw).ok();
            builder = builder.body(raw);
        } else if let Some(body) = request.get("body") {
            let body = self.names.translate(&body.to_string());
            graph = serde_json::from_str(&body).ok();
            builder = builder.body(body).header("content-type", "application/json");
        }
        let response = match builder.send().await {
            Ok(response) => response,
            Err(error) => {
                if recorded["transport_error"].is_null() {
                    self.differ(format!("{path}: {error:?}"));
                }
                return;
            }
        };
        // The answer to the prompt that ends the process may win against that end.
        if recorded["transport_error"].is_string() && path == "/prompt" {
            return;
        }
        if recorded["transport_error"].is_string() {
            return self.differ(format!("{path}: answered {} although the server should be gone", response.status()));
        }
        if json!(response.status().as_u16()) != recorded["status"] {
            self.differ(format!(
                "{path} ({}): status {} instead of {}",
                step["note"],
                response.status(),
                recorded["status"]
            ));
        }
        for name in ["Content-Type", "ETag", "Accept-Ranges", "Content-Disposition", "Last-Modified", "Allow"] {
            let recorded = recorded["headers"][name].as_str();
            let actual = response.headers().get(name).map(|value| value.to_str().expect("header").to_owned());
            let kind = |text: &str| text.split(';').next().unwrap_or_default().trim().to_owned();
            let media = name == "Content-Type" && actual.as_deref().map(kind) != recorded.map(kind);
            if recorded.is_some() && (actual.is_none() || media) {
                self.differ(format!("{path}: header {name}: {actual:?} instead of {recorded:?}"));
            }
        }
        let bytes = response.bytes().await.expect("body");
        let (wanted, got) = (&recorded["body"], serde_json::from_slice::<Value>(&bytes));
        match (wanted, got) {
            (Value::Object(binary), _) if binary.contains_key("__binary__") => {
                if bytes.is_empty() || (recorded["status"] == 206 && json!(bytes.len()) != binary["len"]) {
                    self.differ(format!("{path}: {} bytes", bytes.len()));
                }
            }
            (Value::String(text), _) => {
                if *text != String::from_utf8_lossy(&bytes) {
                    self.differ(format!("{path}: body {:?} instead of {text:?}", String::from_utf8_lossy(&bytes)));
                }
            }
            (Value::Object(wanted), Ok(got)) if step["note"] == "body shortened" => {
                for (name, value) in wanted.iter().filter(|(name, _)| got.get(name).is_none()) {
                    self.differ(format!("{path}: {name} of {value} is missing"));
                }
            }
            (wanted, Ok(got)) => {
                if let Some(id) = wanted.get("prompt_id") {
                    self.names.learn(id, &got["prompt_id"]);
                    self.remember(id, graph.as_ref());
                }
                self.compare(wanted, &got);
            }
            (wanted, Err(_)) => self.differ(format!("{path}: no JSON where {wanted} was recorded")),
        }
    }

    /// Which class each node of a prompt has, to know which steps to allow.
    fn remember(&mut self, id: &Value, body: Option<&Value>) {
        let graph = body.and_then(|body| body["prompt"].as_object());
        for (node, spec) in graph.into_iter().flatten() {
            let key = (id.as_str().unwrap_or_default().to_owned(), node.clone());
            self.classes.insert(key.clone(), spec["class_type"].as_str().unwrap_or_default().to_owned());
            self.allowed.remove(&key);
        }
    }

    fn form(&mut self, description: &str, recorded: &Value) -> reqwest::multipart::Form {
        let mut form = reqwest::multipart::Form::new();
        let stored = recorded["body"]["name"].as_str();
        for part in description.split(", ").filter(|part| part.contains('=')) {
            let (name, value) = part.split_once('=').expect("a part");
            let (value, about) = value.split_once(" (").unwrap_or((value, ""));
            if name != "image" {
                form = form.text(name.to_owned(), value.to_owned());
                continue;
            }
            if about != "same bytes)" {
                self.multiparts += 1;
            }
            let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x18\0\0\0\x10".to_vec();
            bytes.push(self.multiparts as u8);
            if about == "text)" {
                bytes = b"no picture".to_vec();
            }
            let file = stored.filter(|stored| !stored.contains(" (")).unwrap_or(value).to_owned();
            form = form.part("image", reqwest::multipart::Part::bytes(bytes).file_name(file));
        }
        form
    }

    async fn open(&mut self, step: &Value, later: &[Value]) {
        let label = step["conn"].as_str().expect("conn").to_owned();
        // What nobody was there to see: the steps before the first one that this socket saw.
        let first = later
            .iter()
            .filter(|other| other["conn"] == *label)
            .find(|other| other["data"]["type"] == "progress_state");
        if let Some(first) = first.filter(|_| {
            later.first().is_some_and(|_| self.server.executions().last().is_some_and(|run| run.outcome == "running"))
        }) {
            let seen = self.steps_in(&first["data"]);
            if let Some((key, count)) = seen.into_iter().find(|(_, count)| *count > 1) {
                self.allow(&key, count - 1);
                self.server.starving().await;
            }
        }
        let path = self.names.translate(step["path"].as_str().expect("path"));
        match client::connect(&self.server.url(), &path, &[]).await {
            Ok(socket) => {
                self.lines
                    .insert(label, Line { socket, statuses: VecDeque::new(), others: VecDeque::new(), ended: false });
            }
            Err(error) => self.differ(format!("no socket: {error}")),
        }
    }

    async fn refused(&mut self, step: &Value) {
        let headers: Vec<(String, String)> = step["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), value.as_str().expect("header").to_owned()))
            .collect();
        match client::connect(&self.server.url(), "/ws?clientId=refused", &headers).await.map_err(|error| *error) {
            Ok(_) => self.differ("the socket opened"),
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
                if json!(response.status().as_u16()) != step["status"] {
                    self.differ(format!("refused with {}", response.status()));
                }
            }
            Err(error) => {
                if step["error"].is_null() {
                    self.differ(format!("{error}"));
                }
            }
        }
    }

    fn send(&mut self, step: &Value) {
        let text = step["data"].as_str().map_or_else(|| step["data"].to_string(), str::to_owned);
        let _ = self.line(step).socket.to_send.send(Message::Text(text.into()));
    }

    fn line(&mut self, step: &Value) -> &mut Line {
        self.lines.get_mut(step["conn"].as_str().expect("conn")).expect("an open socket")
    }

    /// Stepped nodes in a recorded `progress_state` and how many of their steps must be over for it.
    fn steps_in(&self, message: &Value) -> Vec<((String, String), u64)> {
        let id = message["data"]["prompt_id"].as_str().unwrap_or_default().to_owned();
        let mut found = vec![];
        for (node, bar) in message["data"]["nodes"].as_object().into_iter().flatten() {
            let key = (id.clone(), node.clone());
            let count = match self.classes.get(&key).map(String::as_str) {
                Some("LabSteps" | "LabNoisyPreview" | "KSampler") => bar["value"].as_f64().unwrap_or_default() as u64,
                Some("LabBlock") => u64::from(bar["state"] == "finished"),
                _ => 0,
            };
            found.push((key, count));
        }
        found
    }

    fn allow(&mut self, key: &(String, String), count: u64) {
        let before = self.allowed.entry(key.clone()).or_default();
        if count > *before {
            self.server.allow_steps((count - *before) as u32);
            *before = count;
        }
    }

    fn allow_for(&mut self, message: &Value) {
        match message["type"].as_str().unwrap_or_default() {
            "execution_start" => {
                let id = message["data"]["prompt_id"].as_str().unwrap_or_default();
                self.allowed.retain(|(prompt, _), _| prompt != id);
            }
            "progress_state" => {
                for (key, count) in self.steps_in(message) {
                    self.allow(&key, count);
                }
            }
            // The node looks at the flag when its step is over.
            "execution_interrupted"
                if ["LabSteps", "KSampler"].contains(&message["data"]["node_type"].as_str().unwrap_or_default()) =>
            {
                self.server.allow_steps(1);
            }
            _ => {}
        }
    }

    async fn receive(&mut self, label: &str, status: bool) -> Option<Frame> {
        let line = self.lines.get_mut(label)?;
        loop {
            if status {
                if let Some(status) = line.statuses.pop_front() {
                    return Some(Frame::Text(status));
                }
            } else if let Some(frame) = line.others.pop_front() {
                return Some(frame);
            }
            match tokio::time::timeout(PATIENCE, line.socket.frames.recv()).await {
                Ok(Some(Frame::Text(message))) if message["type"] == "status" => line.statuses.push_back(message),
                Ok(Some(Frame::Pong(_))) => {}
                Ok(Some(Frame::End) | None) => {
                    line.ended = true;
                    return None;
                }
                Ok(Some(frame)) => line.others.push_back(frame),
                Err(_) => return None,
            }
        }
    }

    async fn message(&mut self, step: &Value) {
        let wanted = &step["data"];
        self.allow_for(wanted);
        match self.receive(step["conn"].as_str().expect("conn"), wanted["type"] == "status").await {
            Some(Frame::Text(got)) => {
                if let Some(sid) = wanted["data"].get("sid") {
                    self.names.learn(sid, &got["data"]["sid"]);
                }
                self.compare(wanted, &got);
            }
            other => self.differ(format!("{other:?} instead of {wanted}")),
        }
    }

    async fn frame(&mut self, step: &Value) {
        match self.receive(step["conn"].as_str().expect("conn"), false).await {
            Some(Frame::Binary(bytes)) => {
                let got = decoded(&bytes);
                let wanted: Value = ["event_type", "image_format", "metadata"]
                    .iter()
                    .map(|name| (name.to_string(), step[*name].clone()))
                    .collect::<serde_json::Map<_, _>>()
                    .into();
                self.compare(&wanted, &got);
            }
            other => self.differ(format!("{other:?} instead of a binary frame")),
        }
    }

    /// A run whose branches may come in another order: the messages between one `executing` and the next belong to a
    /// node, and those of each node must be as recorded. Gives the number of steps used up.
    async fn branches(&mut self, steps: &[Value]) -> usize {
        let own: Vec<(usize, &Value)> = steps
            .iter()
            .enumerate()
            .filter(|(_, step)| step["kind"].as_str().is_some_and(|kind| kind.starts_with("ws_")))
            .collect();
        let end =
            own.iter().position(|(_, step)| step["data"]["type"] == "execution_success").expect("a run that succeeds");
        let label = steps[0]["conn"].as_str().expect("conn").to_owned();
        let mut recorded: Vec<String> = vec![];
        for (_, step) in &own[..end] {
            recorded.push(
                step["data"]["type"].as_str().unwrap_or("binary").to_owned()
                    + step["data"]["data"]["node"].as_str().unwrap_or_default(),
            );
        }
        let mut got = vec![];
        for _ in 0..end {
            match self.receive(&label, false).await {
                Some(Frame::Text(message)) => got.push(
                    message["type"].as_str().unwrap_or_default().to_owned()
                        + message["data"]["node"].as_str().unwrap_or_default(),
                ),
                Some(Frame::Binary(_)) => got.push("binary".to_owned()),
                other => got.push(format!("{other:?}")),
            }
        }
        let blocks = |kinds: &[String]| {
            // The message that a node runs comes before `executing` and would count with the node before.
            let opens = |at: usize| {
                kinds[at] == "progress_state" && kinds.get(at + 1).is_some_and(|next| next.starts_with("executing"))
            };
            let kinds: Vec<String> = (0..kinds.len()).filter(|at| !opens(*at)).map(|at| kinds[at].clone()).collect();
            let mut blocks: Vec<Vec<String>> =
                kinds.chunk_by(|_, next| !next.starts_with("executing")).map(<[String]>::to_vec).collect();
            blocks.sort();
            blocks
        };
        if blocks(&recorded) != blocks(&got) {
            self.differ(format!("node blocks {got:?} instead of {recorded:?}"));
        }
        own[end].0
    }

    async fn close(&mut self, step: &Value) {
        let before = self.lines.len();
        let line = self.lines.remove(step["conn"].as_str().expect("conn"));
        if let Some(line) = line {
            drop(line);
            self.until_open(before - 1).await;
        }
    }

    async fn until_open(&self, count: usize) {
        let gone = async {
            while self.server.open_sockets() > count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("closed sockets are let go of");
    }

    async fn end(&mut self, step: &Value) {
        let label = step["conn"].as_str().expect("conn").to_owned();
        if step["close_code"] == 1006 {
            if let Some(frame) = self.receive(&label, false).await {
                self.differ(format!("{frame:?} instead of the end of the socket"));
            }
            self.lines.remove(&label);
            return;
        }
        if let Some(line) = self.lines.get_mut(&label) {
            while let Ok(frame) = line.socket.frames.try_recv() {
                line.others.push_back(frame);
            }
            // A socket that closes in the middle may have missed the last frame sent to it.
            let running = self.server.executions().last().is_some_and(|run| run.outcome == "running");
            if let Some(frame) = line.others.pop_front().filter(|_| !running) {
                self.differ(format!("{frame:?} where nothing more was recorded"));
            }
        }
        self.close(step).await;
    }

    async fn marker(&mut self, text: &str, later: &[Value]) {
        let deleted = text.contains("deleted") || text.contains("removed from the output folder");
        if deleted {
            self.server.delete_outputs().expect("an empty folder");
        } else if text.starts_with("signal ") {
            self.server.kill().await;
        } else if text.starts_with("process has ended") {
            self.server.revive().await;
        } else if text == "SIGSTOP" {
            self.server.freeze();
        } else if text == "SIGCONT" {
            self.server.thaw();
        } else if text.starts_with("GET /queue: no answer") {
            let quick = std::time::Duration::from_millis(150);
            let answer = self.client.get(self.url("/queue")).timeout(quick).send().await;
            if !answer.is_err_and(|error| error.is_timeout()) {
                self.differ("a frozen server answered");
            }
        } else if text == "websocket ping sent" {
            for line in self.lines.values() {
                let _ = line.socket.to_send.send(Message::Ping(b"anyone?".to_vec().into()));
            }
        } else if let Some(id) = text.strip_prefix("raw POST /prompt with prompt_id ") {
            self.hang_up_after_sending(id.split(' ').next().expect("an id"), later).await;
        }
    }

    /// The graph of such a submission is in the `/queue` that was asked for next.
    async fn hang_up_after_sending(&mut self, id: &str, later: &[Value]) {
        let queue = later.iter().find(|step| step["request"]["path"] == "/queue").expect("a look at the queue");
        let item = &queue["response"]["body"]["queue_running"][0];
        let body = json!({"prompt": item[2], "prompt_id": id, "client_id": item[3]["client_id"]});
        self.remember(&json!(id), Some(&body));
        let body = body.to_string();
        let head = format!(
            "POST /prompt HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n",
            self.server.address(),
            body.len()
        );
        let stream = tokio::net::TcpStream::connect(self.server.address()).await.expect("a connection");
        let mut stream = stream.into_std().expect("a plain stream");
        std::io::Write::write_all(&mut stream, (head + &body).as_bytes()).expect("sent");
    }
}

fn decoded(bytes: &[u8]) -> Value {
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    match word(0) {
        4 => {
            let metadata: Value = serde_json::from_slice(&bytes[8..8 + word(4) as usize]).expect("metadata");
            json!({"event_type": 4, "image_format": null, "metadata": metadata})
        }
        kind => json!({"event_type": kind, "image_format": word(4), "metadata": null}),
    }
}
