//! Reading a claimed job, and checking once more on its raw hash that it may run here.
//! In: a claim. Out: the job for the connector, or why it does not run here.

use super::shared::Shared;
use crate::capabilities::{Capabilities, Fit, fit_job};
use crate::protocol::claim::ClaimedJob;
use crate::protocol::class::Class;
use connectors::contract::Job;
use connectors::failure::{Failure, Reason};
use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A job, read.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// For the connector.
    pub job: Job,
    /// How long it may run.
    pub timeout: Duration,
    /// The small fields of its hash, for the reference's records.
    pub fields: BTreeMap<String, String>,
    /// Its class.
    pub class: String,
}

impl Fetched {
    /// GPU memory that the job asks for, in MB.
    pub fn memory_mb(&self) -> Option<u64> {
        let class = Class::of(|name| self.fields.get(name).map(String::as_str), &BTreeSet::new()).ok()?;
        let gigabytes = class.require().get("hardware.gpu_memory_gb").and_then(Value::as_f64)?;
        (gigabytes > 0.0).then_some((gigabytes * 1000.0) as u64)
    }
}

/// Why a claimed job does not run here.
#[derive(Debug, Clone)]
pub enum NotHere {
    /// It does not fit this worker after all; its class was made from less than is known now.
    Misfit(String),
    /// It can run nowhere.
    Unreadable(Failure),
    /// Its hash has gone.
    Gone,
}

/// Longest limit that a job may ask for, in minutes: a week.
const LONGEST_MINUTES: f64 = 7.0 * 24.0 * 60.0;

/// What is read of the hash besides `ctx` and what this worker's matching needs.
const READ: [&str; 11] = [
    "status",
    "service_required",
    "requirements",
    "payload",
    "workflow_id",
    "current_step",
    "total_steps",
    "retry_count",
    "max_retries",
    "handed_on",
    "refused_by",
];

/// Reads a claimed job. Without `capabilities` its fit is not asked: it ran here before.
pub async fn fetch(
    shared: &Shared,
    claimed: &ClaimedJob,
    capabilities: Option<&Capabilities>,
) -> RedisResult<Result<Fetched, NotHere>> {
    let most = shared.limits.max_payload_bytes;
    if claimed.payload_bytes > most {
        let message = format!("the payload is {} bytes, more than the {most} allowed", claimed.payload_bytes);
        return Ok(Err(NotHere::Unreadable(Failure::new(Reason::InvalidPayload, message))));
    }
    let key = shared.space.key("job:") + &claimed.id;
    // By name and never whole: a foreign hash may hold anything, of any size.
    let needed = capabilities.map(Capabilities::needed_job_fields).unwrap_or_default();
    let names: Vec<&str> =
        READ.into_iter().chain(needed.iter().map(String::as_str).filter(|name| !READ.contains(name))).collect();
    let (values, ctx_bytes): (Vec<Option<Vec<u8>>>, u64) = shared
        .link
        .call_for(claimed.payload_bytes, async |con| {
            let mut pipe = redis::pipe();
            pipe.cmd("HMGET").arg(&key).arg(&names).cmd("HSTRLEN").arg(&key).arg("ctx");
            pipe.query_async(con).await
        })
        .await?;
    if ctx_bytes > most {
        let message = format!("ctx is {ctx_bytes} bytes, more than the {most} allowed");
        return Ok(Err(NotHere::Unreadable(Failure::new(Reason::InvalidPayload, message))));
    }
    let mut raw: BTreeMap<String, Vec<u8>> =
        names.into_iter().zip(values).filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    if ctx_bytes > 0 {
        let read =
            async |con: &mut MultiplexedConnection| redis::cmd("HGET").arg(&key).arg("ctx").query_async(con).await;
        let ctx = shared.link.call_for(ctx_bytes, read).await?;
        raw.insert("ctx".to_owned(), ctx);
    }
    Ok(read(shared, claimed, capabilities, raw))
}

fn read(
    shared: &Shared,
    claimed: &ClaimedJob,
    capabilities: Option<&Capabilities>,
    mut raw: BTreeMap<String, Vec<u8>>,
) -> Result<Fetched, NotHere> {
    if raw.is_empty() {
        return Err(NotHere::Gone);
    }
    let invalid = |message: String| NotHere::Unreadable(Failure::new(Reason::InvalidPayload, message));
    let payload = raw.remove("payload").unwrap_or_else(|| b"{}".to_vec());
    let ctx = raw.remove("ctx").unwrap_or_default();
    let fields: BTreeMap<String, String> =
        raw.into_iter().map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned())).collect();
    let get = |name: &str| fields.get(name).map(String::as_str);
    match capabilities.map_or(Ok(Fit::Fits), |capabilities| fit_job(get, capabilities)) {
        Ok(Fit::Fits) => {}
        Ok(Fit::Misfit(reasons)) => {
            return Err(NotHere::Misfit(reasons.first().map(ToString::to_string).unwrap_or_default()));
        }
        Ok(Fit::NeedsFields(_)) => return Err(NotHere::Misfit("it must be indexed again".to_owned())),
        Err(unreadable) => return Err(invalid(unreadable.to_string())),
    }
    let payload = match payload.as_slice() {
        b"" => Value::Object(serde_json::Map::new()),
        text => serde_json::from_slice(text).map_err(|error| invalid(format!("the payload is not JSON: {error}")))?,
    };
    // A context that cannot be read is treated as none, as the reference does.
    let ctx = serde_json::from_slice(&ctx).unwrap_or(Value::Null);
    let timeout = serde_json::from_str::<Value>(get("requirements").unwrap_or_default())
        .ok()
        .and_then(|requirements| requirements.get("timeout_minutes").and_then(Value::as_f64))
        .filter(|minutes| *minutes > 0.0 && *minutes <= LONGEST_MINUTES)
        .map_or(shared.limits.timeout, |minutes| Duration::from_secs_f64(minutes * 60.0));
    Ok(Fetched {
        job: Job {
            id: claimed.id.clone(),
            attempt: claimed.attempt,
            service: get("service_required").unwrap_or_default().to_owned(),
            payload,
            ctx,
        },
        timeout,
        fields,
        class: claimed.class.clone(),
    })
}
