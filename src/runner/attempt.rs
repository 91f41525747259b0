//! What one attempt asks of a connector: earlier work taken up or the job run, and once more after memory ran out.
//! In: a job, what an earlier process left. Out: the connector's last word.

use crate::telemetry::{Notice, tell};
use connectors::contract::{Connector, Freed, Job, Outcome, Reattached, RunContext, RunError};
use std::sync::Arc;
use std::time::Duration;

/// How long an engine may take over a request to free memory.
pub(super) const FREE_DEADLINE: Duration = Duration::from_secs(10);

/// Carries it out; `resume` is the engine's id of work that an earlier process handed over.
pub(super) async fn carry_out(
    connector: Arc<dyn Connector>,
    job: Job,
    context: RunContext,
    resume: Option<String>,
) -> Result<Outcome, RunError> {
    match once(&*connector, &job, &context, resume).await {
        Err(RunError::Failed(failure))
            if failure.hosts_fault && failure.is_out_of_memory() && !context.cancel.is_cancelled() =>
        {
            // What earlier jobs left on the card may have been too much; this job alone may not be.
            let freed = tokio::time::timeout(FREE_DEADLINE, connector.free_memory()).await;
            if matches!(freed, Ok(Ok(Freed::NotSupported))) {
                // Nothing has changed: it would run out again.
                return Err(RunError::Failed(failure));
            }
            tell(Notice::OutOfMemory { job: &job.id, message: &failure.message });
            connector.run(&job, &context).await
        }
        ended => ended,
    }
}

async fn once(
    connector: &dyn Connector,
    job: &Job,
    context: &RunContext,
    resume: Option<String>,
) -> Result<Outcome, RunError> {
    if let Some(id) = resume
        && let Reattached::Done(outcome) = connector.reattach(job, &id, context).await?
    {
        return Ok(outcome);
    }
    // The engine never saw it, or has forgotten it.
    connector.run(job, context).await
}
