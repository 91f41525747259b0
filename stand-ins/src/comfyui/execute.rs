//! One run of one prompt: which nodes are at hand from earlier runs, which do their work, and how it ends.
//! In: a prompt from the queue. Out: the messages of the run in the recorded order, and what goes into history.
//!
//! ```text
//!  execution_start -> execution_cached -> node* -> execution_success | execution_error | execution_interrupted
//!  node at hand: executed -> progress_state(finished), if it shows something
//!  node to do:   progress_state(running) -> executing -> [interrupt acts] -> (progress_state, progress)*
//!                -> executed, if it shows something -> progress_state(finished)
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::cache::{self, Made, link};
use super::catalog;
use super::ledger::{Ended, Item};
use super::order::{next, upstream};
use super::server::Server;
use super::works::{self, Thing, Work};

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

/// One run in progress.
pub(crate) struct Run<'a> {
    pub server: &'a Server,
    pub item: &'a Item,
    pub made: HashMap<String, Made>,
    pub bars: BTreeMap<String, Value>,
    pub events: Vec<(String, Value)>,
    executed: Vec<String>,
    outputs: Value,
    meta: Value,
}

/// `None` if a node ended the process.
pub(crate) async fn execute(server: &Server, item: &Item) -> Option<Ended> {
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
            server.forget();
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
                self.take_from_cache(&node, made);
                continue;
            }
            let made = self.one_node(&node).await.map_err(|stop| (node.clone(), stop))?;
            self.server.cache().put(signatures[&node].clone(), made.clone());
            self.made.insert(node, made);
        }
        Ok(())
    }

    fn take_from_cache(&mut self, node: &str, made: Made) {
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
        let made = match self.blocked(&inputs) {
            Some(why) => self.skip(node, class, why),
            None => works::perform(Work { run: self, node: node.to_owned(), inputs }, class).await?,
        };
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

    /// What blocks a node with these inputs, if something does.
    fn blocked(&self, inputs: &Value) -> Option<Option<String>> {
        let links = inputs.as_object().into_iter().flatten().filter_map(|(_, value)| link(value));
        let mut things = links.filter_map(|(from, slot)| self.made.get(from)?.things.get(slot as usize));
        things.find_map(|thing| match thing {
            Thing::Blocked(why) => Some(why.clone()),
            _ => None,
        })
    }

    /// The real server tells its client alone; history does not hold it.
    fn skip(&self, node: &str, class: &str, why: Option<String>) -> Made {
        if let Some(why) = why {
            self.to_client(
                "execution_error",
                json!({
                    "prompt_id": self.item.id, "node_id": node, "node_type": class, "executed": self.executed,
                    "exception_message": format!("Execution Blocked: {why}"), "exception_type": "ExecutionBlocked",
                    "traceback": [], "current_inputs": [], "current_outputs": [],
                }),
            );
        }
        let outputs = catalog::class(class).map_or(0, |class| class.output.len());
        Made { things: vec![Thing::Blocked(None); outputs], shown: None }
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
}
