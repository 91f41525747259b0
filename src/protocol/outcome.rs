//! How a holder ends its hold: with a result, a failure, a release, or a confirmed cancellation.
//! In: token and outcome. Out: accepted, accepted before, or lost to somebody else.

use super::hold::Claim;
use super::script::{Reply, Space, lua};
use redis::RedisResult;
use redis::aio::ConnectionLike;
use serde::{Deserialize, Serialize};

lua!(COMPLETE, "complete.lua");
lua!(FAIL, "fail.lua");
lua!(RELEASE, "release.lua");
lua!(CONFIRM, "confirm.lua");

/// What became of an outcome that was handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It counts.
    Accepted,
    /// It counted already: an earlier answer was lost.
    Already,
    /// Failed, and waits for another attempt.
    Retry {
        /// When it is due, in ms since 1970.
        due_ms: u64,
    },
    /// Failed for good.
    Failed,
    /// A cancellation came first.
    Cancelled,
    /// The job was somebody else's or had ended: this outcome is thrown away.
    Lost {
        /// The job's state.
        state: String,
    },
}

impl Settled {
    fn of(reply: &Reply) -> RedisResult<Self> {
        Ok(match reply.text(0).as_str() {
            "ok" => Self::Accepted,
            "already" => Self::Already,
            "retry" => Self::Retry { due_ms: reply.count(1) },
            "failed" => Self::Failed,
            "cancelled" => Self::Cancelled,
            "lost" => Self::Lost { state: reply.text(1) },
            _ => return Err(reply.unknown()),
        })
    }
}

/// A key and its JSON, written for the reference's readers; an empty key writes nothing.
pub type Attestation = (String, String);

/// A result to be accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Completion {
    /// Our result, JSON.
    pub result: String,
    /// The same in the reference's shape, JSON.
    pub reference_result: String,
    /// Success attestation.
    pub attestation: Attestation,
}

/// What a failed attempt costs the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It fails for good.
    Never,
    /// Another attempt after a pause.
    Retry,
    /// Another attempt after a pause, and for a good while not on this worker.
    Elsewhere,
    /// The worker is at fault: handed on without charging an attempt.
    Uncharged,
}

impl Verdict {
    /// The word that the script knows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Retry => "retry",
            Self::Elsewhere => "elsewhere",
            Self::Uncharged => "uncharged",
        }
    }
}

/// A failed attempt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FailedAttempt {
    /// What it costs.
    pub verdict: Verdict,
    /// Failure type.
    pub kind: String,
    /// Failure reason.
    pub reason: String,
    /// For a person.
    pub message: String,
    /// First pause in ms; doubles with each attempt.
    pub backoff_ms: u64,
    /// 0 to 1: where in the upper half of the pause the next attempt lies.
    pub jitter: f64,
    /// The pause that the engine asked for, in ms.
    pub asked_pause_ms: u64,
    /// If tried again, if final, and the same two for the workflow.
    pub attestations: [Attestation; 4],
    /// A second key for the one that is final, which older readers look for; empty = none.
    pub final_copy: String,
    /// Other workers that need not try it either for as long as this one keeps off.
    #[serde(default)]
    pub keep_off: Vec<String>,
    /// Another live worker is known to have what this one lacks.
    #[serde(default)]
    pub is_elsewhere: bool,
}

/// Longest pause before another attempt, in ms.
pub const BACKOFF_MAX_MS: u64 = 60_000;

/// The longest pause that an engine may ask for. Where a machine is at fault, [`BACKOFF_MAX_MS`] is the most.
pub const ASKED_PAUSE_MAX_MS: u64 = 3_600_000;

/// How often a job is handed on for workers' faults before that is charged to it.
pub const HAND_ONS_MAX: u64 = 16;

impl Space {
    /// Hands in a result.
    pub async fn complete(
        &self,
        con: &mut (impl ConnectionLike + Send),
        claim: &Claim,
        completion: &Completion,
    ) -> RedisResult<Settled> {
        let reply = self
            .call(&COMPLETE)
            .arg(&claim.id)
            .arg(&claim.token)
            .arg(claim.attempt)
            .arg(&claim.life)
            .arg(&completion.result)
            .arg(&completion.reference_result)
            .arg(&completion.attestation.0)
            .arg(&completion.attestation.1)
            .send(con)
            .await?;
        Settled::of(&reply)
    }

    /// Hands in a failure.
    pub async fn fail(
        &self,
        con: &mut (impl ConnectionLike + Send),
        claim: &Claim,
        failed: &FailedAttempt,
    ) -> RedisResult<Settled> {
        let mut call = self
            .call(&FAIL)
            .arg(&claim.id)
            .arg(&claim.token)
            .arg(failed.verdict.as_str())
            .arg(&failed.kind)
            .arg(&failed.reason)
            .arg(&failed.message)
            .arg(failed.backoff_ms)
            .arg(format!("{:.4}", failed.jitter.clamp(0.0, 1.0)))
            .arg(failed.asked_pause_ms.min(ASKED_PAUSE_MAX_MS))
            .arg(BACKOFF_MAX_MS)
            .arg(HAND_ONS_MAX);
        for (key, json) in &failed.attestations {
            call = call.arg(key).arg(json);
        }
        let call = call.arg(&failed.final_copy).arg(failed.keep_off.join(" ")).arg(u8::from(failed.is_elsewhere));
        let reply = call.send(con).await?;
        Settled::of(&reply)
    }

    /// Gives a job back without charging an attempt; `reindex`: its class is to be made anew.
    pub async fn release(
        &self,
        con: &mut (impl ConnectionLike + Send),
        claim: &Claim,
        reindex: bool,
        reason: &str,
    ) -> RedisResult<Settled> {
        let reply =
            self.call(&RELEASE).arg(&claim.id).arg(&claim.token).arg(u8::from(reindex)).arg(reason).send(con).await?;
        Settled::of(&reply)
    }

    /// Confirms that the work of a cancelled job has stopped.
    pub async fn confirm(&self, con: &mut (impl ConnectionLike + Send), claim: &Claim) -> RedisResult<Settled> {
        let reply = self.call(&CONFIRM).arg(&claim.id).arg(&claim.token).send(con).await?;
        Settled::of(&reply)
    }
}
