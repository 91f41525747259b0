//! Whether a class of jobs fits a worker: pure, without Redis, clock or state.
//! In: a class and the worker's capabilities. Out: [`Fit`], with every reason against it.

use super::compare::{look_up, satisfies};
use super::gpu_model::is_model;
use super::misfit::Misfit;
use super::requirements::Demand;
use super::worker::{ANY, Capabilities};
use crate::config::Isolation;
use crate::protocol::class::{Class, Unreadable};
use serde_json::Value;
use std::collections::BTreeSet;

/// The answer for one class on one worker.
#[derive(Debug, Clone, PartialEq)]
pub enum Fit {
    /// Its jobs can run here.
    Fits,
    /// Nothing speaks against it yet, but it was made without these job fields, which this worker must know. Such a job
    /// is indexed anew, or judged by [`fit_job`].
    NeedsFields(BTreeSet<String>),
    /// Its jobs must not run here; never empty.
    Misfit(Vec<Misfit>),
}

impl Fit {
    /// Whether it is [`Fit::Fits`].
    pub fn fits(&self) -> bool {
        matches!(self, Fit::Fits)
    }
}

/// Does this class fit this worker?
pub fn fit(class: &Class, worker: &Capabilities) -> Fit {
    let mut misfits = Vec::new();
    let mut unknown = BTreeSet::new();
    if let Some(dedicated) = &worker.workflow_id {
        match class.field("workflow_id") {
            None => {
                unknown.insert("workflow_id".to_owned());
            }
            Some(workflow) if workflow == dedicated => {}
            Some(other) => {
                misfits.push(Misfit::WorkflowDedicated { needs: other.to_owned(), has: dedicated.clone() });
            }
        }
    }
    misfits.extend(service(class, worker));
    if !worker.classes_left_out.is_empty() {
        let class = class.id().to_string();
        misfits.extend(worker.classes_left_out.contains(&class).then_some(Misfit::LeftOut { class }));
    }
    let (allowed, denied) = (&worker.traits.allowed_customers, &worker.traits.denied_customers);
    if !allowed.is_empty() || !denied.is_empty() {
        match class.field("customer_id").map(str::to_owned) {
            None => {
                unknown.insert("customer_id".to_owned());
            }
            Some(customer) if denied.contains(&customer) => misfits.push(Misfit::CustomerDenied { customer }),
            Some(customer) if !allowed.is_empty() && !allowed.contains(&customer) => {
                misfits.push(Misfit::CustomerNotAllowed { customer });
            }
            Some(_) => {}
        }
    }
    misfits.extend(Demand::required(class).filter_map(|demand| unmet(&demand, class, worker)));
    for (key, demand) in Demand::excluded(class) {
        if is_had(&demand, class, worker) {
            let refuses = class.exclude().get(key).cloned().unwrap_or(Value::Null);
            misfits.push(Misfit::Negative { key: key.to_owned(), refuses });
        }
    }
    match (misfits.is_empty(), unknown.is_empty()) {
        (false, _) => Fit::Misfit(misfits),
        (true, false) => Fit::NeedsFields(unknown),
        (true, true) => Fit::Fits,
    }
}

/// Judges one job on its raw hash, with every field that this worker reads. Never answers [`Fit::NeedsFields`].
pub fn fit_job<'a, F>(field: F, worker: &Capabilities) -> Result<Fit, Unreadable>
where
    F: Fn(&str) -> Option<&'a str>,
{
    Ok(fit(&Class::of(field, &worker.needed_job_fields())?, worker))
}

fn service(class: &Class, worker: &Capabilities) -> Option<Misfit> {
    let served = match class.service() {
        Some(service) => worker.services.iter().any(|s| s == service),
        None => !worker.services.is_empty(),
    };
    let needs = class.service().unwrap_or_default().to_owned();
    (!served).then(|| Misfit::Service { needs, has: worker.services.clone() })
}

/// The reason why a required demand is not met, if it is not. What a worker does not declare, it does not promise.
fn unmet(demand: &Demand<'_>, class: &Class, worker: &Capabilities) -> Option<Misfit> {
    let (hardware, traits) = (&worker.hardware, &worker.traits);
    match demand {
        Demand::GpuMemory(needs) => below(hardware.gpu_memory_gb, *needs)
            .then_some(Misfit::GpuMemory { needs: *needs, has: hardware.gpu_memory_gb }),
        Demand::GpuCount(needs) => (f64::from(hardware.gpu_count) < *needs)
            .then_some(Misfit::GpuCount { needs: *needs, has: hardware.gpu_count }),
        Demand::CpuCores(needs) => below(hardware.cpu_cores.map(f64::from), *needs)
            .then_some(Misfit::CpuCores { needs: *needs, has: hardware.cpu_cores }),
        Demand::Ram(needs) => {
            below(hardware.ram_gb, *needs).then_some(Misfit::Ram { needs: *needs, has: hardware.ram_gb })
        }
        Demand::GpuModel(needs) => {
            let is = |name: &String| needs.iter().any(|wanted| is_model(wanted, name));
            (!hardware.gpu_model.as_ref().is_some_and(is))
                .then(|| Misfit::GpuModel { needs: owned(needs), has: hardware.gpu_model.clone() })
        }
        Demand::Models { service, names } => {
            let service = service.or(class.service());
            let missing = worker.missing_models(service, names);
            (!missing.is_empty()).then(|| Misfit::Model { service: service.map(str::to_owned), missing })
        }
        Demand::Isolation(needs) => (strictness(traits.isolation) < strictness(*needs))
            .then_some(Misfit::Isolation { needs: *needs, has: traits.isolation }),
        Demand::Components(names) => {
            let missing =
                if unlimited(&traits.components) { Vec::new() } else { lacking(&traits.components, names, exact) };
            (!missing.is_empty()).then(|| Misfit::Component { missing, has: traits.components.clone() })
        }
        Demand::QualityLevels(names) => {
            let missing = lacking(&traits.quality_levels, names, word);
            (!missing.is_empty()).then(|| Misfit::QualityLevel { missing, has: traits.quality_levels.clone() })
        }
        Demand::Regions(names) => {
            let has: Vec<String> = traits.region.iter().chain(&traits.country).cloned().collect();
            (!shares(&has, names)).then(|| Misfit::Region { needs: owned(names), has })
        }
        Demand::Compliance(names) => {
            let missing = lacking(&traits.compliance, names, word);
            (!missing.is_empty()).then(|| Misfit::Compliance { missing, has: traits.compliance.clone() })
        }
        Demand::CostTiers(names) => (!shares(traits.cost_tier.as_slice(), names))
            .then(|| Misfit::CostTier { needs: owned(names), has: traits.cost_tier.clone() }),
        Demand::MaxRatePerHour(needs) => (!traits.rate_per_hour.is_some_and(|rate| rate <= *needs))
            .then_some(Misfit::Rate { needs: *needs, has: traits.rate_per_hour }),
        Demand::TimeoutMinutes(needs) => (f64::from(traits.max_processing_time_minutes) < *needs)
            .then_some(Misfit::Timeout { needs: *needs, has: traits.max_processing_time_minutes }),
        Demand::Custom { path, needs } => {
            let has = look_up(worker.to_reference_json(), path);
            (!satisfies(has, needs)).then(|| Misfit::Custom {
                key: (*path).to_owned(),
                needs: (*needs).clone(),
                has: has.cloned(),
            })
        }
    }
}

/// Whether a worker has what a job must not meet: it would meet the demand, and by something that it declares.
fn is_had(demand: &Demand<'_>, class: &Class, worker: &Capabilities) -> bool {
    match demand {
        // Stricter is no harm where a looser one was asked for, but here the very word is refused.
        Demand::Isolation(refused) => worker.traits.isolation == *refused,
        // "Any component" declares none in particular.
        Demand::Components(_) if unlimited(&worker.traits.components) => false,
        demand => unmet(demand, class, worker).is_none(),
    }
}

fn below(has: Option<f64>, needs: f64) -> bool {
    !has.is_some_and(|has| has >= needs)
}

fn strictness(isolation: Isolation) -> u8 {
    match isolation {
        Isolation::None => 0,
        Isolation::Loose => 1,
        Isolation::Strict => 2,
    }
}

fn unlimited(list: &[String]) -> bool {
    list.is_empty() || list.iter().any(|item| item == ANY)
}

fn exact(one: &str, other: &str) -> bool {
    one == other
}

fn word(one: &str, other: &str) -> bool {
    one.trim().eq_ignore_ascii_case(other.trim())
}

fn lacking(has: &[String], needs: &[&str], same: fn(&str, &str) -> bool) -> Vec<String> {
    needs.iter().filter(|need| !has.iter().any(|item| same(item, need))).map(|need| (*need).to_owned()).collect()
}

fn shares(has: &[String], needs: &[&str]) -> bool {
    has.iter().any(|item| needs.iter().any(|need| word(item, need)))
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
#[path = "reference_tests.rs"]
mod reference_tests;
#[cfg(test)]
#[path = "fit_tests.rs"]
mod tests;
