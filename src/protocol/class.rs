//! A class of jobs: exactly what matching reads of a job, so that fitting is decided once for all jobs that ask the same.
//! In: the texts of a job's hash, or a definition from `jobs:classes`. Out: [`Class`], its id and definition, or why not.

mod json;
mod spelling;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use spelling::Spelled;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Longest `requirements` text that is read, in bytes.
pub const MAX_REQUIREMENTS_BYTES: usize = 64 * 1024;

/// Deepest nesting of arrays and objects in `requirements`.
pub const MAX_DEPTH: usize = 8;

/// Longest service name and longest value of an extra job field, in bytes.
pub const MAX_FIELD_BYTES: usize = 1024;

/// How much of a job's own words is repeated in a refusal.
const MAX_TOLD_CHARS: usize = 200;

/// A definition wraps the requirements in two levels of its own and may hold several job fields.
const MAX_DEFINITION_BYTES: usize = 2 * MAX_REQUIREMENTS_BYTES;
const MAX_DEFINITION_DEPTH: usize = MAX_DEPTH + 2;

/// Why a job's class cannot be told: that job is failed as `validation_error` with this text, and the queue goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct Unreadable {
    /// The job field, or the path inside `requirements`, that is at fault.
    pub field: String,
    /// What is wrong with it, as the rest of a sentence.
    pub problem: String,
}

impl Unreadable {
    fn new(field: impl Into<String>, problem: impl Into<String>) -> Unreadable {
        Unreadable { field: printable(&field.into()), problem: printable(&problem.into()) }
    }
}

/// The first 8 bytes of SHA-256 over a definition; displays as 16 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId([u8; 8]);

impl ClassId {
    /// The id of this definition text, whoever wrote it.
    pub fn of_definition(definition: &str) -> ClassId {
        let digest = Sha256::digest(definition.as_bytes());
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        ClassId(id)
    }

    /// Reads 16 lowercase hex digits.
    pub fn parse(text: &str) -> Option<ClassId> {
        let hex = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 16 || !text.as_bytes().iter().all(hex) {
            return None;
        }
        u64::from_str_radix(text, 16).ok().map(|id| ClassId(id.to_be_bytes()))
    }
}

impl fmt::Display for ClassId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for ClassId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClassId({self})")
    }
}

/// What matching reads of a job, in one spelling. Two jobs that ask the same have equal classes and equal ids.
#[derive(Debug, Clone, PartialEq)]
pub struct Class {
    service: Option<String>,
    require: Map<String, Value>,
    exclude: Map<String, Value>,
    fields: BTreeMap<String, String>,
    definition: String,
    id: ClassId,
}

impl Class {
    /// The class of a job, from a look-up in its hash. `extra` are the names in `jobs:class:fields`.
    ///
    /// An extra field that the job lacks is taken as empty: producers write both for "not set".
    pub fn of<'a, F>(field: F, extra: &BTreeSet<String>) -> Result<Class, Unreadable>
    where
        F: Fn(&str) -> Option<&'a str>,
    {
        let service = match field("service_required") {
            Some(text) => Some(short("service_required", text)?),
            None => None,
        };
        let Spelled { require, exclude } = read_requirements(field("requirements").unwrap_or_default())?;
        let mut fields = BTreeMap::new();
        for name in extra.iter().filter(|name| !matches!(name.as_str(), "service_required" | "requirements")) {
            fields.insert(name.clone(), short(name, field(name).unwrap_or_default())?);
        }
        let definition = define(service.as_deref(), &require, &exclude, &fields);
        let id = ClassId::of_definition(&definition);
        Ok(Class { service, require, exclude, fields, definition, id })
    }

    /// Reads a definition from `jobs:classes`. The text is kept, so that the id stays the one it is stored under.
    pub fn parse(definition: &str) -> Result<Class, Unreadable> {
        let fault = |problem: String| Unreadable::new("the class definition", problem);
        let value = json::read(definition, MAX_DEFINITION_BYTES, MAX_DEFINITION_DEPTH).map_err(fault)?;
        let Value::Object(mut parts) = value else {
            return Err(fault("is not a JSON object".to_owned()));
        };
        let service = match parts.remove("service") {
            None => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => return Err(fault("names its service by something other than text".to_owned())),
        };
        let mut side = |name: &str| match parts.remove(name) {
            None => Ok(Map::new()),
            Some(Value::Object(map)) => Ok(map),
            Some(_) => Err(fault(format!("has a `{name}` that is not an object"))),
        };
        let require = spelling::require(side("require")?)?;
        let exclude = spelling::exclude(side("exclude")?)?;
        let mut fields = BTreeMap::new();
        for (name, value) in side("fields")? {
            let Value::String(text) = value else {
                return Err(fault(format!("has a job field `{name}` that is not text")));
            };
            fields.insert(name, text);
        }
        if let Some(name) = parts.keys().next() {
            // Written by a newer program: what it asks is unknown here, so it must not count as asked for nothing.
            return Err(fault(format!("has a part `{name}` that is not known here")));
        }
        let id = ClassId::of_definition(definition);
        Ok(Class { service, require, exclude, fields, definition: definition.to_owned(), id })
    }

    /// What it is stored under in `jobs:classes`.
    pub fn id(&self) -> ClassId {
        self.id
    }

    /// Canonical JSON text: sorted keys, no spaces, numbers in their shortest form.
    pub fn definition(&self) -> &str {
        &self.definition
    }

    /// `service_required`; `None` if the hash has no such field, which every service answers.
    pub fn service(&self) -> Option<&str> {
        self.service.as_deref()
    }

    /// What a worker must have: dotted key to value, in one spelling.
    pub fn require(&self) -> &Map<String, Value> {
        &self.require
    }

    /// What a worker must not have.
    pub fn exclude(&self) -> &Map<String, Value> {
        &self.exclude
    }

    /// An extra job field: `None` if this class was made while nobody needed it, empty if the job does not set it.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// The extra job fields that are part of this class.
    pub fn fields(&self) -> &BTreeMap<String, String> {
        &self.fields
    }
}

/// A key may be 64 KB of control characters, and this text goes to logs, terminals and the job's hash.
fn printable(text: &str) -> String {
    let mut out: String = text.chars().take(MAX_TOLD_CHARS).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(MAX_TOLD_CHARS).is_some() {
        out.push('…');
    }
    out
}

fn short(field: &str, text: &str) -> Result<String, Unreadable> {
    if text.len() > MAX_FIELD_BYTES {
        let problem = format!("is {} bytes long, more than the {MAX_FIELD_BYTES} allowed", text.len());
        return Err(Unreadable::new(field, problem));
    }
    Ok(text.to_owned())
}

fn read_requirements(text: &str) -> Result<Spelled, Unreadable> {
    if text.trim().is_empty() {
        return Ok(Spelled::default());
    }
    let value = json::read(text, MAX_REQUIREMENTS_BYTES, MAX_DEPTH).map_err(|p| Unreadable::new("requirements", p))?;
    spelling::requirements(value)
}

fn define(
    service: Option<&str>,
    require: &Map<String, Value>,
    exclude: &Map<String, Value>,
    fields: &BTreeMap<String, String>,
) -> String {
    let mut parts = Map::new();
    if let Some(service) = service {
        parts.insert("service".to_owned(), Value::from(service));
    }
    for (name, side) in [("require", require), ("exclude", exclude)] {
        if !side.is_empty() {
            parts.insert(name.to_owned(), Value::Object(side.clone()));
        }
    }
    if !fields.is_empty() {
        let fields = fields.iter().map(|(name, text)| (name.clone(), Value::from(text.as_str())));
        parts.insert("fields".to_owned(), Value::Object(fields.collect()));
    }
    json::write(&Value::Object(parts))
}

#[cfg(test)]
#[path = "class_tests.rs"]
mod tests;
