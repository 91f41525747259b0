//! Handing in how a run ended: repeated until Redis has it, harmless when it had it already.
//! In: a claim and its outcome. Out: what became of it.

use super::link::{Link, persist};
use crate::protocol::Space;
use crate::protocol::hold::Claim;
use crate::protocol::outcome::{Completion, FailedAttempt, Settled};
use redis::RedisResult;
use tokio_util::sync::CancellationToken;

/// How a run ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// With a result.
    Completed(Box<Completion>),
    /// It failed.
    Failed(Box<FailedAttempt>),
    /// The job is given back; `reindex`: its class is to be made anew.
    Released {
        /// Make its class anew.
        reindex: bool,
        /// For people.
        reason: String,
    },
    /// It was cancelled, and the engine has stopped.
    Cancelled,
}

/// Hands it in. `None` if `give_up` fires while Redis is away: the lease then runs out, and somebody runs the job again.
pub async fn hand_in(
    link: &Link,
    space: &Space,
    claim: &Claim,
    outcome: &Outcome,
    give_up: &CancellationToken,
) -> Option<RedisResult<Settled>> {
    persist(give_up, || attempt(link, space, claim, outcome)).await
}

async fn attempt(link: &Link, space: &Space, claim: &Claim, outcome: &Outcome) -> RedisResult<Settled> {
    link.call(async |con| match outcome {
        Outcome::Completed(completion) => space.complete(con, claim, completion).await,
        Outcome::Failed(failed) => space.fail(con, claim, failed).await,
        Outcome::Released { reindex, reason } => space.release(con, claim, *reindex, reason).await,
        Outcome::Cancelled => space.confirm(con, claim).await,
    })
    .await
}
