//! One job in an engine process: handed over, followed, stopped if need be, its files taken out.
//! In: a job. Out: an outcome, a failure, or a stop after which nothing works on it.
//!
//! ```text
//!   recorded ─▶ waits for its place ─▶ process up ─▶ `run` ─▶ answer ─▶ files stored ─▶ Outcome
//!                                                     │ stop: `cancel` ─answer─▶ Stopped
//!                                                     │        └ 8 s ─▶ the process is ended ─▶ Stopped
//!                                                     └ the process dies ─▶ Failure::of_ended_engine
//! ```

use super::instance::Instance;
use super::leftovers;
use super::message;
use super::notes::Stop;
use super::scratch::{Named, Scratch};
use super::session::{Session, Unanswered};
use crate::contract::{Job, Outcome, OutputStore, Progress, ProgressSink, Stage};
use crate::failure::{Failure, Reason};
use crate::live::{Cut, Live};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// A process that has just died may be back before the job needs another worker.
const REST_LONGEST: Duration = Duration::from_secs(5);
/// Longest `data` of an answer.
const DATA_MAX: usize = 64 << 10;

/// One run.
pub(super) struct Run {
    pub instance: Arc<Instance>,
    pub places: Arc<Semaphore>,
    pub live: Arc<Live>,
    pub job: Job,
    pub id: String,
    pub progress: Arc<dyn ProgressSink>,
    pub outputs: Arc<dyn OutputStore>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    #[serde(default)]
    outputs: Vec<Named>,
    #[serde(default)]
    data: Value,
    #[serde(default)]
    timings: BTreeMap<String, u64>,
    #[serde(default)]
    unknown: bool,
}

impl Run {
    /// `method` is `run` or `reattach`. `None`: the process does not know the id.
    pub async fn live(self, method: &'static str, asked: CancellationToken) -> Result<Option<Outcome>, Cut> {
        let waiting = Instant::now();
        let ready = async {
            let place = self.places.clone().acquire_owned().await;
            let session = self.instance.up_after_rest(REST_LONGEST).await?;
            Ok::<_, Failure>((place, session))
        };
        let (place, session) = tokio::select! {
            biased;
            () = asked.cancelled() => return Err(Cut::Stopped),
            ready = ready => ready?,
        };
        let scratch = Scratch::make(&self.instance.settings.scratch, &self.id)?;
        if method == "run" {
            self.live.hand();
        }
        let (began, ticks) = (Instant::now(), leftovers::now());
        let params = json!({
            "id": self.id,
            "scratch": scratch.path(),
            "job": {
                "id": self.job.id,
                "attempt": self.job.attempt,
                "service": self.job.service,
                "payload": self.job.payload,
            },
        });
        let mut working = Box::pin(session.ask_run(method, &params, &self.id, self.progress.clone()));
        let answered = tokio::select! {
            biased;
            answered = &mut working => answered,
            () = asked.cancelled() => {
                let span = (ticks, leftovers::now());
                stop(&session, &self.instance, &self.id, span, working).await;
                return Err(Cut::Stopped);
            }
        };
        drop(working);
        let answer = read(answered, &session, &self.instance)?;
        if answer.unknown {
            return Ok(None);
        }
        // The engine is done with it: another job need not wait until a large output is stored.
        drop(place);
        self.progress.engine_is_free();
        let answered = Instant::now();
        let message = Some("storing the outputs".to_owned());
        self.progress.report(Progress { fraction: 1.0, message, stage: Stage::Fetching, ..Progress::default() });
        let storing = scratch.store(&answer.outputs, &self.outputs);
        let outputs = tokio::select! {
            biased;
            () = asked.cancelled() => return Err(Cut::Stopped),
            outputs = storing => outputs?,
        };
        let mut timings = answer.timings;
        timings.insert("queued_ms".to_owned(), (began - waiting).as_millis() as u64);
        timings.insert("run_ms".to_owned(), (answered - began).as_millis() as u64);
        timings.insert("fetch_ms".to_owned(), answered.elapsed().as_millis() as u64);
        Ok(Some(Outcome { outputs, data: answer.data, timings }))
    }
}

/// Whatever it takes: an engine that goes on after this would work for nobody.
async fn stop(
    session: &Session,
    instance: &Instance,
    id: &str,
    span: (u64, u64),
    working: impl Future<Output = Result<Value, Unanswered>>,
) {
    let timing = &instance.settings.timing;
    let params = json!({ "id": id });
    let asking = async {
        let _ = session.ask("cancel", &params).await;
        std::future::pending::<()>().await;
    };
    let obeyed = timeout(timing.obey, async {
        tokio::select! {
            _ = working => (),
            () = asking => (),
        }
    });
    if obeyed.await.is_err() {
        tracing::warn!(engine = instance.settings.name, "it does not stop a cancelled job and is ended");
        session.end("it did not stop a cancelled job");
        let _ = timeout(timing.end, session.gone()).await;
        return instance.notes.stopped(id, Stop { span, by_force: true, leftovers: Vec::new() });
    }
    let leftovers = match session.guard() {
        Some(guard) => {
            let run = id.to_owned();
            let ending = tokio::task::spawn_blocking(move || leftovers::end(guard, &run));
            ending.await.unwrap_or_default()
        }
        None => Vec::new(),
    };
    if !leftovers.is_empty() {
        let programs = leftovers.join(", ");
        tracing::warn!(engine = instance.settings.name, programs, "what it had started for a stopped job was ended");
    }
    instance.notes.stopped(id, Stop { span, by_force: false, leftovers });
}

fn read(answered: Result<Value, Unanswered>, session: &Session, instance: &Instance) -> Result<Answer, Failure> {
    let value = match answered {
        Ok(Value::Null) => json!({}),
        Ok(value) => value,
        Err(Unanswered::Refused(refused)) => {
            if let Some(oddity) = refused.oddity().filter(|oddity| instance.notes.is_new(oddity)) {
                tracing::warn!(
                    engine = instance.settings.name,
                    oddity,
                    "it says why a job failed in words that are not known"
                );
            }
            return Err(refused.failure());
        }
        // Ended because another run did not stop, or it was not heard of any more: this job has no part in it.
        Err(Unanswered::Gone(why)) if session.was_dismissed() => {
            return Err(Failure::of_host(Reason::ServiceDown, format!("the engine process was ended at work: {why}")));
        }
        // The job may well be why: it is tried again, but not for ever.
        Err(Unanswered::Gone(why)) => {
            return Err(Failure::of_ended_engine(format!("the engine process went away at work: {why}")));
        }
    };
    let wrong =
        |why: String| Failure::new(Reason::InvalidResponseFormat, format!("the engine's answer cannot be used: {why}"));
    let value = message::object(value).map_err(wrong)?;
    for output in value.get("outputs").and_then(Value::as_array).into_iter().flatten() {
        message::is_object(output).map_err(|why| wrong(format!("in `outputs`: {why}")))?;
    }
    let answer: Answer = serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
    let bytes = answer.data.to_string().len();
    if bytes > DATA_MAX {
        let said = format!("the engine's answer has {bytes} bytes of `data`; files belong into `outputs`");
        return Err(Failure::new(Reason::InvalidResponseFormat, said));
    }
    Ok(answer)
}
