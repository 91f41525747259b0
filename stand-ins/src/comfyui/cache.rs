//! Results of nodes kept from one run to the next, found by class, inputs and everything upstream.
//! In: finished nodes. Out: outputs of identical nodes, with the file names of their first run.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::folders::Folders;
use super::works::Thing;

/// What a node left: values for those linked to it, and what it shows to the user.
#[derive(Clone, Debug, Default)]
pub(crate) struct Made {
    pub things: Vec<Thing>,
    pub shown: Option<Value>,
}

struct Kept {
    made: Made,
    run: u64,
}

pub(crate) struct Cache {
    graphs: u64,
    run: u64,
    kept: HashMap<String, Kept>,
}

impl Cache {
    pub(crate) fn new(graphs: usize) -> Cache {
        Cache { graphs: graphs as u64, run: 0, kept: HashMap::new() }
    }

    /// Starts a run of nodes with these signatures and lets go of what only older graphs used.
    pub(crate) fn begin<'a>(&mut self, signatures: impl Iterator<Item = &'a String>) {
        self.run += 1;
        for signature in signatures {
            if let Some(kept) = self.kept.get_mut(signature) {
                kept.run = self.run;
            }
        }
        let (run, graphs) = (self.run, self.graphs);
        self.kept.retain(|_, kept| kept.run + graphs > run);
    }

    pub(crate) fn get(&self, signature: &str) -> Option<Made> {
        self.kept.get(signature).map(|kept| kept.made.clone())
    }

    pub(crate) fn put(&mut self, signature: String, made: Made) {
        if self.graphs > 0 {
            self.kept.insert(signature, Kept { made, run: self.run });
        }
    }

    pub(crate) fn clear(&mut self) {
        self.kept.clear();
    }
}

/// Signature of each node: two nodes with the same one make the same result.
pub(crate) fn signatures(graph: &Value, nodes: &BTreeSet<String>, folders: &Folders) -> HashMap<String, String> {
    let mut found = HashMap::new();
    for node in nodes {
        sign(graph, node, folders, &mut found);
    }
    found
}

fn sign(graph: &Value, node: &str, folders: &Folders, found: &mut HashMap<String, String>) -> String {
    if let Some(known) = found.get(node) {
        return known.clone();
    }
    let mut hash = Sha256::new();
    let class = graph[node]["class_type"].as_str().unwrap_or_default();
    hash.update(class);
    for (name, value) in graph[node]["inputs"].as_object().into_iter().flatten() {
        hash.update([0]);
        hash.update(name);
        hash.update([1]);
        match link(value) {
            Some((from, slot)) => {
                hash.update(sign(graph, from, folders, found));
                hash.update(slot.to_le_bytes());
            }
            None => hash.update(value.to_string()),
        }
    }
    // An overwritten input file makes another picture under the same name.
    if class == "LoadImage" {
        let name = graph[node]["inputs"]["image"].as_str().unwrap_or_default();
        hash.update(folders.input(name).and_then(|path| std::fs::read(path).ok()).unwrap_or_default());
    }
    let signature = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    found.insert(node.to_owned(), signature.clone());
    signature
}

/// `[node id, slot]`.
pub(crate) fn link(value: &Value) -> Option<(&str, u64)> {
    match value.as_array()?.as_slice() {
        [from, slot] => Some((from.as_str()?, slot.as_u64()?)),
        _ => None,
    }
}
