//! Request templates: JSON with placeholders for what a job brings.
//! In: `${payload.prompt}`, `${payload.steps|20}`, `${payload.seed?}`, `${env:CONNECTOR_KEY}` and the like. Out: JSON, or texts.
//!
//! A text that is one placeholder and nothing else takes on the value with its type; inside of a longer text, texts,
//! numbers and truths are written out. `|` gives a default (as JSON, else as a text), `?` leaves the member out. `$${`
//! stands for `${`.

use super::faults::Faults;
use super::table::json;
use crate::contract::Job;
use crate::failure::{Failure, Reason};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::DeValue;

/// Names of the environment that a definition may use, with their values.
pub type Secrets = BTreeMap<String, SecretString>;

/// Only names with this beginning can be referred to.
pub const SECRET_PREFIX: &str = "CONNECTOR_";

#[derive(Debug, Clone)]
pub(super) enum Template {
    Fixed(Value),
    Text(Text),
    List(Vec<Template>),
    Table(Vec<(String, Template)>),
}

/// A text with placeholders.
#[derive(Debug, Clone)]
pub(super) struct Text(Vec<Part>);

#[derive(Debug, Clone)]
enum Part {
    Fixed(String),
    Hole(Hole),
}

#[derive(Debug, Clone)]
struct Hole {
    source: Source,
    path: Vec<String>,
    /// As it stands in the file, for messages.
    name: String,
    default: Option<Value>,
    optional: bool,
}

#[derive(Debug, Clone)]
enum Source {
    Payload,
    JobId,
    Attempt,
    Service,
    RunId,
    EngineId,
    Secret(SecretString),
}

/// What the placeholders are filled with.
pub(super) struct Fill<'a> {
    pub job: &'a Job,
    pub run_id: &'a str,
    pub engine_id: &'a str,
}

impl Template {
    pub fn read(value: &Spanned<DeValue<'_>>, secrets: &Secrets, faults: &Faults<'_>) -> Self {
        match value.get_ref() {
            DeValue::String(text) => Self::Text(Text::read(text, value.span().start, secrets, faults)),
            DeValue::Array(items) => Self::List(items.iter().map(|item| Self::read(item, secrets, faults)).collect()),
            DeValue::Table(table) => Self::Table(
                table
                    .iter()
                    .map(|(key, value)| (key.get_ref().to_string(), Self::read(value, secrets, faults)))
                    .collect(),
            ),
            DeValue::Integer(_) | DeValue::Float(_) => {
                let number = json(value);
                if number.is_null() {
                    faults.add(value.span().start, "JSON has no such number");
                }
                Self::Fixed(number)
            }
            _ => Self::Fixed(json(value)),
        }
    }

    /// `None`: left out.
    pub fn render(&self, fill: &Fill<'_>) -> Result<Option<Value>, Failure> {
        Ok(Some(match self {
            Self::Fixed(value) => value.clone(),
            Self::Text(text) => return text.value(fill),
            Self::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    list.extend(item.render(fill)?);
                }
                Value::Array(list)
            }
            Self::Table(members) => {
                let mut table = Map::new();
                for (name, member) in members {
                    if let Some(value) = member.render(fill)? {
                        table.insert(name.clone(), value);
                    }
                }
                Value::Object(table)
            }
        }))
    }
}

impl Text {
    pub fn read(text: &str, offset: usize, secrets: &Secrets, faults: &Faults<'_>) -> Self {
        let (mut parts, mut rest, mut fixed) = (Vec::new(), text, String::new());
        while let Some(at) = rest.find("${") {
            if rest[..at].ends_with('$') {
                fixed.push_str(&rest[..at - 1]);
                fixed.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            fixed.push_str(&rest[..at]);
            let Some(end) = rest[at..].find('}') else {
                faults.add(offset, "a placeholder `${` has no end `}`; a plain `${` is written `$${`");
                return Self(parts);
            };
            let inner = &rest[at + 2..at + end];
            match Hole::read(inner, secrets) {
                Ok(hole) => {
                    if !fixed.is_empty() {
                        parts.push(Part::Fixed(std::mem::take(&mut fixed)));
                    }
                    parts.push(Part::Hole(hole));
                }
                Err(why) => faults.add(offset, format!("`${{{inner}}}`: {why}")),
            }
            rest = &rest[at + end + 1..];
        }
        fixed.push_str(rest);
        if !fixed.is_empty() || parts.is_empty() {
            parts.push(Part::Fixed(fixed));
        }
        Self(parts)
    }

    /// Whether the engine's own id stands in it.
    pub fn needs_engine_id(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Hole(Hole { source: Source::EngineId, .. })))
    }

    /// What stands in front of the first placeholder.
    pub fn beginning(&self) -> &str {
        match self.0.first() {
            Some(Part::Fixed(text)) => text,
            _ => "",
        }
    }

    fn value(&self, fill: &Fill<'_>) -> Result<Option<Value>, Failure> {
        match &self.0[..] {
            [Part::Hole(hole)] => hole.value(fill),
            _ => self.text(fill, str::to_owned).map(|text| Some(Value::String(text))),
        }
    }

    /// As a text; what is filled in goes through `encode`.
    pub fn text(&self, fill: &Fill<'_>, encode: impl Fn(&str) -> String) -> Result<String, Failure> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Fixed(fixed) => text.push_str(fixed),
                Part::Hole(hole) => match hole.value(fill)? {
                    None => {}
                    Some(Value::String(value)) => text.push_str(&encode(&value)),
                    Some(Value::Number(value)) => text.push_str(&encode(&value.to_string())),
                    Some(Value::Bool(value)) => text.push_str(&encode(&value.to_string())),
                    Some(_) => {
                        let said = format!("`{}` must be a text, a number, true or false", hole.name);
                        return Err(Failure::new(Reason::InvalidPayload, said));
                    }
                },
            }
        }
        Ok(text)
    }
}

impl Hole {
    fn read(inner: &str, secrets: &Secrets) -> Result<Self, String> {
        let (rest, default) = match inner.split_once('|') {
            Some((rest, default)) => {
                let default = serde_json::from_str(default).unwrap_or_else(|_| Value::String(default.to_owned()));
                (rest, Some(default))
            }
            None => (inner, None),
        };
        let (name, optional) = rest.strip_suffix('?').map_or((rest, false), |name| (name, true));
        if let Some(name) = name.strip_prefix("env:") {
            if !name.starts_with(SECRET_PREFIX) {
                return Err(format!("only names that begin with {SECRET_PREFIX} can be used"));
            }
            let Some(secret) = secrets.get(name) else { return Err(format!("{name} is not set")) };
            let source = Source::Secret(secret.clone());
            return Ok(Self { source, path: Vec::new(), name: name.to_owned(), default: None, optional: false });
        }
        let mut words = name.split('.');
        let source = match (words.next(), name) {
            (Some("payload"), _) => Source::Payload,
            (_, "job.id") => Source::JobId,
            (_, "job.attempt") => Source::Attempt,
            (_, "job.service") => Source::Service,
            (_, "run_id") => Source::RunId,
            (_, "engine_id") => Source::EngineId,
            _ => {
                return Err("there are payload, payload.NAME, job.id, job.attempt, job.service, run_id, engine_id \
                            and env:CONNECTOR_NAME"
                    .to_owned());
            }
        };
        let path: Vec<String> = match source {
            Source::Payload => words.map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        if path.iter().any(String::is_empty) {
            return Err("a name between two dots is missing".to_owned());
        }
        Ok(Self { source, path, name: name.to_owned(), default, optional })
    }

    fn value(&self, fill: &Fill<'_>) -> Result<Option<Value>, Failure> {
        let text = |text: &str| Some(Value::String(text.to_owned()));
        let found = match &self.source {
            Source::Payload => {
                let step = |at: &'_ Value, name: &String| match at {
                    Value::Array(items) => name.parse::<usize>().ok().and_then(|at| items.get(at)).cloned(),
                    other => other.get(name).cloned(),
                };
                let mut at = Some(fill.job.payload.clone()).filter(|_| self.path.is_empty());
                if let Some((first, rest)) = self.path.split_first() {
                    at = step(&fill.job.payload, first);
                    for name in rest {
                        at = at.as_ref().and_then(|at| step(at, name));
                    }
                }
                at.filter(|value| !value.is_null())
            }
            Source::JobId => text(&fill.job.id),
            Source::Attempt => Some(fill.job.attempt.into()),
            Source::Service => text(&fill.job.service),
            Source::RunId => text(fill.run_id),
            Source::EngineId => text(fill.engine_id),
            Source::Secret(secret) => text(secret.expose_secret()),
        };
        match found.or_else(|| self.default.clone()) {
            None if !self.optional => {
                let said = format!("the payload lacks `{}`", self.path.join("."));
                Err(Failure::new(Reason::MissingRequiredField, said))
            }
            found => Ok(found),
        }
    }
}
