//! Plays a recording against a stand-in: sends what was sent, in order, and compares what comes back.
//! In: one recording. Out: the list of differences.
//!
//! Time is taken out: nodes step by hand. A recorded message tells which step has to be allowed for it, so an interrupt
//! that was recorded after two steps comes after exactly two here. `status` messages are a stream of their own, for
//! they come from requests and runs at once; all other messages of a socket are compared in their order.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;
use stand_ins::comfyui::StandIn;

use crate::client::{self, Frame, Socket};
use crate::expect::Names;

pub struct Line {
    pub socket: Socket,
    pub statuses: VecDeque<Value>,
    pub others: VecDeque<Frame>,
    pub ended: bool,
}

pub struct Player<'a> {
    pub server: &'a StandIn,
    pub client: reqwest::Client,
    pub lines: HashMap<String, Line>,
    pub names: Names,
    /// Node blocks may come in any order; they are compared when the run is over.
    pub blocks: bool,
    pub classes: HashMap<(String, String), String>,
    pub allowed: HashMap<(String, String), u64>,
    pub multiparts: u32,
    /// A message that never came: what follows would only be waited for in vain.
    pub stuck: bool,
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
            stuck: false,
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
            if self.stuck || self.differences.len() > 8 {
                return;
            }
        }
    }

    pub fn differ(&mut self, what: impl Into<String>) {
        self.differences.push(what.into());
    }

    pub fn compare(&mut self, recorded: &Value, actual: &Value) {
        let found = self.names.compare(recorded, actual);
        self.differences.extend(found);
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{}", self.server.url(), self.names.translate(path))
    }

    /// Stepped nodes in a recorded `progress_state` and how many of their steps must be over for it.
    pub fn steps_in(&self, message: &Value) -> Vec<((String, String), u64)> {
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

    pub fn allow(&mut self, key: &(String, String), count: u64) {
        let before = self.allowed.entry(key.clone()).or_default();
        if count > *before {
            self.server.allow_steps((count - *before) as u32);
            *before = count;
        }
    }

    pub fn allow_for(&mut self, message: &Value) {
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
}
