//! A run's text on its way to Redis: in order, in batches, never in the way of who writes it.
//! In: pieces as the engine writes them. Out: entries of `ai:stream:{session}`, numbered without gaps.
//!
//! ```text
//!   begun ──▶ pieces wait ──▶ in flight ──confirmed──▶ forgotten
//!     ▲            │ Redis is away: they wait; many become one, and beyond the limit what comes is only counted
//!     └── a new run of the same job: what waits is dropped, the next batch tells readers to start anew
//! ```
//! A batch whose answer was lost is sent again; Redis knows from its first index what it has.

use super::shared::Shared;
use crate::protocol::hold::Hold as Answer;
use crate::protocol::ids::is_legal_session;
use crate::protocol::tokens::Pieces;
use crate::queue::holds::{Hold, Stop};
use crate::queue::lease;
use crate::queue::link::is_passing;
use connectors::contract::{Job, TokenSink};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Text that waits, in bytes; beyond that it is only counted. The whole text is in the result in any case.
const WAITING_MAX: usize = 4 << 20;
/// Pieces that wait before neighbours are joined.
const PIECES_MAX: usize = 4096;
/// One batch.
const BATCH_PIECES: usize = 256;
const BATCH_BYTES: usize = 256 << 10;
/// Time between two batches; the first piece does not wait.
const PAUSE: Duration = Duration::from_millis(5);
/// How long the end of a run waits for Redis before it is written to disk.
const END_PATIENCE: Duration = Duration::from_millis(500);
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(500);

enum Piece {
    Text {
        text: String,
        kind: &'static str,
    },
    /// Bytes that were too many.
    Skipped(u64),
}

#[derive(Default)]
struct State {
    run: String,
    waiting: VecDeque<Piece>,
    bytes: usize,
    skipped: u64,
    /// How many of those that wait are being sent.
    in_flight: usize,
    /// Index of the first that waits.
    next: u64,
    /// Readers must hear of the run though it may have no piece yet.
    announce: bool,
    facts: Option<String>,
}

impl State {
    fn begin(&mut self) {
        *self = Self { run: Uuid::now_v7().simple().to_string(), announce: true, ..Self::default() };
    }

    fn push(&mut self, text: &str, kind: &'static str) {
        if self.bytes + text.len() > WAITING_MAX {
            self.skipped += text.len() as u64;
            return;
        }
        self.count_skipped();
        self.bytes += text.len();
        if self.waiting.len() > PIECES_MAX.max(self.in_flight)
            && let Some(Piece::Text { text: last, kind: of }) = self.waiting.back_mut()
            && *of == kind
        {
            return last.push_str(text);
        }
        self.waiting.push_back(Piece::Text { text: text.to_owned(), kind });
    }

    fn count_skipped(&mut self) {
        if self.skipped > 0 {
            self.waiting.push_back(Piece::Skipped(std::mem::take(&mut self.skipped)));
        }
    }
}

/// The text of one run.
pub struct Tokens {
    job: String,
    session: String,
    state: Mutex<State>,
    news: Notify,
    closed: CancellationToken,
}

impl TokenSink for Tokens {
    fn begin(&self) {
        self.state().begin();
        self.news.notify_one();
    }

    fn token(&self, text: &str, kind: &'static str) {
        {
            let mut state = self.state();
            if state.run.is_empty() {
                state.begin();
            }
            state.push(text, kind);
        }
        self.news.notify_one();
    }
}

impl Tokens {
    /// For a run of this job: its stream is that of the session in its context, or else its own.
    pub fn new(job: &Job) -> Self {
        let named = job.ctx["session_id"].as_str();
        if named.is_some_and(|session| !is_legal_session(session)) {
            tracing::warn!(job = job.id, "ctx.session_id is not legal; a text is streamed under the job's id");
        }
        let session = named.filter(|session| is_legal_session(session)).unwrap_or(&job.id).to_owned();
        Self {
            job: job.id.clone(),
            session,
            state: Mutex::default(),
            news: Notify::new(),
            closed: CancellationToken::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run has ended; `data`: of its result, if it ended well.
    pub fn close(&self, data: Option<&Value>) {
        {
            let mut state = self.state();
            state.count_skipped();
            if let Some(data) = data.filter(|_| !state.run.is_empty()) {
                let facts = json!({ "finish_reason": data["finish_reason"], "usage": data["usage"] });
                state.facts = Some(facts.to_string());
                state.announce = true;
            }
        }
        self.closed.cancel();
        self.news.notify_one();
    }

    /// What is to be sent next; it goes on waiting until it is confirmed.
    fn batch(&self) -> Option<Pieces> {
        let mut state = self.state();
        if state.run.is_empty() || state.waiting.is_empty() && !state.announce {
            return None;
        }
        let (first, mut bytes, mut texts) = (state.next, 0, Vec::new());
        for (piece, index) in state.waiting.iter().zip(first..) {
            let mut entry = match piece {
                Piece::Text { text, kind } => json!({ "token": text, "index": index, "type": kind }),
                Piece::Skipped(bytes) => json!({ "skipped": bytes, "index": index, "type": "skipped" }),
            };
            // Several jobs may write to one session.
            if self.session != self.job {
                entry["job_id"] = json!(self.job);
            }
            let entry = entry.to_string();
            bytes += entry.len();
            texts.push(entry);
            if texts.len() >= BATCH_PIECES || bytes >= BATCH_BYTES {
                break;
            }
        }
        state.in_flight = texts.len();
        // The facts go with the last pieces.
        let facts = state.facts.clone().filter(|_| texts.len() == state.waiting.len());
        Some(Pieces { session: self.session.clone(), run: state.run.clone(), first, texts, facts })
    }

    fn confirmed(&self, sent: &Pieces) {
        let mut state = self.state();
        if state.run != sent.run {
            return;
        }
        for _ in &sent.texts {
            if let Some(Piece::Text { text, .. }) = state.waiting.pop_front() {
                state.bytes -= text.len();
            }
        }
        state.next += sent.texts.len() as u64;
        state.in_flight = 0;
        state.announce = state.facts.is_some() && sent.facts.is_none();
    }

    /// Nobody is to be told of this run any more.
    fn give_up(&self) {
        *self.state() = State::default();
    }

    /// Sends until the run has ended and all is told. False if Redis is away then: there is more to tell.
    pub async fn forward(&self, shared: &Shared, hold: &Hold) -> bool {
        let mut retry = RETRY_FIRST;
        loop {
            let Some(batch) = self.batch() else {
                if self.closed.is_cancelled() {
                    return true;
                }
                self.news.notified().await;
                continue;
            };
            let late = async {
                self.closed.cancelled().await;
                tokio::time::sleep(END_PATIENCE).await;
            };
            let confirmed = tokio::select! {
                confirmed = self.send(shared, hold, &batch) => confirmed,
                () = late => return false,
            };
            if confirmed {
                retry = RETRY_FIRST;
                // Pieces that come meanwhile go together.
                self.pause(PAUSE).await;
            } else {
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(RETRY_MAX);
            }
        }
    }

    /// The same for what was left, however long Redis is away.
    pub async fn forward_rest(&self, shared: &Shared, hold: &Hold) {
        while let Some(batch) = self.batch() {
            if !self.send(shared, hold, &batch).await {
                tokio::time::sleep(RETRY_MAX).await;
            }
        }
    }

    /// The end of the run ends it early.
    async fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        let _ = tokio::time::timeout_at(until, self.closed.cancelled()).await;
    }

    /// Sends a batch once. False: it is to be sent again.
    async fn send(&self, shared: &Shared, hold: &Hold, batch: &Pieces) -> bool {
        let Shared { link, space, holds, limits, .. } = shared;
        match link.call(async |con| space.tokens(con, &hold.claim, batch).await).await {
            Ok(Answer::Ok) => self.confirmed(batch),
            Ok(Answer::Cancel) => {
                self.confirmed(batch);
                hold.stop(Stop::Cancelled);
            }
            Ok(Answer::Moved) => {
                hold.stop(Stop::Moved);
                self.give_up();
            }
            // A Redis that has failed over may have forgotten the claim: only a renewal, which asserts it, decides.
            Ok(Answer::Lost) => {
                let _ = lease::renew(link, space, holds, limits.lease).await;
                if hold.why().is_some() {
                    self.give_up();
                }
                return false;
            }
            Err(error) if is_passing(&error) => return false,
            Err(error) => {
                tracing::warn!(job = self.job, %error, "a text could not be streamed; it is in the result");
                self.give_up();
            }
        }
        true
    }
}
