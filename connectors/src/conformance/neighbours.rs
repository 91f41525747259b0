//! The check that a cancel stops one run and no other, however long the engine takes for it.
//! In: a subject. Out: nothing, or what became of the neighbour.

use super::cancelling::{stopping, under_way};
use super::running::ends_well;
use super::{Bench, Bounds, Subject, ensure, within, words};
use crate::contract::RunError;
use tokio::time::{sleep, timeout};

pub(super) async fn only_its_own(subject: &dyn Subject, bounds: &Bounds) -> Result<(), String> {
    let (doomed, other) = (Bench::new(), Bench::new());
    let connector = subject.connector();
    let (slow, neighbour) = (subject.slow_job("conformance-doomed"), subject.slow_job("conformance-neighbour"));
    let doomed_run = connector.run(&slow, &doomed.ctx);
    let stop = async {
        let id = under_way(subject, bounds, &doomed).await?;
        within(bounds.run, "the neighbour's start", other.ledger.first_id()).await?;
        if connector.concurrency() > 1 {
            // Both at work in it, if it does as it says.
            let _ = timeout(bounds.probe, under_way(subject, bounds, &other)).await;
        }
        doomed.ctx.cancel.cancel();
        Ok::<_, String>(id)
    };
    let other_run = async {
        // Its neighbour joins while the doomed one is at work; an engine with one place queues it.
        doomed.ledger.first_id().await;
        connector.run(&neighbour, &other.ctx).await
    };
    tokio::pin!(other_run);
    let doomed_run = stopping(bounds, doomed_run, stop);
    tokio::pin!(doomed_run);
    // As long as the cancel takes, which may end an engine that does not obey: the neighbour must outlive that.
    let mut too_early = None;
    let ended = loop {
        tokio::select! {
            ended = &mut doomed_run => break ended?.0,
            ended = &mut other_run, if too_early.is_none() => too_early = Some(ended),
        }
    };
    let cancelled = matches!(ended, Err(RunError::Cancelled));
    ensure(cancelled, || format!("the cancelled run {}", words::ended(&ended)))?;
    if too_early.is_none() {
        let works_on = async {
            under_way(subject, bounds, &other).await?;
            sleep(bounds.watch).await;
            Ok::<_, String>(())
        };
        tokio::select! {
            ended = &mut other_run => too_early = Some(ended),
            works_on = works_on => works_on?,
        }
    }
    if let Some(ended) = too_early {
        return Err(format!("its neighbour, a run of `slow`, {} when the other was cancelled", words::ended(&ended)));
    }
    other.ctx.cancel.cancel();
    let ended = within(bounds.stop, "stopping the neighbour", other_run).await?;
    ensure(matches!(ended, Err(RunError::Cancelled)), || format!("its neighbour {}", words::ended(&ended)))?;
    ends_well(subject, bounds, &subject.ok_job("conformance-after-cancels"), &Bench::new()).await.map(|_| ())
}
