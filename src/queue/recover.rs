//! What a worker's earlier process left behind: the jobs that it held when it died.
//! In: `jobs:active:{worker}`. Out: those jobs, held by this process now, with the engine's id for the work.

use super::link::Link;
use crate::protocol::Space;
use crate::protocol::claim::ClaimedJob;
use crate::protocol::ids::new_token;
use failpoints::{Point, reach};
use redis::RedisResult;
use serde::Deserialize;
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

/// What the claim wrote.
#[derive(Deserialize)]
struct Entry {
    claim: String,
}

/// Takes over everything that this worker holds and that the queue still grants it.
pub async fn left_behind(link: &Link, space: &Space, worker: &str, lease: Duration) -> RedisResult<Vec<Recovered>> {
    let key = space.key("jobs:active:") + worker;
    let entries: BTreeMap<String, String> =
        link.call(async |con| redis::cmd("HGETALL").arg(&key).query_async(con).await).await?;
    let mut found = Vec::new();
    for (id, entry) in entries {
        // The reference's workers write something else; what they hold is theirs.
        let Ok(Entry { claim }) = serde_json::from_str(&entry) else { continue };
        let token = new_token(worker);
        let lease_ms = lease.as_millis() as u64;
        let adopted = link.call(async |con| space.adopt(con, &id, &claim, &token, lease_ms).await).await?;
        let Some(adopted) = adopted else { continue };
        reach(Point::AdoptAnswered);
        let claimed = ClaimedJob {
            id,
            again: true,
            payload_bytes: adopted.payload_bytes,
            attempt: adopted.attempt,
            life: adopted.life,
            class: String::new(),
            more: true,
        };
        found.push(Recovered { claimed, token, service_job_id: adopted.service_job_id });
    }
    Ok(found)
}
