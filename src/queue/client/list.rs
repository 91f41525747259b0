//! Jobs and workers as the queue has them now.
//! In: nothing, or an id. Out: fields and lines, without payloads and what may hold credentials.

use super::lossy;
use crate::protocol::Space;
use crate::queue::link::Link;
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, RedisResult};
use std::collections::{BTreeMap, BTreeSet};

/// All fields of a job but the payload and what may hold credentials; `None` if there is no such job.
pub async fn job(link: &Link, space: &Space, id: &str) -> RedisResult<Option<BTreeMap<String, String>>> {
    let key = space.key("job:") + id;
    let (names, values) = link.call(async |con| small_fields(con, &key).await).await?;
    let fields: BTreeMap<String, String> =
        names.into_iter().zip(values).filter_map(|(name, value)| Some((lossy(name), lossy(value?)))).collect();
    Ok((!fields.is_empty()).then_some(fields))
}

/// Names and values as they stood at one moment, without reading what may be megabytes.
async fn small_fields(con: &mut MultiplexedConnection, key: &str) -> RedisResult<(Vec<Vec<u8>>, Vec<Option<Vec<u8>>>)> {
    let mut all: Vec<Vec<u8>> = con.hkeys(key).await?;
    loop {
        let mut names: Vec<Vec<u8>> =
            all.iter().filter(|name| *name != b"payload" && *name != b"ctx").cloned().collect();
        // HMGET needs a name.
        names.push(b"status".to_vec());
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("HKEYS").arg(key).cmd("HMGET").arg(key).arg(&names);
        let (now, values): (Vec<Vec<u8>>, Vec<Option<Vec<u8>>>) = pipe.query_async(con).await?;
        if now == all {
            return Ok((names, values));
        }
        all = now;
    }
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
    /// Its failure type.
    pub failure_type: String,
    /// Its failure reason.
    pub failure_reason: String,
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
        const READ: [&str; 10] = [
            "status",
            "service_required",
            "priority",
            "worker_id",
            "attempt",
            "progress",
            "created_at",
            "error",
            "failure_type",
            "failure_reason",
        ];
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
                    failure_type: next(),
                    failure_reason: next(),
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
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipe = redis::pipe();
        pipe.ignore_errors();
        for id in &ids {
            let key = space.key("worker:") + id;
            pipe.cmd("HGETALL").arg(&key).cmd("EXISTS").arg(key + ":heartbeat");
        }
        let answers: Vec<RedisResult<redis::Value>> = pipe.query_async(con).await?;
        let mut answers = answers.into_iter();
        let lines = ids.into_iter().map_while(|id| {
            let (record, alive) = (answers.next()?, answers.next()?);
            let record: BTreeMap<Vec<u8>, Vec<u8>> =
                record.and_then(|value| Ok(redis::from_redis_value(value)?)).unwrap_or_default();
            let record = record.into_iter().map(|(name, value)| (lossy(name), lossy(value))).collect();
            let alive = alive.and_then(|value| Ok(redis::from_redis_value(value)?)).unwrap_or_default();
            Some(WorkerLine { id, alive, record })
        });
        Ok(lines.collect())
    })
    .await
}
