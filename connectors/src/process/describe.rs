//! What an engine process says of itself, once, right after its start.
//! In: the answer to `describe`. Out: checked facts, or a sentence about what is wrong with them.

use super::message;
use crate::failure::FailureType;
use serde::Deserialize;
use serde_json::Value;

/// The protocol that is spoken here.
pub const PROTOCOL: u64 = 1;
const SERVICES_MAX: usize = 64;
const CONCURRENCY_MAX: usize = 64;

/// What a process says of itself.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Must be [`PROTOCOL`].
    pub protocol: u64,
    /// The services that it offers.
    pub services: Vec<String>,
    /// Its version, for people.
    #[serde(default)]
    pub version: Option<String>,
    /// Whether it needs a GPU: then there is one process for each.
    #[serde(default)]
    pub gpu: bool,
    /// How many runs it does at once.
    #[serde(default = "one")]
    pub concurrency: usize,
    /// Whether its work outlives it, so that `reattach` has a meaning.
    #[serde(default)]
    pub reattach: bool,
    /// Whether it knows `free_memory`.
    #[serde(default)]
    pub free_memory: bool,
    /// Payloads for the conformance suite.
    #[serde(default)]
    pub conformance: Option<Payloads>,
}

/// Payloads whose course is known, for the conformance suite.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payloads {
    /// Ends well within seconds, reports progress and gives a file.
    pub ok: Value,
    /// Ends well, too, with other files than `ok`: for engines that give the same files for the same payload.
    #[serde(default)]
    pub other: Option<Value>,
    /// Would run for a minute or more, reports progress early.
    pub slow: Value,
    /// Fails.
    pub failing: Value,
    /// How it fails.
    pub failure_type: String,
}

const fn one() -> usize {
    1
}

impl Description {
    pub(super) fn read(answer: Value) -> Result<Self, String> {
        let wrong = |what: String| Err(format!("its `describe`: {what}"));
        if let Err(why) = message::is_object(&answer).and(answer.get("conformance").map_or(Ok(()), message::is_object))
        {
            return wrong(why);
        }
        let found: Self = serde_json::from_value(answer).map_err(|error| format!("its `describe`: {error}"))?;
        if found.protocol != PROTOCOL {
            return wrong(format!("protocol {} is not known here; this is protocol {PROTOCOL}", found.protocol));
        }
        if found.services.is_empty() || found.services.len() > SERVICES_MAX {
            return wrong(format!("`services` must name 1 to {SERVICES_MAX} services"));
        }
        if let Some(odd) = found.services.iter().find(|service| !is_service(service)) {
            return wrong(format!("{odd:?} is no name of a service; letters, digits, `_`, `-` and `.` make one"));
        }
        if !(1..=CONCURRENCY_MAX).contains(&found.concurrency) {
            return wrong(format!("`concurrency` must be 1 to {CONCURRENCY_MAX}"));
        }
        if let Some(payloads) = &found.conformance
            && FailureType::from_word(&payloads.failure_type).is_none()
        {
            return wrong(format!("{:?} is no failure type", payloads.failure_type));
        }
        Ok(found)
    }
}

/// Whether jobs can ask for this as a service.
pub(crate) fn is_service(word: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=128).contains(&word.len()) && word.bytes().all(allowed)
}
