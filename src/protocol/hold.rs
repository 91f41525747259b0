//! What a holder says while it works: started, progress, still here, taken over.
//! In: token and news. Out: go on, stop because of a cancellation, or stop because the job is lost.

use super::script::{Reply, Space, lua};
use redis::RedisResult;
use redis::aio::ConnectionLike;
use serde::{Deserialize, Serialize};

lua!(START, "start.lua");
lua!(PROGRESS, "progress.lua");
lua!(RENEW, "renew.lua");
lua!(ADOPT, "adopt.lua");

/// What a holder is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Go on.
    Ok,
    /// Somebody wants the job stopped.
    Cancel,
    /// A newer process of the same worker has taken the job over, and the engine's work with it.
    Moved,
    /// The job is not this holder's any more.
    Lost,
}

impl Hold {
    pub(super) fn of(word: &str, reply: &Reply) -> RedisResult<Self> {
        Ok(match word {
            "ok" => Self::Ok,
            "cancel" => Self::Cancel,
            "moved" => Self::Moved,
            "lost" => Self::Lost,
            _ => return Err(reply.unknown()),
        })
    }
}

/// A held job, as its holder knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The job's id.
    pub id: String,
    /// `{worker}|{claim id}`.
    pub token: String,
    /// Count of claims, as this claim was told.
    pub attempt: u64,
    /// The job's life.
    pub life: String,
}

/// Progress as it goes into the event log.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProgressNote {
    /// 0 to 100.
    pub percent: f64,
    /// For a person.
    pub message: String,
    /// The node at work, or empty.
    pub node: String,
    /// Step and number of steps.
    pub step: Option<(u64, u64)>,
    /// Where a new picture of the work is, and its media type.
    pub preview: Option<(String, String)>,
}

/// What came of taking a job over from an earlier process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adoption {
    /// It is held.
    Held(Adopted),
    /// It has lost its worker too often and has failed as `worker_lost`.
    GivenUp,
    /// It has ended, or it is somebody else's.
    Lost,
}

impl Adoption {
    /// The job, if it is held now.
    pub fn held(self) -> Option<Adopted> {
        match self {
            Self::Held(adopted) => Some(adopted),
            Self::GivenUp | Self::Lost => None,
        }
    }
}

/// A job that a restarted agent has taken over from its earlier process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// Count of claims.
    pub attempt: u64,
    /// Its life.
    pub life: String,
    /// The engine's id for the work, if it was handed over.
    pub service_job_id: Option<String>,
    /// Size of the payload.
    pub payload_bytes: u64,
}

impl Space {
    /// Makes the engine's id durable and the job `in_progress`, before the engine gets the work.
    pub async fn start(
        &self,
        con: &mut (impl ConnectionLike + Send),
        claim: &Claim,
        service_job_id: &str,
    ) -> RedisResult<Hold> {
        let reply = self.call(&START).arg(&claim.id).arg(&claim.token).arg(service_job_id).send(con).await?;
        Hold::of(&reply.text(0), &reply)
    }

    /// Records progress.
    pub async fn progress(
        &self,
        con: &mut (impl ConnectionLike + Send),
        claim: &Claim,
        note: &ProgressNote,
    ) -> RedisResult<Hold> {
        let (preview_url, preview_media_type) = note.preview.clone().unwrap_or_default();
        let (step, steps) = note.step.map(|(a, b)| (a.to_string(), b.to_string())).unwrap_or_default();
        let reply = self
            .call(&PROGRESS)
            .arg(&claim.id)
            .arg(&claim.token)
            .arg(format!("{:.1}", note.percent.clamp(0.0, 100.0)))
            .arg(&note.message)
            .arg(&note.node)
            .arg(step)
            .arg(steps)
            .arg(preview_url)
            .arg(preview_media_type)
            .send(con)
            .await?;
        Hold::of(&reply.text(0), &reply)
    }

    /// Renews the leases of everything held; answers in the same order.
    pub async fn renew(
        &self,
        con: &mut (impl ConnectionLike + Send),
        lease_ms: u64,
        claims: &[Claim],
    ) -> RedisResult<Vec<Hold>> {
        let mut call = self.call(&RENEW).arg(lease_ms);
        for claim in claims {
            call = call.arg(&claim.id).arg(&claim.token).arg(claim.attempt).arg(&claim.life);
        }
        let reply = call.send(con).await?;
        reply.texts(0).iter().map(|word| Hold::of(word, &reply)).collect()
    }

    /// Takes over what the same worker's earlier process held, or takes it back if it waits in the same life since that
    /// lease ran out, unless it has lost its worker more than `max_stalls` times.
    pub async fn adopt(
        &self,
        con: &mut (impl ConnectionLike + Send),
        old: &Claim,
        new_token: &str,
        lease_ms: u64,
        max_stalls: u32,
    ) -> RedisResult<Adoption> {
        let call = self.call(&ADOPT).arg(&old.id).arg(&old.token).arg(&old.life);
        let reply = call.arg(new_token).arg(lease_ms).arg(max_stalls).send(con).await?;
        let service_job = |at| Some(reply.text(at)).filter(|text| !text.is_empty());
        match reply.text(0).as_str() {
            "ok" => Ok(Adoption::Held(Adopted {
                attempt: reply.count(1),
                life: reply.text(2),
                service_job_id: service_job(3),
                payload_bytes: reply.count(4),
            })),
            "given_up" => Ok(Adoption::GivenUp),
            "lost" => Ok(Adoption::Lost),
            _ => Err(reply.unknown()),
        }
    }
}
