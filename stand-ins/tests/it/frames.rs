//! The websocket part of a replay: sockets opened and closed, messages and frames compared in their order.
//! In: one recorded step. Out: differences; steps of nodes allowed as the recorded messages ask for them.

use std::collections::VecDeque;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::client::{self, Frame, PATIENCE};
use crate::player::{Line, Player};

impl Player<'_> {
    pub async fn open(&mut self, step: &Value, later: &[Value]) {
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

    pub async fn refused(&mut self, step: &Value) {
        let headers: Vec<(String, String)> = step["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), value.as_str().expect("header").to_owned()))
            .collect();
        match client::connect(&self.server.url(), "/ws?clientId=refused", &headers).await.map_err(|error| *error) {
            Ok(_) => self.differ("the socket opened"),
            Err(Error::Http(response)) => {
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

    pub fn send(&mut self, step: &Value) {
        let text = step["data"].as_str().map_or_else(|| step["data"].to_string(), str::to_owned);
        let _ = self.line(step).socket.to_send.send(Message::Text(text.into()));
    }

    fn line(&mut self, step: &Value) -> &mut Line {
        self.lines.get_mut(step["conn"].as_str().expect("conn")).expect("an open socket")
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
                Err(_) => {
                    self.stuck = true;
                    return None;
                }
            }
        }
    }

    pub async fn message(&mut self, step: &Value) {
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

    pub async fn frame(&mut self, step: &Value) {
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
    pub async fn branches(&mut self, steps: &[Value]) -> usize {
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

    pub async fn close(&mut self, step: &Value) {
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

    pub async fn end(&mut self, step: &Value) {
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
