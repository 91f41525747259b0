//! What another worker offers, as far as the JSON tells that it advertises.
//! In: that JSON. Out: [`Capabilities`], and whether a misfit by them is sure: sizes are rounded down in it, and some of what an
//! owner declares is left out.

use super::misfit::Misfit;
use super::worker::{Capabilities, HardwareFacts};
use crate::config::{Isolation, WorkerTraits};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

impl Capabilities {
    /// Reads what a worker advertises. What is not there or of another shape counts as not offered.
    pub fn told(document: Value) -> Capabilities {
        let hardware = &document["hardware"];
        let whole = |name: &str| hardware[name].as_u64().and_then(|count| u32::try_from(count).ok());
        let size = |name: &str| hardware[name].as_f64().filter(|size| *size > 0.0);
        let model = hardware["gpu_model"].as_str().filter(|name| !matches!(*name, "none" | "unknown"));
        let hardware = HardwareFacts {
            gpu_memory_gb: size("gpu_memory_gb"),
            gpu_model: model.map(str::to_owned),
            gpu_count: whole("gpu_count").unwrap_or(0),
            cpu_cores: whole("cpu_cores"),
            ram_gb: size("ram_gb"),
        };
        let lists = document["models"].as_object().into_iter().flatten();
        let models: BTreeMap<String, BTreeSet<String>> =
            lists.map(|(service, names)| (service.clone(), texts(names).into_iter().collect())).collect();
        Capabilities {
            hardware,
            services: texts(&document["services"]),
            models,
            classes_left_out: texts(&document["classes_left_out"]).into_iter().collect(),
            traits: traits(&document),
            workflow_id: text(&document["workflow_id"]),
            document,
        }
    }

    /// Whether this misfit, found by what [`Capabilities::told`] read, is one in truth.
    pub fn is_sure(&self, misfit: &Misfit) -> bool {
        let document = self.to_reference_json();
        match misfit {
            Misfit::GpuMemory { needs, has: Some(has) } | Misfit::Ram { needs, has: Some(has) } => *needs >= has + 1.0,
            Misfit::Region { .. } | Misfit::Compliance { .. } => document["location"].is_object(),
            Misfit::Rate { has: None, .. } => document["cost"].is_object(),
            _ => true,
        }
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn traits(document: &Value) -> WorkerTraits {
    let (access, performance) = (&document["customer_access"], &document["performance"]);
    let (location, cost) = (&document["location"], &document["cost"]);
    let whole = |value: &Value| value.as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
    WorkerTraits {
        isolation: match access["isolation"].as_str() {
            Some("strict") => Isolation::Strict,
            Some("loose") => Isolation::Loose,
            _ => Isolation::None,
        },
        allowed_customers: texts(&access["allowed_customers"]),
        denied_customers: texts(&access["denied_customers"]),
        max_concurrent_customers: whole(&access["max_concurrent_customers"]),
        quality_levels: texts(&performance["quality_levels"]),
        max_processing_time_minutes: whole(&performance["max_processing_time_minutes"]),
        components: texts(&document["supported_components"]),
        region: text(&location["region"]),
        country: text(&location["country"]),
        compliance: texts(&location["compliance_zones"]),
        data_residency: texts(&location["data_residency_requirements"]),
        cost_tier: text(&cost["tier"]),
        rate_per_hour: cost["rate_per_hour"].as_f64(),
        rate_per_job: cost["rate_per_job"].as_f64(),
        minimum_charge: cost["minimum_charge"].as_f64(),
        // Part of the lists by service, and of the document itself.
        models: BTreeMap::new(),
        custom: serde_json::Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capabilities::worker::tests::parts;
    use crate::capabilities::{Fit, fit};
    use crate::protocol::class::Class;
    use serde_json::json;

    /// As a worker that declares everything, none of it rounded.
    fn declared() -> Capabilities {
        let mut parts = parts();
        parts.classes_left_out = ["0123456789abcdef".to_owned()].into();
        parts.workflow_id = Some("flow-1".into());
        let traits = &mut parts.traits;
        traits.isolation = Isolation::Strict;
        traits.allowed_customers = vec!["c1".into()];
        traits.denied_customers = vec!["c2".into()];
        traits.components = vec!["upscale".into()];
        (traits.region, traits.country) = (Some("eu-west".into()), Some("DE".into()));
        (traits.compliance, traits.data_residency) = (vec!["gdpr".into()], vec!["eu".into()]);
        (traits.cost_tier, traits.rate_per_hour) = (Some("low".into()), Some(1.5));
        Capabilities::new(parts)
    }

    #[test]
    fn what_is_advertised_is_read_back_as_matching_compares_it() {
        for offered in [declared(), Capabilities::new(parts())] {
            let told = Capabilities::told(offered.to_reference_json().clone());
            let seen = |one: &Capabilities| {
                let traits = WorkerTraits { models: BTreeMap::new(), custom: Default::default(), ..one.traits.clone() };
                format!(
                    "{:?} {:?} {:?} {:?} {:?} {traits:?}",
                    one.hardware, one.services, one.models, one.classes_left_out, one.workflow_id
                )
            };
            assert_eq!(seen(&told), seen(&offered));
            assert_eq!(told.to_reference_json(), offered.to_reference_json());
        }
        // What others have written may be of any shape.
        for odd in [json!(null), json!([]), json!({"hardware": 3, "services": "x", "models": [1], "cost": "free"})] {
            assert!(Capabilities::told(odd).services().is_empty());
        }
    }

    #[test]
    fn what_the_json_does_not_tell_is_no_sure_misfit() {
        let misfits = |offered: &Capabilities, requirements: &str| {
            let told = Capabilities::told(offered.to_reference_json().clone());
            let field = |name: &str| match name {
                "service_required" => Some("comfyui"),
                "requirements" => Some(requirements),
                _ => None,
            };
            match fit(&Class::of(field, &BTreeSet::new()).unwrap(), &told) {
                Fit::Misfit(misfits) => misfits.iter().map(|one| (one.code(), told.is_sure(one))).collect(),
                _ => Vec::new(),
            }
        };
        let mut parts = parts();
        parts.hardware.gpu_memory_gb = Some(23.6);
        parts.traits.compliance = vec!["gdpr".into()];
        let offered = Capabilities::new(parts);
        let needs = |gb: f64| format!(r#"{{"hardware":{{"gpu_memory_gb":{gb}}}}}"#);
        assert_eq!(misfits(&offered, &needs(23.5)), [("gpu_memory", false)], "23 are advertised, and 23.6 are there");
        assert_eq!(misfits(&offered, &needs(24.0)), [("gpu_memory", true)]);
        assert_eq!(misfits(&offered, r#"{"compliance":["gdpr"]}"#).first().map(|one| one.1), Some(false));
    }
}
