//! The order in which the nodes of a graph run.
//! In: a graph and the nodes still to do. Out: the nodes that are needed, and the next one.

use std::collections::BTreeSet;

use serde_json::Value;

use super::cache::link;
use super::catalog;

/// Nodes that the given ones need, themselves included; nothing is needed upstream of a node that is at hand.
pub(crate) fn upstream<'a>(
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
pub(crate) fn next(graph: &Value, left: &BTreeSet<String>) -> Option<String> {
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
