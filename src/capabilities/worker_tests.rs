//! The advertised JSON, and the worker that other tests use.
//! In: parts. Out: failures.

use super::*;
use crate::config::Isolation;
use serde_json::json;

/// A worker like the one that the reference's answers were recorded with, plus what only we advertise.
pub(in crate::capabilities) fn parts() -> Parts {
    let custom = json!({
        "features": ["lora", "controlnet"],
        "sla_tier": "gold",
        "max_batch_size": 4,
        "debugging_enabled": true,
        "nested": { "one": { "two": "deep" } },
    });
    Parts {
        worker_id: "gpu-1".into(),
        machine_id: "box".into(),
        hardware: HardwareFacts {
            gpu_memory_gb: Some(24.0),
            gpu_model: Some("RTX 4090".into()),
            gpu_count: 1,
            cpu_cores: Some(16),
            ram_gb: Some(64.0),
        },
        engines: vec![EngineFacts {
            name: "comfyui".into(),
            services: vec!["comfyui".into()],
            healthy: true,
            models: vec!["sdxl.safetensors".into()],
            version: None,
        }],
        classes_left_out: Default::default(),
        traits: WorkerTraits {
            isolation: Isolation::Loose,
            allowed_customers: vec![],
            denied_customers: vec![],
            max_concurrent_customers: 10,
            quality_levels: ["fast", "balanced", "quality"].map(String::from).to_vec(),
            max_processing_time_minutes: 60,
            components: vec![],
            region: None,
            country: None,
            compliance: vec![],
            data_residency: vec![],
            cost_tier: None,
            rate_per_hour: None,
            rate_per_job: None,
            minimum_charge: None,
            models: Default::default(),
            custom: custom.as_object().cloned().unwrap_or_default(),
        },
        workflow_id: None,
        version: "1.2.3".into(),
    }
}

pub(in crate::capabilities) fn reference_worker() -> Capabilities {
    Capabilities::new(parts())
}

#[test]
fn the_json_of_a_plain_worker() {
    let mut parts = parts();
    parts.traits.custom = Default::default();
    let mut document = Capabilities::new(parts).to_reference_json().clone();
    let metadata = document.as_object_mut().unwrap().remove("metadata").unwrap();
    assert_eq!(
        document,
        json!({
            "worker_id": "gpu-1",
            "machine_id": "box",
            "services": ["comfyui"],
            "job_service_required_map": ["comfyui"],
            "hardware": { "ram_gb": 64, "gpu_memory_gb": 24, "gpu_model": "RTX 4090", "gpu_count": 1, "cpu_cores": 16 },
            "models": { "comfyui": ["sdxl.safetensors"] },
            "customer_access": { "isolation": "loose", "max_concurrent_customers": 10 },
            "performance": {
                "concurrent_jobs": 1,
                "quality_levels": ["fast", "balanced", "quality"],
                "max_processing_time_minutes": 60,
            },
        })
    );
    let keys: Vec<_> = metadata.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["arch", "node_version", "platform", "version"]);
    assert_eq!(metadata["version"], "1.2.3");
}

#[test]
fn the_json_of_a_worker_that_declares_everything() {
    let mut parts = parts();
    let traits = &mut parts.traits;
    traits.allowed_customers = vec!["a".into()];
    traits.denied_customers = vec!["b".into()];
    traits.region = Some("eu-west".into());
    traits.country = Some("DE".into());
    traits.compliance = vec!["gdpr".into()];
    traits.data_residency = vec!["eu".into()];
    traits.cost_tier = Some("economy".into());
    traits.rate_per_hour = Some(0.5);
    traits.rate_per_job = Some(0.01);
    traits.components = vec!["upscale".into()];
    traits.custom.insert("services".into(), json!(["forged"]));
    parts.workflow_id = Some("w1".into());
    parts.engines[0].version = Some("0.3.60".into());
    let document = Capabilities::new(parts).to_reference_json().clone();
    for (key, expected) in [
        (
            "customer_access",
            json!({
                "isolation": "loose", "allowed_customers": ["a"], "denied_customers": ["b"], "max_concurrent_customers": 10
            }),
        ),
        (
            "location",
            json!({
                "region": "eu-west", "country": "DE", "compliance_zones": ["gdpr"], "data_residency_requirements": ["eu"]
            }),
        ),
        ("cost", json!({ "tier": "economy", "rate_per_hour": 0.5, "rate_per_job": 0.01 })),
        ("supported_components", json!(["upscale"])),
        ("workflow_id", json!("w1")),
        ("features", json!(["lora", "controlnet"])),
        ("debugging_enabled", json!(true)),
        ("comfyui_version", json!("0.3.60")),
        ("services", json!(["comfyui"])),
    ] {
        assert_eq!(document[key], expected, "{key}");
    }
}

#[test]
fn sizes_are_whole_and_never_more_than_there_is() {
    let mut parts = parts();
    parts.hardware = HardwareFacts { gpu_memory_gb: Some(23.9), ram_gb: Some(62.7), ..HardwareFacts::default() };
    let hardware = Capabilities::new(parts).to_reference_json()["hardware"].clone();
    assert_eq!(hardware, json!({ "gpu_memory_gb": 23, "gpu_model": "none", "gpu_count": 0, "ram_gb": 62 }));
}

#[test]
fn an_unhealthy_engine_offers_nothing() {
    let mut parts = parts();
    let second = EngineFacts {
        name: "sim".into(),
        services: vec!["sim".into(), "x".into()],
        healthy: true,
        ..Default::default()
    };
    parts.engines[0].healthy = false;
    parts.engines.push(second);
    let worker = Capabilities::new(parts);
    assert_eq!(worker.services(), ["sim", "x"]);
    assert_eq!(worker.to_reference_json()["models"], json!({ "sim": [], "x": [] }));
}

#[test]
fn declared_models_stand_beside_those_that_the_engine_lists() {
    let mut parts = parts();
    parts.traits.models.insert("comfyui".into(), vec!["flux.safetensors".into(), "sdxl.safetensors".into()]);
    parts.traits.models.insert("a1111".into(), vec!["not offered".into()]);
    let worker = Capabilities::new(parts);
    assert_eq!(worker.to_reference_json()["models"], json!({ "comfyui": ["flux.safetensors", "sdxl.safetensors"] }));
}

#[test]
fn only_the_fields_that_matter_are_asked_for() {
    let needed = |change: fn(&mut Parts)| {
        let mut parts = parts();
        change(&mut parts);
        Capabilities::new(parts).needed_job_fields().into_iter().collect::<Vec<_>>()
    };
    assert!(needed(|_| ()).is_empty());
    assert!(needed(|p| p.traits.isolation = Isolation::Strict).is_empty());
    assert!(needed(|p| p.workflow_id = Some(String::new())).is_empty());
    assert_eq!(needed(|p| p.traits.allowed_customers.push("a".into())), ["customer_id"]);
    assert_eq!(needed(|p| p.traits.denied_customers.push("a".into())), ["customer_id"]);
    assert_eq!(needed(|p| p.workflow_id = Some("w".into())), ["workflow_id"]);
}
