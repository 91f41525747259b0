//! One job's life in ComfyUI: submitted, followed, its results fetched.
//! In: a job and the runner's context. Out: an outcome, a failure, or a stop that was seen to take effect.
//!
//! ```text
//!   graph checked ─▶ socket open ─▶ id recorded ─▶ submitted ─▶ followed ─▶ fetched ─▶ Outcome
//!        │          features known      │Lost         │ 400, partly refused: stopped ─▶ Failure
//!        └─ Failure      └─ Refused     └─ nothing    │ no proper answer ─▶ followed, in doubt
//!                                         started     └─ cancel, from here on: stop, verify ─▶ Cancelled
//! ```

use super::ComfyUi;
use super::api::{Entry, Place};
use super::follow::Follow;
use super::graph::Graph;
use super::http::{ENGINE, Trouble};
use super::mark::mark;
use super::progress::Tracker;
use super::socket::Socket;
use super::submit::{ACCEPT, Submitted};
use super::verdict::{self, Verdict};
use super::wishes::Wishes;
use super::{outputs, stop};
use crate::contract::{Interrupted, Job, Outcome, Reattached, RunContext, RunError};
use crate::failure::{Failure, Reason};
use failpoints::{Point, reach};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// One attempt under one prompt id. The id is the client id as well: fresh for each attempt, and known after a crash.
pub(super) struct Attempt<'a> {
    pub comfy: &'a ComfyUi,
    pub job: &'a Job,
    pub ctx: &'a RunContext,
    pub id: &'a str,
    pub graph: &'a Graph,
    pub wishes: &'a Wishes,
}

impl Attempt<'_> {
    /// Submits and sees it through. `self.graph` carries the mark of this attempt.
    pub async fn run(&self) -> Result<Outcome, RunError> {
        let (socket, features) = tokio::select! {
            biased;
            () = self.ctx.cancel.cancelled() => return Err(RunError::Cancelled),
            ready = async { tokio::join!(self.open_socket(), self.comfy.api.features()) } => ready,
        };
        let (socket, body) = (socket?, self.body(features.as_deref())?);
        self.ctx.ledger.record_service_job(self.id).await?;
        if self.ctx.cancel.is_cancelled() {
            return Err(RunError::Cancelled);
        }
        let submitted = Instant::now();
        let begun = self.submit(&body).await?;
        self.finish(socket, begun, submitted, false).await?.ok_or_else(|| {
            let what = "the run was interrupted in ComfyUI by somebody else";
            Failure::new(Reason::ServiceUnavailable, what).into()
        })
    }

    /// Takes up a prompt that an earlier process submitted.
    pub async fn reattach(&self) -> Result<Reattached, RunError> {
        let taken_up = Instant::now();
        // Queue and history first: a socket for a prompt that nobody knows is of no use.
        if !self.is_known().await? {
            return Ok(Reattached::Unknown);
        }
        reach(Point::WorkFound);
        let socket = tokio::select! {
            biased;
            () = self.ctx.cancel.cancelled() => return Err(self.cancelled().await),
            socket = self.open_socket() => socket?,
        };
        // The earlier process may have stopped it, and died before it could say so: that is no fault of the job.
        Ok(self
            .finish(socket, Submitted::default(), taken_up, true)
            .await?
            .map_or(Reattached::Unknown, Reattached::Done))
    }

    async fn is_known(&self) -> Result<bool, RunError> {
        let (api, timing) = (&self.comfy.api, &self.comfy.settings.timing);
        for look in 0..2 {
            if look > 0 {
                tokio::time::sleep(timing.second_look).await;
            }
            let place = tokio::select! {
                biased;
                () = self.ctx.cancel.cancelled() => return Err(self.cancelled().await),
                place = api.locate(self.id) => place,
            };
            if !matches!(
                place.map_err(|trouble| trouble.failure(ENGINE, "looking for an earlier run"))?,
                Place::Nowhere
            ) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Progress is all that a socket gives, so most troubles with it are no reason not to run.
    async fn open_socket(&self) -> Result<Option<Socket>, Failure> {
        let timing = &self.comfy.settings.timing;
        match Socket::open(&self.comfy.api.http, self.id, self.id, timing.connect, timing.ping).await {
            Ok(socket) => {
                reach(Point::SocketOpen);
                Ok(Some(socket))
            }
            Err(trouble) if trouble.is_no_way() => Err(trouble.failure(ENGINE, "opening the websocket")),
            // Nothing is at work there, so nothing explains the silence: a frozen server is not given the job at all.
            Err(Trouble::Silent) => match self.comfy.api.queue_remaining(timing.probe).await {
                Err(trouble @ Trouble::Silent) => {
                    Err(trouble.failure(ENGINE, "opening the websocket, then asking how it is"))
                }
                Ok(_) | Err(_) => Ok(None),
            },
            Err(trouble) => {
                tracing::warn!(?trouble, "no websocket to ComfyUI; going on without live progress");
                Ok(None)
            }
        }
    }

    /// `None`: the run was interrupted, and not by us.
    async fn finish(
        &self,
        socket: Option<Socket>,
        begun: Submitted,
        since: Instant,
        resumed: bool,
    ) -> Result<Option<Outcome>, RunError> {
        let timing = &self.comfy.settings.timing;
        let mut tracker = Tracker::new(self.graph, &*self.ctx.progress);
        tracker.handed_over(socket.is_none(), resumed);
        let following = Follow::new(&self.comfy.api, timing, self.id, &mut tracker, socket, begun.doubt);
        let following = if resumed { following.looking_back() } else { following };
        let entry = tokio::select! {
            biased;
            () = self.ctx.cancel.cancelled() => return Err(self.cancelled().await),
            entry = following.until_ended() => entry?,
        };
        reach(Point::HistoryRead);
        let mut timings =
            BTreeMap::from([("run_ms".to_owned(), run_time(&entry).unwrap_or_else(|| ms(since.elapsed())))]);
        if let Some(waited) = waiting_time(&entry) {
            timings.insert("queued_ms".to_owned(), waited);
        } else if let Some(started) = tracker.started {
            timings.insert("queued_ms".to_owned(), ms(started.saturating_duration_since(since)));
        }
        let (mut partial, mut blocked) = (begun.left_out, Vec::new());
        match verdict::read(&entry, &tracker.blocked, Some(self.graph)) {
            Verdict::Success { blocked: said } => blocked = said,
            Verdict::Failed(failure) => match self.part_of(&entry, failure) {
                Ok(why) => partial = Some(why),
                Err(failure) => return Err(failure.into()),
            },
            Verdict::Interrupted if self.ctx.cancel.is_cancelled() => return Err(RunError::Cancelled),
            Verdict::Interrupted => return Ok(None),
        }
        tracker.fetching();
        let fetching = Instant::now();
        let mut outcome = tokio::select! {
            biased;
            // The engine is done; what was stored so far is the runner's to throw away.
            () = self.ctx.cancel.cancelled() => return Err(RunError::Cancelled),
            outcome = self.fetch(&entry, tracker.cached_nodes(), &blocked) => outcome?,
        };
        if let Some(why) = partial {
            outcome.data["partial"] = json!({ "why": why });
        }
        timings.insert("fetch_ms".to_owned(), ms(fetching.elapsed()));
        outcome.timings = timings;
        Ok(Some(outcome))
    }

    /// Branches that finished before another failed have left their files. Why the rest is missing, if the job takes
    /// them; else the failure, which says that they are there.
    fn part_of(&self, entry: &Entry, failure: Failure) -> Result<String, Failure> {
        // What is this box's fault another one may do whole.
        let made = outputs::files(entry).iter().filter(|file| file.is_saved()).count();
        if made == 0 || failure.hosts_fault {
            return Err(failure);
        }
        if self.wishes.accepts_part {
            return Ok(failure.message);
        }
        let message = format!("{}; other branches have finished, and {ACCEPT}", failure.message);
        Err(Failure { message, ..failure })
    }

    async fn fetch(&self, entry: &Entry, cached_nodes: usize, blocked: &[String]) -> Result<Outcome, Failure> {
        let (api, timing) = (&self.comfy.api, &self.comfy.settings.timing);
        let files = outputs::files(entry);
        if files.is_empty() && !blocked.is_empty() {
            // It would do so again.
            let what = format!("the workflow blocked itself, so that nothing was made: {}", blocked.join("; "));
            return Err(Failure::new(Reason::InvalidPayload, what));
        }
        if files.is_empty() && self.graph.saves_files() {
            let what = "ComfyUI says that the run succeeded, but names no output file";
            return Err(Failure::new(Reason::MissingExpectedData, what));
        }
        let mut stored = Vec::with_capacity(files.len());
        for file in &files {
            stored.push(outputs::fetch(api, timing, &self.ctx.outputs, file, self.job, self.id).await?);
        }
        let texts = outputs::texts(entry);
        let mut data = json!({ "prompt_id": self.id, "cached_nodes": cached_nodes });
        if texts.as_object().is_some_and(|texts| !texts.is_empty()) {
            data["texts"] = texts;
        }
        if !blocked.is_empty() {
            data["blocked"] = json!(blocked);
        }
        Ok(Outcome { outputs: stored, data, timings: BTreeMap::new() })
    }

    /// Stops our prompt; whatever the server says, the run is over for us.
    pub(super) async fn cancelled(&self) -> RunError {
        self.stop(self.id).await;
        RunError::Cancelled
    }

    pub(super) async fn stop(&self, id: &str) {
        match stop::stop(&self.comfy.api, &self.comfy.settings.timing, id).await {
            Ok(Interrupted::Stopped | Interrupted::NothingToStop) => {}
            Ok(Interrupted::StillRunning) => tracing::warn!(
                prompt_id = id,
                "cancelled, but the node at work does not look at interrupts: ComfyUI is busy until it ends"
            ),
            Err(failure) => tracing::warn!(prompt_id = id, %failure, "cancelled, but ComfyUI could not be told"),
        }
    }
}

/// By the server's own clock: from the first message of the run to the last.
fn run_time(entry: &Entry) -> Option<u64> {
    let messages = &entry.status.as_ref()?.messages;
    let at = |message: &(String, Value)| message.1.get("timestamp")?.as_u64();
    at(messages.last()?)?.checked_sub(at(messages.first()?)?)
}

/// By the server's own clock, where it tells when a submission came in: right for a run that was taken up, too.
fn waiting_time(entry: &Entry) -> Option<u64> {
    let started = entry.message("execution_start")?.get("timestamp")?.as_u64()?;
    started.checked_sub(entry.submitted_at()?)
}

fn ms(time: Duration) -> u64 {
    time.as_millis() as u64
}

/// The graph with this attempt's mark on its file prefixes.
pub(super) fn marked(job: &Job, id: &str) -> Result<Graph, Failure> {
    let mut graph = Graph::read(&job.payload)?;
    graph.mark(&mark(job, id));
    Ok(graph)
}
