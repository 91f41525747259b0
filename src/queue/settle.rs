//! Handing in how a run ended: repeated until Redis has it, harmless when it had it already.
//! In: a claim and its outcome. Out: what became of it.

use super::journal::Journal;
use super::link::{Link, persist};
use crate::protocol::Space;
use crate::protocol::hold::Claim;
use crate::protocol::outcome::{Completion, FailedAttempt, Settled};
use failpoints::{Point, reach};
use redis::RedisResult;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// How a run ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
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

/// Hands it in; while Redis is away it is kept in the journal, and for a while longer in case Redis loses it. `None` if
/// `give_up` fires meanwhile: the next process of this worker hands it in.
pub async fn hand_in(
    link: &Link,
    space: &Space,
    journal: &Journal,
    claim: &Claim,
    outcome: &Outcome,
    give_up: &CancellationToken,
) -> Option<RedisResult<Settled>> {
    let first = attempt(link, space, claim, outcome).await;
    if let Ok(settled) = &first {
        note(journal, claim, outcome, settled);
        return Some(first);
    }
    let worker = claim.token.split('|').next().unwrap_or_default();
    // A disk that hangs must not hold up the leases, which live on the same thread.
    let (folder, worker, kept_claim, kept_outcome) =
        (journal.clone(), worker.to_owned(), claim.clone(), outcome.clone());
    let keeping = tokio::task::spawn_blocking(move || folder.keep(&worker, &kept_claim, &kept_outcome));
    let kept = keeping.await.unwrap_or_else(|stopped| Err(std::io::Error::other(stopped)));
    if let Err(error) = &kept {
        tracing::error!(job = claim.id, %error, "the end of a job could not be kept on disk (STATE_DIR)");
    }
    let settled = persist(give_up, || attempt(link, space, claim, outcome)).await?;
    // Refused for a reason that time does not mend: the next start tries once more.
    if let Ok(settled) = &settled {
        note(journal, claim, outcome, settled);
        if let Ok(kept) = kept {
            kept.forget();
        }
    }
    Some(settled)
}

fn note(journal: &Journal, claim: &Claim, outcome: &Outcome, settled: &Settled) {
    if !matches!(settled, Settled::Lost { .. }) {
        journal.confirm(claim, outcome);
    }
}

/// Hands it in once.
pub(super) async fn attempt(link: &Link, space: &Space, claim: &Claim, outcome: &Outcome) -> RedisResult<Settled> {
    let settled = link
        .call(async |con| match outcome {
            Outcome::Completed(completion) => space.complete(con, claim, completion).await,
            Outcome::Failed(failed) => space.fail(con, claim, failed).await,
            Outcome::Released { reindex, reason } => space.release(con, claim, *reindex, reason).await,
            Outcome::Cancelled => space.confirm(con, claim).await,
        })
        .await?;
    reach(match outcome {
        Outcome::Completed(_) => Point::CompleteAnswered,
        Outcome::Failed(_) => Point::FailAnswered,
        Outcome::Released { .. } => Point::ReleaseAnswered,
        Outcome::Cancelled => Point::ConfirmAnswered,
    });
    Ok(settled)
}
