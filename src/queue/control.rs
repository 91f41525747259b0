//! What somebody wants of one worker, as far as this process has heard: from ticks, heartbeats, claims, or its own orders.
//! In: what Redis says, orders. Out: whether it may claim, for whoever waits for that.
//!
//! ```text
//!   running ──paused──▶ claims no more ──running──▶ running
//!      └────draining──▶ claims no more, says when nothing runs any more ──running──▶ running
//! ```
//! The claim asks Redis itself: what is known here decides only how soon a worker stops asking, or begins again.

use super::announce::now_ms;
use super::link::Link;
use crate::protocol::Space;
use crate::protocol::control::{Desired, Wanted};
use crate::telemetry::{Notice, tell};
use redis::RedisResult;
use std::sync::{Mutex, PoisonError};
use tokio::sync::watch;

/// What is wanted of one worker.
pub struct Control {
    worker: String,
    wanted: watch::Sender<Wanted>,
    /// The history of Redis that it was heard in.
    history: Mutex<u64>,
}

impl Control {
    /// Of this worker nothing is known yet.
    pub fn new(worker: &str) -> Self {
        Self { worker: worker.to_owned(), wanted: watch::Sender::default(), history: Mutex::default() }
    }

    /// The worker's id.
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// What is wanted, as far as is known.
    pub fn wanted(&self) -> Wanted {
        self.wanted.borrow().clone()
    }

    /// The same without since when and by whom.
    pub fn desired(&self) -> Desired {
        self.wanted.borrow().desired
    }

    /// Hears of every change.
    pub fn watch(&self) -> watch::Receiver<Wanted> {
        self.wanted.subscribe()
    }

    /// Takes in what Redis said to a call that began in this history. What another history says must wait until it has been
    /// told what was wanted: it may have lost that. Which of them a call reached that began in an earlier one is not known.
    pub fn hear(&self, link: &Link, began_in: u64, said: Wanted) {
        let told = *self.history.lock().unwrap_or_else(PoisonError::into_inner);
        if began_in != link.history() || began_in != told {
            return;
        }
        // Whatever its time: the next answer mends what was taken in in the wrong order, and clocks may go back.
        self.take(said);
    }

    fn take(&self, mut said: Wanted) {
        let mut changed = None;
        self.wanted.send_if_modified(|wanted| {
            // Who writes by hand leaves the time as it was: a replica that lags behind would pass for newer.
            if said.desired == wanted.desired {
                said.at_ms = said.at_ms.max(wanted.at_ms);
            } else if said.at_ms <= wanted.at_ms {
                said.at_ms = u64::try_from(now_ms()).unwrap_or(0).max(wanted.at_ms + 1);
            }
            let is_news = *wanted != said;
            if wanted.desired != said.desired {
                changed = Some(said.clone());
            }
            *wanted = said;
            is_news
        });
        if let Some(Wanted { desired, by, .. }) = changed {
            tell(Notice::Desired { worker: &self.worker, desired: desired.word(), by: &by });
        }
    }

    /// Orders it, in Redis: it lasts, whatever becomes of this process.
    pub async fn order(&self, link: &Link, space: &Space, desired: Desired, by: &str) -> RedisResult<()> {
        let said = link.call(async |con| space.control(con, &self.worker, desired, by).await).await?;
        self.take(said);
        Ok(())
    }

    /// Tells this history of Redis what was wanted, and takes in what is.
    pub async fn assert(&self, link: &Link, space: &Space, history: u64) -> RedisResult<()> {
        let known = self.wanted();
        if known != Wanted::default() {
            let said = link.call(async |con| space.assert_control(con, &self.worker, &known).await).await?;
            self.take(said);
        }
        *self.history.lock().unwrap_or_else(PoisonError::into_inner) = history;
        Ok(())
    }
}
