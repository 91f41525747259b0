//! The rule by which a recorded value and an answered one count as the same.
//! In: both values, and the recorded ids and file names that have other names here. Out: the differences, by path.
//!
//! Objects must have the same keys at every depth. Values under the keys of `SAME` must be equal, other values only of
//! the same type; null is a type. Lists under the keys of `LISTS` must be equally long; other lists are compared by their
//! first entries. Tracebacks and descriptions of node classes are the real server's own and only need to be there.
//! Digits in file names count as equal, for they depend on what was saved before.

use std::collections::HashMap;

use serde_json::Value;

const SAME: &[&str] = &[
    "type",
    "message",
    "details",
    "status_str",
    "completed",
    "class_type",
    "node_type",
    "exception_type",
    "exception_message",
    "state",
    "cancelled",
    "error",
    "invalid_ids",
    "name",
    "subfolder",
    "mediaType",
    "prompt_id",
    "value",
    "max",
    "queue_remaining",
    "node_id",
    "node",
    "display_node",
    "display_node_id",
    "real_node_id",
    "status",
    "cycle_nodes",
    "dependent_outputs",
    "input_name",
    "received_value",
    "received_type",
    "linked_node",
    "event_type",
    "image_format",
    "image_type",
    "outputs_count",
    "workflow_id",
    "executed",
    "job",
    "attempt",
    "default",
    "min",
];
const LISTS: &[&str] = &[
    "queue_running",
    "queue_pending",
    "images",
    "audio",
    "latents",
    "animated",
    "messages",
    "errors",
    "dependent_outputs",
    "jobs",
    "output",
    "output_is_list",
    "required",
    "outputs",
    "devices",
];
const OWN: &[&str] = &[
    "traceback",
    "comfy_package_versions",
    "argv",
    "search_aliases",
    "preview_output",
    "has_more",
    "total",
    "current_inputs",
    "current_outputs",
    "description",
];

/// Recorded names and what they are called in this replay.
#[derive(Default)]
pub struct Names {
    known: HashMap<String, String>,
    /// Whether node ids must match: independent branches run in any order.
    pub any_branch: bool,
    /// Whether the queue lengths of `status` messages need not match.
    pub any_length: bool,
}

impl Names {
    pub fn learn(&mut self, recorded: &Value, actual: &Value) {
        if let (Some(recorded), Some(actual)) = (recorded.as_str(), actual.as_str()) {
            self.known.insert(recorded.to_owned(), actual.to_owned());
        }
    }

    /// A recorded text with this replay's names in it.
    pub fn translate(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (recorded, actual) in self.known.iter().filter(|(recorded, _)| recorded.len() >= 8) {
            text = text.replace(recorded.as_str(), actual);
        }
        text
    }

    pub fn compare(&mut self, recorded: &Value, actual: &Value) -> Vec<String> {
        let mut differences = vec![];
        self.walk("", "", recorded, actual, &mut differences);
        differences
    }

    fn walk(&mut self, path: &str, key: &str, recorded: &Value, actual: &Value, differences: &mut Vec<String>) {
        let mut differ = |what: &str| {
            differences.push(format!("{path}: {what}: recorded {} but got {}", short(recorded), short(actual)));
        };
        if OWN.contains(&key) {
            return;
        }
        match (recorded, actual) {
            (Value::Object(one), Value::Object(other)) if self.any_branch && key == "nodes" => {
                let bars = |map: &serde_json::Map<String, Value>| {
                    let mut bars: Vec<String> =
                        map.values().map(|bar| format!("{} {}/{}", bar["state"], bar["value"], bar["max"])).collect();
                    bars.sort();
                    bars
                };
                if bars(one) != bars(other) {
                    differ("bars");
                }
            }
            (Value::Object(one), Value::Object(other)) => {
                // An entry of a prompt that was submitted before this recording began.
                if let ([recorded], [actual]) = (&*one.keys().collect::<Vec<_>>(), &*other.keys().collect::<Vec<_>>())
                    && recorded.len() == 36
                    && actual.len() == 36
                {
                    self.known.entry((*recorded).clone()).or_insert_with(|| (*actual).clone());
                }
                let names = |map: &serde_json::Map<String, Value>| {
                    let mut names: Vec<String> = map.keys().map(|name| self.translate(name)).collect();
                    names.sort();
                    names
                };
                if names(one) != names(other) {
                    return differ("keys");
                }
                for (name, value) in one {
                    if let Some(counterpart) = other.get(&self.translate(name)) {
                        self.walk(&format!("{path}/{name}"), name, value, counterpart, differences);
                    }
                }
            }
            (Value::Array(one), Value::Array(other)) => {
                if (LISTS.contains(&key) || SAME.contains(&key)) && one.len() != other.len() {
                    return differ("length");
                }
                let sorted = |list: &[Value]| {
                    let mut list: Vec<String> = list.iter().map(Value::to_string).collect();
                    if key == "executed" || key == "dependent_outputs" {
                        list.sort();
                    }
                    list
                };
                if SAME.contains(&key) && sorted(one) != sorted(other) {
                    return differ("list");
                }
                let cut = one.iter().any(|entry| entry.get("__cut__").is_some());
                for (at, (one, other)) in one.iter().zip(other).enumerate().take(if cut { 1 } else { usize::MAX }) {
                    self.walk(&format!("{path}/{at}"), "", one, other, differences);
                }
            }
            _ if std::mem::discriminant(recorded) != std::mem::discriminant(actual) => differ("type"),
            _ if key == "filename" => {
                if plain(recorded) != plain(actual) {
                    differ("file name");
                }
                self.learn(recorded, actual);
            }
            (Value::Number(_), Value::Number(_)) if key == "queue_remaining" && self.any_length => {}
            (Value::Number(one), Value::Number(other)) if SAME.contains(&key) && one.as_f64() != other.as_f64() => {
                differ("number");
            }
            (Value::String(one), Value::String(other)) if SAME.contains(&key) => {
                let node = self.any_branch && key.contains("node") || one.contains(" not in [");
                if !node && self.translate(one) != *other {
                    differ("text");
                }
            }
            (Value::Bool(one), Value::Bool(other)) if one != other => differ("truth"),
            _ => {}
        }
    }
}

/// A file name without its number, and without the random letters of a preview's name.
fn plain(name: &Value) -> String {
    let name = name.as_str().unwrap_or_default();
    let ending = name.rsplit('.').next().unwrap_or_default();
    if name.starts_with("ComfyUI_temp_") {
        return format!("ComfyUI_temp_*.{ending}");
    }
    name.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect()
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    text.chars().take(220).collect()
}
