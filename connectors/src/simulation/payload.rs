//! What a simulated job asks for.
//! In: the job's payload as JSON. Out: a checked plan, or a validation error that names the field.

use crate::failure::{Failure, FailureType, Reason};
use serde_json::{Map, Value};
use std::time::Duration;

/// A checked payload; missing fields have taken their defaults.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub steps: u64,
    pub step: Duration,
    pub outputs: u64,
    pub width: u32,
    pub height: u32,
    pub fail_at_step: Option<u64>,
    pub failure: Reason,
    /// `None`: every attempt fails; `Some(n)`: the first n do.
    pub fail_attempts: Option<u64>,
    pub hang_at_step: Option<u64>,
}

const MAX_STEPS: u64 = 100_000;
const MAX_STEP_MS: u64 = 3_600_000;
const MAX_OUTPUTS: u64 = 100;
const MAX_SIDE: u64 = 4096;

impl Plan {
    pub fn read(payload: &Value) -> Result<Self, Failure> {
        let empty = Map::new();
        let fields = match payload {
            Value::Object(fields) => fields,
            Value::Null => &empty,
            other => {
                let what = format!("the simulation payload must be an object, not {}", kind_of(other));
                return Err(Failure::new(Reason::InvalidFormat, what));
            }
        };
        let number = |name, default, low, high| Ok::<_, Failure>(whole(fields, name, low, high)?.unwrap_or(default));
        let side = |name| number(name, 64, 1, MAX_SIDE).map(|side| side as u32);
        let steps = number("steps", 5, 0, MAX_STEPS)?;
        Ok(Self {
            steps,
            step: Duration::from_millis(number("step_ms", 20, 0, MAX_STEP_MS)?),
            outputs: number("outputs", 1, 0, MAX_OUTPUTS)?,
            width: side("width")?,
            height: side("height")?,
            fail_at_step: step_of(fields, "fail_at_step", steps)?,
            failure: failure(fields)?,
            fail_attempts: whole(fields, "fail_attempts", 0, u64::MAX)?,
            hang_at_step: step_of(fields, "hang_at_step", steps)?,
        })
    }

    /// Whether this attempt (counted from 1) fails when `step` is reached.
    pub fn fails_at(&self, step: u64, attempt: u64) -> bool {
        self.fail_at_step == Some(step) && self.fail_attempts.is_none_or(|first| attempt <= first)
    }
}

/// Step 0 is "before the first step". A step that is never reached would be a fault that silently does not happen.
fn step_of(fields: &Map<String, Value>, name: &str, steps: u64) -> Result<Option<u64>, Failure> {
    match whole(fields, name, 0, MAX_STEPS)? {
        Some(step) if step > steps => {
            let what = format!("`{name}` is {step}, but the job has only {steps} steps");
            Err(Failure::new(Reason::InvalidPayload, what))
        }
        step => Ok(step),
    }
}

fn whole(fields: &Map<String, Value>, name: &str, low: u64, high: u64) -> Result<Option<u64>, Failure> {
    let value = match fields.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    match value.as_u64() {
        Some(number) if (low..=high).contains(&number) => Ok(Some(number)),
        _ if high == u64::MAX => Err(wrong(name, &format!("a whole number from {low}"), value)),
        _ => Err(wrong(name, &format!("a whole number from {low} to {high}"), value)),
    }
}

fn failure(fields: &Map<String, Value>) -> Result<Reason, Failure> {
    let value = match fields.get("failure") {
        None | Some(Value::Null) => return Ok(usual_reason(FailureType::ServiceError)),
        Some(value) => value,
    };
    let word = value.as_str().unwrap_or_default();
    match FailureType::from_word(word).map(usual_reason).or_else(|| Reason::from_word(word)) {
        Some(reason) => Ok(reason),
        None => {
            let words: Vec<_> = FailureType::ALL.iter().map(|kind| kind.as_str()).collect();
            Err(wrong("failure", &format!("a reason of failure or one of {}", words.join(", ")), value))
        }
    }
}

const fn usual_reason(kind: FailureType) -> Reason {
    match kind {
        FailureType::GenerationRefusal => Reason::PolicyViolation,
        FailureType::ServiceError => Reason::ServiceUnavailable,
        FailureType::Timeout => Reason::ProcessingTimeout,
        FailureType::ValidationError => Reason::InvalidPayload,
        FailureType::ResourceLimit => Reason::GpuMemoryFull,
        FailureType::AuthError => Reason::InvalidApiKey,
        FailureType::RateLimit => Reason::RequestsPerMinute,
        FailureType::NetworkError => Reason::ConnectionFailed,
        FailureType::ResponseError => Reason::InvalidResponseFormat,
        FailureType::SystemError => Reason::InternalError,
    }
}

fn wrong(name: &str, expected: &str, value: &Value) -> Failure {
    let found = match value {
        Value::Number(number) => number.to_string(),
        other => kind_of(other).to_owned(),
    };
    Failure::new(Reason::InvalidPayload, format!("`{name}` must be {expected}, not {found}"))
}

const fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
