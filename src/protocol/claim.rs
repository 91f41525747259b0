//! Claiming: a worker asks for the best job that it can run.
//! In: its token, what it can run, what it knows of the classes. Out: a job, or what it must learn first.

use super::control::Wanted;
use super::script::{Space, lua};
use redis::RedisResult;
use redis::aio::ConnectionLike;

lua!(CLAIM, "claim.lua");

/// Who claims, and what it knows.
#[derive(Debug, Clone)]
pub struct ClaimRequest<'a> {
    /// `{worker}|{claim id}`: a text that no other claim ever has. Asking again with it gives the same job.
    pub token: &'a str,
    /// The worker's id.
    pub worker: &'a str,
    /// How long the job is held without a renewal, in ms.
    pub lease_ms: u64,
    /// The version of the classes that `fitting` was computed from.
    pub version: &'a str,
    /// Take what `fitting` allows even if the picture of the queue may be incomplete.
    pub force: bool,
    /// Ids of the classes that fit, 16 hex digits each, without separators.
    pub fitting: &'a str,
    /// Which process of the worker asks, as its registration was told; empty before.
    pub instance: &'a str,
}

/// What a claim answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimReply {
    /// A job is held.
    Job(ClaimedJob),
    /// The classes have changed. Few of them come along; `None`: read `jobs:classes`.
    Classes {
        /// Their present version.
        version: String,
        /// Class id and definition of each.
        definitions: Option<Vec<(String, String)>>,
    },
    /// The queue begins with a job that is not indexed yet.
    Index {
        /// That job, as far as its id is text.
        id: String,
    },
    /// Many stale entries were dropped; ask again at once.
    More,
    /// A newer process has this worker id.
    Superseded,
    /// Somebody wants this worker to claim no more.
    Paused(Wanted),
    /// Nothing that fits.
    Nothing {
        /// Milliseconds until the next delayed job is due.
        next_due_ms: Option<u64>,
    },
}

/// A job that is now held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedJob {
    /// Its id.
    pub id: String,
    /// The same token held it already: an earlier answer was lost.
    pub again: bool,
    /// Size of the payload in bytes, before anybody reads it.
    pub payload_bytes: u64,
    /// Count of claims of this job, from 1.
    pub attempt: u64,
    /// Its life (`created_at`).
    pub life: String,
    /// The class it was claimed from.
    pub class: String,
    /// Whether something else that fits may wait; if not, the next one leaves a token.
    pub more: bool,
}

impl Space {
    /// Claims the best waiting job among the fitting classes.
    pub async fn claim(
        &self,
        con: &mut (impl ConnectionLike + Send),
        request: &ClaimRequest<'_>,
    ) -> RedisResult<ClaimReply> {
        let reply = self
            .call(&CLAIM)
            .arg(request.token)
            .arg(request.worker)
            .arg(request.lease_ms)
            .arg(request.version)
            .arg(u8::from(request.force))
            .arg(request.fitting)
            .arg(request.instance)
            .send(con)
            .await?;
        Ok(match reply.text(0).as_str() {
            "job" => ClaimReply::Job(ClaimedJob {
                id: reply.text(1),
                again: reply.text(2) == "1",
                payload_bytes: reply.count(3),
                attempt: reply.count(4),
                life: reply.text(5),
                class: reply.text(6),
                more: reply.text(7) != "0",
            }),
            "classes" => {
                let rest = reply.texts(2);
                let definitions = (!rest.is_empty()).then(|| {
                    rest.chunks_exact(2)
                        .filter(|pair| pair[0] != "_v")
                        .map(|pair| (pair[0].clone(), pair[1].clone()))
                        .collect()
                });
                ClaimReply::Classes { version: reply.text(1), definitions }
            }
            "index" => ClaimReply::Index { id: reply.text(1) },
            "more" => ClaimReply::More,
            "superseded" => ClaimReply::Superseded,
            "paused" => ClaimReply::Paused(Wanted::read(&reply, 1)),
            "none" => ClaimReply::Nothing { next_due_ms: u64::try_from(reply.int(1)).ok() },
            _ => return Err(reply.unknown()),
        })
    }
}
