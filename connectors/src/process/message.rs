//! What is said over the two pipes: JSON-RPC 2.0, one message a line.
//! In: a line. Out: an answer, a progress report, or nothing that we understand.

use crate::contract::{Progress, Stage};
use crate::failure::{Failure, Reason};
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
struct Wire {
    id: Option<Value>,
    method: Option<String>,
    params: Option<Value>,
    result: Option<Value>,
    error: Option<Refused>,
}

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

/// `None` if the line is no JSON-RPC at all.
pub(super) fn read(line: &[u8]) -> Option<Message> {
    // `"result": null` is an answer; serde would drop the difference to a missing one.
    let value: Value = serde_json::from_slice(line).ok()?;
    let has_result = value.as_object()?.contains_key("result");
    let wire: Wire = serde_json::from_value(value).ok()?;
    Some(match (wire.method, wire.id.as_ref().and_then(Value::as_u64)) {
        (Some(method), _) if method == "progress" => match wire.params.map(serde_json::from_value::<Report>) {
            Some(Ok(report)) => Message::Progress { run: report.id.clone(), progress: report.into() },
            _ => Message::Unknown,
        },
        (None, Some(id)) => match wire.error {
            Some(error) => Message::Answer { id, answer: Err(error) },
            None if has_result => Message::Answer { id, answer: Ok(wire.result.unwrap_or_default()) },
            None => Message::Unknown,
        },
        _ => Message::Unknown,
    })
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
        let word = self.data.get("reason").and_then(Value::as_str);
        let reason = word.and_then(Reason::from_word).unwrap_or(match self.code {
            INVALID_PARAMS => Reason::InvalidPayload,
            UNKNOWN_METHOD => Reason::UnsupportedOperation,
            _ => Reason::UnknownError,
        });
        let said = if self.message.trim().is_empty() { "the engine gave no reason" } else { self.message.trim() };
        let pause = self.data.get("retry_after_seconds").and_then(Value::as_f64);
        let named = Failure::as_named(reason, said.chars().take(2000).collect::<String>());
        Failure {
            retry_after: pause.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            hosts_fault: self.data.get("hosts_fault").and_then(Value::as_bool).unwrap_or(named.hosts_fault),
            ..named
        }
    }
}
