//! The engines, as last probed, and what of them is left out for a while.
//! In: filled by the agent. Out: the section `connectors`.

use serde::Serialize;
use std::collections::BTreeMap;

/// Names of models that are listed of one folder.
pub const NAMES: usize = 50;

/// One engine.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Connector {
    /// Connector name and address number.
    pub label: String,
    /// The connector.
    pub connector: String,
    /// What it answers.
    pub services: Vec<String>,
    /// Its services are offered.
    pub healthy: bool,
    /// Why not, with what to do.
    pub why: Option<String>,
    /// As it told.
    pub version: Option<String>,
    /// In its own queue.
    pub queue_remaining: Option<u64>,
    /// Runs of ours at work in it.
    pub runs: usize,
    /// How many models of which kind.
    pub models: BTreeMap<String, usize>,
    /// The first names of each.
    pub model_names: BTreeMap<String, Vec<String>>,
    /// What is not offered for a while.
    pub left_out: Vec<LeftOut>,
    /// When it was last asked.
    pub probed: Option<i64>,
}

/// Something of an engine that failed and is left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LeftOut {
    /// For people.
    pub part: String,
    /// `engine`, `runs`, `model`, `memory`, `class`.
    pub kind: &'static str,
    /// `open` (left out) or `trial` (offered again; what happens next decides).
    pub state: &'static str,
    /// Until when at least.
    pub until: Option<i64>,
    /// Failures in a row.
    pub failures: u32,
    /// The last failure.
    pub why: String,
    /// What to do.
    pub remedy: &'static str,
}
