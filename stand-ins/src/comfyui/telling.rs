//! What a run tells while it goes on: events, progress bars, previews; and the waits in which nodes work.
//! In: events of a run. Out: messages to its client, or to everybody if it named none.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::ws::Message;
use bytes::Bytes;
use serde_json::{Value, json};

use super::execute::{Run, Stop};
use super::messages::{self, PictureFormat};
use super::server::now_ms;

impl Run<'_> {
    /// `execution_*` messages carry a time stamp and go into history; interrupts alone reach everybody if no client is named.
    pub(crate) fn event(&mut self, kind: &str, mut data: Value) {
        data["prompt_id"] = json!(self.item.id);
        data["timestamp"] = json!(now_ms());
        self.events.push((kind.to_owned(), data.clone()));
        if kind == "execution_success" && self.server.quirks().withhold_endings {
            return;
        }
        if kind == "execution_interrupted" {
            self.tell(messages::text(kind, data));
        } else {
            self.to_client(kind, data);
        }
    }

    pub(crate) fn to_client(&self, kind: &str, data: Value) {
        if let Some(client) = &self.item.client_id {
            self.server.hub.client(client, messages::text(kind, data));
        }
    }

    /// To the client of the prompt, or to everybody if it named none.
    pub(crate) fn tell(&self, message: Message) {
        match &self.item.client_id {
            Some(client) => self.server.hub.client(client, message),
            None => self.server.hub.everybody(message),
        }
    }

    pub(crate) fn bar(&self, node: &str, value: Value, max: Value, state: &str) -> Value {
        json!({
            "value": value, "max": max, "state": state, "node_id": node, "prompt_id": self.item.id,
            "display_node_id": node, "parent_node_id": null, "real_node_id": node,
        })
    }

    pub(crate) fn tell_bars(&self) {
        self.tell(messages::text("progress_state", json!({"prompt_id": self.item.id, "nodes": self.bars})));
    }

    pub(crate) fn set_bar(&mut self, node: &str, value: u64, max: u64) {
        self.bars.insert(node.to_owned(), self.bar(node, json!(value), json!(max), "running"));
    }

    /// A frame of type 4 comes before `progress`, one of type 1 after it.
    pub(crate) fn progress(&mut self, node: &str, value: u64, max: u64, preview: Option<(PictureFormat, Bytes)>) {
        self.set_bar(node, value, max);
        self.tell_bars();
        let metadata = self.item.client_id.as_deref().is_some_and(|client| self.server.hub.wants_metadata(client));
        if let Some((format, picture)) = preview.as_ref().filter(|_| metadata) {
            self.tell(messages::preview_with_metadata(node, &self.item.id, *format, picture));
        }
        self.tell(messages::text(
            "progress",
            json!({"value": value, "max": max, "prompt_id": self.item.id, "node": node}),
        ));
        if let Some((format, picture)) = preview.as_ref().filter(|_| !metadata) {
            self.tell(messages::preview(*format, picture));
        }
    }

    /// One step of a node that looks at the interrupt flag after each.
    pub(crate) async fn step(&self, time: Duration) -> Result<(), Stop> {
        self.block(time).await;
        let deaf = self.server.quirks().interrupts_wait_for_node_end;
        if self.server.interrupt.load(Ordering::SeqCst) && !deaf { Err(Stop::Interrupted) } else { Ok(()) }
    }

    /// Time in which a node looks at nothing.
    pub(crate) async fn block(&self, time: Duration) {
        self.server.pace.step(time).await;
        self.server.wire.thawed().await;
    }
}
