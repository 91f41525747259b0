//! What somebody wants of a worker: to work, to pause, or to drain; it stays wanted until somebody says otherwise.
//! In: an order, or a question. Out: the desired state, since when, and who said so.

use super::script::{Reply, Space, lua};
use redis::RedisResult;
use redis::aio::ConnectionLike;

lua!(CONTROL, "control.lua");

/// What a worker is to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Desired {
    /// Claim and run jobs.
    #[default]
    Running,
    /// Claim no more; what runs goes on.
    Paused,
    /// The same, and say when nothing runs any more.
    Draining,
}

impl Desired {
    /// Reads the word in Redis. Whoever wrote one that is not known here meant something else than to go on.
    pub fn parse(word: &str) -> Self {
        match word {
            "" | "running" => Self::Running,
            "draining" | "drain" => Self::Draining,
            _ => Self::Paused,
        }
    }

    /// The word in Redis.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Draining => "draining",
        }
    }

    /// Whether jobs may be claimed.
    pub fn claims(self) -> bool {
        self == Self::Running
    }
}

/// What somebody wants of a worker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// What it is to do.
    pub desired: Desired,
    /// Since when, in ms; 0: not said.
    pub at_ms: u64,
    /// Who said so, for people; may be empty.
    pub by: String,
}

impl Wanted {
    pub(super) fn read(reply: &Reply, at: usize) -> Self {
        Self { desired: Desired::parse(&reply.text(at)), at_ms: reply.count(at + 1), by: reply.text(at + 2) }
    }
}

impl Space {
    /// What is wanted of a worker.
    pub async fn wanted(&self, con: &mut (impl ConnectionLike + Send), worker: &str) -> RedisResult<Wanted> {
        let key = self.key(&format!("worker:{worker}:control"));
        let (state, at, by): (Option<String>, Option<String>, Option<String>) =
            redis::cmd("HMGET").arg(key).arg(&["state", "at", "by"]).query_async(con).await?;
        let at_ms = at.and_then(|at| at.parse().ok()).unwrap_or(0);
        Ok(Wanted { desired: Desired::parse(&state.unwrap_or_default()), at_ms, by: by.unwrap_or_default() })
    }

    /// Says what a worker is to do; answers what is wanted of it now.
    pub async fn control(
        &self,
        con: &mut (impl ConnectionLike + Send),
        worker: &str,
        desired: Desired,
        by: &str,
    ) -> RedisResult<Wanted> {
        let reply = self.call(&CONTROL).arg(worker).arg(desired.word()).arg(by).arg("").send(con).await?;
        Ok(Wanted::read(&reply, 0))
    }

    /// Says again what Redis may have lost; answers what is wanted now, which may be something newer.
    pub async fn assert_control(
        &self,
        con: &mut (impl ConnectionLike + Send),
        worker: &str,
        known: &Wanted,
    ) -> RedisResult<Wanted> {
        let call = self.call(&CONTROL).arg(worker).arg(known.desired.word()).arg(&known.by).arg(known.at_ms);
        Ok(Wanted::read(&call.send(con).await?, 0))
    }
}
