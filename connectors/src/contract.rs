//! The contract between the agent and an engine: what a connector must do, and what it is given to do it with.
//! In: a claimed job. Out: progress, outputs, and an outcome or a typed failure.
//!
//! ```text
//!   probe ──healthy──▶ run ──▶ record_service_job ──▶ engine works ──▶ Outcome
//!     │                 │                                  │  └──────▶ Failure
//!     └─unhealthy       └─ cancelled: stop the engine's own work, verify it, return RunError::Cancelled
//! ```

mod answers;
mod lent;

pub use answers::{Freed, Health, Interrupted, Outcome, Probe, Reattached, RunError, StoredOutput};
pub use lent::{
    Input, InputSource, Ledger, Lost, OutputStore, OutputWriter, Preview, Progress, ProgressSink, RunContext, Stage,
    TokenSink,
};

use crate::failure::Failure;
use async_trait::async_trait;
use serde_json::Value;

/// One engine on this box. Cheap to share; all calls may run side by side.
#[async_trait]
pub trait Connector: Send + Sync {
    /// The connector's name in the registry, such as `comfyui`.
    fn name(&self) -> &'static str;

    /// The `service_required` values that it serves.
    fn services(&self) -> &[String];

    /// How many jobs the engine really runs at once (ComfyUI: 1, however many are queued).
    fn concurrency(&self) -> usize {
        1
    }

    /// How many jobs it takes before the next one has to wait inside the connector, where nobody else can take it: no more
    /// are claimed for it. Said of a healthy engine, it stays. `None`: the engine has a queue of its own, and what waits
    /// there is of use.
    fn seats(&self) -> Option<usize> {
        None
    }

    /// Whether the models that a probe lists are all that the engine has: what is not among them need not be looked for there.
    fn lists_all_models(&self) -> bool {
        false
    }

    /// The model files that this job loads, the heaviest first. A worker leaves out what has turned out to be damaged.
    fn models(&self, _job: &Job) -> Vec<String> {
        Vec::new()
    }

    /// Asks the engine how it is. Never fails: a dead engine is an answer. Returns within a few seconds.
    async fn probe(&self) -> Probe;

    /// Waits until the engine's health has changed by itself, so that it is worth a probe before its time. One that does
    /// not hear of that waits for ever. One caller at a time.
    async fn changed(&self) {
        std::future::pending::<()>().await;
    }

    /// Runs one job to its end.
    ///
    /// When `ctx.cancel` fires, the connector stops the engine's work for this job and no other, checks that it has
    /// stopped (bounded), and returns [`RunError::Cancelled`]. A dropped future must not leave engine work running
    /// unnoticed: `interrupt` will be called with the recorded id.
    async fn run(&self, job: &Job, ctx: &RunContext) -> Result<Outcome, RunError>;

    /// Takes up work that an earlier process handed to the engine under `service_job_id`.
    ///
    /// [`Reattached::Unknown`] means that the engine has never heard of it, has forgotten it, or was told to stop it
    /// half-way (the earlier process may have done so): run the job anew.
    async fn reattach(&self, job: &Job, service_job_id: &str, ctx: &RunContext) -> Result<Reattached, RunError>;

    /// Stops the engine's work of that id and no other. Asking twice, or for something finished, is harmless.
    async fn interrupt(&self, service_job_id: &str) -> Result<Interrupted, Failure>;

    /// Whether it is worth asking for memory: no promise that there is any.
    fn can_free_memory(&self) -> bool {
        true
    }

    /// Asks the engine to give GPU memory back, and waits a little for it. Engines that cannot say [`Freed::NotSupported`].
    async fn free_memory(&self) -> Result<Freed, Failure>;
}

/// A job as a connector sees it: small fields and the parsed payload.
#[derive(Clone)]
pub struct Job {
    /// Queue id, `[A-Za-z0-9_-]{1,128}`.
    pub id: String,
    /// Count of claims of this job, from 1. Together with the id it names this attempt (file prefixes).
    pub attempt: u64,
    /// The service that was asked for.
    pub service: String,
    /// The body, as submitted.
    pub payload: Value,
    /// The job's context (storage, workflow), `Null` if none. May hold credentials: never log it.
    pub ctx: Value,
}

/// Without payload and context: prompts and credentials are for no log.
impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, attempt, service, .. } = self;
        f.debug_struct("Job")
            .field("id", id)
            .field("attempt", attempt)
            .field("service", service)
            .finish_non_exhaustive()
    }
}

impl Job {
    /// Whether its owner wants to see pictures of the work while it goes on (`ctx.previews`). They cost GPU time, so an
    /// engine is asked for them only then.
    pub fn wants_previews(&self) -> bool {
        self.ctx.get("previews").and_then(Value::as_bool) == Some(true)
    }
}
