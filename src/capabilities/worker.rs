//! What one worker offers, put together from its parts.
//! In: hardware facts, engines as last probed, declared traits. Out: [`Capabilities`], which matching reads and Redis shows.

use super::advertised;
use crate::config::WorkerTraits;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// In a list of models or components: there is no limit to what is there.
pub(super) const ANY: &str = "all";

/// The hardware of one slot, as matching compares it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HardwareFacts {
    /// Nominal memory of the slot's GPU, in GB; `None` without a GPU.
    pub gpu_memory_gb: Option<f64>,
    /// The GPU's name, such as `NVIDIA GeForce RTX 4090`.
    pub gpu_model: Option<String>,
    /// GPUs that a job in this slot may use.
    pub gpu_count: u32,
    /// CPU cores of the machine.
    pub cpu_cores: Option<u32>,
    /// Memory of the machine, in GB.
    pub ram_gb: Option<f64>,
}

/// One engine of the slot, as last probed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EngineFacts {
    /// The connector's name, such as `comfyui`.
    pub name: String,
    /// The `service_required` values that it answers.
    pub services: Vec<String>,
    /// Whether it answered its last probe; an unhealthy engine's services are not offered.
    pub healthy: bool,
    /// The models that it lists.
    pub models: Vec<String>,
    /// Its version, if it tells one.
    pub version: Option<String>,
}

/// All that capabilities are made from.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The slot's id, suffix included.
    pub worker_id: String,
    /// The machine's id.
    pub machine_id: String,
    /// The slot's hardware.
    pub hardware: HardwareFacts,
    /// The slot's engines, in the order in which they are configured.
    pub engines: Vec<EngineFacts>,
    /// Ids of classes whose jobs are not taken for now: they have failed here for want of memory.
    pub classes_left_out: BTreeSet<String>,
    /// What the owner declares.
    pub traits: WorkerTraits,
    /// The one workflow whose jobs it takes; `None` or empty = any.
    pub workflow_id: Option<String>,
    /// Version of this program.
    pub version: String,
}

/// What one worker offers.
#[derive(Debug, Clone)]
pub struct Capabilities {
    pub(super) hardware: HardwareFacts,
    pub(super) services: Vec<String>,
    pub(super) models: BTreeMap<String, BTreeSet<String>>,
    pub(super) classes_left_out: BTreeSet<String>,
    pub(super) traits: WorkerTraits,
    pub(super) workflow_id: Option<String>,
    pub(super) document: Value,
}

impl Capabilities {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Capabilities {
        let mut services: Vec<String> = Vec::new();
        let mut models: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for engine in parts.engines.iter().filter(|engine| engine.healthy) {
            for service in &engine.services {
                if !services.contains(service) {
                    services.push(service.clone());
                }
                let declared = parts.traits.models.get(service).or_else(|| parts.traits.models.get(&engine.name));
                let names = engine.models.iter().chain(declared.into_iter().flatten());
                models.entry(service.clone()).or_default().extend(names.cloned());
            }
        }
        let document = advertised::document(&parts, &services, &models);
        Capabilities {
            hardware: parts.hardware,
            services,
            models,
            classes_left_out: parts.classes_left_out,
            workflow_id: parts.workflow_id.filter(|id| !id.is_empty()),
            traits: parts.traits,
            document,
        }
    }

    /// The JSON that the reference's worker would send, with `cpu_cores` and `gpu_count` added to its hardware.
    pub fn to_reference_json(&self) -> &Value {
        &self.document
    }

    /// The services that can be asked for now.
    pub fn services(&self) -> &[String] {
        &self.services
    }

    /// The hardware that is compared.
    pub fn hardware(&self) -> &HardwareFacts {
        &self.hardware
    }

    /// The job fields beyond service and requirements that fitting on this worker reads: they go into `jobs:class:fields`.
    pub fn needed_job_fields(&self) -> BTreeSet<String> {
        let customers = !self.traits.allowed_customers.is_empty() || !self.traits.denied_customers.is_empty();
        let mut fields = BTreeSet::new();
        if customers {
            fields.insert("customer_id".to_owned());
        }
        if self.workflow_id.is_some() {
            fields.insert("workflow_id".to_owned());
        }
        fields
    }

    /// Which of these models are missing for a service (for a job that names none: in all services together).
    pub(super) fn missing_models(&self, service: Option<&str>, names: &[&str]) -> Vec<String> {
        let lists: Vec<&BTreeSet<String>> = match service {
            Some(service) => self.models.get(service).into_iter().collect(),
            None => self.models.values().collect(),
        };
        let has = |name: &str| lists.iter().any(|list| list.contains(name) || list.contains(ANY));
        names.iter().filter(|name| !has(name)).map(|name| (*name).to_owned()).collect()
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
pub(super) mod tests;
