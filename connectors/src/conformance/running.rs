//! The checks on runs that end by themselves: outputs, ids, progress, failures.
//! In: a subject. Out: nothing, or what was wrong.

use super::doubles::sha256;
use super::{Bench, Bounds, MemoryLedger, Subject, ensure, within, words};
use crate::contract::{Job, Outcome, Reattached, RunError};

pub(super) async fn probe(subject: &dyn Subject, bounds: &Bounds) -> Result<(), String> {
    let probe = within(bounds.probe, "the probe", subject.connector().probe()).await?;
    ensure(probe.is_healthy(), || format!("the engine is not healthy: {}", words::health(&probe.health)))
}

async fn run_ok(subject: &dyn Subject, bounds: &Bounds, id: &str, bench: &Bench) -> Result<Outcome, String> {
    ends_well(subject, bounds, &subject.ok_job(id), bench).await
}

/// Runs a job that must end well.
pub(super) async fn ends_well(
    subject: &dyn Subject,
    bounds: &Bounds,
    job: &Job,
    bench: &Bench,
) -> Result<Outcome, String> {
    let connector = subject.connector();
    let ended = within(bounds.run, "a job that ends well", connector.run(job, &bench.ctx)).await?;
    ended.map_err(|error| format!("a job that should end well {}", words::not_well(&error)))
}

pub(super) async fn completes(subject: &dyn Subject, bounds: &Bounds) -> Result<(), String> {
    let bench = Bench::new();
    let outcome = run_ok(subject, bounds, "conformance-ok", &bench).await?;
    let files = bench.outputs.files();
    ensure(!files.is_empty(), || "nothing was stored".into())?;
    ensure(bench.outputs.begun() == files.len(), || "an output was begun and not finished".into())?;
    let stored: Vec<_> = files.iter().map(|file| file.stored.clone()).collect();
    ensure(outcome.outputs == stored, || "the outcome does not name what was stored".into())?;
    ensure(files.iter().all(|file| !file.bytes.is_empty()), || "an output is empty".into())?;
    ensure(files.iter().all(|file| file.stored.sha256 == sha256(&file.bytes)), || "a hash is wrong".into())?;
    let small = outcome.data.to_string().len() <= 16 * 1024;
    ensure(small, || "the outcome's data is more than a few KB".into())
}

pub(super) async fn records_first(subject: &dyn Subject, bounds: &Bounds) -> Result<(), String> {
    let before = subject.engine_jobs_taken().await;
    let bench = Bench::with(MemoryLedger::held());
    let run = run_ok(subject, bounds, "conformance-ledger", &bench);
    let look = async {
        let id = within(bounds.run, "recording the service job id", bench.ledger.first_id()).await?;
        let taken = subject.engine_jobs_taken().await != before || subject.engine_works_on(&id).await;
        bench.ledger.release();
        ensure(!taken, || "the engine had the work before its id was durable".into())
    };
    let (ended, looked) = futures_util::future::join(run, look).await;
    looked?;
    ended?;
    ensure(subject.engine_jobs_taken().await == before + 1, || "the engine took more or less than one job".into())
}

pub(super) async fn lost_starts_nothing(subject: &dyn Subject, bounds: &Bounds) -> Result<(), String> {
    let before = subject.engine_jobs_taken().await;
    let bench = Bench::with(MemoryLedger::lost());
    let (connector, job) = (subject.connector(), subject.ok_job("conformance-lost"));
    let ended = within(bounds.run, "a lost job", connector.run(&job, &bench.ctx)).await?;
    ensure(matches!(ended, Err(RunError::Lost(_))), || format!("a lost job {}", words::ended(&ended)))?;
    ensure(bench.outputs.begun() == 0, || "a lost job stored something".into())?;
    ensure(subject.engine_jobs_taken().await == before, || "a lost job was handed to the engine".into())
}

pub(super) async fn progress(subject: &dyn Subject, bounds: &Bounds) -> Result<(), String> {
    let bench = Bench::new();
    run_ok(subject, bounds, "conformance-progress", &bench).await?;
    let fractions: Vec<_> = bench.progress.reports().iter().map(|report| report.fraction).collect();
    ensure(!fractions.is_empty(), || "no progress was reported".into())?;
    let inside = fractions.iter().all(|fraction| (0.0..=1.0).contains(fraction));
    ensure(inside, || format!("progress left 0..1: {fractions:?}"))?;
    ensure(fractions.is_sorted(), || format!("progress fell: {fractions:?}"))
}

pub(super) async fn fails(subject: &dyn Subject, bounds: &Bounds) -> Result<(), String> {
    let bench = Bench::new();
    let (job, kind) = subject.failing_job("conformance-failing");
    let connector = subject.connector();
    match within(bounds.run, "a failing job", connector.run(&job, &bench.ctx)).await? {
        Err(RunError::Failed(failure)) => {
            if let Some(oddity) = subject.oddities().first() {
                return Err(oddity.clone());
            }
            ensure(failure.kind() == kind, || format!("expected {kind}, got {}: {failure}", failure.kind()))?;
            let text = &failure.message;
            ensure(!text.trim().is_empty(), || "the failure has no message".into())?;
            ensure(text.len() <= 2000, || "the failure's message is longer than 2,000 bytes".into())?;
            ensure(!text.contains("Traceback"), || "the failure's message holds a traceback".into())
        }
        other => Err(format!("a failing job {}", words::ended(&other))),
    }
}

pub(super) async fn reattach_unknown(subject: &dyn Subject, bounds: &Bounds) -> Result<(), String> {
    let bench = Bench::new();
    let id = uuid::Uuid::new_v4().to_string();
    let (connector, job) = (subject.connector(), subject.ok_job("conformance-forgotten"));
    let before = subject.engine_jobs_taken().await;
    let found = within(bounds.run, "reattaching", connector.reattach(&job, &id, &bench.ctx)).await?;
    ensure(matches!(found, Ok(Reattached::Unknown)), || format!("an unknown id {}", words::reattached(&found)))?;
    ensure(subject.engine_jobs_taken().await == before, || "reattaching started work".into())
}
