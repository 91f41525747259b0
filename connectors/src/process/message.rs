//! What is said over the two pipes: JSON-RPC 2.0, one message a line.
//! In: a line. Out: an answer, a progress report, or nothing that we understand.

use super::broken::{self, Broken};
use crate::contract::{Progress, Stage};
use crate::failure::{Failure, FailureType, Reason};
use crate::nearest::nearest;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// Longest line that is read from a process. Files travel through the scratch folder.
pub(super) const LINE_MAX: usize = 16 << 20;
/// Longest name of a kind of work.
const KIND_MAX: usize = 200;

/// A message from the process.
#[derive(Debug)]
pub(super) enum Message {
    /// The answer to a request of ours.
    Answer { id: u64, answer: Result<Value, Refused> },
    /// How far a run is.
    Progress { run: String, progress: Progress },
    /// An answer that cannot be read, and does not say to what.
    Nobodys { why: String },
    /// A question of ours, sent back.
    Echo,
    /// Anything else.
    Unknown,
}

/// A JSON-RPC error.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Refused {
    #[serde(default)]
    pub code: i64,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub data: Value,
}

pub(super) const UNKNOWN_METHOD: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;

#[derive(Deserialize)]
struct Report {
    id: String,
    #[serde(default)]
    fraction: f64,
    message: Option<String>,
    node: Option<String>,
    step: Option<u64>,
    steps: Option<u64>,
    kind: Option<String>,
    stage: Option<String>,
}

pub(super) fn request(id: u64, method: &str, params: &Value) -> Vec<u8> {
    let mut line = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string().into_bytes();
    line.push(b'\n');
    line
}

/// `None` if the line is no JSON-RPC at all. An answer that cannot be used is an answer all the same: somebody waits.
pub(super) fn read(line: &[u8]) -> Option<Message> {
    let value: Value = match serde_json::from_slice(line) {
        Ok(value) => value,
        Err(error) => {
            let broken = Broken::read(line);
            let why = format!("{error}, near `{}`", broken::around(line, error.column()));
            return match broken.id {
                Some(id) if broken.is_answer => Some(malformed(id, &why)),
                None if broken.is_answer => Some(Message::Nobodys { why }),
                _ => None,
            };
        }
    };
    let message = value.as_object()?;
    if let Some(method) = message.get("method") {
        if method == "describe" {
            return Some(Message::Echo);
        }
        let params = message.get("params").filter(|_| method == "progress");
        return Some(match params.filter(|params| params.is_object()).map(Report::deserialize) {
            Some(Ok(report)) => Message::Progress { run: report.id.clone(), progress: report.into() },
            _ => Message::Unknown,
        });
    }
    let (given, result) = (message.get("id"), message.get("result"));
    let Some(id) = given.and_then(meant) else { return Some(Message::Unknown) };
    if !given.is_some_and(Value::is_u64) {
        return Some(malformed(id, "its `id` is not the number that was sent"));
    }
    let answer = match (message.get("error").filter(|error| !error.is_null()), result) {
        (Some(error), _) => {
            match is_object(error).and_then(|()| Refused::deserialize(error).map_err(|e| e.to_string())) {
                Ok(refused) => Err(refused),
                Err(error) => return Some(malformed(id, &format!("its `error`: {error}"))),
            }
        }
        // `"result": null` is an answer.
        (None, Some(result)) => Ok(result.clone()),
        (None, None) => return Some(malformed(id, "it has neither `result` nor `error`")),
    };
    Some(Message::Answer { id, answer })
}

/// The value, if it is an object: readers of objects would take a list for the values of one.
pub(super) fn object(value: Value) -> Result<Value, String> {
    is_object(&value).map(|()| value)
}

/// The same without the value.
pub(super) fn is_object(value: &Value) -> Result<(), String> {
    let found = match value {
        Value::Object(_) => return Ok(()),
        Value::Array(_) => "a list",
        Value::String(_) => "a text",
        Value::Number(_) => "a number",
        Value::Bool(_) => "true or false",
        Value::Null => "null",
    };
    Err(format!("it must be an object, not {found}"))
}

/// Which question an id stands for, also if it is written otherwise than we wrote it.
fn meant(id: &Value) -> Option<u64> {
    let text = id.as_str().map(str::to_owned).or_else(|| id.as_f64().map(|number| number.to_string()));
    id.as_u64().or_else(|| text?.trim().parse().ok())
}

/// The answer that stands for one that cannot be used.
pub(super) fn malformed(id: u64, why: &str) -> Message {
    let message = format!("the engine's answer cannot be used: {why}");
    let data = json!({ "reason": Reason::InvalidResponseFormat.as_str() });
    Message::Answer { id, answer: Err(Refused { code: 0, message, data }) }
}

impl From<Report> for Progress {
    fn from(report: Report) -> Self {
        let stage = match (report.stage.as_deref(), &report.kind) {
            (Some("waiting"), _) => Stage::Waiting,
            (Some("silent"), _) => Stage::Unseen,
            (_, Some(kind)) => Stage::Kind(kind.chars().take(KIND_MAX).collect()),
            (_, None) => Stage::Working,
        };
        Self {
            fraction: report.fraction.clamp(0.0, 1.0),
            message: report.message,
            node: report.node,
            step: report.step.map(|step| (step, report.steps.unwrap_or(step).max(step))),
            stage,
        }
    }
}

impl Refused {
    /// The failure of a run that was answered with this error.
    pub fn failure(&self) -> Failure {
        let said = if self.message.trim().is_empty() { "the engine gave no reason" } else { self.message.trim() };
        let pause = self.data.get("retry_after_seconds").and_then(Value::as_f64);
        let named = Failure::as_named(self.reason(), said.chars().take(2000).collect::<String>());
        Failure {
            retry_after: pause.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            hosts_fault: self.data.get("hosts_fault").and_then(Value::as_bool).unwrap_or(named.hosts_fault),
            ..named
        }
    }

    fn reason(&self) -> Reason {
        let word = |name: &str| self.data.get(name).and_then(Value::as_str);
        let reason = word("reason").and_then(Reason::from_word);
        // Who knows the type alone has said something, too.
        let kind = || word("type").and_then(FailureType::from_word).or_else(|| FailureType::from_word(word("reason")?));
        reason.or_else(|| kind().map(FailureType::general)).unwrap_or(match self.code {
            INVALID_PARAMS => Reason::InvalidPayload,
            UNKNOWN_METHOD => Reason::UnsupportedOperation,
            _ => Reason::UnknownError,
        })
    }

    /// What in it is not known here, and how it counts all the same.
    pub fn oddity(&self) -> Option<String> {
        let (given, kind) = (self.data.get("reason"), self.data.get("type"));
        let counts = || format!("it counts as {}/{}", self.reason().kind(), self.reason());
        let known = |word: &str| Reason::from_word(word).is_some();
        match (given, kind) {
            (Some(Value::String(word)), _) if known(word) => None,
            (Some(Value::String(word)), _) if FailureType::from_word(word).is_some() => {
                Some(format!("`{word}` is a type of failure and no `reason`; {}", counts()))
            }
            (Some(Value::String(word)), _) => {
                let words = Reason::ALL.iter().map(|reason| reason.as_str());
                let meant = nearest(word, words, (word.len() / 3).max(2));
                let elsewhere = || "; connectors/README.md names those that are often right".to_owned();
                let meant = meant.map_or_else(elsewhere, |meant| format!("; did you mean `{meant}`?"));
                let word: String = word.escape_debug().take(60).collect();
                Some(format!("the reason `{word}` is not known{meant}; {}", counts()))
            }
            (Some(Value::Null) | None, Some(Value::String(word))) if FailureType::from_word(word).is_none() => {
                let word: String = word.escape_debug().take(60).collect();
                Some(format!("the type of failure `{word}` is not known; {}", counts()))
            }
            (Some(Value::Null) | None, _) => None,
            (Some(_), _) => Some(format!("`reason` must be a text; {}", counts())),
        }
    }
}
