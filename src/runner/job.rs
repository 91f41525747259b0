//! One job's life on this worker.
//! In: a held job and the slot's engines. Out: how it ended, ready to be handed in.
//!
//! ```text
//!   held ──▶ read ──misfit──▶ given back, to be indexed again
//!              │ └─unreadable──▶ failed
//!              ▼
//!           engine chosen ──none can──▶ given back
//!              ▼
//!           running ──▶ completed | failed
//!              │ stop: cancelled, timed out, lost, worker leaves
//!              ▼
//!           stopping (the engine's own work ends) ──▶ cancelled | failed | thrown away | given back
//! ```

use super::attempt::carry_out;
use super::blame::Asked;
use super::engine::Engine;
use super::fetch::{Fetched, NotHere, fetch};
use super::ledger::RedisLedger;
use super::progress::{Sink, forward};
use super::reference::{Record, job_result};
use super::retry::verdict;
use super::shape;
use super::shared::Shared;
use super::stuck::Watch;
use crate::capabilities::Capabilities;
use crate::output::LocalStore;
use crate::protocol::claim::ClaimedJob;
use crate::protocol::outcome::{Completion, FailedAttempt};
use crate::queue::heartbeat::others_serve;
use crate::queue::holds::{Hold, Stop};
use crate::queue::link::unless;
use crate::queue::settle;
use connectors::contract::{Outcome, RunContext, RunError};
use connectors::failure::{Failure, Reason};
use failpoints::{Point, reach};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long an engine may take to stop before it is left behind.
pub(super) const STOP_GRACE: Duration = Duration::from_secs(30);

/// The same for a run that is stuck: its engine is looked after in any case.
const STUCK_GRACE: Duration = Duration::from_secs(5);

/// The same for an engine whose GPU has failed.
const FENCED_GRACE: Duration = Duration::from_secs(3);

/// How a run ended.
#[derive(Debug)]
pub enum Ended {
    /// To be handed in. `outputs` counts the stored ones.
    HandIn { outcome: settle::Outcome, failure: Option<Failure>, outputs: usize },
    /// The job is somebody else's: nothing to hand in.
    ThrownAway,
}

impl Ended {
    fn released(reindex: bool, reason: impl Into<String>) -> Self {
        let outcome = settle::Outcome::Released { reindex, reason: reason.into() };
        Self::HandIn { outcome, failure: None, outputs: 0 }
    }

    fn cancelled() -> Self {
        Self::HandIn { outcome: settle::Outcome::Cancelled, failure: None, outputs: 0 }
    }
}

/// How long engines may take to come up before a job of an earlier process is given back.
const ENGINE_PATIENCE: Duration = Duration::from_secs(120);

/// What an earlier process of this worker left of a job.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// The engine's id for the work, if it was about to get it.
    pub service_job_id: Option<String>,
}

/// A job at work.
pub struct Run<'a> {
    /// What all slots share.
    pub shared: &'a Arc<Shared>,
    /// The worker's id.
    pub worker: &'a str,
    /// Its engines, in the order of preference.
    pub engines: &'a [Arc<Engine>],
    /// What it offers.
    pub capabilities: &'a Capabilities,
    /// The hold on the job.
    pub hold: &'a Hold,
}

impl Run<'_> {
    /// Lives the job's life up to its end. `earlier` is what an earlier process of this worker left of it.
    pub async fn live(&self, claimed: &ClaimedJob, earlier: Option<&Earlier>) -> Ended {
        let capabilities = earlier.is_none().then_some(self.capabilities);
        let fetched = loop {
            match fetch(self.shared, claimed, capabilities).await {
                Ok(Ok(fetched)) => break fetched,
                Ok(Err(NotHere::Misfit(why))) => return Ended::released(true, format!("it does not fit: {why}")),
                Ok(Err(NotHere::Gone)) => return Ended::ThrownAway,
                Ok(Err(NotHere::Unreadable(failure))) => {
                    return self.failed(&failure, None, Instant::now());
                }
                // The payload stays readable as long as the job is held.
                Err(_) if self.hold.why().is_none() => tokio::time::sleep(Duration::from_millis(200)).await,
                Err(_) => return self.stopped(None, Instant::now()),
            }
        };
        reach(Point::JobRead);
        let service = &fetched.job.service;
        let serves = |engine: &&Arc<Engine>| {
            engine.is_healthy() && (service.is_empty() || engine.connector.services().contains(service))
        };
        if earlier.is_some() {
            self.engines_awake(&serves).await;
        }
        let Some(engine) = self.engines.iter().find(serves) else {
            // Cancelled while an engine was waited for, or none came: an earlier process's work must not go on for nobody.
            if let Some(id) = earlier.and_then(|earlier| earlier.service_job_id.as_deref())
                && self.hold.why() != Some(Stop::Moved)
            {
                let stopping = self.engines.iter().map(|engine| engine.connector.interrupt(id));
                let _ = tokio::time::timeout(STOP_GRACE, futures_util::future::join_all(stopping)).await;
            }
            return Ended::released(false, "no engine of this worker can take it now");
        };
        self.run(engine, fetched, earlier.and_then(|earlier| earlier.service_job_id.clone())).await
    }

    /// After a restart of the whole machine the agent is up before its engines: the job is kept for them a while.
    async fn engines_awake(&self, serves: &impl Fn(&&Arc<Engine>) -> bool) {
        let waiting = async {
            // Nobody knows when a fence ends: others take the job meanwhile.
            let is_hopeless = || self.engines.iter().any(|engine| engine.is_fenced());
            while !self.engines.iter().any(|engine| serves(&engine)) && !is_hopeless() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let _ = tokio::time::timeout(ENGINE_PATIENCE, unless(&self.hold.signal(), waiting)).await;
    }

    async fn run(&self, engine: &Arc<Engine>, fetched: Fetched, resume: Option<String>) -> Ended {
        let began = Instant::now();
        let asked = || Asked {
            models: engine.connector.models(&fetched.job),
            memory_mb: fetched.memory_mb(),
            class: fetched.class.clone(),
        };
        // What is taken up again is at work already.
        if resume.is_none()
            && engine.is_suspected()
            && let Some(refused) = engine.refuses(&asked().models)
        {
            return self.failed(&refused, Some(&fetched), began);
        }
        let ledger = Arc::new(RedisLedger::new(self.shared.clone(), self.hold.clone(), resume.clone()));
        let watch = Arc::new(Watch::new(engine.paces.clone()));
        let (sink, reports) = Sink::new(watch.clone());
        let context = RunContext {
            cancel: self.hold.engine_signal(),
            progress: sink,
            ledger: ledger.clone(),
            outputs: Arc::new(LocalStore::new(&self.shared.limits.output_dir, &fetched.job.id, fetched.job.attempt)),
        };
        let (connector, job) = (engine.connector.clone(), fetched.job.clone());
        // A task of its own: a connector that panics fails one job, not the agent.
        let mut work = tokio::spawn(carry_out(connector, job, context, resume));
        let abandon = work.abort_handle();
        let forwarding = forward(self.shared, self.hold, reports);
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
        let (result, ()) = tokio::join!(
            async {
                let result = working.await;
                if result.is_none() {
                    // Left behind: its end of the progress channel must go, too.
                    abandon.abort();
                }
                result
            },
            forwarding
        );
        reach(Point::RunEnded);
        if self.may_have_left_work(&result)
            && let Some(id) = ledger.service_job_id()
        {
            engine.may_still_run(id);
        }
        if !matches!(result, Some(Ok(Ok(_))))
            && let Some(stuck) = stuck.filter(|_| self.hold.why() == Some(Stop::Stuck))
        {
            engine.failed(&stuck.failure(), &asked());
            return self.failed(&stuck.failure(), Some(&fetched), began);
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
                engine.failed(&failure, &asked());
                let failure = self.without_false_hope(failure, &fetched).await;
                self.failed(&failure, Some(&fetched), began)
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

    /// A model that is missing here is worth handing on only if there is somebody to hand it to: else its submitter
    /// would wait for minutes to read what is known now. A job that needs too much memory is handed to each of the
    /// others once, and charged from then on.
    async fn without_false_hope(&self, failure: Failure, fetched: &Fetched) -> Failure {
        let memory = failure.is_out_of_memory();
        if !failure.hosts_fault || !memory && failure.reason != Reason::ModelNotFound {
            return failure;
        }
        let handed_on: usize = fetched.fields.get("handed_on").and_then(|count| count.parse().ok()).unwrap_or_default();
        match others_serve(&self.shared.link, &self.shared.space, self.worker, &fetched.job.service).await {
            Ok(others) if others == 0 || memory && handed_on >= others => Failure { hosts_fault: false, ..failure },
            Ok(_) | Err(_) => failure,
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

    /// The engine's work has stopped because it was told to.
    fn stopped(&self, fetched: Option<&Fetched>, began: Instant) -> Ended {
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
                let fences = self.engines.iter().filter_map(|engine| engine.fence()?.fenced());
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

    fn completed(&self, outcome: &Outcome, fetched: &Fetched, service_job_id: Option<&str>, began: Instant) -> Ended {
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
            outputs: outcome.outputs.len(),
        }
    }

    fn failed(&self, failure: &Failure, fetched: Option<&Fetched>, began: Instant) -> Ended {
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
        };
        Ended::HandIn {
            outcome: settle::Outcome::Failed(Box::new(attempt)),
            failure: Some(failure.clone()),
            outputs: 0,
        }
    }

    fn record<'b>(&'b self, fetched: &'b Fetched, began: Instant) -> Record<'b> {
        Record { shared: self.shared, worker: self.worker, fetched, took_ms: began.elapsed().as_millis() as u64 }
    }
}

/// Comes back once the engine's GPU must give up its job.
async fn gpu_fails(engine: &Engine) {
    match engine.fence() {
        Some(fence) => fence.hands_back().await,
        None => std::future::pending().await,
    }
}

fn fenced_words(reason: &str) -> String {
    format!("the GPU that it ran on is out of order: {reason}")
}

/// A random number from 0 to 1, out of a random id: enough to keep retries apart.
fn jitter() -> f64 {
    (uuid::Uuid::new_v4().as_u128() as u32) as f64 / f64::from(u32::MAX)
}
