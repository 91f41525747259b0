//! The client's side of the queue: submit, read, follow, list. The commands and the hub use it.
//! In: job files and ids. Out: answers in plain types.

use super::link::Link;
use crate::protocol::Space;
use crate::protocol::class::Class;
use crate::protocol::event::Event;
use crate::protocol::ids::{is_legal_job_id, new_job_id};
use crate::protocol::order::{OrderFields, order};
use crate::protocol::submit::{NewJob, QueueLimits, Submitted};
use redis::streams::{StreamRangeReply, StreamReadOptions, StreamReadReply};
use redis::{AsyncCommands, RedisResult};
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

/// All fields of a job but the payload and what may hold credentials; `None` if there is no such job.
pub async fn job(link: &Link, space: &Space, id: &str) -> RedisResult<Option<BTreeMap<String, String>>> {
    let key = space.key("job:") + id;
    let (names, values) = link
        .call(async |con| {
            let mut names: Vec<Vec<u8>> = con.hkeys(&key).await?;
            names.retain(|name| name != b"payload" && name != b"ctx");
            // `status` is asked for in any case: HMGET needs a name.
            names.push(b"status".to_vec());
            let values: Vec<Option<Vec<u8>>> = redis::cmd("HMGET").arg(&key).arg(&names).query_async(con).await?;
            Ok((names, values))
        })
        .await?;
    let fields: BTreeMap<String, String> =
        names.into_iter().zip(values).filter_map(|(name, value)| Some((lossy(name), lossy(value?)))).collect();
    Ok((!fields.is_empty()).then_some(fields))
}

/// What somebody else's program wrote need not be UTF-8.
fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Events of a job, from its first or from behind the last one seen.
pub struct Follower {
    stream: String,
    last: String,
    connection: Option<redis::aio::MultiplexedConnection>,
}

impl Follower {
    /// Follows this job from the beginning of its log.
    pub fn new(space: &Space, id: &str) -> Self {
        Self { stream: space.key("job:events:") + id, last: "0".to_owned(), connection: None }
    }

    /// The next events; empty if none came for a while.
    pub async fn next(&mut self, link: &Link) -> RedisResult<Vec<Event>> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            slot => slot.insert(link.dedicated().await?),
        };
        let options = StreamReadOptions::default().block(2000).count(200);
        let reply: RedisResult<Option<StreamReadReply>> =
            connection.xread_options(&[&self.stream], &[&self.last], &options).await;
        let reply = match reply {
            Ok(reply) => reply.unwrap_or_default(),
            Err(error) => {
                self.connection = None;
                return Err(error);
            }
        };
        let events: Vec<Event> = reply.keys.into_iter().flat_map(|key| key.ids).map(event).collect();
        if let Some(newest) = events.last() {
            self.last = newest.id.clone();
        }
        Ok(events)
    }
}

fn event(entry: redis::streams::StreamId) -> Event {
    let text = |value: &redis::Value| redis::from_redis_value_ref(value).map(lossy).unwrap_or_default();
    // The map has no order of its own: by name, with `type` first.
    let mut fields: Vec<(String, String)> = entry.map.iter().map(|(name, value)| (name.clone(), text(value))).collect();
    fields.sort_by(|a, b| (a.0 != "type", &a.0).cmp(&(b.0 != "type", &b.0)));
    Event { id: entry.id, fields }
}

/// All events of a job so far.
pub async fn events(link: &Link, space: &Space, id: &str) -> RedisResult<Vec<Event>> {
    let stream = space.key("job:events:") + id;
    let reply: StreamRangeReply = link.call(async |con| con.xrange_all(&stream).await).await?;
    Ok(reply.ids.into_iter().map(event).collect())
}

/// A line of the job list.
#[derive(Debug, Clone, serde::Serialize)]
pub struct JobLine {
    /// Id.
    pub id: String,
    /// Status.
    pub status: String,
    /// Service.
    pub service: String,
    /// Priority as submitted.
    pub priority: String,
    /// Worker that holds or held it.
    pub worker: String,
    /// Count of claims.
    pub attempt: String,
    /// Progress in percent.
    pub progress: String,
    /// When it was submitted.
    pub created_at: String,
    /// The last error.
    pub error: String,
}

/// Jobs that wait, run, or have ended lately: at most `most` of each kind.
pub async fn jobs(link: &Link, space: &Space, most: usize) -> RedisResult<Vec<JobLine>> {
    link.call(async |con| {
        let last = most as isize - 1;
        let mut ids: Vec<Vec<u8>> = con.zrange(space.key("jobs:leases"), 0, last).await?;
        ids.extend(con.zrevrange::<_, Vec<Vec<u8>>>(space.key("jobs:pending"), 0, last).await?);
        ids.extend(con.zrange::<_, Vec<Vec<u8>>>(space.key("jobs:delayed"), 0, last).await?);
        for ended in ["jobs:dead", "jobs:finished"] {
            ids.extend(con.zrevrange::<_, Vec<Vec<u8>>>(space.key(ended), 0, last).await?);
        }
        let mut seen = BTreeSet::new();
        ids.retain(|id| seen.insert(id.clone()));
        // A pipeline of nothing is refused by the library.
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipe = redis::pipe();
        pipe.ignore_errors();
        const READ: [&str; 8] =
            ["status", "service_required", "priority", "worker_id", "attempt", "progress", "created_at", "error"];
        for id in &ids {
            pipe.cmd("HMGET").arg([space.key("job:").as_bytes(), id].concat()).arg(&READ);
        }
        let rows: Vec<RedisResult<Vec<Option<Vec<u8>>>>> = pipe.query_async(con).await?;
        Ok(ids
            .into_iter()
            .zip(rows)
            .filter_map(|(id, row)| {
                let mut row = row.ok()?.into_iter().map(|value| lossy(value.unwrap_or_default()));
                let mut next = || row.next().unwrap_or_default();
                Some(JobLine {
                    id: lossy(id),
                    status: next(),
                    service: next(),
                    priority: next(),
                    worker: next(),
                    attempt: next(),
                    progress: next(),
                    created_at: next(),
                    error: next(),
                })
            })
            .collect())
    })
    .await
}

/// A registered worker: its record and whether its heartbeat lives.
#[derive(Debug, Clone, serde::Serialize)]
pub struct WorkerLine {
    /// Id.
    pub id: String,
    /// Its heartbeat lives.
    pub alive: bool,
    /// Its record, capabilities as JSON text.
    pub record: BTreeMap<String, String>,
}

/// The registered workers.
pub async fn workers(link: &Link, space: &Space) -> RedisResult<Vec<WorkerLine>> {
    link.call(async |con| {
        let mut ids: Vec<String> = con.smembers(space.key("workers:active")).await?;
        ids.sort();
        let mut lines = Vec::with_capacity(ids.len());
        for id in ids {
            let record: BTreeMap<Vec<u8>, Vec<u8>> = con.hgetall(space.key("worker:") + &id).await.unwrap_or_default();
            let record = record.into_iter().map(|(name, value)| (lossy(name), lossy(value))).collect();
            let alive: bool = con.exists(space.key("worker:") + &id + ":heartbeat").await?;
            lines.push(WorkerLine { id, alive, record });
        }
        Ok(lines)
    })
    .await
}
