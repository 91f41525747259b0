//! The graph of a job: found in the payload, checked, and marked as this attempt's.
//! In: a payload. Out: an API-format graph that ComfyUI can be given, or an error that says how to get one.

use super::node::{EXPORT, check_node};
use super::refusal::is_model_file;
use crate::failure::{Failure, Reason};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// An API-format graph: node id → `{class_type, inputs, _meta?}`.
#[derive(Debug, Clone)]
pub(super) struct Graph {
    nodes: Map<String, Value>,
    marked: usize,
    /// The model and the size, in words.
    scale: String,
}

/// An input that no node knows.
const MARK_INPUT: &str = "gpu_worker";
/// Nobody counts further.
const STEPS_MAX: u64 = 10_000;
/// How far the steps of a sampler are looked for: sigmas may be split and bent on their way.
const SIGMAS_MAX: usize = 8;
/// A graph that names more is no graph of a person.
const MODELS_MAX: usize = 64;

impl Graph {
    /// Takes `payload.workflow`, or the payload itself if that is a graph.
    pub fn read(payload: &Value) -> Result<Self, Failure> {
        let found = match payload.get("workflow") {
            Some(workflow) => workflow,
            None => payload,
        };
        let Value::Object(nodes) = found else {
            return Err(Failure::new(Reason::InvalidFormat, format!("the workflow must be an object; {EXPORT}")));
        };
        if nodes.get("nodes").is_some_and(Value::is_array) {
            let what = format!("this is a workflow in the editor's format, which ComfyUI cannot run; {EXPORT}");
            return Err(Failure::new(Reason::InvalidFormat, what));
        }
        if !nodes.values().any(|node| node.get("class_type").is_some()) {
            let what = format!("no workflow: neither `payload.workflow` nor the payload is a graph of nodes; {EXPORT}");
            return Err(Failure::new(Reason::MissingRequiredField, what));
        }
        for (id, node) in nodes {
            check_node(id, node)?;
        }
        let graph = Self { nodes: nodes.clone(), marked: 0, scale: String::new() };
        let scale = graph.scale();
        Ok(Self { scale, ..graph })
    }

    /// The heaviest model, and the largest picture that some node names.
    fn scale(&self) -> String {
        let inputs = self.nodes.values().filter_map(|node| node.get("inputs"));
        let sizes = inputs.filter_map(|inputs| {
            let number = |name: &str| inputs.get(name).and_then(Value::as_u64);
            let count = number("batch_size").unwrap_or(1).max(number("length").unwrap_or(1));
            let (width, height) = (number("width")?, number("height")?);
            Some((width.saturating_mul(height).saturating_mul(count), width, height, count))
        });
        let (_, width, height, count) = sizes.max().unwrap_or_default();
        let model: String = self.models().first().map_or_else(String::new, |name| name.chars().take(120).collect());
        format!("{model} {width}x{height}x{count}")
    }

    /// Puts the mark at the end of each literal file prefix, so that the cache cannot name another run's files. A node
    /// that gets its prefix from another node, and every other node that leads nowhere, is given it as an input of its
    /// own: servers let unknown inputs pass and count them in, so that it runs anew.
    pub fn mark(&mut self, mark: &str) {
        let linked: BTreeSet<String> = self.links().map(str::to_owned).collect();
        for (id, node) in &mut self.nodes {
            let Some(inputs) = node.get_mut("inputs").and_then(Value::as_object_mut) else { continue };
            let prefix = inputs.get_mut("filename_prefix");
            let saves = prefix.is_some();
            self.marked += usize::from(saves);
            match prefix {
                Some(Value::String(prefix)) => prefix.push_str(mark),
                _ if saves || !linked.contains(id) => {
                    inputs.insert(MARK_INPUT.to_owned(), mark.into());
                }
                _ => {}
            }
        }
    }

    /// The nodes that others take something from.
    fn links(&self) -> impl Iterator<Item = &str> {
        let inputs = self.nodes.values().filter_map(|node| node.get("inputs")?.as_object());
        inputs.flat_map(|inputs| inputs.values().filter_map(|value| value.as_array()?.first()?.as_str()))
    }

    /// Whether some node saves files under a prefix, so that a success without files is none.
    pub fn saves_files(&self) -> bool {
        self.marked > 0
    }

    pub fn to_value(&self) -> Value {
        Value::Object(self.nodes.clone())
    }

    pub fn contains(&self, id: &str) -> bool {
        self.nodes.contains_key(id)
    }

    /// What part of the work each node is, in steps: samplers take nearly all the time, and their steps are in the graph. What
    /// names none counts as one.
    pub fn weights(&self) -> BTreeMap<String, f64> {
        self.nodes.keys().map(|id| (id.clone(), self.steps(id).unwrap_or(1).clamp(1, STEPS_MAX) as f64)).collect()
    }

    /// Steps that a node names itself, or the scheduler behind its sigmas; schedulers themselves take no time.
    fn steps(&self, id: &str) -> Option<u64> {
        let named = |id: &str| self.nodes.get(id)?.get("inputs")?.as_object();
        let inputs = named(id)?;
        let hands_on = self.class(id).is_some_and(|class| class.contains("Scheduler") || class.contains("Sigmas"));
        if hands_on {
            return None;
        }
        if let Some(steps) = inputs.get("steps").and_then(Value::as_u64) {
            // A part of the steps may be another sampler's.
            let at = |name: &str| inputs.get(name).and_then(Value::as_u64);
            let end = at("end_at_step").unwrap_or(steps).min(steps);
            return Some(end.saturating_sub(at("start_at_step").unwrap_or(0)));
        }
        let mut behind = inputs;
        for _ in 0..SIGMAS_MAX {
            behind = named(behind.get("sigmas")?.as_array()?.first()?.as_str()?)?;
            if let Some(steps) = behind.get("steps").and_then(Value::as_u64) {
                return Some(steps);
            }
        }
        None
    }

    pub fn class(&self, id: &str) -> Option<&str> {
        self.nodes.get(id)?.get("class_type")?.as_str()
    }

    /// What to call a node in front of a person: its title, else its class.
    pub fn title(&self, id: &str) -> Option<String> {
        let node = self.nodes.get(id)?;
        let title = node.pointer("/_meta/title").and_then(Value::as_str).filter(|title| !title.trim().is_empty());
        let name = title.or_else(|| self.class(id))?;
        Some(name.chars().take(80).collect())
    }

    /// A literal text input of a node.
    pub fn text(&self, id: &str, input: &str) -> Option<&str> {
        self.nodes.get(id)?.get("inputs")?.get(input)?.as_str()
    }

    /// The model files that this node loads.
    pub fn models_of(&self, id: &str) -> impl Iterator<Item = &str> {
        let inputs = self.nodes.get(id).and_then(|node| node.get("inputs")?.as_object());
        inputs.into_iter().flatten().filter_map(|(_, value)| value.as_str()).filter(|name| is_model_file(name))
    }

    /// The model files of the whole graph, those that fill the memory first.
    pub fn models(&self) -> Vec<String> {
        let loads_most = |input: &str| matches!(input, "ckpt_name" | "unet_name" | "model_name");
        let inputs = self.nodes.values().filter_map(|node| node.get("inputs")?.as_object()).flatten();
        let mut models: Vec<(bool, &str)> = inputs
            .filter_map(|(input, value)| Some((!loads_most(input), value.as_str()?)))
            .filter(|(_, name)| is_model_file(name))
            .collect();
        models.sort_unstable();
        models.dedup();
        models.into_iter().take(MODELS_MAX).map(|(_, name)| name.to_owned()).collect()
    }

    /// What takes about the same time in every job: the class of a node, the model, and the size of the pictures.
    pub fn kind_of_work(&self, node: &str) -> String {
        // An expansion's node counts with the node that made it.
        let parent = node.split(['.', ':']).next().unwrap_or(node);
        let class = self.class(node).or_else(|| self.class(parent)).unwrap_or("?");
        let kind: String = class.chars().take(80).collect();
        format!("{kind} {}", self.scale)
    }

    /// Every literal text in the inputs: what a user wrote, and an engine's message may repeat.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let inputs = self.nodes.values().filter_map(|node| node.get("inputs")?.as_object());
        inputs.flat_map(|inputs| inputs.values().filter_map(Value::as_str))
    }

    /// The same, each with the field that it stands in.
    pub fn literals(&self) -> impl Iterator<Item = (Field, &str)> {
        self.nodes.iter().flat_map(|(id, node)| {
            let class = node.get("class_type").and_then(Value::as_str).unwrap_or_default();
            let inputs = node.get("inputs").and_then(Value::as_object).into_iter().flatten();
            let field = move |input: &String| Field { node: id.clone(), class: class.to_owned(), input: input.clone() };
            inputs.filter_map(move |(input, value)| Some((field(input), value.as_str()?)))
        })
    }

    /// Puts another text into a field.
    pub fn set_text(&mut self, field: &Field, text: &str) {
        if let Some(value) =
            self.nodes.get_mut(&field.node).and_then(|node| node.get_mut("inputs")?.get_mut(&field.input))
        {
            *value = Value::String(text.to_owned());
        }
    }
}

/// One input of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub node: String,
    pub class: String,
    pub input: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_and_kinds_of_work_are_read_off_the_graph_the_heaviest_first() {
        let graph = Graph::read(&serde_json::json!({
            "1": { "class_type": "LoraLoader", "inputs": { "lora_name": "a.safetensors", "model": ["2", 0] } },
            "2": { "class_type": "CheckpointLoaderSimple", "inputs": { "ckpt_name": "xl.safetensors" } },
            "3": { "class_type": "EmptyLatentImage", "inputs": { "width": 1024, "height": 768, "batch_size": 2 } },
            "4": { "class_type": "KSampler", "inputs": { "sampler_name": "euler", "latent_image": ["3", 0] } },
        }))
        .unwrap();
        assert_eq!(graph.models(), ["xl.safetensors", "a.safetensors"]);
        assert_eq!(graph.models_of("1").collect::<Vec<_>>(), ["a.safetensors"]);
        assert_eq!(graph.kind_of_work("4"), "KSampler xl.safetensors 1024x768x2");
        assert_eq!(graph.kind_of_work("4.0.1"), graph.kind_of_work("4"), "an expansion counts with its maker");
    }

    #[test]
    fn a_sampler_weighs_as_much_as_it_has_steps_wherever_the_graph_says_so() {
        let graph = Graph::read(&serde_json::json!({
            "1": { "class_type": "CheckpointLoaderSimple", "inputs": { "ckpt_name": "xl.safetensors" } },
            "2": { "class_type": "KSampler", "inputs": { "steps": 60, "model": ["1", 0] } },
            "3": { "class_type": "KSamplerAdvanced", "inputs": { "steps": 20, "start_at_step": 15, "end_at_step": 10000 } },
            "4": { "class_type": "BasicScheduler", "inputs": { "steps": 25 } },
            "5": { "class_type": "SplitSigmas", "inputs": { "step": 5, "sigmas": ["4", 0] } },
            "6": { "class_type": "SamplerCustomAdvanced", "inputs": { "sigmas": ["5", 1] } },
            "7": { "class_type": "KSampler", "inputs": { "steps": ["1", 0] } },
            "8": { "class_type": "SamplerCustom", "inputs": { "sigmas": ["8", 0] } },
            "9": { "class_type": "KSampler", "inputs": { "steps": 0 } },
        }))
        .unwrap();
        let weights: Vec<f64> = graph.weights().into_values().collect();
        assert_eq!(weights, [1.0, 60.0, 5.0, 1.0, 1.0, 25.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn what_cannot_be_marked_by_its_prefix_gets_an_input_that_makes_it_run_anew() {
        let mut graph = Graph::read(&serde_json::json!({
            "1": { "class_type": "EmptyImage", "inputs": {} },
            "2": { "class_type": "PrimitiveString", "inputs": { "value": "fox" } },
            "3": { "class_type": "SaveImage", "inputs": { "images": ["1", 0], "filename_prefix": "fox" } },
            "4": { "class_type": "SaveImage", "inputs": { "images": ["1", 0], "filename_prefix": ["2", 0] } },
            "5": { "class_type": "SaveAndPass", "inputs": { "images": ["1", 0], "filename_prefix": ["2", 0] } },
            "6": { "class_type": "PreviewImage", "inputs": { "images": ["5", 0] } },
        }))
        .unwrap();
        graph.mark("_m");
        let input = |id: &str, name: &str| graph.text(id, name).map(str::to_owned);
        let marks = ["1", "2", "3", "4", "5", "6"].map(|id| input(id, "gpu_worker").is_some());
        assert_eq!(marks, [false, false, false, true, true, true]);
        assert_eq!(input("3", "filename_prefix").as_deref(), Some("fox_m"));
        assert_eq!(input("2", "value").as_deref(), Some("fox"), "others may use it, too");
        assert!(graph.saves_files());
    }
}
