//! Checks a graph as the real server does before it queues it: classes, outputs, inputs, links.
//! In: the submitted graph, which gets its coercible values coerced. Out: outputs that may run, and errors by node.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::catalog;
use super::inspect::{Inspection, class_of, text, traceback};
use super::server::Server;
use super::submit::problem;

pub(crate) struct Accepted {
    pub outputs: Vec<String>,
    pub node_errors: Value,
}

pub(crate) enum Verdict {
    Accepted(Accepted),
    Refused {
        error: Value,
        node_errors: Value,
    },
    /// The server itself fails over such a body and answers 500.
    Crash,
}
pub(crate) fn check(graph: &mut Value, targets: Option<Vec<String>>, server: &Server) -> Verdict {
    let new = server.options.release.is_new();
    let nodes = match graph {
        Value::Object(nodes) => nodes,
        Value::Array(list) if list.is_empty() && !new => return none_to_run(),
        _ => return Verdict::Crash,
    };
    for (id, node) in nodes.iter() {
        if !node.is_object() && new {
            return Verdict::Crash;
        }
        if let Some(error) = unknown_class(id, node, new) {
            return Verdict::Refused { error, node_errors: json!({}) };
        }
    }
    let wanted = |id: &String| targets.as_ref().is_none_or(|targets| targets.contains(id));
    let outputs: Vec<String> = nodes
        .iter()
        .filter(|(_, node)| class_of(node).is_some_and(|class| class.output_node))
        .map(|(id, _)| id.clone())
        .filter(wanted)
        .collect();
    if outputs.is_empty() {
        return none_to_run();
    }
    let mut check = Inspection { nodes, server, errors: HashMap::new(), verdicts: HashMap::new(), path: vec![] };
    let mut good = vec![];
    let mut dependents: HashMap<String, Vec<String>> = HashMap::new();
    for output in &outputs {
        let fine = match check.node(output) {
            Ok(fine) => fine,
            Err(raised) => {
                let extra = json!({"exception_type": raised.kind, "traceback": traceback()});
                check.error(
                    output,
                    "exception_during_validation",
                    "Exception when validating node",
                    &raised.text,
                    extra,
                );
                false
            }
        };
        if fine {
            good.push(output.clone());
            continue;
        }
        let below = check.below(output);
        for id in below.into_iter().filter(|id| check.errors.contains_key(id)) {
            dependents.entry(id).or_default().push(output.clone());
        }
    }
    let node_errors: Map<String, Value> = dependents
        .into_iter()
        .map(|(id, outputs)| {
            let value = json!({"errors": check.errors[&id], "dependent_outputs": outputs, "class_type": check.nodes[&id]["class_type"]});
            (id, value)
        })
        .collect();
    if !good.is_empty() {
        return Verdict::Accepted(Accepted { outputs: good, node_errors: node_errors.into() });
    }
    let own = outputs.iter().flat_map(|id| check.errors.get(id).into_iter().flatten());
    let details: Vec<String> =
        own.map(|error| format!("{}: {}", text(&error["message"]), text(&error["details"]))).collect();
    let error =
        problem("prompt_outputs_failed_validation", "Prompt outputs failed validation", &details.join("\n"), json!({}));
    Verdict::Refused { error, node_errors: node_errors.into() }
}

fn none_to_run() -> Verdict {
    Verdict::Refused {
        error: problem("prompt_no_outputs", "Prompt has no outputs", "", json!({})),
        node_errors: json!({}),
    }
}
fn unknown_class(id: &str, node: &Value, new: bool) -> Option<Value> {
    let class = node["class_type"].as_str();
    if class.is_some_and(|class| catalog::class(class).is_some()) {
        return None;
    }
    let details = format!("Node ID '#{id}'");
    if !new {
        let message = match class {
            Some(class) => format!("Cannot execute because node {class} does not exist."),
            None => "Cannot execute because a node is missing the class_type property.".to_owned(),
        };
        return Some(problem("invalid_prompt", &message, &details, json!({})));
    }
    let title = node["_meta"]["title"].as_str();
    let message = match class {
        Some(class) => format!("Node '{}' not found. The custom node may not be installed.", title.unwrap_or(class)),
        None => format!(
            "Node '{}' has no class_type. The workflow may be corrupted or a custom node is missing.",
            title.map_or_else(|| format!("ID #{id}"), str::to_owned)
        ),
    };
    Some(problem(
        "missing_node_type",
        &message,
        &details,
        json!({"node_id": id, "class_type": class, "node_title": title}),
    ))
}
