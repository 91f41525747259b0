//! Handing in a job.
//! In: a job file. Out: the job's id, or what is wrong with it.

use crate::protocol::Space;
use crate::protocol::class::Class;
use crate::protocol::ids::{is_legal_job_id, new_job_id};
use crate::protocol::order::{OrderFields, order};
use crate::protocol::submit::{NewJob, QueueLimits, Submitted};
use crate::queue::link::Link;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Why a submission was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The job file is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The id is taken.
    #[error("a job with the id {id} exists already ({status})")]
    Exists {
        /// The id.
        id: String,
        /// That job's status.
        status: String,
    },
    /// The queue refuses more.
    #[error("{0}")]
    Full(String),
    /// Redis did not answer.
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
}

/// A job as a client asks for it: the body of the reference's `POST /api/jobs`.
#[derive(Debug, Clone, Default)]
pub struct JobRequest {
    /// Hash fields; `payload`, `requirements` and `ctx` as JSON text.
    pub fields: BTreeMap<String, String>,
    /// A chosen id, or none.
    pub id: Option<String>,
}

/// Body members that are taken over as text.
const PLAIN: [&str; 9] = [
    "customer_id",
    "workflow_id",
    "workflow_priority",
    "workflow_datetime",
    "current_step",
    "total_steps",
    "job_trace_id",
    "workflow_trace_id",
    "workflow_span_id",
];

fn scalar(body: &Value, name: &str) -> Result<Option<String>, SubmitError> {
    match &body[name] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Number(number) => Ok(Some(number.to_string())),
        _ => Err(SubmitError::Invalid(format!("`{name}` must be text or a number"))),
    }
}

fn is_comfyui_graph(body: &serde_json::Map<String, Value>) -> bool {
    !body.is_empty() && body.values().all(|node| node.get("class_type").is_some_and(Value::is_string))
}

impl JobRequest {
    /// Reads a job file. A bare ComfyUI graph is wrapped into a job for `comfyui`.
    pub fn from_json(body: &Value) -> Result<Self, SubmitError> {
        let Value::Object(members) = body else {
            return Err(SubmitError::Invalid("a job is a JSON object".to_owned()));
        };
        if is_comfyui_graph(members) {
            let wrapped = serde_json::json!({"service_required": "comfyui", "payload": {"workflow": body}});
            return Self::from_json(&wrapped);
        }
        if members.contains_key("nodes") && members.contains_key("links") {
            return Err(SubmitError::Invalid(
                "this is a workflow as ComfyUI's editor saves it; export it with \"Export (API)\" instead".to_owned(),
            ));
        }
        let mut service = None;
        for name in ["service_required", "service_type", "job_type", "type"] {
            service = service.or(scalar(body, name)?).filter(|text| !text.is_empty());
        }
        let service = service.ok_or_else(|| {
            SubmitError::Invalid(
                "`service_required` is missing: which service is to run the job, such as \"comfyui\"".to_owned(),
            )
        })?;
        let mut fields = BTreeMap::from([("service_required".to_owned(), service)]);
        for name in PLAIN {
            if let Some(text) = scalar(body, name)? {
                fields.insert(name.to_owned(), text);
            }
        }
        for (name, default) in [("priority", "50"), ("max_retries", "3")] {
            let text = scalar(body, name)?.unwrap_or_else(|| default.to_owned());
            if !text.parse::<f64>().is_ok_and(f64::is_finite) {
                return Err(SubmitError::Invalid(format!("`{name}` must be a number, not {text:?}")));
            }
            fields.insert(name.to_owned(), text);
        }
        if let Some(when) = fields.get("workflow_datetime")
            && !when.is_empty()
            && when.parse::<u64>().is_err()
        {
            return Err(SubmitError::Invalid("`workflow_datetime` must be milliseconds since 1970".to_owned()));
        }
        for name in ["payload", "requirements", "ctx"] {
            let text = match &body[name] {
                Value::Null if name == "payload" => "{}".to_owned(),
                Value::Null => String::new(),
                value @ Value::Object(_) => value.to_string(),
                _ => return Err(SubmitError::Invalid(format!("`{name}` must be a JSON object"))),
            };
            fields.insert(name.to_owned(), text);
        }
        Ok(Self { fields, id: scalar(body, "id")? })
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

/// Payloads above this travel to the reference's listeners as `{}`.
const HINT_PAYLOAD_MAX: usize = 64 * 1024;

/// Accepts a job into the queue; answers its id.
pub async fn submit(
    link: &Link,
    space: &Space,
    request: &JobRequest,
    max_payload_bytes: u64,
) -> Result<String, SubmitError> {
    let id = request.id.clone().unwrap_or_else(new_job_id);
    if !is_legal_job_id(&id) {
        return Err(SubmitError::Invalid("a job id is 1 to 128 letters, digits, `_` or `-`".to_owned()));
    }
    let payload = request.get("payload").unwrap_or("{}");
    if payload.len() as u64 > max_payload_bytes {
        return Err(SubmitError::Invalid(format!(
            "the payload is {} bytes, more than the {max_payload_bytes} allowed (MAX_PAYLOAD_BYTES)",
            payload.len()
        )));
    }
    let ctx = request.get("ctx").map_or(0, str::len);
    if ctx as u64 > max_payload_bytes {
        return Err(SubmitError::Invalid(format!(
            "ctx is {ctx} bytes, more than the {max_payload_bytes} allowed (MAX_PAYLOAD_BYTES)"
        )));
    }
    let placed = order(&OrderFields::of(|name| request.get(name)), 0);
    let requirements = request.get("requirements").filter(|text| !text.is_empty()).unwrap_or("null");
    let mut class_fields = BTreeSet::new();
    loop {
        let class = Class::of(|name| request.get(name), &class_fields)
            .map_err(|error| SubmitError::Invalid(error.to_string()))?;
        let job = NewJob {
            id: id.clone(),
            class: (class.id().to_string(), class.definition().to_owned()),
            class_fields: class_fields.iter().cloned().collect(),
            priority: placed.priority(),
            order_time_ms: Some(placed.time_ms()).filter(|ms| *ms > 0),
            due_ms: None,
            hint: (
                if payload.len() <= HINT_PAYLOAD_MAX { payload.to_owned() } else { "{}".to_owned() },
                requirements.to_owned(),
            ),
            fields: request.fields.clone().into_iter().collect(),
        };
        match link.call(async |con| space.submit(con, &job, QueueLimits::default()).await).await? {
            Submitted::Accepted { .. } => return Ok(id),
            Submitted::Exists { status } => return Err(SubmitError::Exists { id, status }),
            Submitted::QueueFull { waiting } => {
                return Err(SubmitError::Full(format!("the queue is full: {waiting} jobs wait")));
            }
            Submitted::TooManyClasses => {
                return Err(SubmitError::Full("too many different sets of requirements wait".to_owned()));
            }
            Submitted::ClassFields(names) => class_fields = names.into_iter().collect(),
        }
    }
}
