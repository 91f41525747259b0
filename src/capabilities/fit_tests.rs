//! Fitting: missing fields, reasons in words, and what holds on any input.
//! In: classes and workers. Out: failures.

use super::*;
use crate::capabilities::Capabilities;
use crate::capabilities::worker::tests::{parts, reference_worker};
use proptest::prelude::*;

fn job<'a>(requirements: &'a str) -> impl Fn(&str) -> Option<&'a str> {
    move |name| match name {
        "service_required" => Some("comfyui"),
        "requirements" => Some(requirements),
        "customer_id" => Some("c1"),
        _ => None,
    }
}

fn fields(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_class_without_the_fields_that_a_worker_reads() {
    let mut parts = parts();
    parts.traits.allowed_customers = vec!["c1".into()];
    parts.workflow_id = Some("w1".into());
    let worker = Capabilities::new(parts);
    let bare = Class::of(job(""), &BTreeSet::new()).unwrap();
    assert_eq!(fit(&bare, &worker), Fit::NeedsFields(fields(&["customer_id", "workflow_id"])));
    let half = Class::of(job(""), &fields(&["customer_id"])).unwrap();
    assert_eq!(fit(&half, &worker), Fit::NeedsFields(fields(&["workflow_id"])));
    let whole = Class::of(job(""), &worker.needed_job_fields()).unwrap();
    assert!(matches!(fit(&whole, &worker), Fit::Misfit(_)));
    // A field cannot mend what speaks against it anyway.
    let large = Class::of(job(r#"{"hardware":{"gpu_memory_gb":80}}"#), &BTreeSet::new()).unwrap();
    assert!(matches!(fit(&large, &worker), Fit::Misfit(_)));
    // Fields that only other workers read change nothing.
    let more = Class::of(job(""), &fields(&["customer_id", "workflow_id", "region"])).unwrap();
    assert!(fit(&more, &reference_worker()).fits());
}

#[test]
fn every_reason_is_told_at_once_and_in_words() {
    let mut parts = parts();
    parts.traits.denied_customers = vec!["c1".into()];
    parts.workflow_id = Some("w1".into());
    parts.traits.components = vec!["upscale".into()];
    let worker = Capabilities::new(parts);
    let requirements = r#"{
        "hardware": {"gpu_memory_gb": 80, "gpu_count": 2, "cpu_cores": 64, "ram_gb": 512, "gpu_model": ["H100", "H200"]},
        "models": ["flux"], "customer_isolation": "strict", "component": "inpaint", "quality_level": "ultra",
        "geographic_region": "eu", "compliance": "gdpr", "cost_tier": "economy", "max_rate_per_hour": 1.5,
        "timeout_minutes": 90, "sla_tier": "platinum", "nvlink": true, "negative_requirements": {"features": ["lora"]}
    }"#;
    let hash = |name: &str| if name == "service_required" { Some("a1111") } else { job(requirements)(name) };
    let Ok(Fit::Misfit(reasons)) = fit_job(hash, &worker) else { panic!("it fits") };
    let mut told: Vec<String> = reasons.iter().map(|r| format!("{}: {r}", r.code())).collect();
    told.sort();
    assert_eq!(
        told,
        [
            "compliance: needs compliance with gdpr; this worker declares none",
            "component: needs the component inpaint; this worker offers upscale",
            "cost_tier: needs the cost tier economy; this worker's is not known",
            "cpu_cores: needs 64 CPU cores; there are 16",
            "custom: needs nvlink true; this worker has no nvlink",
            "custom: needs sla_tier \"platinum\"; this worker has \"gold\"",
            "customer_denied: customer c1 is on this worker's deny list",
            "gpu_count: needs 2 GPUs; a job here gets 1",
            "gpu_memory: needs 80 GB of GPU memory; the GPU has 24",
            "gpu_model: needs a GPU of the model H100 or H200; the GPU is RTX 4090",
            "isolation: needs customer isolation strict; this worker has loose",
            "model: needs models that a1111 lacks: flux",
            "negative: refuses workers with features [\"lora\"], and this is one",
            "quality_level: needs the quality level ultra; this worker offers fast, balanced, quality",
            "ram: needs 512 GB of RAM; there are 64",
            "rate: pays at most 1.5 an hour, and this worker declares no price",
            "region: must run in eu; this worker is in none",
            "service: needs the service a1111; this worker serves comfyui",
            "timeout: may run 90 minutes; this worker allows 60",
            "workflow_dedicated: belongs to no workflow, and this worker is dedicated to w1",
        ]
    );
}

fn any_requirements() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        prop::sample::select(vec![
            "hardware",
            "gpu_memory_gb",
            "gpu",
            "memory_gb",
            "gpu_model",
            "models",
            "positive_requirements",
            "negative_requirements",
            "customer_isolation",
            "quality_level",
            "component",
            "features",
            "sla_tier",
            "metadata",
            "version",
            "max_rate_per_hour",
            "timeout_minutes",
            "compliance",
            "hardware.ram_gb",
            "services",
        ])
        .prop_map(str::to_owned),
        "[a-z.]{0,6}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-5i32..100).prop_map(Value::from),
        any::<f64>().prop_map(|n| serde_json::json!(n)),
        prop::sample::select(vec!["all", "strict", "16", "fast", "", "gold", "lora", "sdxl.safetensors", "RTX 4090"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 30, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..5).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
    .prop_map(|value| value.to_string())
}

/// Lists and objects without anything in them, however deep, ask for nothing; nor does a part without a name.
fn is_hollow(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().all(is_hollow),
        Value::Object(map) => map.iter().all(|(name, value)| name.is_empty() || is_hollow(value)),
        _ => false,
    }
}

proptest! {
    #[test]
    fn the_class_and_the_raw_job_get_the_same_answer(text in any_requirements(), allow in any::<bool>(), dedicated in any::<bool>()) {
        let mut parts = parts();
        if allow {
            parts.traits.allowed_customers = vec!["c1".into()];
        }
        parts.workflow_id = dedicated.then(|| "w1".to_owned());
        let worker = Capabilities::new(parts);
        match (Class::of(job(&text), &worker.needed_job_fields()), fit_job(job(&text), &worker)) {
            (Ok(class), Ok(answer)) => {
                prop_assert_eq!(fit(&class, &worker), answer.clone());
                prop_assert!(!matches!(answer, Fit::NeedsFields(_)));
                let stored = Class::parse(class.definition()).unwrap();
                prop_assert_eq!(fit(&stored, &worker), answer);
            }
            (Err(one), Err(other)) => prop_assert_eq!(one, other),
            (class, answer) => prop_assert!(false, "{class:?} but {answer:?}"),
        }
    }

    #[test]
    fn a_demand_and_its_refusal_never_both_fit(text in any_requirements()) {
        let Ok(Value::Object(map)) = serde_json::from_str::<Value>(&text) else { return Ok(()) };
        let says_something = |(key, value): &(String, Value)| !key.ends_with("_requirements") && !is_hollow(value);
        for (key, value) in map.into_iter().filter(says_something) {
            let asked = serde_json::json!({ &key: value }).to_string();
            let refused = serde_json::json!({ "negative_requirements": { &key: value } }).to_string();
            let (Ok(asked), Ok(refused)) =
                (Class::of(job(&asked), &BTreeSet::new()), Class::of(job(&refused), &BTreeSet::new()))
            else {
                continue;
            };
            // What asks nothing refuses nothing, components are free here, and hardware keys refuse one by one.
            if asked.require().len() != 1 || refused.exclude().len() != 1 || matches!(key.as_str(), "component" | "workflow") {
                continue;
            }
            let worker = reference_worker();
            prop_assert!(!(fit(&asked, &worker).fits() && fit(&refused, &worker).fits()), "{key}");
        }
    }
}
