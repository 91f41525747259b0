//! A job in an engine's hands: watched until it ends, stopped when it must.
//! In: the engine, the job as read. Out: how the run ended, who is to blame included.
//!
//! ```text
//!   running ──▶ result ──▶ completed | failed: by the GPU, by the engine, by the job
//!      │ told to stop, stuck, GPU fenced, out of time
//!      ▼
//!   stopping ──▶ stopped within its grace | left behind: the engine is asked by id
//! ```

use super::attempt::carry_out;
use super::blame::Asked;
use super::end::{Ended, fenced_words};
use super::engine::Engine;
use super::fetch::Fetched;
use super::job::{Run, STOP_GRACE};
use super::ledger::RedisLedger;
use super::progress::{Sink, forward};
use super::shared::Limits;
use super::stuck::Watch;
use super::tokens::Tokens;
use crate::output::{PreviewFolder, forget_previews, without_credentials};
use crate::queue::holds::Stop;
use connectors::contract::{Job, Outcome, Preview, Progress, RunContext, RunError};
use connectors::failure::{Failure, Reason};
use failpoints::{Point, reach};
use std::convert::Infallible;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// The same for a run that is stuck: its engine is looked after in any case.
const STUCK_GRACE: Duration = Duration::from_secs(5);

/// A job that was stuck is tried elsewhere so often without charge.
const STUCK_ELSEWHERE: usize = 2;

/// A job in whose run the engine ended is tried again so often without charge: from then on the job is suspected.
const ENDED_ELSEWHERE: usize = 1;

/// The same for an engine whose GPU has failed.
const FENCED_GRACE: Duration = Duration::from_secs(3);

impl Run<'_> {
    pub(super) async fn run(&self, engine: &Arc<Engine>, fetched: Fetched, resume: Option<String>) -> Ended {
        let began = Instant::now();
        let asked = || Asked {
            models: engine.connector.models(&fetched.job),
            memory_mb: fetched.memory_mb(),
            class: fetched.class.clone(),
            job: fetched.job.id.clone(),
        };
        // What is taken up again is at work already.
        if resume.is_none()
            && engine.is_suspected()
            && let Some(refused) = engine.refuses(&asked().models)
        {
            let onward = self.onward(refused, &fetched, &asked().models, false).await;
            return self.failed(&onward.failure, Some(&fetched), began).handing_on(onward);
        }
        let outputs = match self.shared.outputs.of(&fetched.job) {
            Ok(outputs) => outputs,
            Err(failure) => return self.failed(&failure, Some(&fetched), began),
        };
        let ledger = Arc::new(RedisLedger::new(self, resume.clone()));
        let watch = Arc::new(Watch::new(engine.paces.clone()));
        let show = {
            let (shared, worker, job) = (self.shared.clone(), self.worker.to_owned(), fetched.job.id.clone());
            move |preview: &Preview| shared.previews.show(&worker, &job, preview)
        };
        let heard = {
            let (shared, worker) = (self.shared.clone(), self.worker.to_owned());
            move |progress: &Progress| shared.board.report(&worker, progress)
        };
        let (sink, reports) = Sink::new(watch.clone(), heard, show);
        let Limits { output_dir, preview_retention, .. } = &self.shared.limits;
        let wants_previews = fetched.job.wants_previews();
        let pictures = wants_previews.then(|| PreviewFolder::new(output_dir, &fetched.job.id, *preview_retention));
        let tokens = Arc::new(Tokens::new(&fetched.job));
        let engine_free = sink.engine_free();
        let context = RunContext {
            cancel: self.hold.engine_signal(),
            progress: sink,
            ledger: ledger.clone(),
            inputs: self.shared.inputs.clone(),
            outputs,
            tokens: tokens.clone(),
        };
        let ctx = without_credentials(&fetched.job.ctx);
        let (connector, job) = (engine.connector.clone(), Job { ctx, ..fetched.job.clone() });
        // A task of its own: a connector that panics fails one job, not the agent.
        let mut work = tokio::spawn(carry_out(connector, job, context, resume));
        let abandon = work.abort_handle();
        let forwarding = forward(self.shared, self.hold, reports, pictures);
        let mut stuck = None;
        let working = async {
            let ended = tokio::time::timeout(fetched.timeout, async {
                tokio::select! {
                    result = &mut work => Some(result),
                    () = self.stop_signal() => None,
                    found = watch.stuck() => {
                        self.hold.stop(Stop::Stuck);
                        stuck = Some(found);
                        None
                    }
                    () = gpu_fails(engine) => {
                        self.hold.stop(Stop::Fenced);
                        None
                    }
                }
            });
            match ended.await {
                Ok(Some(result)) => Some(result),
                // The engine's work goes on, followed by the process that took the job over.
                Ok(None) if self.hold.why() == Some(Stop::Moved) => None,
                Ok(None) => tokio::time::timeout(self.grace(), &mut work).await.ok(),
                Err(_) => {
                    self.hold.stop(Stop::TimedOut);
                    tokio::time::timeout(STOP_GRACE, &mut work).await.ok()
                }
            }
        };
        // Another job need not wait until large files are stored.
        let vacating = async {
            engine_free.cancelled().await;
            self.vacate();
            std::future::pending::<Infallible>().await
        };
        let (result, (), all_told) = tokio::join!(
            async {
                let result = tokio::select! {
                    result = working => result,
                    never = vacating => match never {},
                };
                tokens.close(match &result {
                    Some(Ok(Ok(outcome))) => Some(&outcome.data),
                    _ => None,
                });
                if result.is_none() {
                    // Left behind: its end of the progress channel must go, too.
                    abandon.abort();
                }
                result
            },
            forwarding,
            tokens.forward(self.shared, self.hold)
        );
        if !all_told {
            *self.untold.lock().unwrap_or_else(PoisonError::into_inner) = Some(tokens);
        }
        reach(Point::RunEnded);
        self.shared.previews.clear(self.worker);
        if wants_previews && matches!(result, Some(Ok(Ok(_)))) {
            forget_previews(output_dir, &fetched.job.id).await;
        }
        if self.may_have_left_work(&result)
            && let Some(id) = ledger.service_job_id()
        {
            engine.may_still_run(id);
        }
        if !matches!(result, Some(Ok(Ok(_))))
            && let Some(stuck) = stuck.filter(|_| self.hold.why() == Some(Stop::Stuck))
        {
            let failure = stuck.failure();
            engine.failed(&failure, &asked());
            // Stuck on several workers it is the job that takes its time: from then on it pays for it.
            let hosts_fault = failure.hosts_fault && handed_on(&fetched) < STUCK_ELSEWHERE;
            return self.failed(&Failure { hosts_fault, ..failure }, Some(&fetched), began);
        }
        match result {
            Some(Ok(Ok(outcome))) => {
                if engine.is_suspected() {
                    engine.succeeded(&asked());
                }
                self.completed(&outcome, &fetched, ledger.service_job_id().as_deref(), began)
            }
            Some(Ok(Err(RunError::Failed(failure)))) if self.hold.why().is_none() => {
                if let Some(reason) = self.gpu_to_blame(engine, &failure).await {
                    return Ended::released(false, fenced_words(&reason));
                }
                let failure = of_the_job_if_again(failure, &fetched);
                engine.failed(&failure, &asked());
                let lists_all = engine.connector.lists_all_models();
                let onward = self.onward(failure, &fetched, &asked().models, lists_all).await;
                self.failed(&onward.failure, Some(&fetched), began).handing_on(onward)
            }
            Some(Ok(Err(RunError::Lost(_)))) if self.hold.why().is_none() => Ended::ThrownAway,
            Some(Err(_panic)) => {
                let failure = Failure::new(Reason::InternalError, "the connector crashed on this job");
                self.failed(&failure, Some(&fetched), began)
            }
            None => {
                // The connector did not come back: what it handed to the engine is stopped by its recorded id.
                if let Some(id) = ledger.service_job_id().filter(|_| self.hold.why() != Some(Stop::Moved)) {
                    let interrupt = engine.connector.interrupt(&id);
                    let _ = tokio::time::timeout(self.grace(), interrupt).await;
                }
                self.stopped(Some(&fetched), began)
            }
            Some(Ok(Err(_))) => self.stopped(Some(&fetched), began),
        }
    }

    /// Whether the engine may be at work on something that nobody waits for any more.
    fn may_have_left_work<E>(&self, result: &Option<Result<Result<Outcome, RunError>, E>>) -> bool {
        match (result, self.hold.why()) {
            (Some(Ok(Ok(_))), _) | (_, Some(Stop::Moved)) => false,
            (Some(Ok(Err(RunError::Failed(failure)))), None) => failure.hosts_fault,
            (Some(Ok(Err(RunError::Lost(_)))), None) => false,
            _ => true,
        }
    }

    /// The reason of the fence, if the GPU and not the job made this attempt fail. The engine often hears of a fault before
    /// the driver says a word, so an engine that blames the GPU has it looked at before the attempt counts.
    async fn gpu_to_blame(&self, engine: &Engine, failure: &Failure) -> Option<String> {
        let fence = engine.fence()?;
        if failure.reason == Reason::GpuError {
            fence.look().await;
        }
        let blames_us = failure.hosts_fault || failure.reason == Reason::GpuError;
        fence.fenced().filter(|fenced| blames_us && fenced.hands_back).map(|fenced| fenced.reason.clone())
    }

    /// An engine whose GPU has failed is not waited for as long as one that is well.
    fn grace(&self) -> Duration {
        match self.hold.why() {
            Some(Stop::Fenced) => FENCED_GRACE,
            Some(Stop::Stuck) => STUCK_GRACE,
            _ => STOP_GRACE,
        }
    }

    async fn stop_signal(&self) {
        self.hold.signal().cancelled().await;
    }
}

/// An engine that ends at work is at fault itself, once; of a job that was handed on before it is told what it does.
fn of_the_job_if_again(failure: Failure, fetched: &Fetched) -> Failure {
    let hosts_fault = failure.hosts_fault && !(failure.ended_engine && handed_on(fetched) >= ENDED_ELSEWHERE);
    Failure { hosts_fault, ..failure }
}

/// How often the job was handed on without charge.
fn handed_on(fetched: &Fetched) -> usize {
    fetched.fields.get("handed_on").and_then(|count| count.parse().ok()).unwrap_or_default()
}

/// Comes back once the engine's GPU must give up its job.
async fn gpu_fails(engine: &Engine) {
    match engine.fence() {
        Some(fence) => fence.hands_back().await,
        None => std::future::pending().await,
    }
}
