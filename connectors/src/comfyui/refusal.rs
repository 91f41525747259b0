//! Why the server will not run a graph, in words for the person who owns it.
//! In: the `error` and `node_errors` of an answer to `POST /prompt`. Out: a validation failure that names node and input.

use super::graph::Graph;
use crate::failure::{Failure, Reason};
use serde_json::Value;

/// How many errors and allowed values a message holds.
const ERRORS_SHOWN: usize = 4;
const VALUES_SHOWN: usize = 8;
const MODEL_ENDINGS: &[&str] =
    &[".safetensors", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".gguf", ".sft", ".onnx", ".pkl"];

/// The failure that a refused or partly refused submission stands for; `None` if nothing was wrong with it.
pub(super) fn failure(answer: &Value, graph: &Graph) -> Option<Failure> {
    let faults: Vec<Fault> = answer
        .get("node_errors")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .flat_map(|(id, node)| faults_of(id, node, graph))
        .collect();
    if faults.is_empty() {
        return answer.get("error").filter(|error| !error.is_null()).map(|error| without_nodes(error, graph));
    }
    let mut said: Vec<_> = faults.iter().take(ERRORS_SHOWN).map(|fault| fault.said.clone()).collect();
    if faults.len() > ERRORS_SHOWN {
        said.push(format!("and {} more", faults.len() - ERRORS_SHOWN));
    }
    let said = said.join("; ");
    // One fault of the graph is enough for it to fail everywhere; only lacks of this box are this box's.
    Some(match faults.iter().find(|fault| !fault.hosts) {
        Some(fault) => Failure::new(fault.reason, said),
        None => Failure::of_host(faults[0].reason, said),
    })
}

struct Fault {
    reason: Reason,
    hosts: bool,
    said: String,
}

fn faults_of(id: &str, node: &Value, graph: &Graph) -> Vec<Fault> {
    let class = node.get("class_type").and_then(Value::as_str).unwrap_or("unknown class");
    let (id, class) = (&*short(id, 80), &*short(class, 80));
    let errors = node.get("errors").and_then(Value::as_array);
    errors.into_iter().flatten().map(|error| fault(id, class, error, graph)).collect()
}

fn fault(id: &str, class: &str, error: &Value, graph: &Graph) -> Fault {
    let kind = error.get("type").and_then(Value::as_str).unwrap_or("unknown error");
    let input = error.pointer("/extra_info/input_name").and_then(Value::as_str);
    let config = error.pointer("/extra_info/input_config");
    let node = match input {
        Some(input) => format!("node {id} ({class}), input `{}`", short(input, 80)),
        None => format!("node {id} ({class})"),
    };
    let own = |reason, what: String| Fault { reason, hosts: false, said: format!("{node}: {what}") };
    match kind {
        "value_not_in_list" => {
            let allowed = allowed(config);
            let wanted = input.and_then(|input| graph.text(id, input));
            if is_model(class, wanted, &allowed) {
                let model = wanted.filter(|name| is_model_file(name)).map(|name| format!(" `{}`", short(name, 120)));
                let model = model.unwrap_or_default();
                let said = format!("{node}: this ComfyUI lacks the model{model}; it has {}", listed(&allowed));
                return Fault { reason: Reason::ModelNotFound, hosts: true, said };
            }
            own(Reason::InvalidPayload, format!("the value is not one of the allowed: {}", listed(&allowed)))
        }
        "required_input_missing" => own(Reason::MissingRequiredField, "this input is required and missing".into()),
        "invalid_input_type" => {
            own(Reason::InvalidFormat, format!("the value must be of type {}", type_name(config).unwrap_or("another")))
        }
        "value_smaller_than_min" => own(Reason::InvalidPayload, format!("the value is below {}", limit(config, "min"))),
        "value_bigger_than_max" => own(Reason::InvalidPayload, format!("the value is above {}", limit(config, "max"))),
        "bad_linked_input" => own(Reason::InvalidFormat, "a link must be a list of node id and output number".into()),
        "return_type_mismatch" => {
            let given = error.pointer("/extra_info/received_type").and_then(Value::as_str).unwrap_or("something else");
            let wanted = type_name(config).unwrap_or("another type");
            own(Reason::InvalidPayload, format!("it takes {wanted}, but the linked output gives {given}"))
        }
        "custom_validation_failed" => own(
            Reason::InvalidPayload,
            "the node refuses this value (for a file: it is not in ComfyUI's input folder)".into(),
        ),
        "exception_during_validation" | "exception_during_inner_validation" => own(
            Reason::InvalidPayload,
            "it cannot be checked: a link leads to a node or output that does not exist".into(),
        ),
        "dependency_cycle" => own(Reason::InvalidPayload, "its inputs depend on its own output (a cycle)".into()),
        other => own(Reason::InvalidPayload, short(other, 80)),
    }
}

fn without_nodes(error: &Value, graph: &Graph) -> Failure {
    let text = |at: &str| error.pointer(at).and_then(Value::as_str);
    match text("/type").unwrap_or("unknown error") {
        // 0.3.64 says `invalid_prompt` for it and names the class in its message alone.
        kind @ ("missing_node_type" | "invalid_prompt") => {
            let id = text("/extra_info/node_id")
                .or_else(|| text("/details")?.strip_prefix("Node ID '#")?.strip_suffix('\''));
            let class = text("/extra_info/class_type").or_else(|| graph.class(id?));
            match (class, id) {
                (Some(class), Some(id)) => Failure::of_host(
                    Reason::ComponentError,
                    format!(
                        "node {} ({}): this ComfyUI has no such node class; install the custom node that brings it",
                        short(id, 80),
                        short(class, 80)
                    ),
                ),
                _ => Failure::new(Reason::InvalidPayload, format!("ComfyUI refuses the workflow: {kind}")),
            }
        }
        "prompt_outputs_failed_validation" => Failure::new(
            Reason::InvalidPayload,
            "ComfyUI refuses the workflow without naming a node; older releases do so when nodes depend on each other in a cycle",
        ),
        "prompt_no_outputs" => Failure::new(
            Reason::InvalidPayload,
            "the workflow has no output node, so there is nothing to run; add one such as SaveImage",
        ),
        other => Failure::new(Reason::InvalidPayload, format!("ComfyUI refuses the workflow: {}", short(other, 80))),
    }
}

/// Either `[[names…], {…}]` or `["COMBO", {options: [names…]}]`.
fn allowed(config: Option<&Value>) -> Vec<String> {
    let Some(config) = config else { return Vec::new() };
    let names = config.get(0).filter(|first| first.is_array()).or_else(|| config.pointer("/1/options"));
    let names = names.and_then(Value::as_array).into_iter().flatten();
    names.map(|name| name.as_str().map_or_else(|| name.to_string(), str::to_owned)).collect()
}

/// A loader's list of files is this box's; any other list (samplers, modes) is the same everywhere.
fn is_model(class: &str, wanted: Option<&str>, allowed: &[String]) -> bool {
    wanted.is_some_and(is_model_file)
        || allowed.iter().any(|name| is_model_file(name))
        || (allowed.is_empty() && class.contains("Loader"))
}

pub(super) fn is_model_file(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    MODEL_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

fn listed(allowed: &[String]) -> String {
    if allowed.is_empty() {
        return "none".to_owned();
    }
    let mut text = allowed.iter().take(VALUES_SHOWN).map(|name| short(name, 80)).collect::<Vec<_>>().join(", ");
    if allowed.len() > VALUES_SHOWN {
        text.push_str(&format!(" and {} more", allowed.len() - VALUES_SHOWN));
    }
    text
}

fn type_name(config: Option<&Value>) -> Option<&str> {
    config?.get(0)?.as_str()
}

fn limit(config: Option<&Value>, which: &str) -> String {
    let limit = config.and_then(|config| config.get(1)?.get(which));
    limit.map_or_else(|| "the limit".to_owned(), |limit| format!("{which} {limit}"))
}

fn short(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}
