//! The end of a run, ready to be handed in.
//! In: a result, a failure, or why the run was stopped. Out: what Redis is to be told of it.

use super::fetch::Fetched;
use super::job::Run;
use super::onward::Onward;
use super::reference::{Record, job_result};
use super::retry::verdict;
use super::shape;
use crate::protocol::outcome::{Completion, FailedAttempt};
use crate::queue::holds::Stop;
use crate::queue::settle;
use crate::telemetry::history::Made;
use connectors::contract::{Outcome, StoredOutput};
use connectors::failure::{Failure, Reason};
use std::time::Instant;

/// How a run ended.
#[derive(Debug)]
pub enum Ended {
    /// To be handed in.
    HandIn { outcome: settle::Outcome, failure: Option<Failure>, outputs: Stored },
    /// The job is somebody else's: nothing to hand in.
    ThrownAway,
}

/// What was stored.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// Outputs.
    pub count: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Each of them.
    pub made: Vec<Made>,
}

impl Ended {
    pub(super) fn released(reindex: bool, reason: impl Into<String>) -> Self {
        let outcome = settle::Outcome::Released { reindex, reason: reason.into() };
        Self::HandIn { outcome, failure: None, outputs: Stored::default() }
    }

    /// If it failed, this is known of those who may take it next.
    pub(super) fn handing_on(mut self, onward: Onward) -> Self {
        if let Self::HandIn { outcome: settle::Outcome::Failed(attempt), .. } = &mut self {
            (attempt.keep_off, attempt.is_elsewhere) = (onward.keep_off, onward.is_elsewhere);
        }
        self
    }

    pub(super) fn cancelled() -> Self {
        Self::HandIn { outcome: settle::Outcome::Cancelled, failure: None, outputs: Stored::default() }
    }
}

impl Run<'_> {
    /// The engine's work has stopped because it was told to.
    pub(super) fn stopped(&self, fetched: Option<&Fetched>, began: Instant) -> Ended {
        match self.hold.why() {
            Some(Stop::Cancelled) => Ended::cancelled(),
            Some(Stop::TimedOut) => {
                let limit = fetched.map_or(self.shared.limits.timeout, |fetched| fetched.timeout);
                let message = format!("the job ran longer than the {} s allowed and was stopped", limit.as_secs_f64());
                self.failed(&Failure::new(Reason::JobTimeout, message), fetched, began)
            }
            Some(Stop::Stuck) => {
                let what = "the run made no progress and was stopped";
                self.failed(&Failure::of_host(Reason::ProcessingTimeout, what), fetched, began)
            }
            Some(Stop::Lost | Stop::Moved) => Ended::ThrownAway,
            Some(Stop::Released) => Ended::released(false, "the worker is stopping"),
            Some(Stop::Fenced) => {
                let engines = self.engines.borrow().clone();
                let fences = engines.iter().filter_map(|engine| engine.fence()?.fenced());
                let reason = fences.map(|fenced| fenced.reason.clone()).next();
                Ended::released(false, fenced_words(reason.as_deref().unwrap_or("a fault that has passed")))
            }
            // A connector that says cancelled without having been told to.
            None => self.failed(
                &Failure::new(Reason::InternalError, "the engine's work was stopped by somebody else"),
                fetched,
                began,
            ),
        }
    }

    pub(super) fn completed(
        &self,
        outcome: &Outcome,
        fetched: &Fetched,
        service_job_id: Option<&str>,
        began: Instant,
    ) -> Ended {
        let record = self.record(fetched, began);
        let result = shape::result(outcome);
        let in_their_shape = job_result(&record, outcome, &result, service_job_id);
        let completion = Completion {
            result: result.to_string(),
            attestation: record.completion(&in_their_shape),
            reference_result: in_their_shape.to_string(),
        };
        Ended::HandIn {
            outcome: settle::Outcome::Completed(Box::new(completion)),
            failure: None,
            outputs: Stored {
                count: outcome.outputs.len(),
                bytes: outcome.outputs.iter().map(|output| output.bytes).sum(),
                made: outcome.outputs.iter().map(|output| self.made(fetched, output)).collect(),
            },
        }
    }

    fn made(&self, fetched: &Fetched, output: &StoredOutput) -> Made {
        Made {
            name: output.name.clone(),
            kind: output.kind.clone(),
            media_type: output.media_type.clone(),
            bytes: output.bytes,
            file: self.shared.outputs.file(&fetched.job, output),
        }
    }

    pub(super) fn failed(&self, failure: &Failure, fetched: Option<&Fetched>, began: Instant) -> Ended {
        let failure = &Failure { message: shape::sentence(&failure.message), ..failure.clone() };
        let records = fetched.map(|fetched| {
            let record = self.record(fetched, began);
            (record.failure(failure), record.final_copy())
        });
        let (attestations, final_copy) = records.unwrap_or_default();
        let attempt = FailedAttempt {
            verdict: verdict(failure),
            kind: failure.kind().as_str().to_owned(),
            reason: failure.reason.as_str().to_owned(),
            message: failure.message.clone(),
            backoff_ms: self.shared.limits.retry_backoff.as_millis() as u64,
            jitter: jitter(),
            asked_pause_ms: failure.retry_after.map_or(0, |pause| pause.as_millis() as u64),
            attestations,
            final_copy,
            keep_off: Vec::new(),
            is_elsewhere: false,
        };
        Ended::HandIn {
            outcome: settle::Outcome::Failed(Box::new(attempt)),
            failure: Some(failure.clone()),
            outputs: Stored::default(),
        }
    }

    fn record<'b>(&'b self, fetched: &'b Fetched, began: Instant) -> Record<'b> {
        Record { shared: self.shared, worker: self.worker, fetched, took_ms: began.elapsed().as_millis() as u64 }
    }
}

pub(super) fn fenced_words(reason: &str) -> String {
    format!("the GPU that it ran on is out of order: {reason}")
}

/// A random number from 0 to 1, out of a random id: enough to keep retries apart.
fn jitter() -> f64 {
    (uuid::Uuid::new_v4().as_u128() as u32) as f64 / f64::from(u32::MAX)
}
