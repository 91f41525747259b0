//! The runner: takes one prompt after the other and tells sockets and history what became of it.
//! In: prompts from the queue, interrupts, restarts. Out: messages in the recorded order, and one history entry per run.
//!
//! ```text
//!  taken -> execution_start -> execution_cached -> node* -> execution_success | _error | _interrupted
//!  node: progress_state(running) -> executing -> [interrupt acts] -> (progress_state, progress)* -> executed -> progress_state(finished)
//!  then: [delay] -> history entry -> status -> executing(null)
//!  At any point: the life ends (restart, kill) -> nothing more, no entry
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::cache::{self, Made, link};
use super::catalog;
use super::ledger::{Ended, Item};
use super::messages::{self, PictureFormat};
use super::server::{Execution, Server, now_ms};
use super::works::{self, Work};

/// Why a node did not come to its end.
pub(crate) enum Stop {
    Interrupted,
    Raised {
        kind: String,
        message: String,
    },
    /// The node took the whole process with it.
    Exit,
}

pub(crate) async fn run_forever(server: Arc<Server>) {
    loop {
        server.wire.thawed().await;
        free(&server);
        let taken = server.ledger().take();
        let Some((item, life)) = taken else {
            server.work.notified().await;
            continue;
        };
        server.executions().push(Execution { prompt_id: item.id.clone(), nodes: vec![], outcome: "running" });
        let outcome = tokio::select! {
            biased;
            () = life.cancelled() => "lost",
            ended = execute(&server, &item) => match ended {
                Some(ended) => conclude(&server, ended, &life).await,
                None => "lost",
            },
        };
        if let Some(execution) = server.executions().last_mut() {
            execution.outcome = outcome;
        }
    }
}

fn free(server: &Server) {
    let freeing = std::mem::take(&mut *server.freeing());
    if freeing.unload_models {
        server.model_loaded.store(false, Ordering::SeqCst);
    }
    if freeing.free_memory {
        server.cache().clear();
    }
}

/// Between the last event and the history entry lies the gap that a client must not fall into.
async fn conclude(server: &Server, ended: Ended, life: &tokio_util::sync::CancellationToken) -> &'static str {
    let (client, id) = (ended.item.client_id.clone(), ended.item.id.clone());
    let outcome = match (ended.success, ended.messages.last()) {
        (true, _) => "success",
        (false, Some((event, _))) if event == "execution_interrupted" => "interrupted",
        _ => "error",
    };
    let delay = server.quirks().history_delay;
    if !delay.is_zero() {
        tokio::select! {
            biased;
            () = life.cancelled() => return "lost",
            () = tokio::time::sleep(delay) => {}
        }
    }
    server.wire.thawed().await;
    if !server.ledger().finish(ended, life) {
        return "lost";
    }
    server.tell_queue_length();
    server.hub.running_node(None);
    let withheld = server.quirks().withhold_endings;
    if let Some(client) = client.filter(|_| !withheld) {
        server.hub.client(&client, messages::text("executing", json!({"node": null, "prompt_id": id})));
    }
    outcome
}

/// One run in progress.
pub(crate) struct Run<'a> {
    pub server: &'a Server,
    pub item: &'a Item,
    pub made: HashMap<String, Made>,
    bars: BTreeMap<String, Value>,
    events: Vec<(String, Value)>,
    executed: Vec<String>,
    outputs: Value,
    meta: Value,
}

/// `None` if a node ended the process.
async fn execute(server: &Server, item: &Item) -> Option<Ended> {
    let mut run = Run {
        server,
        item,
        made: HashMap::new(),
        bars: BTreeMap::new(),
        events: vec![],
        executed: vec![],
        outputs: json!({}),
        meta: json!({}),
    };
    server.interrupt.store(false, Ordering::SeqCst);
    server.hub.running_for(item.client_id.as_deref());
    server.tell_queue_length();
    run.event("execution_start", json!({}));
    let success = match run.all_nodes().await {
        Ok(()) => {
            run.event("execution_success", json!({}));
            true
        }
        Err((_, Stop::Exit)) => {
            server.wire.go_down();
            server.lose_everything();
            return None;
        }
        Err((node, stop)) => {
            run.broken(&node, &stop);
            false
        }
    };
    Some(Ended { item: item.clone(), outputs: run.outputs, meta: run.meta, success, messages: run.events })
}

impl Run<'_> {
    async fn all_nodes(&mut self) -> Result<(), (String, Stop)> {
        let graph = &self.item.graph;
        let wanted = upstream(graph, self.item.outputs.iter().map(String::as_str), |_| false);
        let signatures = cache::signatures(graph, &wanted, &self.server.folders);
        let mut kept: HashMap<String, Made> = HashMap::new();
        {
            let mut cache = self.server.cache();
            cache.begin(signatures.values());
            kept.extend(signatures.iter().filter_map(|(node, signature)| Some((node.clone(), cache.get(signature)?))));
        }
        let listed: BTreeSet<&String> = kept.keys().collect();
        self.event("execution_cached", json!({"nodes": listed}));
        let mut left = upstream(graph, self.item.outputs.iter().map(String::as_str), |node| kept.contains_key(node));
        while let Some(node) = next(graph, &left) {
            left.remove(&node);
            if let Some(made) = kept.remove(&node) {
                self.from_cache(&node, made);
                continue;
            }
            let made = self.one_node(&node).await.map_err(|stop| (node.clone(), stop))?;
            self.server.cache().put(signatures[&node].clone(), made.clone());
            self.made.insert(node, made);
        }
        Ok(())
    }

    fn from_cache(&mut self, node: &str, made: Made) {
        if let Some(shown) = &made.shown {
            self.to_client(
                "executed",
                json!({"node": node, "display_node": node, "output": shown, "prompt_id": self.item.id}),
            );
            // The newer release forgets the outputs of cached nodes when nobody is named to tell them to.
            if self.item.client_id.is_some() || !self.server.options.release.is_new() {
                self.keep_output(node, shown.clone());
            }
            self.bars.insert(node.to_owned(), self.bar(node, json!(1), json!(1), "finished"));
            self.tell_bars();
        }
        self.made.insert(node.to_owned(), made);
    }

    async fn one_node(&mut self, node: &str) -> Result<Made, Stop> {
        self.bars.insert(node.to_owned(), self.bar(node, json!(0.0), json!(1.0), "running"));
        self.tell_bars();
        self.server.hub.running_node(Some(node));
        self.to_client("executing", json!({"node": node, "display_node": node, "prompt_id": self.item.id}));
        if self.server.interrupt.load(Ordering::SeqCst) {
            return Err(Stop::Interrupted);
        }
        if let Some(execution) = self.server.executions().last_mut() {
            execution.nodes.push(node.to_owned());
        }
        let class = self.item.graph[node]["class_type"].as_str().unwrap_or_default();
        let inputs = self.item.graph[node]["inputs"].clone();
        let made = works::perform(Work { run: self, node: node.to_owned(), inputs }, class).await?;
        self.server.wire.thawed().await;
        if let Some(shown) = &made.shown {
            self.to_client(
                "executed",
                json!({"node": node, "display_node": node, "output": shown, "prompt_id": self.item.id}),
            );
            self.keep_output(node, shown.clone());
        }
        self.executed.push(node.to_owned());
        if let Some(bar) = self.bars.get_mut(node) {
            if bar["state"] == "running" && bar["value"] == json!(0.0) {
                bar["value"] = json!(1.0);
            }
            bar["state"] = json!("finished");
        }
        self.tell_bars();
        Ok(made)
    }

    fn keep_output(&mut self, node: &str, shown: Value) {
        self.outputs[node] = shown;
        self.meta[node] = json!({"node_id": node, "display_node": node, "parent_node": null, "real_node_id": node});
    }

    fn broken(&mut self, node: &str, stop: &Stop) {
        let node_type = &self.item.graph[node]["class_type"];
        let mut data = json!({"node_id": node, "node_type": node_type, "executed": self.executed});
        let Stop::Raised { kind, message } = stop else {
            return self.event("execution_interrupted", data);
        };
        data["exception_type"] = json!(kind);
        data["exception_message"] = json!(message);
        data["traceback"] =
            json!(["  File \"/opt/comfyui/execution.py\", line 1, in execute\n    made up by the stand-in\n"]);
        let inputs = self.item.graph[node]["inputs"].as_object();
        let shown = |value: &Value| {
            if link(value).is_some() { json!(["tensor(of the stand-in)"]) } else { json!([value]) }
        };
        data["current_inputs"] =
            inputs.into_iter().flatten().map(|(name, value)| (name.clone(), shown(value))).collect();
        data["current_outputs"] = json!(self.item.graph.as_object().map(|graph| graph.keys().collect::<Vec<_>>()));
        self.event("execution_error", data);
    }

    /// `execution_*` messages carry a time stamp and go into history; interrupts alone reach everybody if no client is named.
    fn event(&mut self, kind: &str, mut data: Value) {
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

    fn to_client(&self, kind: &str, data: Value) {
        if let Some(client) = &self.item.client_id {
            self.server.hub.client(client, messages::text(kind, data));
        }
    }

    /// To the client of the prompt, or to everybody if it named none.
    fn tell(&self, message: axum::extract::ws::Message) {
        match &self.item.client_id {
            Some(client) => self.server.hub.client(client, message),
            None => self.server.hub.everybody(message),
        }
    }

    fn bar(&self, node: &str, value: Value, max: Value, state: &str) -> Value {
        json!({
            "value": value, "max": max, "state": state, "node_id": node, "prompt_id": self.item.id,
            "display_node_id": node, "parent_node_id": null, "real_node_id": node,
        })
    }

    fn tell_bars(&self) {
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

/// Nodes that the given ones need, themselves included; nothing is needed upstream of a node that is at hand.
fn upstream<'a>(
    graph: &'a Value,
    ends: impl Iterator<Item = &'a str>,
    at_hand: impl Fn(&str) -> bool,
) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&str> = ends.collect();
    while let Some(node) = open.pop() {
        if found.insert(node.to_owned()) && !at_hand(node) {
            open.extend(links(graph, node));
        }
    }
    found
}

fn links<'a>(graph: &'a Value, node: &str) -> impl Iterator<Item = &'a str> {
    graph[node]["inputs"].as_object().into_iter().flatten().filter_map(|(_, value)| link(value).map(|(from, _)| from))
}

/// Output nodes first, then those that an output node waits for, as on the real server.
fn next(graph: &Value, left: &BTreeSet<String>) -> Option<String> {
    let is_output = |node: &str| catalog::is_output(graph[node]["class_type"].as_str().unwrap_or_default());
    let ready: Vec<&String> = left.iter().filter(|node| !links(graph, node).any(|from| left.contains(from))).collect();
    let feeds_output =
        |node: &str| left.iter().any(|other| is_output(other) && links(graph, other).any(|from| from == node));
    let chosen = ready
        .iter()
        .find(|node| is_output(node))
        .or_else(|| ready.iter().find(|node| feeds_output(node)))
        .or(ready.first());
    chosen.map(|node| (*node).clone())
}
