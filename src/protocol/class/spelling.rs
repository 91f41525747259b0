//! One spelling for requirements that say the same, and a clear refusal of those that say nothing a program can hold to.
//! In: requirements as producers write them. Out: dotted keys to values, apart for what must be there and what must not.
//!
//! ```text
//!   requirements ─┬─ positive_requirements ─┐
//!                 ├─ other keys ────────────┴─▶ require   {"hardware.gpu_memory_gb": 24, "features": ["lora"]}
//!                 └─ negative_requirements ───▶ exclude   {"sla_tier": "bronze"}
//! ```
//! Reading an output again gives the same output.

use super::{Unreadable, json};
use serde_json::{Map, Value};

/// Requirements in one spelling.
#[derive(Default)]
pub(super) struct Spelled {
    pub(super) require: Map<String, Value>,
    pub(super) exclude: Map<String, Value>,
}

/// Splits and spells out what stands in the `requirements` of a job.
pub(super) fn requirements(value: Value) -> Result<Spelled, Unreadable> {
    let mut require = Side { exclude: false, kept: Map::new() };
    let mut exclude = Map::new();
    for (key, value) in object("requirements", value)? {
        match key.as_str() {
            "positive_requirements" => {
                for (key, value) in object(&key, value)? {
                    require.put(&key, value).map_err(|e| inside("positive_requirements", e))?;
                }
            }
            "negative_requirements" => exclude = self::exclude(object(&key, value)?).map_err(|e| inside(&key, e))?,
            _ => require.put(&key, value)?,
        }
    }
    Ok(Spelled { require: require.kept, exclude })
}

/// Spells out what a worker must have.
pub(super) fn require(map: Map<String, Value>) -> Result<Map<String, Value>, Unreadable> {
    Side { exclude: false, kept: Map::new() }.all(map)
}

/// Spells out what a worker must not have.
pub(super) fn exclude(map: Map<String, Value>) -> Result<Map<String, Value>, Unreadable> {
    Side { exclude: true, kept: Map::new() }.all(map)
}

struct Side {
    exclude: bool,
    kept: Map<String, Value>,
}

impl Side {
    fn all(mut self, map: Map<String, Value>) -> Result<Map<String, Value>, Unreadable> {
        for (key, value) in map {
            self.put(&key, value)?;
        }
        Ok(self.kept)
    }

    fn put(&mut self, key: &str, value: Value) -> Result<(), Unreadable> {
        let path = key.split('.').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".");
        match path.as_str() {
            "" => Err(Unreadable::new("requirements", "has a key without a name")),
            // The service is told by the job's own field; the reference ignores this copy too.
            "service_type" => Ok(()),
            "hardware" => self.hardware(value),
            "models" => self.models(value),
            "customer_isolation" => self.isolation(value),
            "component" | "workflow" | "quality_level" | "geographic_region" | "compliance" | "cost_tier" => {
                self.words(&path, value)
            }
            "timeout_minutes" | "max_rate_per_hour" if value.is_null() => Ok(()),
            "timeout_minutes" | "max_rate_per_hour" => self.amount(&path, value),
            other => match other.strip_prefix("hardware.") {
                Some(part) => self.hardware_part(part, value),
                // A list with something other than names in it would be met by nobody, ever.
                None if other.starts_with("models.") && is_list(&value) && !self.exclude => self.words(other, value),
                None => self.custom(&path, value),
            },
        }
    }

    fn keep(&mut self, key: &str, value: Value) -> Result<(), Unreadable> {
        match self.kept.get(key) {
            Some(other) if *other != value => Err(wrong(key, "is asked for twice, with different values")),
            _ => {
                self.kept.insert(key.to_owned(), value);
                Ok(())
            }
        }
    }

    fn hardware(&mut self, value: Value) -> Result<(), Unreadable> {
        match value {
            Value::Bool(false) => Ok(()),
            Value::String(text) if !self.exclude && means_any(&text) => Ok(()),
            value => {
                for (part, value) in object("hardware", value)? {
                    self.put(&format!("hardware.{part}"), value)?;
                }
                Ok(())
            }
        }
    }

    fn hardware_part(&mut self, part: &str, value: Value) -> Result<(), Unreadable> {
        match part {
            "gpu" => {
                for (part, value) in object("hardware.gpu", value)? {
                    self.put(&format!("hardware.gpu.{part}"), value)?;
                }
                Ok(())
            }
            "gpu.memory_gb" => self.amount("hardware.gpu_memory_gb", value),
            "gpu.model" => self.words("hardware.gpu_model", value),
            "gpu.count" => self.amount("hardware.gpu_count", value),
            "gpu_model" => self.words("hardware.gpu_model", value),
            "gpu_memory_gb" | "gpu_count" | "cpu_cores" | "ram_gb" => self.amount(&format!("hardware.{part}"), value),
            other => self.custom(&format!("hardware.{other}"), value),
        }
    }

    /// A number, or text that is one. Demands that everybody meets are dropped.
    fn amount(&mut self, key: &str, value: Value) -> Result<(), Unreadable> {
        let number = match value {
            Value::Bool(false) => return Ok(()),
            Value::Number(number) => number.as_f64(),
            Value::String(text) if text.trim() == "all" => return Ok(()),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match number.filter(|n: &f64| n.is_finite()) {
            None => Err(wrong(key, "must be a number")),
            Some(number) if number <= 0.0 && !self.exclude && key != "max_rate_per_hour" => Ok(()),
            Some(number) => self.keep(key, json::canonical_number(number)),
        }
    }

    /// One word or a list of words; kept as a sorted list.
    fn words(&mut self, key: &str, value: Value) -> Result<(), Unreadable> {
        let words = match value {
            Value::Null | Value::Bool(false) => return Ok(()),
            Value::String(text) => vec![Value::String(text)],
            Value::Array(items) => items,
            value if is_list(&value) => Vec::new(),
            _ => return Err(wrong(key, "must be text or a list of texts")),
        };
        if !words.iter().all(Value::is_string) {
            return Err(wrong(key, "must be text or a list of texts, and nothing else in the list"));
        }
        let any = words.iter().any(|word| word.as_str().is_some_and(means_any));
        if any || words.is_empty() { Ok(()) } else { self.keep(key, sorted(words)) }
    }

    fn models(&mut self, value: Value) -> Result<(), Unreadable> {
        match value {
            Value::Object(services) if self.exclude && !services.is_empty() => {
                self.keep("models", canonical(Value::Object(services)))
            }
            Value::Object(services) => {
                for (service, names) in services {
                    self.put(&format!("models.{service}"), names)?;
                }
                Ok(())
            }
            value => self.words("models", value),
        }
    }

    fn isolation(&mut self, value: Value) -> Result<(), Unreadable> {
        let word = match &value {
            Value::Null | Value::Bool(false) => return Ok(()),
            Value::String(text) => text.trim().to_ascii_lowercase(),
            _ => String::from("?"),
        };
        match word.as_str() {
            "" => Ok(()),
            // Only `strict` asks anything of a worker; every worker may be stricter than asked.
            "loose" | "none" if !self.exclude => Ok(()),
            "strict" | "loose" | "none" => self.keep("customer_isolation", Value::String(word)),
            _ => Err(wrong("customer_isolation", "must be `strict`, `loose` or `none`")),
        }
    }

    fn custom(&mut self, path: &str, value: Value) -> Result<(), Unreadable> {
        match value {
            // All parts must hold, which is what separate keys say. Excluded, all parts together reject: no splitting.
            Value::Object(parts) if !self.exclude && !parts.is_empty() => {
                for (part, value) in parts {
                    self.put(&format!("{path}.{part}"), value)?;
                }
                Ok(())
            }
            value => self.keep(path, canonical(value)),
        }
    }
}

/// A list; `{}` is how some producers write an empty one.
fn is_list(value: &Value) -> bool {
    value.is_array() || value.as_object().is_some_and(Map::is_empty)
}

/// Lists say what must be contained, so their order and repetitions say nothing; `{}` is how some producers write `[]`.
fn canonical(value: Value) -> Value {
    match value {
        Value::Array(items) => sorted(items),
        Value::Object(map) if map.is_empty() => Value::Array(Vec::new()),
        Value::Object(map) => Value::Object(map.into_iter().map(|(key, item)| (key, canonical(item))).collect()),
        scalar => scalar,
    }
}

fn sorted(mut items: Vec<Value>) -> Value {
    items.sort_by_cached_key(json::write);
    items.dedup();
    Value::Array(items)
}

fn means_any(text: &str) -> bool {
    matches!(text.trim(), "" | "all")
}

/// PHP and Lua producers cannot tell `{}` from `[]`.
fn object(key: &str, value: Value) -> Result<Map<String, Value>, Unreadable> {
    match value {
        Value::Object(map) => Ok(map),
        Value::Array(items) if items.is_empty() => Ok(Map::new()),
        other => {
            let kind = match other {
                Value::Null => "null",
                Value::Bool(_) => "a boolean",
                Value::Number(_) => "a number",
                Value::String(_) => "text",
                _ => "a list",
            };
            Err(wrong(key, &format!("must be a JSON object, not {kind}")))
        }
    }
}

fn inside(part: &str, mut error: Unreadable) -> Unreadable {
    if let Some(rest) = error.field.strip_prefix("requirements") {
        error.field = format!("requirements.{part}{rest}");
    }
    error
}

fn wrong(key: &str, problem: &str) -> Unreadable {
    let field = if key == "requirements" { key.to_owned() } else { format!("requirements.{key}") };
    Unreadable::new(field, problem)
}
