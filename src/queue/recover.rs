//! What a worker's earlier process left behind: the jobs that it held when it died.
//! In: `jobs:active:{worker}`. Out: those jobs, held by this process now, with the engine's id for the work; or given up,
//! because they have cost too many workers.

use super::link::Link;
use crate::protocol::Space;
use crate::protocol::claim::ClaimedJob;
use crate::protocol::hold::Adoption;
use crate::protocol::ids::new_token;
use failpoints::{Point, reach};
use redis::RedisResult;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// A job that an earlier process held.
#[derive(Debug, Clone)]
pub enum Found {
    /// It is held again.
    Held(Recovered),
    /// It has lost its worker too often, and has failed.
    GivenUp {
        /// The job.
        id: String,
        /// The engine's id for work that may still be going on.
        service_job_id: Option<String>,
    },
}

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
pub async fn left_behind(
    link: &Link,
    space: &Space,
    worker: &str,
    lease: Duration,
    max_stalls: u32,
) -> RedisResult<Vec<Found>> {
    let key = space.key("jobs:active:") + worker;
    let entries: BTreeMap<String, String> =
        link.call(async |con| redis::cmd("HGETALL").arg(&key).query_async(con).await).await?;
    let mut found = Vec::new();
    for (id, entry) in entries {
        // The reference's workers write something else; what they hold is theirs.
        let Ok(Entry { claim }) = serde_json::from_str(&entry) else { continue };
        let token = new_token(worker);
        let lease_ms = lease.as_millis() as u64;
        let adopting = link.call(async |con| space.adopt(con, &id, &claim, &token, lease_ms, max_stalls).await);
        let adopted = match adopting.await? {
            Adoption::Held(adopted) => adopted,
            Adoption::GivenUp { service_job_id } => {
                found.push(Found::GivenUp { id, service_job_id });
                continue;
            }
            Adoption::Lost => continue,
        };
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
        found.push(Found::Held(Recovered { claimed, token, service_job_id: adopted.service_job_id }));
    }
    Ok(found)
}
