//! Real progress across the nodes of a graph.
//! In: messages about our prompt. Out: reports whose fraction never falls.
//!
//! Fraction = (finished + fraction of those at work) / (nodes of the graph − cached nodes), each node counted by its steps as
//! the graph names them, so that a sampler at step 55 of 60 is not shown as half of a job of two nodes. Nodes that appear
//! during the run (expansions) count with the node that made them.

use super::graph::Graph;
use super::message::{Message, NodeState};
use super::verdict::BLOCKS_MAX;
use crate::contract::{Preview, Progress, ProgressSink, Stage};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;

pub(super) struct Tracker<'a> {
    graph: &'a Graph,
    sink: &'a dyn ProgressSink,
    /// How much of the work each node is.
    weights: BTreeMap<String, f64>,
    cached: BTreeSet<String>,
    /// Nodes begun: how much of each is done, 0 to 1.
    begun: BTreeMap<String, f64>,
    at: Option<String>,
    step: Option<(u64, u64)>,
    best: f64,
    sees_states: bool,
    /// Nodes that were made during the run, and the nodes of the graph that they are shown as.
    shown_as: BTreeMap<String, String>,
    /// What was reported last: several messages of the server say the same.
    told: Option<Progress>,
    /// What the server says of nodes that got nothing to work on, of the first few.
    pub blocked: Vec<Value>,
    /// When the server took the prompt up.
    pub started: Option<Instant>,
}

impl<'a> Tracker<'a> {
    pub fn new(graph: &'a Graph, sink: &'a dyn ProgressSink) -> Self {
        Self {
            graph,
            sink,
            weights: graph.weights(),
            cached: BTreeSet::new(),
            begun: BTreeMap::new(),
            at: None,
            step: None,
            best: 0.0,
            sees_states: false,
            shown_as: BTreeMap::new(),
            told: None,
            blocked: Vec::new(),
            started: None,
        }
    }

    pub fn cached_nodes(&self) -> usize {
        self.cached.len()
    }

    /// The prompt waits behind this many others. `blind`: nothing would tell that it does so no longer.
    pub fn waiting(&mut self, ahead: usize, blind: bool) {
        self.told = None;
        let others = if ahead == 1 { "1 other" } else { &format!("{ahead} others") };
        let message = Some(format!("waiting in ComfyUI's queue behind {others}"));
        let stage = if blind { Stage::Unseen } else { Stage::Waiting };
        self.sink.report(Progress { fraction: self.best, message, node: None, step: None, stage });
    }

    /// Handed over, by an earlier process if `again`, and waiting until the server takes it up.
    pub fn handed_over(&self, blind: bool, again: bool) {
        let message = Some(if again { "taken up again" } else { "handed to ComfyUI" }.to_owned());
        let stage = if blind { Stage::Unseen } else { Stage::Waiting };
        self.sink.report(Progress { fraction: self.best, message, node: None, step: None, stage });
    }

    /// It runs, but there is no socket that would tell of it.
    pub fn unseen(&mut self) {
        self.told = None;
        let message = Some("at work in ComfyUI, which tells no progress".to_owned());
        self.sink.report(Progress { fraction: self.best, message, node: None, step: None, stage: Stage::Unseen });
    }

    /// The run has ended well.
    pub fn fetching(&mut self) {
        self.best = 1.0;
        let message = Some("fetching the outputs".to_owned());
        self.sink.report(Progress { fraction: self.best, message, node: None, step: None, stage: Stage::Fetching });
    }

    pub fn take(&mut self, message: &Message) {
        match message {
            Message::Started => {
                self.started.get_or_insert_with(Instant::now);
            }
            Message::Cached(nodes) => self.cached.extend(nodes.iter().cloned()),
            Message::Nodes(states) => {
                self.sees_states = true;
                for state in states {
                    let done = if state.finished { 1.0 } else { part(state.value, state.max) };
                    self.done(&state.id, done);
                    if self.at.as_ref().is_some_and(|at| *at == state.id || state.shown_as.as_ref() == Some(at))
                        && !state.finished
                        && state.value > 0.0
                    {
                        self.step = step(state.value, state.max);
                    }
                }
                self.count_within(states);
            }
            Message::Executing(node) => {
                if !self.sees_states {
                    self.begun.values_mut().for_each(|done| *done = 1.0);
                }
                self.done(node, 0.0);
                self.at = Some(node.clone());
                self.step = None;
            }
            Message::Step { node, value, max } => {
                self.done(node, part(*value, *max));
                self.at = Some(self.shown_as.get(node).unwrap_or(node).clone());
                self.step = step(*value, *max);
            }
            Message::Executed(node) => self.done(node, 1.0),
            Message::Blocked(said) => {
                if self.blocked.len() < BLOCKS_MAX {
                    self.blocked.push(said.clone());
                }
                return;
            }
            Message::Over | Message::Error => return,
        }
        self.report();
    }

    /// A picture that names no node is of the node at work.
    pub fn show(&self, preview: Preview) {
        let node = preview.node.or_else(|| self.at.clone());
        self.sink.preview(Preview { node, ..preview });
    }

    /// How many nodes a node makes is not known: the next one is always still to come.
    fn count_within(&mut self, states: &[NodeState]) {
        let mut made: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for state in states {
            if let Some(shown) = &state.shown_as {
                self.shown_as.insert(state.id.clone(), shown.clone());
                let (done, all) = made.entry(shown).or_default();
                *done += if state.finished { 1.0 } else { part(state.value, state.max) };
                *all += 1.0;
            }
        }
        for (shown, (done, all)) in made {
            self.done(shown, done / (all + 1.0));
        }
    }

    fn done(&mut self, node: &str, part: f64) {
        if self.graph.contains(node) {
            let done = self.begun.entry(node.to_owned()).or_default();
            *done = done.max(part);
        }
    }

    fn report(&mut self) {
        let to_do = self.weights.iter().filter(|(node, _)| !self.cached.contains(*node));
        let (mut all, mut done) = (0.0, 0.0);
        for (node, weight) in to_do {
            all += weight;
            done += weight * self.begun.get(node).copied().unwrap_or(0.0);
        }
        if all > 0.0 {
            self.best = self.best.max((done / all).clamp(0.0, 1.0));
        }
        let progress = Progress {
            fraction: self.best,
            message: Some(self.at.as_deref().map_or_else(|| "starting".to_owned(), |node| self.describe(node))),
            node: self.at.clone(),
            step: self.step,
            stage: self.at.as_deref().map_or(Stage::Working, |node| Stage::Kind(self.graph.kind_of_work(node))),
        };
        if self.told.as_ref() != Some(&progress) {
            self.sink.report(progress.clone());
            self.told = Some(progress);
        }
    }

    fn describe(&self, node: &str) -> String {
        // An expansion's node is not in the graph; its id begins with that of the node that made it.
        let parent = node.split(['.', ':']).next().unwrap_or(node);
        let name =
            self.graph.title(node).or_else(|| self.graph.title(parent)).unwrap_or_else(|| format!("node {node}"));
        match self.step {
            Some((value, max)) => format!("{name}: step {value} of {max}"),
            None => name,
        }
    }
}

fn step(value: f64, max: f64) -> Option<(u64, u64)> {
    (max >= 1.0).then_some((value.max(0.0) as u64, max as u64))
}

fn part(value: f64, max: f64) -> f64 {
    if max > 0.0 { (value / max).clamp(0.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::Bench;
    use serde_json::json;

    #[test]
    fn nodes_made_during_the_run_count_within_their_maker_and_a_step_is_told_once() {
        let nodes = json!({
            "1": { "class_type": "Loop", "inputs": {} },
            "2": { "class_type": "SaveImage", "inputs": { "images": ["1", 0] } },
        });
        let (graph, bench) = (Graph::read(&nodes).unwrap(), Bench::new());
        let mut tracker = Tracker::new(&graph, &*bench.progress);
        let child = |value: u64| json!({ "value": value, "max": 4, "state": "running", "display_node_id": "1", "parent_node_id": "1" });
        for (kind, data) in [
            ("execution_start", json!({})),
            ("executing", json!({ "node": "1.0.0.1", "display_node": "1" })),
            ("progress_state", json!({ "nodes": { "1.0.0.1": child(2) } })),
            ("progress", json!({ "node": "1.0.0.1", "value": 2, "max": 4 })),
        ] {
            let mut message = json!({ "type": kind, "data": data });
            message["data"]["prompt_id"] = json!("p");
            tracker.take(&Message::read(&message.to_string(), "p").unwrap());
        }
        let told: Vec<_> =
            bench.progress.reports().into_iter().map(|told| (told.node, told.step, told.fraction)).collect();
        let node = Some("1".to_owned());
        assert_eq!(told, [(None, None, 0.0), (node.clone(), None, 0.0), (node, Some((2, 4)), 0.125)]);
    }
}
