//! What the worker tells about itself for matching.
//! In: resolved values. Out: `WorkerTraits`, with the custom capabilities under the names that jobs ask for.

use super::reader::Reader;
use super::settings::{Isolation, WorkerTraits};
use super::value::Value;
use serde_json::Value as Json;

/// Variables that are advertised as they are, under these names.
const CUSTOM: [(&str, &str); 20] = [
    ("WORKER_TYPE", "worker_type"),
    ("WORKER_DESCRIPTION", "description"),
    ("GPU_COMPUTE_CAPABILITY", "gpu_compute_capability"),
    ("CPU_THREADS", "cpu_threads"),
    ("STORAGE_TYPE", "storage_type"),
    ("STORAGE_GB", "storage_gb"),
    ("WORKER_ASSET_TYPE", "asset_type"),
    ("WORKER_MODELS", "available_models"),
    ("WORKER_FEATURES", "features"),
    ("WORKER_LIMITATIONS", "limitations"),
    ("WORKER_PERFORMANCE_TIER", "performance_tier"),
    ("WORKER_SPECIALIZATION", "specialization"),
    ("WORKER_SLA_TIER", "sla_tier"),
    ("WORKER_AVAILABILITY", "availability"),
    ("WORKER_COMFYUI_VERSION", "comfyui_version"),
    ("WORKER_A1111_VERSION", "a1111_version"),
    ("WORKER_MAX_BATCH_SIZE", "max_batch_size"),
    ("DEBUGGING_ENABLED", "debugging_enabled"),
    ("WORKER_EXPERIMENTAL_MODE", "experimental_mode"),
    ("DEVELOPMENT_MODE", "development_mode"),
];
const CUSTOM_SWITCHES: [(&str, &str); 2] =
    [("WORKER_MEMORY_CONSTRAINED", "memory_constrained"), ("WORKER_MULTI_SERVICE", "multi_service")];

pub(super) fn traits(reader: &Reader<'_>) -> WorkerTraits {
    let models = [("comfyui", "COMFYUI_MODELS"), ("a1111", "A1111_MODELS"), ("openai", "OPENAI_MODELS")];
    let models = models.map(|(service, name)| (service.to_string(), reader.list(name)));
    let custom = CUSTOM.iter().chain(&CUSTOM_SWITCHES);
    WorkerTraits {
        isolation: match reader.text("CUSTOMER_ISOLATION").as_deref() {
            Some("strict") => Isolation::Strict,
            Some("none") => Isolation::None,
            _ => Isolation::Loose,
        },
        allowed_customers: reader.list("ALLOWED_CUSTOMERS"),
        denied_customers: reader.list("DENIED_CUSTOMERS"),
        max_concurrent_customers: reader.count("MAX_CONCURRENT_CUSTOMERS").unwrap_or_default(),
        quality_levels: reader.list("QUALITY_LEVELS"),
        max_processing_time_minutes: reader.count("MAX_PROCESSING_TIME_MINUTES").unwrap_or_default(),
        components: reader.list("COMPONENTS"),
        region: reader.text("REGION"),
        country: reader.text("WORKER_COUNTRY"),
        compliance: reader.list("COMPLIANCE_TAGS"),
        data_residency: reader.list("DATA_LOCALITY"),
        cost_tier: reader.text("COST_TIER"),
        rate_per_hour: reader.decimal("RATE_PER_HOUR"),
        rate_per_job: reader.decimal("WORKER_RATE_PER_JOB"),
        minimum_charge: reader.decimal("WORKER_MINIMUM_CHARGE"),
        models: models.into_iter().filter(|(_, models)| !models.is_empty()).collect(),
        custom: custom.filter_map(|(name, key)| Some(((*key).into(), json(reader.value(name)?)?))).collect(),
    }
}

fn json(value: &Value) -> Option<Json> {
    match value {
        Value::Text(text) => Some(text.as_str().into()),
        Value::Whole(number) => Some((*number).into()),
        Value::Decimal(number) => Some((*number).into()),
        Value::Boolean(boolean) => Some((*boolean).into()),
        Value::List(items) => Some(items.as_slice().into()),
        Value::Span(_) | Value::Indexes(_) | Value::Urls(_) => None,
    }
}
