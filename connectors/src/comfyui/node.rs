//! What a node of a submitted graph must be for the server to make something of it that can be had.
//! In: one node. Out: nothing, or what to change.

use crate::failure::{Failure, Reason};
use serde_json::Value;

pub(super) const EXPORT: &str = "in ComfyUI choose Workflow > Export (API) and submit that file";

pub(super) fn check_node(id: &str, node: &Value) -> Result<(), Failure> {
    let id: String = id.chars().take(80).collect();
    let Some(class) = node.get("class_type").and_then(Value::as_str) else {
        let what = format!("node `{id}` of the workflow has no class_type; {EXPORT}");
        return Err(Failure::new(Reason::InvalidFormat, what));
    };
    let class: String = class.chars().take(80).collect();
    if !node.get("inputs").is_some_and(Value::is_object) {
        let what =
            format!("node `{id}` ({class}) of the workflow has no inputs; give `\"inputs\": {{}}` if it needs none");
        return Err(Failure::new(Reason::InvalidFormat, what));
    }
    let prefix = node.pointer("/inputs/filename_prefix").and_then(Value::as_str).unwrap_or_default();
    if leads_out(prefix) {
        let what = format!("node `{id}` ({class}): its filename_prefix leads out of ComfyUI's output folder");
        return Err(Failure::new(Reason::InvalidPayload, what));
    }
    if class == "SaveImageWebsocket" {
        let what = format!(
            "node `{id}` (SaveImageWebsocket) sends its pictures to a socket and keeps none, so they would be lost \
             with the connection; use SaveImage"
        );
        return Err(Failure::new(Reason::UnsupportedOperation, what));
    }
    Ok(())
}

/// No save node writes there; each attempt would fail the same way.
fn leads_out(prefix: &str) -> bool {
    let mut depth = 0;
    prefix.split(['/', '\\']).any(|part| {
        depth += match part {
            ".." => -1,
            "" | "." => 0,
            _ => 1,
        };
        depth < 0
    })
}

#[cfg(test)]
mod tests {
    use super::super::graph::Graph;
    use super::*;

    #[test]
    fn a_prefix_that_leads_out_of_the_output_folder_is_refused() {
        let graph = |prefix: &str| {
            let inputs = serde_json::json!({ "images": ["1", 0], "filename_prefix": prefix });
            Graph::read(&serde_json::json!({ "9": { "class_type": "SaveImage", "inputs": inputs } }))
        };
        for out in ["../../evil", "..", "a/../../evil", "..\\evil"] {
            assert_eq!(graph(out).unwrap_err().reason, Reason::InvalidPayload, "{out}");
        }
        for within in ["a", "a/b", "a/../b", "./a..b", "", "%date:yyyy%/x"] {
            assert!(graph(within).is_ok(), "{within}");
        }
    }
}
