//! Capabilities as the JSON that the reference's readers and custom requirements know.
//! In: the parts and what they amount to. Out: one JSON object; members without a value are absent.

use super::worker::{HardwareFacts, Parts};
use crate::config::{Isolation, WorkerTraits};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn document(parts: &Parts, services: &[String], models: &BTreeMap<String, BTreeSet<String>>) -> Value {
    let traits = &parts.traits;
    // Custom capabilities go in first: nothing that an owner declares may overwrite what the worker knows.
    let mut document = traits.custom.clone();
    for engine in parts.engines.iter().filter(|engine| engine.healthy) {
        if let Some(version) = &engine.version {
            document.entry(format!("{}_version", engine.name)).or_insert_with(|| Value::from(version.as_str()));
        }
    }
    let mut put = |key: &str, value: Value| document.insert(key.to_owned(), value);
    put("worker_id", Value::from(parts.worker_id.as_str()));
    put("machine_id", Value::from(parts.machine_id.as_str()));
    put("services", json!(services));
    put("job_service_required_map", json!(services));
    put("hardware", hardware(&parts.hardware));
    put("models", json!(models));
    put("customer_access", customer_access(traits));
    put(
        "performance",
        json!({
            "concurrent_jobs": 1,
            "quality_levels": traits.quality_levels,
            "max_processing_time_minutes": traits.max_processing_time_minutes,
        }),
    );
    put(
        "metadata",
        // Readers expect Node's words for the platform, and its version to be there.
        json!({ "version": parts.version, "node_version": "none", "platform": platform(), "arch": arch() }),
    );
    if !parts.classes_left_out.is_empty() {
        put("classes_left_out", json!(parts.classes_left_out));
    }
    if let Some(location) = location(traits) {
        put("location", location);
    }
    if let Some(cost) = cost(traits) {
        put("cost", cost);
    }
    if !traits.components.is_empty() {
        put("supported_components", json!(traits.components));
    }
    if let Some(workflow) = parts.workflow_id.as_deref().filter(|id| !id.is_empty()) {
        put("workflow_id", Value::from(workflow));
    }
    Value::Object(document)
}

/// Sizes are whole numbers in the reference; rounded down, so that nothing is promised that is not there.
fn hardware(facts: &HardwareFacts) -> Value {
    let model = facts.gpu_model.as_deref().unwrap_or(if facts.gpu_count == 0 { "none" } else { "unknown" });
    let mut hardware = Map::new();
    hardware.insert("gpu_memory_gb".to_owned(), whole(facts.gpu_memory_gb.unwrap_or(0.0)));
    hardware.insert("gpu_model".to_owned(), Value::from(model));
    hardware.insert("gpu_count".to_owned(), Value::from(facts.gpu_count));
    hardware.insert("ram_gb".to_owned(), whole(facts.ram_gb.unwrap_or(0.0)));
    if let Some(cores) = facts.cpu_cores {
        hardware.insert("cpu_cores".to_owned(), Value::from(cores));
    }
    Value::Object(hardware)
}

fn customer_access(traits: &WorkerTraits) -> Value {
    let mut access = Map::new();
    access.insert("isolation".to_owned(), Value::from(isolation_word(traits.isolation)));
    for (key, list) in
        [("allowed_customers", &traits.allowed_customers), ("denied_customers", &traits.denied_customers)]
    {
        if !list.is_empty() {
            access.insert(key.to_owned(), json!(list));
        }
    }
    access.insert("max_concurrent_customers".to_owned(), Value::from(traits.max_concurrent_customers));
    Value::Object(access)
}

fn location(traits: &WorkerTraits) -> Option<Value> {
    let mut location = Map::new();
    location.insert("region".to_owned(), Value::from(traits.region.as_deref()?));
    if let Some(country) = &traits.country {
        location.insert("country".to_owned(), Value::from(country.as_str()));
    }
    location.insert("compliance_zones".to_owned(), json!(traits.compliance));
    if !traits.data_residency.is_empty() {
        location.insert("data_residency_requirements".to_owned(), json!(traits.data_residency));
    }
    Some(Value::Object(location))
}

fn cost(traits: &WorkerTraits) -> Option<Value> {
    let mut cost = Map::new();
    cost.insert("tier".to_owned(), Value::from(traits.cost_tier.as_deref()?));
    for (key, rate) in [
        ("rate_per_hour", traits.rate_per_hour),
        ("rate_per_job", traits.rate_per_job),
        ("minimum_charge", traits.minimum_charge),
    ] {
        if let Some(rate) = rate {
            cost.insert(key.to_owned(), Value::from(rate));
        }
    }
    Some(Value::Object(cost))
}

pub(super) fn isolation_word(isolation: Isolation) -> &'static str {
    match isolation {
        Isolation::Strict => "strict",
        Isolation::Loose => "loose",
        Isolation::None => "none",
    }
}

fn whole(size: f64) -> Value {
    Value::from(size.max(0.0).floor() as u64)
}

fn platform() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        "windows" => "win32",
        other => other,
    }
}

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    }
}
