//! The checks on runs that are stopped: by cancel, by interrupt, before, during and after.
//! In: a subject. Out: nothing, or what was wrong.

use super::{Aftermath, Bench, Bounds, Judged, Subject, ensure, within, words};
use crate::contract::{Interrupted, Outcome, RunError};
use std::future::Future;
use std::time::Duration;

type Ended = Result<Outcome, RunError>;

/// Between two looks whether an engine knows a run.
const KNOWN_POLL: Duration = Duration::from_millis(10);

pub(super) async fn before_start(subject: &dyn Subject, bounds: &Bounds) -> Result<(), String> {
    let before = subject.engine_jobs_taken().await;
    let bench = Bench::new();
    bench.ctx.cancel.cancel();
    let (connector, job) = (subject.connector(), subject.slow_job("conformance-cancelled-early"));
    let ended = within(bounds.stop, "a run cancelled before its start", connector.run(&job, &bench.ctx)).await?;
    ensure(matches!(ended, Err(RunError::Cancelled)), || format!("it {}", words::ended(&ended)))?;
    ensure(subject.engine_jobs_taken().await == before, || "the engine was given the work".into())
}

pub(super) async fn mid_run(subject: &dyn Subject, bounds: &Bounds) -> Result<Judged, String> {
    let bench = Bench::new();
    let (connector, job) = (subject.connector(), subject.slow_job("conformance-cancelled"));
    let run = connector.run(&job, &bench.ctx);
    let stop = async {
        let id = under_way(subject, bounds, &bench).await?;
        bench.ctx.cancel.cancel();
        Ok::<_, String>(id)
    };
    let (ended, id) = stopping(bounds, run, stop).await?;
    ensure(matches!(ended, Err(RunError::Cancelled)), || format!("it {}", words::ended(&ended)))?;
    ensure(bench.outputs.files().is_empty(), || "a cancelled run stored outputs".into())?;
    stopped(subject, bounds, &id).await
}

pub(super) async fn interrupt_twice(subject: &dyn Subject, bounds: &Bounds) -> Result<Judged, String> {
    let bench = Bench::new();
    let (connector, job) = (subject.connector(), subject.slow_job("conformance-interrupted"));
    let run = connector.run(&job, &bench.ctx);
    let stop = async {
        let id = under_way(subject, bounds, &bench).await?;
        let first = within(bounds.stop, "the interrupt", connector.interrupt(&id)).await?;
        ensure(matches!(first, Ok(Interrupted::Stopped)), || format!("the first {}", words::interrupted(&first)))?;
        let second = within(bounds.stop, "the second interrupt", connector.interrupt(&id)).await?;
        let harmless = matches!(second, Ok(Interrupted::NothingToStop | Interrupted::Stopped));
        ensure(harmless, || format!("the second {}", words::interrupted(&second)))?;
        Ok::<_, String>(id)
    };
    let (ended, id) = stopping(bounds, run, stop).await?;
    ensure(ended.is_err(), || "an interrupted run ended well".into())?;
    stopped(subject, bounds, &id).await
}

pub(super) async fn interrupt_unknown(subject: &dyn Subject, bounds: &Bounds) -> Result<(), String> {
    let bench = Bench::new();
    let (connector, job) = (subject.connector(), subject.slow_job("conformance-bystander"));
    let run = connector.run(&job, &bench.ctx);
    let stop = async {
        let id = under_way(subject, bounds, &bench).await?;
        let unknown = uuid::Uuid::new_v4().to_string();
        let said = within(bounds.stop, "interrupting an unknown id", connector.interrupt(&unknown)).await?;
        ensure(matches!(said, Ok(Interrupted::NothingToStop)), || format!("it {}", words::interrupted(&said)))?;
        ensure(subject.engine_works_on(&id).await, || "it stopped somebody else's work".into())?;
        bench.ctx.cancel.cancel();
        Ok::<_, String>(id)
    };
    let (ended, _) = stopping(bounds, run, stop).await?;
    ensure(matches!(ended, Err(RunError::Cancelled)), || format!("the bystander {}", words::ended(&ended)))
}

/// Whether the engine has stopped, as far as it can be seen.
async fn stopped(subject: &dyn Subject, bounds: &Bounds, id: &str) -> Result<Judged, String> {
    match subject.aftermath(id, bounds.watch).await {
        Aftermath::Still => Ok(Judged::Passed),
        Aftermath::GoesOn(how) => Err(how),
        Aftermath::Unseen(why) => Ok(Judged::Not(why)),
    }
}

/// Waits until the engine is at work on the run, and gives the newest id that was recorded of it.
pub(super) async fn under_way(subject: &dyn Subject, bounds: &Bounds, bench: &Bench) -> Result<String, String> {
    within(bounds.run, "recording the service job id", bench.ledger.first_id()).await?;
    let moving = bench.progress.wait_for(|report| report.fraction > 0.0);
    within(bounds.run, "the first progress", moving).await?;
    // Some engines choose an id of their own, which is recorded when they have told it.
    let known = async {
        loop {
            let id = bench.ledger.ids().pop().unwrap_or_default();
            if subject.engine_works_on(&id).await {
                return id;
            }
            tokio::time::sleep(KNOWN_POLL).await;
        }
    };
    within(bounds.run, "the engine does not know the recorded id; waiting for that", known).await
}

/// Drives the run and whoever stops it; each has `bounds.stop` from the other's end on.
pub(super) async fn stopping(
    bounds: &Bounds,
    run: impl Future<Output = Ended>,
    stop: impl Future<Output = Result<String, String>>,
) -> Result<(Ended, String), String> {
    tokio::pin!(run, stop);
    tokio::select! {
        id = &mut stop => {
            let id = id?;
            Ok((within(bounds.stop, "stopping", run).await?, id))
        }
        ended = &mut run => match within(bounds.stop, "what followed", stop).await {
            Ok(Ok(id)) => Ok((ended, id)),
            Ok(Err(fault)) | Err(fault) => Err(format!("{fault} (the run {} before)", words::ended(&ended))),
        },
    }
}
