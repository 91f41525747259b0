//! Why a job does not fit a worker, as types and in plain words.
//! In: what is needed and what is there. Out: [`Misfit`], a code for counting, a sentence for people.

use crate::config::Isolation;
use serde_json::Value;
use std::fmt;

use super::advertised::isolation_word;

/// One reason why a job does not fit a worker. `needs` is the job's side, `has` the worker's.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "`needs` and `has` mean the same in every variant")]
pub enum Misfit {
    /// No healthy engine here answers this service.
    Service { needs: String, has: Vec<String> },
    /// GB of the slot's GPU; `None`: no GPU.
    GpuMemory { needs: f64, has: Option<f64> },
    /// GPUs for one job.
    GpuCount { needs: f64, has: u32 },
    /// Cores; `None`: not known.
    CpuCores { needs: f64, has: Option<u32> },
    /// GB of RAM; `None`: not known.
    Ram { needs: f64, has: Option<f64> },
    /// One of `needs` was asked for.
    GpuModel { needs: Vec<String>, has: Option<String> },
    /// Models that are not there for this service.
    Model { service: Option<String>, missing: Vec<String> },
    /// On the worker's deny list.
    CustomerDenied { customer: String },
    /// Not on the worker's allow list; empty: the job names no customer.
    CustomerNotAllowed { customer: String },
    /// Customers are not kept apart strictly enough.
    Isolation { needs: Isolation, has: Isolation },
    /// The worker takes jobs of one workflow alone; empty: the job names none.
    WorkflowDedicated { needs: String, has: String },
    /// Components that the worker does not offer.
    Component { missing: Vec<String>, has: Vec<String> },
    /// Quality levels that the worker does not offer.
    QualityLevel { missing: Vec<String>, has: Vec<String> },
    /// The worker is in none of these regions or countries.
    Region { needs: Vec<String>, has: Vec<String> },
    /// Compliance tags that the worker does not declare.
    Compliance { missing: Vec<String>, has: Vec<String> },
    /// None of these cost tiers.
    CostTier { needs: Vec<String>, has: Option<String> },
    /// The most an hour that the job pays; `None`: the worker declares no price.
    Rate { needs: f64, has: Option<f64> },
    /// Minutes that a job may run here.
    Timeout { needs: f64, has: u32 },
    /// The worker has what the job must not meet.
    Negative { key: String, refuses: Value },
    /// Jobs like it have run out of memory here: left out for a while.
    LeftOut { class: String },
    /// Any other key of the advertised JSON.
    Custom { key: String, needs: Value, has: Option<Value> },
}

impl Misfit {
    /// A short name that does not change, for counting.
    pub fn code(&self) -> &'static str {
        match self {
            Misfit::Service { .. } => "service",
            Misfit::GpuMemory { .. } => "gpu_memory",
            Misfit::GpuCount { .. } => "gpu_count",
            Misfit::CpuCores { .. } => "cpu_cores",
            Misfit::Ram { .. } => "ram",
            Misfit::GpuModel { .. } => "gpu_model",
            Misfit::Model { .. } => "model",
            Misfit::CustomerDenied { .. } => "customer_denied",
            Misfit::CustomerNotAllowed { .. } => "customer_not_allowed",
            Misfit::Isolation { .. } => "isolation",
            Misfit::WorkflowDedicated { .. } => "workflow_dedicated",
            Misfit::Component { .. } => "component",
            Misfit::QualityLevel { .. } => "quality_level",
            Misfit::Region { .. } => "region",
            Misfit::Compliance { .. } => "compliance",
            Misfit::CostTier { .. } => "cost_tier",
            Misfit::Rate { .. } => "rate",
            Misfit::Timeout { .. } => "timeout",
            Misfit::Negative { .. } => "negative",
            Misfit::LeftOut { .. } => "left_out",
            Misfit::Custom { .. } => "custom",
        }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misfit::LeftOut { class } => {
                write!(f, "jobs like it (class {class}) have run out of memory on this worker; left out for a while")
            }
            Misfit::Service { needs, has } if needs.is_empty() => {
                write!(f, "names no service; this worker serves {}", list(has))
            }
            Misfit::Service { needs, has } => write!(f, "needs the service {needs}; this worker serves {}", list(has)),
            Misfit::GpuMemory { needs, has: None } => write!(f, "needs a GPU with {needs} GB, and there is no GPU"),
            Misfit::GpuMemory { needs, has: Some(has) } => {
                write!(f, "needs {needs} GB of GPU memory; the GPU has {has}")
            }
            Misfit::GpuCount { needs, has } => write!(f, "needs {needs} GPUs; a job here gets {has}"),
            Misfit::CpuCores { needs, has } => write!(f, "needs {needs} CPU cores; there are {}", known(has)),
            Misfit::Ram { needs, has } => write!(f, "needs {needs} GB of RAM; there are {}", known(has)),
            Misfit::GpuModel { needs, has } => {
                write!(f, "needs a GPU of the model {}; the GPU is {}", needs.join(" or "), known(has))
            }
            Misfit::Model { service, missing } => {
                write!(f, "needs models that {} lacks: {}", service.as_deref().unwrap_or("this worker"), list(missing))
            }
            Misfit::CustomerDenied { customer } => write!(f, "customer {customer} is on this worker's deny list"),
            Misfit::CustomerNotAllowed { customer } if customer.is_empty() => {
                f.write_str("names no customer, and this worker serves listed customers only")
            }
            Misfit::CustomerNotAllowed { customer } => {
                write!(f, "customer {customer} is not on this worker's allow list")
            }
            Misfit::Isolation { needs, has } => {
                let (needs, has) = (isolation_word(*needs), isolation_word(*has));
                write!(f, "needs customer isolation {needs}; this worker has {has}")
            }
            Misfit::WorkflowDedicated { needs, has } if needs.is_empty() => {
                write!(f, "belongs to no workflow, and this worker is dedicated to {has}")
            }
            Misfit::WorkflowDedicated { needs, has } => {
                write!(f, "belongs to workflow {needs}, and this worker is dedicated to {has}")
            }
            Misfit::Component { missing, has } => {
                write!(f, "needs the component {}; this worker offers {}", list(missing), list(has))
            }
            Misfit::QualityLevel { missing, has } => {
                write!(f, "needs the quality level {}; this worker offers {}", list(missing), list(has))
            }
            Misfit::Region { needs, has } => {
                write!(f, "must run in {}; this worker is in {}", needs.join(" or "), list(has))
            }
            Misfit::Compliance { missing, has } => {
                write!(f, "needs compliance with {}; this worker declares {}", list(missing), list(has))
            }
            Misfit::CostTier { needs, has } => {
                write!(f, "needs the cost tier {}; this worker's is {}", needs.join(" or "), known(has))
            }
            Misfit::Rate { needs, has: None } => {
                write!(f, "pays at most {needs} an hour, and this worker declares no price")
            }
            Misfit::Rate { needs, has: Some(has) } => {
                write!(f, "pays at most {needs} an hour; this worker costs {has}")
            }
            Misfit::Timeout { needs, has } => write!(f, "may run {needs} minutes; this worker allows {has}"),
            Misfit::Negative { key, refuses } => write!(f, "refuses workers with {key} {refuses}, and this is one"),
            Misfit::Custom { key, needs, has: None } => write!(f, "needs {key} {needs}; this worker has no {key}"),
            Misfit::Custom { key, needs, has: Some(has) } => write!(f, "needs {key} {needs}; this worker has {has}"),
        }
    }
}

fn list(words: &[String]) -> String {
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

fn known<T: fmt::Display>(value: &Option<T>) -> String {
    value.as_ref().map_or_else(|| "not known".to_owned(), T::to_string)
}
