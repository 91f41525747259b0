//! Inspects the nodes of a graph one by one, following the links: inputs present, of the right type, within bounds.
//! In: an output node. Out: whether it may run, and the errors of every node it leads back to.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::catalog::{self, Class};
use super::server::Server;
use super::submit::problem;
use super::values;

/// An exception inside the real validation, with Python's name for it.
pub(crate) struct Raised {
    pub kind: &'static str,
    pub text: String,
}
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(crate) fn class_of(node: &Value) -> Option<&'static Class> {
    node["class_type"].as_str().and_then(catalog::class)
}

pub(crate) fn traceback() -> Value {
    json!(["  File \"/opt/comfyui/execution.py\", line 1, in validate_inputs\n    made up by the stand-in\n"])
}
pub(crate) struct Inspection<'a> {
    pub nodes: &'a mut Map<String, Value>,
    pub server: &'a Server,
    pub errors: HashMap<String, Vec<Value>>,
    pub verdicts: HashMap<String, bool>,
    pub path: Vec<String>,
}

impl Inspection<'_> {
    pub(crate) fn error(&mut self, node: &str, kind: &str, message: &str, details: &str, extra_info: Value) {
        self.errors.entry(node.to_owned()).or_default().push(problem(kind, message, details, extra_info));
    }

    pub(crate) fn node(&mut self, id: &str) -> Result<bool, Raised> {
        if let Some(verdict) = self.verdicts.get(id) {
            return Ok(*verdict);
        }
        if let Some(start) = self.path.iter().position(|other| other == id) {
            self.report_cycle(start);
            return Ok(false);
        }
        let key_error = |key: &str| Raised { kind: "KeyError", text: format!("'{key}'") };
        let node = self.nodes.get(id).ok_or_else(|| key_error(id))?;
        let inputs = node.get("inputs").and_then(Value::as_object).ok_or_else(|| key_error("inputs"))?.clone();
        let Some(class) = class_of(node) else {
            return Err(key_error("class_type"));
        };
        self.path.push(id.to_owned());
        let mut fine = true;
        for (required, (name, spec)) in
            class.required.iter().map(|input| (true, input)).chain(class.optional.iter().map(|input| (false, input)))
        {
            let verdict = match inputs.get(name) {
                Some(value) => self.input(id, name, &catalog::filled(spec, self.server), value),
                None => {
                    if required {
                        self.error(
                            id,
                            "required_input_missing",
                            "Required input is missing",
                            name,
                            json!({"input_name": name}),
                        );
                    }
                    Ok(!required)
                }
            };
            match verdict {
                Ok(verdict) => fine &= verdict,
                Err(raised) => {
                    self.path.pop();
                    return Err(raised);
                }
            }
        }
        self.path.pop();
        // Every node of a cycle is at fault, also the one found to be so only after it was left.
        fine &= !self.errors.contains_key(id);
        self.verdicts.insert(id.to_owned(), fine);
        Ok(fine)
    }

    fn input(&mut self, id: &str, name: &str, spec: &Value, value: &Value) -> Result<bool, Raised> {
        let extra = |more: Value| {
            let mut extra = json!({"input_name": name, "input_config": spec});
            for (key, value) in more.as_object().into_iter().flatten() {
                extra[key] = value.clone();
            }
            extra
        };
        let Some(list) = value.as_array() else {
            return Ok(self.plain(id, name, spec, value));
        };
        let [from, slot] = list.as_slice() else {
            let message = "Bad linked input, must be a length-2 list of [node_id, slot_index]";
            self.error(id, "bad_linked_input", message, name, extra(json!({"received_value": value})));
            return Ok(false);
        };
        let from = from.as_str().map_or_else(|| from.to_string(), str::to_owned);
        let node = self.nodes.get(&from).ok_or_else(|| Raised { kind: "KeyError", text: format!("'{from}'") })?;
        let outputs = class_of(node).map(|class| class.output.as_slice()).unwrap_or_default();
        let slot = slot.as_u64().and_then(|slot| outputs.get(slot as usize));
        let received =
            slot.ok_or_else(|| Raised { kind: "IndexError", text: "tuple index out of range".to_owned() })?;
        let expected = spec[0].as_str().unwrap_or("COMBO");
        if expected != "*" && expected != received {
            let details = format!("{name}, received_type({received}) mismatch input_type({expected})");
            let more = extra(json!({"received_type": received, "linked_node": value}));
            self.error(id, "return_type_mismatch", "Return type mismatch between linked nodes", &details, more);
            return Ok(false);
        }
        self.node(&from).or_else(|raised| {
            let more = json!({
                "exception_message": raised.text, "exception_type": raised.kind, "traceback": traceback(), "linked_node": value
            });
            let message = "Exception when validating inner node";
            self.error(&from, "exception_during_inner_validation", message, &raised.text, extra(more));
            Ok(false)
        })
    }

    fn plain(&mut self, id: &str, name: &str, spec: &Value, value: &Value) -> bool {
        if class_of(&self.nodes[id]).is_some() && text(&self.nodes[id]["class_type"]) == "LoadImage" && name == "image"
        {
            let file = text(value);
            let there = self.server.folders.input(file).is_some_and(|path| path.is_file());
            if !there {
                let details = format!("image - Invalid image file: {file}");
                self.error(
                    id,
                    "custom_validation_failed",
                    "Custom validation failed for node",
                    &details,
                    json!({"input_name": name}),
                );
            }
            return there;
        }
        match values::fit(name, spec, value, self.server.options.release.is_new()) {
            Ok(coerced) => {
                self.nodes[id]["inputs"][name] = coerced;
                true
            }
            Err(error) => {
                self.errors.entry(id.to_owned()).or_default().push(error);
                false
            }
        }
    }

    fn report_cycle(&mut self, start: usize) {
        // The older release runs into its recursion limit over a cycle and names no node.
        if !self.server.options.release.is_new() {
            return;
        }
        let cycle: Vec<String> = self.path[start..].to_vec();
        let label = |id: &String| format!("{id} ({})", text(&self.nodes[id]["class_type"]));
        let details = cycle.iter().chain(cycle.first()).map(label).collect::<Vec<_>>().join(" -> ");
        for id in &cycle {
            let extra = json!({"node_id": id, "cycle_nodes": cycle});
            self.error(id, "dependency_cycle", "Dependency cycle detected", &details, extra);
        }
    }

    /// The node and all it leads back to.
    pub(crate) fn below(&self, id: &str) -> Vec<String> {
        let (mut found, mut open) = (vec![], vec![id.to_owned()]);
        while let Some(id) = open.pop() {
            if found.contains(&id) {
                continue;
            }
            let inputs = self.nodes.get(&id).and_then(|node| node["inputs"].as_object());
            open.extend(
                inputs.into_iter().flatten().filter_map(|(_, value)| value.get(0)?.as_str().map(str::to_owned)),
            );
            found.push(id);
        }
        found
    }
}
