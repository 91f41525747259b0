//! What a worker's earlier process left behind: the jobs that it held when it died, and what it had handed to its engine.
//! In: `jobs:active:{worker}`, `jobs:started:{worker}`. Out: those jobs, held by this process now, with the engine's id for
//! the work; work without a job of ours behind it, to be stopped.
//!
//! ```text
//!   held ────────────────────────────────▶ taken over ──▶ held, or given up: it has cost too many workers
//!   lease ran out, nobody else has it ───▶ taken back ──▶ held
//!   ended, given up, or somebody else's ─▶ orphan: its work is stopped, then it is forgotten
//! ```

use super::link::Link;
use crate::protocol::Space;
use crate::protocol::claim::ClaimedJob;
use crate::protocol::hold::{Adoption, Claim};
use crate::protocol::ids::new_token;
use failpoints::{Point, reach};
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
    /// Ids of jobs that have lost their worker too often, and have failed.
    pub given_up: Vec<String>,
    /// To be stopped.
    pub orphans: Vec<Orphan>,
}

/// What a claim or a start wrote.
#[derive(Deserialize)]
struct Entry {
    claim: String,
    #[serde(default)]
    life: String,
    #[serde(default)]
    service_job_id: String,
}

/// Takes over everything of this worker's that the queue still grants it.
pub async fn left_behind(
    link: &Link,
    space: &Space,
    worker: &str,
    lease: Duration,
    max_stalls: u32,
) -> RedisResult<LeftBehind> {
    let lease_ms = lease.as_millis() as u64;
    let mut found = LeftBehind::default();
    for key in [space.key("jobs:active:") + worker, started_key(space, worker)] {
        for (id, Entry { claim, life, service_job_id }) in entries(link, &key).await? {
            if found.held.iter().any(|recovered| recovered.claimed.id == id) {
                continue;
            }
            let token = new_token(worker);
            let old = Claim { id: id.clone(), token: claim, attempt: 0, life };
            let adopting = link.call(async |con| space.adopt(con, &old, &token, lease_ms, max_stalls).await);
            match adopting.await? {
                Adoption::Held(adopted) => {
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
                    found.held.push(Recovered { claimed, token, service_job_id: adopted.service_job_id });
                    continue;
                }
                Adoption::GivenUp => found.given_up.push(id.clone()),
                Adoption::Lost => {}
            }
            if !service_job_id.is_empty() {
                found.orphans.push(Orphan { job: id, service_job_id });
            }
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

/// A hash of JSON by job. What cannot be read is left out: the reference's workers write something else into
/// `jobs:active`, and what they hold is theirs.
async fn entries<T: DeserializeOwned>(link: &Link, key: &str) -> RedisResult<Vec<(String, T)>> {
    let all: BTreeMap<String, String> =
        link.call(async |con| redis::cmd("HGETALL").arg(key).query_async(con).await).await?;
    Ok(all.into_iter().filter_map(|(id, json)| Some((id, serde_json::from_str(&json).ok()?))).collect())
}
