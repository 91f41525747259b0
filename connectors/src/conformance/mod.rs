//! What every connector must do, as a suite that runs on ours and on other people's.
//! In: a [`Subject`]: a connector, its engine and a few jobs for it. Out: one verdict per check, in words.
//!
//! Nothing here panics, so that a command line can run the suite too.

mod cancelling;
mod doubles;
mod engine_file;
mod mixing;
mod neighbours;
mod running;
mod words;

pub use doubles::{Bench, MemoryLedger, MemoryStore, NoInputs, RecordingProgress, RecordingTokens, StoredFile};
pub use engine_file::EngineFile;

use crate::contract::{Connector, Job};
use crate::failure::FailureType;
use async_trait::async_trait;
use serde_json::Value;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A connector with its engine, and jobs whose course is known.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The connector under test.
    fn connector(&self) -> Arc<dyn Connector>;

    /// A job that ends well within seconds, reports progress and gives at least one file. Two ids, two contents.
    fn ok_job(&self, id: &str) -> Job;

    /// Another one that ends well, with other files where they depend on the payload alone.
    fn other_job(&self, id: &str) -> Job {
        self.ok_job(id)
    }

    /// A job that would run for a minute or more, reports progress early, and can be stopped.
    fn slow_job(&self, id: &str) -> Job;

    /// A job that fails, and how.
    fn failing_job(&self, id: &str) -> (Job, FailureType);

    /// Whether the engine has this id waiting or at work.
    async fn engine_works_on(&self, service_job_id: &str) -> bool;

    /// How the engine behaves once it was told to stop the work of this id and the run has returned. `watch` is how long
    /// it is looked at; asked of the engine itself wherever it can be.
    async fn aftermath(&self, service_job_id: &str, watch: Duration) -> Aftermath {
        let _ = watch;
        match self.engine_works_on(service_job_id).await {
            true => Aftermath::GoesOn("the engine is still at work on it".to_owned()),
            false => Aftermath::Still,
        }
    }

    /// What the engine has said so far that cannot be taken as it was meant, although its runs went on.
    fn oddities(&self) -> Vec<String> {
        Vec::new()
    }

    /// How many jobs the engine has ever taken.
    async fn engine_jobs_taken(&self) -> u64;
}

/// What is seen of an engine after it was told to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aftermath {
    /// Nothing of that work goes on.
    Still,
    /// It does; how that shows.
    GoesOn(String),
    /// Nobody can see it from outside; why.
    Unseen(String),
}

/// How long things may take before a check fails.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// A probe.
    pub probe: Duration,
    /// A job that ends by itself.
    pub run: Duration,
    /// From a cancel or interrupt to the return.
    pub stop: Duration,
    /// How long an engine is looked at after it has stopped.
    pub watch: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { probe: seconds(10), run: seconds(60), stop: seconds(20), watch: seconds(2) }
    }
}

/// One check's verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The check, in words.
    pub check: &'static str,
    /// What was wrong.
    pub fault: Option<String>,
    /// Why nothing could be said, if that is so.
    pub not_judged: Option<String>,
}

/// What a check came to that found no fault.
pub(crate) enum Judged {
    Passed,
    /// Nothing can be said; why, and what would help.
    Not(String),
}

type Checking<'a> = Pin<Box<dyn Future<Output = Result<Judged, String>> + Send + 'a>>;

/// A check that judges in any case.
fn sure<'a>(check: impl Future<Output = Result<(), String>> + Send + 'a) -> Checking<'a> {
    Box::pin(async { check.await.map(|()| Judged::Passed) })
}
type Check = for<'a> fn(&'a dyn Subject, &'a Bounds) -> Checking<'a>;

/// Every check, in the order in which they run.
const CHECKS: &[(&str, Check)] = &[
    ("a probe answers in time and names a healthy engine", |s, b| sure(running::probe(s, b))),
    ("a run ends with its outputs stored and hashed", |s, b| sure(running::completes(s, b))),
    ("the service job id is durable before the engine works", |s, b| sure(running::records_first(s, b))),
    ("a run whose job is lost starts nothing", |s, b| sure(running::lost_starts_nothing(s, b))),
    ("progress stays within 0 and 1 and never falls", |s, b| sure(running::progress(s, b))),
    ("a failure is typed and its text fit to show", |s, b| sure(running::fails(s, b))),
    ("two runs side by side do not mix", |s, b| Box::pin(mixing::side_by_side(s, b))),
    ("reattaching to an unknown id says so", |s, b| sure(running::reattach_unknown(s, b))),
    ("a cancel before the start starts nothing", |s, b| sure(cancelling::before_start(s, b))),
    ("a cancel in mid-run stops the engine's work", |s, b| Box::pin(cancelling::mid_run(s, b))),
    ("cancelling one run leaves the other alone", |s, b| sure(neighbours::only_its_own(s, b))),
    ("interrupting twice is harmless", |s, b| Box::pin(cancelling::interrupt_twice(s, b))),
    ("interrupting an unknown id is harmless", |s, b| sure(cancelling::interrupt_unknown(s, b))),
];

/// Runs every check, one after the other, even if some fail.
pub async fn run(subject: &dyn Subject, bounds: &Bounds) -> Vec<Verdict> {
    let mut verdicts = Vec::with_capacity(CHECKS.len());
    for (check, body) in CHECKS {
        let (fault, not_judged) = match body(subject, bounds).await {
            Ok(Judged::Passed) => (None, None),
            Ok(Judged::Not(why)) => (None, Some(why)),
            Err(fault) => (Some(fault), None),
        };
        verdicts.push(Verdict { check, fault, not_judged });
    }
    verdicts
}

/// The faults as one text for a failing test; `None` if there are none.
pub fn faults(verdicts: &[Verdict]) -> Option<String> {
    let lines: Vec<_> = verdicts
        .iter()
        .filter_map(|verdict| verdict.fault.as_ref().map(|fault| format!("{}: {fault}", verdict.check)))
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// A job as the suite and tests make them: first attempt, no context.
pub fn job(id: &str, service: &str, payload: Value) -> Job {
    Job { id: id.to_owned(), attempt: 1, service: service.to_owned(), payload, ctx: Value::Null }
}

async fn within<T>(limit: Duration, what: &str, work: impl Future<Output = T>) -> Result<T, String> {
    tokio::time::timeout(limit, work).await.map_err(|_| format!("{what} took more than {limit:?}"))
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
