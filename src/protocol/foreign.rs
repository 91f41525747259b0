//! Jobs that other programs put into Redis by hand: found, indexed, or refused.
//! In: ids of `jobs:pending` and what was read of their hashes. Out: what became of each.

use super::script::{Space, lua};
use super::submit::QueueLimits;
use redis::RedisResult;
use redis::aio::ConnectionLike;

lua!(INDEX, "index.lua");
lua!(REJECT, "reject.lua");
lua!(SWEEP, "sweep.lua");

/// A waiting job to be put into its class.
#[derive(Debug, Clone)]
pub struct ToIndex {
    /// Its id, as it stands in the queue.
    pub id: Vec<u8>,
    /// Class id and definition; empty if the hash is gone.
    pub class: (String, String),
    /// Decimal text of its order.
    pub order: String,
    /// `created_at` as read.
    pub life: Vec<u8>,
    /// Whether there was a hash.
    pub exists: bool,
}

/// What became of a job that was to be indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indexed {
    /// It can be claimed.
    Indexed,
    /// It could be claimed already.
    Kept,
    /// Its hash is gone; the id left the queue.
    Gone,
    /// It had ended; the id left the queue.
    Ended,
    /// It changed since it was read; look again.
    Changed,
    /// Its id cannot be used; it left the queue.
    Expelled,
    /// Too many classes wait.
    TooManyClasses,
}

/// One page of the sweep.
#[derive(Debug, Clone)]
pub struct SweptPage {
    /// Where to go on; `None` = the round is done.
    pub next: Option<String>,
    /// Ids that are not indexed.
    pub unindexed: Vec<Vec<u8>>,
}

impl Space {
    /// Puts jobs into their classes; answers in the same order.
    pub async fn index(
        &self,
        con: &mut (impl ConnectionLike + Send),
        jobs: &[ToIndex],
        limits: QueueLimits,
    ) -> RedisResult<Vec<Indexed>> {
        let mut call = self.call(&INDEX).arg(limits.classes);
        for job in jobs {
            call = call
                .arg(job.id.as_slice())
                .arg(&job.class.0)
                .arg(&job.class.1)
                .arg(&job.order)
                .arg(job.life.as_slice())
                .arg(u8::from(job.exists));
        }
        let reply = call.send(con).await?;
        reply
            .texts(0)
            .into_iter()
            .map(|word| {
                Ok(match word.as_str() {
                    "indexed" => Indexed::Indexed,
                    "kept" => Indexed::Kept,
                    "gone" => Indexed::Gone,
                    "ended" => Indexed::Ended,
                    "changed" => Indexed::Changed,
                    "expelled" => Indexed::Expelled,
                    "classes_full" => Indexed::TooManyClasses,
                    _ => return Err(reply.unknown()),
                })
            })
            .collect()
    }

    /// Ends a waiting job that nobody can understand. False if it changed since it was read.
    pub async fn reject(
        &self,
        con: &mut (impl ConnectionLike + Send),
        id: &str,
        life: &[u8],
        reason: &str,
        message: &str,
    ) -> RedisResult<bool> {
        let reply = self.call(&REJECT).arg(id).arg(life).arg(reason).arg(message).send(con).await?;
        Ok(reply.text(0) == "ok")
    }

    /// Walks one page of the queue from `cursor` (empty = from the start).
    pub async fn sweep(
        &self,
        con: &mut (impl ConnectionLike + Send),
        cursor: &str,
        page: u64,
    ) -> RedisResult<SweptPage> {
        let reply = self.call(&SWEEP).arg(cursor).arg(page).send(con).await?;
        let next = reply.text(0);
        Ok(SweptPage { next: (!next.is_empty()).then_some(next), unindexed: reply.bytes(1) })
    }
}
