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
use super::untold::Untold;
use crate::protocol::hold::Hold as Answer;
use crate::protocol::ids::is_legal_session;
use crate::protocol::tokens::Pieces;
use crate::queue::holds::{Hold, Stop};
use crate::queue::lease;
use crate::queue::link::is_passing;
use connectors::contract::{Job, TokenSink};
use serde_json::{Value, json};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Time between two batches; the first piece does not wait.
const PAUSE: Duration = Duration::from_millis(5);
/// How long the end of a run waits for Redis before it is written to disk.
const END_PATIENCE: Duration = Duration::from_millis(500);
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(500);

/// The text of one run.
pub struct Tokens {
    job: String,
    session: String,
    state: Mutex<Untold>,
    news: Notify,
    closed: CancellationToken,
}

impl TokenSink for Tokens {
    fn begin(&self) {
        self.state().begin();
        self.news.notify_one();
    }

    fn token(&self, text: &str, kind: &'static str) {
        self.state().push(text, kind);
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

    fn state(&self) -> MutexGuard<'_, Untold> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run has ended; `data`: of its result, if it ended well.
    pub fn close(&self, data: Option<&Value>) {
        let facts =
            |data: &Value| json!({ "finish_reason": data["finish_reason"], "usage": data["usage"] }).to_string();
        self.state().close(data.map(facts));
        self.closed.cancel();
        self.news.notify_one();
    }

    fn batch(&self) -> Option<Pieces> {
        self.state().batch(&self.session, &self.job)
    }

    /// Nobody is to be told of this run any more.
    fn give_up(&self) {
        self.state().silence();
    }

    /// Sends until the run has ended and all is told. False if Redis is away then: there is more to tell.
    pub async fn forward(&self, shared: &Shared, hold: &Hold) -> bool {
        let mut retry = RETRY_FIRST;
        loop {
            // In this order: what comes before the end is in the batch.
            let is_closed = self.closed.is_cancelled();
            let Some(batch) = self.batch() else {
                if is_closed {
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
            Ok(Answer::Ok) => self.state().confirmed(batch),
            Ok(Answer::Cancel) => {
                self.state().confirmed(batch);
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
