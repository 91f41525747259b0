//! Hearing every channel of a server.

use super::scene::Scene;
use crate::support::until;
use futures_util::StreamExt;
use gpu_worker::protocol::ids::new_job_id;
use serde_json::Value;
use std::sync::{Arc, Mutex};

/// All messages so far, in order: channel and JSON.
pub struct Ear {
    heard: Arc<Mutex<Vec<(String, Value)>>>,
    listening: tokio::task::JoinHandle<()>,
}

impl Ear {
    pub async fn open(scene: &Scene) -> Self {
        let (mut listener, _) = scene.link.listener().await.expect("a connection");
        listener.psubscribe("*").await.expect("PSUBSCRIBE");
        let heard: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let into = heard.clone();
        let listening = tokio::spawn(async move {
            let mut messages = listener.into_on_message();
            while let Some(message) = messages.next().await {
                let json = serde_json::from_slice(message.get_payload_bytes()).unwrap_or(Value::Null);
                into.lock().unwrap().push((message.get_channel_name().to_owned(), json));
            }
        });
        Self { heard, listening }
    }

    /// What came over one channel so far.
    pub fn on(&self, channel: &str) -> Vec<Value> {
        self.heard.lock().unwrap().iter().filter(|(name, _)| name == channel).map(|(_, json)| json.clone()).collect()
    }

    /// When the last such message came, as its place among all; panics if none did.
    pub fn position(&self, channel: &str, wanted: impl Fn(&Value) -> bool) -> usize {
        let heard = self.heard.lock().unwrap();
        heard.iter().rposition(|(name, json)| name == channel && wanted(json)).expect("such a message")
    }

    /// All channels that were used so far.
    pub fn channels(&self) -> std::collections::BTreeSet<String> {
        self.heard.lock().unwrap().iter().map(|(name, _)| name.clone()).collect()
    }

    /// The first message of a channel that `wanted` likes.
    pub async fn wait(&self, channel: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(&format!("a message on {channel}; heard: {:?}", self.channels()), || async {
            self.on(channel).into_iter().find(&wanted)
        })
        .await
    }

    /// Everything that was published before this call has been heard.
    pub async fn caught_up(&self, scene: &Scene) {
        let mark = new_job_id();
        let _: u64 = scene.run(&["PUBLISH", "mark", &format!("\"{mark}\"")]).await;
        self.wait("mark", |json| json == mark.as_str()).await;
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// The names of an object's members, sorted, with spaces between.
pub fn names(json: &Value) -> String {
    let mut names: Vec<&str> = json.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names.join(" ")
}
