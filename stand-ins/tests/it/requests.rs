//! The HTTP part of a replay: recorded requests sent again, recorded answers compared.
//! In: one recorded step. Out: differences, and the names that things have in this replay.

use std::io::Write;

use serde_json::{Value, json};

use crate::player::Player;

impl Player<'_> {
    pub async fn http(&mut self, step: &Value) {
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

    pub async fn marker(&mut self, text: &str, later: &[Value]) {
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
                let _ =
                    line.socket.to_send.send(tokio_tungstenite::tungstenite::Message::Ping(b"anyone?".to_vec().into()));
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
        stream.write_all((head + &body).as_bytes()).expect("sent");
    }
}
