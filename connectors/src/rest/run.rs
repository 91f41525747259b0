//! One job at a REST engine: handed over, followed to its end, its results fetched; or stopped.
//! In: a job and the definition. Out: an outcome, a failure, or a stop that was seen to take effect.
//!
//! ```text
//!   recorded ─▶ waits for its place ─▶ submit ─sync─▶ answer ─▶ outputs stored ─▶ Outcome
//!                                        │ async
//!                                        └─▶ the server's id recorded ─▶ poll ─done─▶ [result] ─▶ outputs stored
//!                                                                         │ ├─failed word─▶ Failure
//!                                                                         │ └─404─▶ Unknown, or Failure
//!                                                                         └ stop: cancel, polled until it has ended
//! ```

use super::definition::{Call, Definition, Poll};
use super::http::{Answer, Http, Trouble, Unanswered, of_status, reason, words};
use super::outputs;
use super::template::Fill;
use crate::contract::{Interrupted, Job, Ledger, Outcome, OutputStore, Progress, ProgressSink, Stage};
use crate::failure::{Failure, Reason};
use crate::live::{Cut, Live};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// An engine that cannot be asked for this long is given up; its work may have gone with it.
const AWAY: Duration = Duration::from_secs(30);
/// A submission on its way when the stop came: its answer holds the id that is to be stopped.
const LAST_ANSWER: Duration = Duration::from_secs(5);
/// From a cancel to the end of the work.
pub(super) const STOP: Duration = Duration::from_secs(15);
/// How long a cancel is held back for a look at what there is to cancel.
const LOOK_FIRST: Duration = Duration::from_secs(2);
const STOP_POLL: Duration = Duration::from_millis(200);
/// Longest `data` of a result.
const DATA_MAX: usize = 64 << 10;
/// What is told between handing over and the first figure.
const HANDED_OVER: f64 = 0.05;

/// One server with the definition that is in force for a run.
pub(super) struct Server {
    pub http: Http,
    pub definition: Definition,
}

/// One run.
pub(super) struct Run {
    pub server: Arc<Server>,
    pub places: Arc<Semaphore>,
    pub live: Arc<Live>,
    pub job: Job,
    /// Ours, a UUID.
    pub run_id: String,
    /// As the queue knows it: the connector's name and ours.
    pub id: String,
    pub progress: Arc<dyn ProgressSink>,
    pub outputs: Arc<dyn OutputStore>,
    pub ledger: Arc<dyn Ledger>,
}

/// How a run at the engine is.
enum Standing {
    AtWork(Value),
    Done(Answer),
    Failed(Failure),
    Unknown,
}

impl Run {
    fn fill<'a>(&'a self, engine_id: &'a str) -> Fill<'a> {
        Fill { job: &self.job, run_id: &self.run_id, engine_id }
    }

    /// Hands the job over and sees it through.
    pub async fn run(self, asked: CancellationToken) -> Result<Outcome, Cut> {
        let waiting = Instant::now();
        let _place = tokio::select! {
            biased;
            () = asked.cancelled() => return Err(Cut::Stopped),
            place = self.places.clone().acquire_owned() => place,
        };
        let definition = &self.server.definition;
        let queued = waiting.elapsed();
        self.live.hand();
        self.progress.report(Progress { fraction: HANDED_OVER, stage: Stage::Unseen, ..Progress::default() });
        let began = Instant::now();
        let key = format!("{}-{}", self.job.id, self.job.attempt);
        let fill = self.fill(&self.run_id);
        let more = definition.idempotency.as_ref().map(|name| (name, key.as_str()));
        let mut submitting = Box::pin(self.server.http.call(&definition.submit, &definition.headers, more, &fill));
        let (answered, stopped) = tokio::select! {
            biased;
            answered = &mut submitting => (Some(answered), false),
            () = asked.cancelled() => match &definition.poll {
                Some(_) => (timeout(LAST_ANSWER, &mut submitting).await.ok(), true),
                None => (None, true),
            }
        };
        // With it goes the connection, which is how most servers learn that nobody waits for a synchronous call.
        drop(submitting);
        let submitted = match answered {
            Some(Ok(answer)) if answer.is_success() => Some(answer),
            Some(Ok(answer)) if !stopped => return Err(of_status(&answer, &definition.failure, "submitting").into()),
            Some(Err(trouble)) if !stopped => {
                // It may have arrived all the same; where the id is ours, it can be stopped.
                if !matches!(trouble, Unanswered::Job(_) | Unanswered::Wire(Trouble::Refused))
                    && !definition.server_names_runs()
                {
                    let _ = timeout(STOP, self.server.stop(&fill)).await;
                }
                return Err(trouble.failure("submitting").into());
            }
            _ => None,
        };
        let Some(poll) = &definition.poll else {
            if stopped {
                let _ = timeout(STOP, self.server.stop(&fill)).await;
                return Err(Cut::Stopped);
            }
            let answer = submitted.ok_or(Cut::Stopped)?;
            self.fetching();
            return self.collect(answer, &fill, &asked, queued, began).await;
        };
        let engine_id = match (&definition.id, &submitted) {
            (None, _) => self.run_id.clone(),
            (Some(at), Some(answer)) => match engine_id(answer, at) {
                Ok(id) => id,
                Err(failure) => return Err(failure.into()),
            },
            (Some(_), None) => {
                tracing::warn!(job = self.job.id, "cancelled while it was submitted; the engine may go on with it");
                return Err(Cut::Stopped);
            }
        };
        let fill = self.fill(&engine_id);
        if stopped {
            self.stop(&fill).await;
            return Err(Cut::Stopped);
        }
        // Only now is it known: an agent that dies before this line leaves work that only the idempotency key finds.
        if definition.server_names_runs()
            && self.ledger.record_service_job(&format!("{}/{engine_id}", self.id)).await.is_err()
        {
            self.stop(&fill).await;
            return Err(Cut::Lost);
        }
        self.follow(poll, &fill, &asked, queued, began, true).await.and_then(|outcome| {
            let gone = || Failure::new(Reason::MissingExpectedData, "the engine has forgotten a run that it had taken");
            outcome.ok_or_else(|| gone().into())
        })
    }

    /// Takes up work that an earlier process handed over. `None`: the engine does not know it.
    pub async fn reattach(self, engine_id: String, asked: CancellationToken) -> Result<Option<Outcome>, Cut> {
        let server = self.server.clone();
        let Some(poll) = &server.definition.poll else { return Ok(None) };
        let fill = self.fill(&engine_id);
        self.follow(poll, &fill, &asked, Duration::ZERO, Instant::now(), false).await
    }

    /// `None`: the engine does not know it.
    async fn follow(
        &self,
        poll: &Poll,
        fill: &Fill<'_>,
        asked: &CancellationToken,
        queued: Duration,
        began: Instant,
        is_new: bool,
    ) -> Result<Option<Outcome>, Cut> {
        let (mut heard, mut furthest) = (Instant::now(), HANDED_OVER);
        let mut unknown_once = false;
        loop {
            let standing = tokio::select! {
                biased;
                () = asked.cancelled() => {
                    self.stop(fill).await;
                    return Err(Cut::Stopped);
                }
                standing = self.server.look(poll, fill) => standing,
            };
            match standing {
                Ok(Standing::AtWork(answer)) => {
                    heard = Instant::now();
                    self.tell(poll, &answer, &mut furthest);
                }
                Ok(Standing::Done(answer)) => {
                    self.fetching();
                    let answer = match &self.server.definition.result {
                        None => answer,
                        Some(call) => tokio::select! {
                            biased;
                            () = asked.cancelled() => return Err(Cut::Stopped),
                            result = self.result(call, fill) => result?,
                        },
                    };
                    return self.collect(answer, fill, asked, queued, began).await.map(Some);
                }
                Ok(Standing::Failed(failure)) => return Err(failure.into()),
                // Some servers list a run a moment after they have taken it.
                Ok(Standing::Unknown) if is_new && !std::mem::replace(&mut unknown_once, true) => {}
                Ok(Standing::Unknown) => return Ok(None),
                Err(failure) if heard.elapsed() >= AWAY => {
                    self.stop(fill).await;
                    return Err(failure.into());
                }
                Err(_) => {}
            }
            tokio::select! {
                () = asked.cancelled() => {}
                () = sleep(poll.interval) => {}
            }
        }
    }

    fn tell(&self, poll: &Poll, answer: &Value, furthest: &mut f64) {
        let figure = poll.progress.as_ref().and_then(|at| answer.pointer(at));
        let figure = figure.and_then(|figure| figure.as_f64().or_else(|| figure.as_str()?.parse().ok()));
        let message = poll.message.as_ref().and_then(|at| answer.pointer(at)).and_then(Value::as_str);
        if figure.is_none() && message.is_none() {
            return;
        }
        let fraction = figure.map_or(0.0, |figure| (figure / poll.progress_max).clamp(0.0, 1.0));
        *furthest = furthest.max(fraction);
        let message = message.map(|text| text.chars().take(500).collect());
        // A figure that has moved is expected to go on; words alone, or a figure that has yet to move, promise nothing.
        let stage = if fraction > 0.0 { Stage::Working } else { Stage::Unseen };
        self.progress.report(Progress { fraction: *furthest, message, stage, ..Progress::default() });
    }

    fn fetching(&self) {
        let message = Some("fetching the outputs".to_owned());
        self.progress.report(Progress { fraction: 1.0, message, stage: Stage::Fetching, ..Progress::default() });
    }

    async fn result(&self, call: &Call, fill: &Fill<'_>) -> Result<Answer, Failure> {
        let server = &self.server;
        let answer = server.http.call(call, &server.definition.headers, None, fill).await;
        let answer = answer.map_err(|trouble| trouble.failure("fetching the result"))?;
        if answer.is_success() {
            return Ok(answer);
        }
        Err(of_status(&answer, &server.definition.failure, "fetching the result"))
    }

    async fn collect(
        &self,
        answer: Answer,
        fill: &Fill<'_>,
        asked: &CancellationToken,
        queued: Duration,
        began: Instant,
    ) -> Result<Outcome, Cut> {
        let fetching = Instant::now();
        let outputs = tokio::select! {
            biased;
            () = asked.cancelled() => return Err(Cut::Stopped),
            outputs = outputs::store(&self.server, fill, &answer, &self.outputs) => outputs?,
        };
        let data = match &self.server.definition.data {
            None => json!({}),
            Some(at) => {
                let found = answer.json().ok().and_then(|json: Value| json.pointer(at).cloned());
                found.ok_or_else(|| {
                    Failure::new(Reason::MissingExpectedData, format!("the engine's answer has nothing at `{at}`"))
                })?
            }
        };
        let bytes = data.to_string().len();
        if bytes > DATA_MAX {
            let said = format!("`result.data` leads to {bytes} bytes; files belong into [[outputs]]");
            return Err(Failure::new(Reason::InvalidResponseFormat, said).into());
        }
        let ms = |span: Duration| span.as_millis() as u64;
        let timings = [
            ("queued_ms".to_owned(), ms(queued)),
            ("run_ms".to_owned(), ms(fetching - began)),
            ("fetch_ms".to_owned(), ms(fetching.elapsed())),
        ];
        Ok(Outcome { outputs, data, timings: timings.into() })
    }

    async fn stop(&self, fill: &Fill<'_>) {
        match timeout(STOP, self.server.stop(fill)).await {
            Ok(Ok(Interrupted::Stopped | Interrupted::NothingToStop)) => {}
            _ => tracing::warn!(job = self.job.id, "the engine could not be seen to stop; it may go on with the job"),
        }
    }
}

fn engine_id(answer: &Answer, at: &str) -> Result<String, Failure> {
    let json: Option<Value> = answer.json().ok();
    let id = json.as_ref().and_then(|json| json.pointer(at)).and_then(|id| match id {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    });
    id.filter(|id| (1..=512).contains(&id.len()) && !id.contains(char::is_control)).ok_or_else(|| {
        Failure::new(Reason::InvalidResponseFormat, format!("the engine's answer has no id of a run at `{at}`"))
    })
}

impl Server {
    async fn look(&self, poll: &Poll, fill: &Fill<'_>) -> Result<Standing, Failure> {
        let answer = self.http.call(&poll.call, &self.definition.headers, None, fill).await;
        let answer = answer.map_err(|trouble| trouble.failure("asking how a run is"))?;
        if matches!(answer.status, 404 | 410) {
            return Ok(Standing::Unknown);
        }
        if !answer.is_success() {
            return Err(of_status(&answer, &self.definition.failure, "asking how a run is"));
        }
        let wrong = |said: String| Failure::of_host(Reason::InvalidResponseFormat, said);
        let json: Value = answer.json().map_err(|_| wrong("the engine's answer to a poll is not JSON".to_owned()))?;
        let state = json.pointer(&poll.state);
        let state = state.filter(|state| !state.is_null() && !state.is_object() && !state.is_array());
        let state = state.ok_or_else(|| wrong(format!("the engine's answer has no state at `{}`", poll.state)))?;
        let state = state.as_str().map_or_else(|| state.to_string(), str::to_owned);
        if poll.done.contains(&state) {
            return Ok(Standing::Done(answer));
        }
        if poll.failed.contains(&state) {
            let explain = &self.definition.failure;
            let said = words(&json, explain).map_or_else(String::new, |words| format!(": {words}"));
            let reason = reason(&json, explain).unwrap_or(Reason::UnknownError);
            return Ok(Standing::Failed(Failure::as_named(reason, format!("the engine says {state:?}{said}"))));
        }
        Ok(Standing::AtWork(json))
    }

    /// Stops a run, and looks until it is no longer at work, for as long as it is waited for.
    pub async fn stop(&self, fill: &Fill<'_>) -> Result<Interrupted, Failure> {
        let definition = &self.definition;
        let Some(poll) = &definition.poll else {
            if let Some(cancel) = &definition.cancel {
                let answer = self.http.call(cancel, &definition.headers, None, fill).await;
                answer.map_err(|trouble| trouble.failure("cancelling"))?;
            }
            return Ok(Interrupted::NothingToStop);
        };
        let Some(cancel) = &definition.cancel else {
            let at_work = matches!(self.look(poll, fill).await?, Standing::AtWork(_));
            return Ok(if at_work { Interrupted::StillRunning } else { Interrupted::NothingToStop });
        };
        // What has ended is left alone. An engine that does not say how the run is may well be at work on it.
        if let Ok(Ok(Standing::Done(_) | Standing::Failed(_) | Standing::Unknown)) =
            timeout(LOOK_FIRST, self.look(poll, fill)).await
        {
            return Ok(Interrupted::NothingToStop);
        }
        let answer = self.http.call(cancel, &definition.headers, None, fill).await;
        let answer = answer.map_err(|trouble| trouble.failure("cancelling"))?;
        if !answer.is_success() && !matches!(answer.status, 404 | 409 | 410) {
            return Err(of_status(&answer, &definition.failure, "cancelling"));
        }
        // Most servers have stopped with their answer. Whoever waits for the others sets the limit.
        while !matches!(self.look(poll, fill).await, Ok(Standing::Done(_) | Standing::Failed(_) | Standing::Unknown)) {
            sleep(STOP_POLL).await;
        }
        Ok(Interrupted::Stopped)
    }
}
