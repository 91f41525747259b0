//! The demands of a class as types.
//! In: a class's dotted keys and values, in the one spelling that `protocol::class` gives them. Out: one [`Demand`] a key.

use crate::config::Isolation;
use crate::protocol::class::Class;
use serde_json::{Map, Value};

/// One thing that a job asks of a worker, or asks a worker not to have. Lists are never empty.
#[derive(Debug, Clone, PartialEq)]
pub enum Demand<'a> {
    /// At least this many GB of memory on the slot's GPU.
    GpuMemory(f64),
    /// At least this many GPUs for the job.
    GpuCount(f64),
    /// At least this many CPU cores.
    CpuCores(f64),
    /// At least this many GB of RAM.
    Ram(f64),
    /// One of these GPU models.
    GpuModel(Vec<&'a str>),
    /// All of these models, for this service or, without one, for the job's own.
    Models {
        /// The service under which they must be listed.
        service: Option<&'a str>,
        /// Their names.
        names: Vec<&'a str>,
    },
    /// Customers kept apart this strictly.
    Isolation(Isolation),
    /// All of these components (named workflows).
    Components(Vec<&'a str>),
    /// All of these quality levels.
    QualityLevels(Vec<&'a str>),
    /// One of these regions or countries.
    Regions(Vec<&'a str>),
    /// All of these compliance tags.
    Compliance(Vec<&'a str>),
    /// One of these cost tiers.
    CostTiers(Vec<&'a str>),
    /// A declared price of at most this much an hour.
    MaxRatePerHour(f64),
    /// Jobs may run at least this many minutes.
    TimeoutMinutes(f64),
    /// Any other dotted key into the advertised JSON.
    Custom {
        /// The dotted key.
        path: &'a str,
        /// What must be there.
        needs: &'a Value,
    },
}

impl<'a> Demand<'a> {
    /// What workers must have.
    pub fn required(class: &'a Class) -> impl Iterator<Item = Demand<'a>> {
        demands(class.require()).map(|(_, demand)| demand)
    }

    /// What workers must not have, with the key that says so.
    pub fn excluded(class: &'a Class) -> impl Iterator<Item = (&'a str, Demand<'a>)> {
        demands(class.exclude())
    }

    fn read(key: &'a str, value: &'a Value) -> Demand<'a> {
        let known = match (key, value) {
            (_, Value::Number(number)) => number.as_f64().and_then(|amount| Demand::amount(key, amount)),
            ("customer_isolation", Value::String(word)) => Demand::isolation(word),
            _ => words(value).and_then(|words| Demand::words(key, words)),
        };
        known.unwrap_or(Demand::Custom { path: key, needs: value })
    }

    fn amount(key: &str, amount: f64) -> Option<Demand<'a>> {
        Some(match key {
            "hardware.gpu_memory_gb" => Demand::GpuMemory(amount),
            "hardware.gpu_count" => Demand::GpuCount(amount),
            "hardware.cpu_cores" => Demand::CpuCores(amount),
            "hardware.ram_gb" => Demand::Ram(amount),
            "max_rate_per_hour" => Demand::MaxRatePerHour(amount),
            "timeout_minutes" => Demand::TimeoutMinutes(amount),
            _ => return None,
        })
    }

    fn words(key: &'a str, words: Vec<&'a str>) -> Option<Demand<'a>> {
        Some(match key {
            "hardware.gpu_model" => Demand::GpuModel(words),
            "models" => Demand::Models { service: None, names: words },
            "component" | "workflow" => Demand::Components(words),
            "quality_level" => Demand::QualityLevels(words),
            "geographic_region" => Demand::Regions(words),
            "compliance" => Demand::Compliance(words),
            "cost_tier" => Demand::CostTiers(words),
            other => Demand::Models { service: Some(other.strip_prefix("models.")?), names: words },
        })
    }

    fn isolation(word: &str) -> Option<Demand<'a>> {
        Some(Demand::Isolation(match word {
            "strict" => Isolation::Strict,
            "loose" => Isolation::Loose,
            "none" => Isolation::None,
            _ => return None,
        }))
    }
}

fn demands(map: &Map<String, Value>) -> impl Iterator<Item = (&str, Demand<'_>)> {
    map.iter().map(|(key, value)| (key.as_str(), Demand::read(key, value)))
}

fn words(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(word) => Some(vec![word]),
        Value::Array(items) if !items.is_empty() => items.iter().map(Value::as_str).collect(),
        _ => None,
    }
}
