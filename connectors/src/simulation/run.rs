//! One simulated run, and the list of those at work.
//! In: a plan and the runner's context. Out: progress by step, PNG files, or the failure that was asked for.
//!
//! ```text
//!   recorded ──▶ stepping ──▶ drawing ──▶ Outcome
//!                 │  │  └─ hang_at_step: waits for a stop, for ever
//!                 │  └──── fail_at_step: Failure
//!                 └─────── cancel: Cancelled; interrupt: Failure (somebody else stopped it)
//! ```

use super::payload::Plan;
use super::png::Picture;
use crate::contract::{Interrupted, Job, Outcome, Progress, RunContext, RunError, Stage, StoredOutput};
use crate::failure::{Failure, Reason};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The runs at work, by service job id.
#[derive(Default)]
pub(super) struct Live {
    stops: Mutex<HashMap<String, Stop>>,
    taken: AtomicU64,
}

#[derive(Clone, Default)]
struct Stop {
    asked: CancellationToken,
    ended: CancellationToken,
}

impl Live {
    fn with<T>(&self, f: impl FnOnce(&mut HashMap<String, Stop>) -> T) -> T {
        f(&mut self.stops.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    pub fn count(&self) -> usize {
        self.with(|live| live.len())
    }

    pub fn knows(&self, id: &str) -> bool {
        self.with(|live| live.contains_key(id))
    }

    pub async fn stop(&self, id: &str, within: Duration) -> Interrupted {
        let Some(stop) = self.with(|live| live.get(id).cloned()) else {
            return Interrupted::NothingToStop;
        };
        stop.asked.cancel();
        match tokio::time::timeout(within, stop.ended.cancelled()).await {
            Ok(()) => Interrupted::Stopped,
            Err(_) => Interrupted::StillRunning,
        }
    }

    fn enter(self: &Arc<Self>, id: &str) -> Entered {
        let stop = Stop::default();
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.with(|live| live.insert(id.to_owned(), stop.clone()));
        Entered { live: self.clone(), id: id.to_owned(), stop }
    }
}

/// Leaves the list when the run ends or its future is dropped.
struct Entered {
    live: Arc<Live>,
    id: String,
    stop: Stop,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.live.with(|live| live.remove(&self.id));
        self.stop.ended.cancel();
    }
}

pub(super) async fn run(live: &Arc<Live>, plan: &Plan, job: &Job, ctx: &RunContext) -> Result<Outcome, RunError> {
    if ctx.cancel.is_cancelled() {
        return Err(RunError::Cancelled);
    }
    let id = uuid::Uuid::now_v7().to_string();
    ctx.ledger.record_service_job(&id).await?;
    let entered = live.enter(&id);
    let work = async {
        let started = Instant::now();
        step_through(plan, job, ctx).await?;
        let stepped = Instant::now();
        let outputs = draw(plan, job, ctx).await?;
        Ok(Outcome {
            outputs,
            data: json!({ "simulation_id": id, "steps_completed": plan.steps }),
            timings: [
                ("run_ms".to_owned(), (stepped - started).as_millis() as u64),
                ("fetch_ms".to_owned(), stepped.elapsed().as_millis() as u64),
            ]
            .into(),
        })
    };
    tokio::select! {
        biased;
        () = ctx.cancel.cancelled() => Err(RunError::Cancelled),
        () = entered.stop.asked.cancelled() => {
            // An interrupt and a cancel may arrive together; the cancel names the cause.
            if ctx.cancel.is_cancelled() { return Err(RunError::Cancelled) }
            Err(Failure::new(Reason::ServiceUnavailable, "the simulated run was interrupted from outside").into())
        }
        ended = work => ended,
    }
}

async fn step_through(plan: &Plan, job: &Job, ctx: &RunContext) -> Result<(), RunError> {
    for step in 0..=plan.steps {
        if step > 0 {
            tokio::time::sleep(plan.step).await;
        }
        if plan.fails_at(step, job.attempt) {
            let what = format!("the simulation failed at step {step} of {}, as asked", plan.steps);
            return Err(Failure::new(plan.failure, what).into());
        }
        ctx.progress.report(Progress {
            fraction: if plan.steps == 0 { 1.0 } else { step as f64 / plan.steps as f64 },
            message: Some(format!("step {step} of {}", plan.steps)),
            node: None,
            step: Some((step, plan.steps)),
            stage: Stage::Working,
        });
        if plan.hang_at_step == Some(step) {
            std::future::pending::<()>().await;
        }
    }
    Ok(())
}

async fn draw(plan: &Plan, job: &Job, ctx: &RunContext) -> Result<Vec<StoredOutput>, RunError> {
    let mut stored = Vec::new();
    for number in 1..=plan.outputs {
        let mut output = ctx.outputs.create(&format!("simulation-{number}.png"), "images", Some("image/png")).await?;
        for chunk in Picture::new(plan.width, plan.height, seed(job, number)) {
            output.write(chunk).await?;
            // A store that never waits would keep the thread, and a cancel would not be seen.
            tokio::task::yield_now().await;
        }
        stored.push(output.finish().await?);
    }
    Ok(stored)
}

/// The same job draws the same picture in each attempt, another job another one.
fn seed(job: &Job, number: u64) -> u64 {
    let digest = Sha256::new().chain_update(&job.id).chain_update(number.to_be_bytes()).finalize();
    digest.iter().take(8).fold(0, |seed, byte| (seed << 8) | *byte as u64)
}
