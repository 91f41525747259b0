//! What a worker's earlier process left behind: the jobs that it held when it died, and what it had handed to its engine.
//! In: `jobs:active:{worker}`, `jobs:started:{worker}`. Out: those jobs, held by this process now, with the engine's id for
//! the work; work whose job has gone to somebody else, to be stopped.
//!
//! ```text
//!   held ──────────────────────────────── adopted ──▶ held
//!   lease ran out, nobody else has it ──▶ taken back ──▶ held
//!   ended, or somebody else's ──────────▶ orphan: its work is stopped, then it is forgotten
//! ```

use super::link::Link;
use crate::protocol::Space;
use crate::protocol::claim::ClaimedJob;
use crate::protocol::hold::{Claim, Hold};
use crate::protocol::ids::new_token;
use redis::RedisResult;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::time::Duration;

/// A job that is held again.
#[derive(Debug, Clone)]
pub struct Recovered {
    /// As a claim would have answered it.
    pub claimed: ClaimedJob,
    /// The new token; it fences the earlier process.
    pub token: String,
    /// The engine's id for the work, if it was about to get it.
    pub service_job_id: Option<String>,
}

/// Work in the engine that no job of ours stands behind any more.
#[derive(Debug, Clone)]
pub struct Orphan {
    /// The job that it was for.
    pub job: String,
    /// The engine's id for it.
    pub service_job_id: String,
}

/// Everything that was found.
#[derive(Debug, Clone, Default)]
pub struct LeftBehind {
    /// Held again.
    pub held: Vec<Recovered>,
    /// To be stopped.
    pub orphans: Vec<Orphan>,
}

/// What the claim wrote.
#[derive(Deserialize)]
struct Held {
    claim: String,
}

/// What the start wrote.
#[derive(Deserialize)]
struct Started {
    claim: String,
    attempt: u64,
    life: String,
    service_job_id: String,
}

/// Takes over everything of this worker's that the queue still grants it.
pub async fn left_behind(link: &Link, space: &Space, worker: &str, lease: Duration) -> RedisResult<LeftBehind> {
    let mut found = LeftBehind::default();
    // The reference's workers write something else into `jobs:active`; what they hold is theirs.
    for (id, Held { claim }) in entries(link, space.key("jobs:active:") + worker).await? {
        found.held.extend(adopt(link, space, worker, id, &claim, lease).await?);
    }
    for (id, started) in entries(link, started_key(space, worker)).await? {
        let Started { claim: token, attempt, life, service_job_id } = started;
        if found.held.iter().any(|recovered| recovered.claimed.id == id) {
            continue;
        }
        let claim = Claim { id: id.clone(), token, attempt, life };
        let claims = std::slice::from_ref(&claim);
        let answers = link.call(async |con| space.renew(con, lease.as_millis() as u64, claims).await).await?;
        let recovered = match answers.first() {
            Some(Hold::Ok | Hold::Cancel) => adopt(link, space, worker, id.clone(), &claim.token, lease).await?,
            _ => None,
        };
        match recovered {
            Some(recovered) => found.held.push(recovered),
            None => found.orphans.push(Orphan { job: id, service_job_id }),
        }
    }
    Ok(found)
}

/// What was handed to the engine for this job has been stopped, or will never be looked for again.
pub async fn forget_start(link: &Link, space: &Space, worker: &str, job: &str) -> RedisResult<()> {
    let key = started_key(space, worker);
    link.call(async |con| redis::cmd("HDEL").arg(&key).arg(job).exec_async(con).await).await
}

fn started_key(space: &Space, worker: &str) -> String {
    space.key("jobs:started:") + worker
}

/// A hash of JSON by job; what cannot be read is left out.
async fn entries<T: DeserializeOwned>(link: &Link, key: String) -> RedisResult<Vec<(String, T)>> {
    let all: BTreeMap<String, String> =
        link.call(async |con| redis::cmd("HGETALL").arg(&key).query_async(con).await).await?;
    Ok(all.into_iter().filter_map(|(id, json)| Some((id, serde_json::from_str(&json).ok()?))).collect())
}

async fn adopt(
    link: &Link,
    space: &Space,
    worker: &str,
    id: String,
    claim: &str,
    lease: Duration,
) -> RedisResult<Option<Recovered>> {
    let token = new_token(worker);
    let lease_ms = lease.as_millis() as u64;
    let adopted = link.call(async |con| space.adopt(con, &id, claim, &token, lease_ms).await).await?;
    Ok(adopted.map(|adopted| {
        let claimed = ClaimedJob {
            id,
            again: true,
            payload_bytes: adopted.payload_bytes,
            attempt: adopted.attempt,
            life: adopted.life,
            class: String::new(),
            more: true,
        };
        Recovered { claimed, token, service_job_id: adopted.service_job_id }
    }))
}
