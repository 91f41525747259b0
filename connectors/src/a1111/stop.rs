//! Stopping one task and no other, on a server whose interrupt hits whatever runs.
//! In: a task id and what is known of it. Out: what it does now; it is interrupted if it is surely the one at work.
//!
//! ```text
//!   look ──▶ queued: cannot be withdrawn, waits for its turn ─┐
//!    ▲  └──▶ active, and something runs: interrupt ───────────┤
//!    └────────────────────────────────────────────────────────┘
//!    └──▶ active or queued, but nothing runs in three looks: a failed task's leftover ─▶ gone
//!    └──▶ completed, unknown ─▶ gone
//!    └──▶ upscaling: left alone
//!    └──▶ no task ids here: ours only if the server was idle before and the same job still runs
//! ```

use super::api::{Api, Task};
use super::http::{ENGINE, Trouble};
use super::payload;
use crate::contract::Interrupted;
use crate::failure::Failure;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::time::{Instant, sleep, timeout};

/// An interrupt only sets a flag that is looked at after each step; asking again more often changes nothing.
const ASK_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);
/// Between two jobs the server is idle for a moment; a leftover stays.
const IDLE_LOOKS: u32 = 3;

/// What a look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Neither waiting nor at work.
    Gone,
    /// Waiting, or perhaps a leftover.
    Waiting,
    /// At work; it has been asked to stop.
    Asked,
    /// Something runs, and there is no telling whose it is: left alone.
    Foreign,
}

/// One task on its way out.
pub(super) struct Chase<'a> {
    pub api: &'a Api,
    pub id: &'a str,
    /// Whether this server has ever known one of our task ids.
    pub knows_ids: &'a AtomicBool,
    /// When it was handed over, if that was now and to an idle server: without task ids what runs since then is ours.
    pub alone_since: Option<Instant>,
    stamp: Option<String>,
    asked: Option<Instant>,
    idle_looks: u32,
    /// Whether it was ever seen waiting or at work.
    pub seen_alive: bool,
    /// How it went, if the server went with it.
    pub ended: Option<Ended>,
}

/// What tells that the server has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Nobody listens.
    Refused,
    /// It knows task ids, and no longer this one: it keeps those that ended.
    Forgotten,
}

impl<'a> Chase<'a> {
    pub fn new(api: &'a Api, id: &'a str, knows_ids: &'a AtomicBool, alone_since: Option<Instant>) -> Self {
        Self {
            api,
            id,
            knows_ids,
            alone_since,
            stamp: None,
            asked: None,
            idle_looks: 0,
            seen_alive: false,
            ended: None,
        }
    }

    /// Looks, and interrupts if it is the one at work.
    pub async fn step(&mut self) -> Result<Seen, Trouble> {
        if payload::is_upscaling(self.id) {
            // Upscaling has no task ids and looks at no interrupt, while somebody else's work would.
            let idle = self.api.state(self.api.timing.request).await?.is_idle();
            return Ok(if idle { Seen::Gone } else { Seen::Foreign });
        }
        let task = self.api.task(self.id).await?;
        let named = matches!(task, Task::Active { .. } | Task::Queued(_));
        if named {
            self.knows_ids.store(true, Ordering::Relaxed);
        }
        if task == Task::Completed || (task == Task::Unknown && self.knows_ids.load(Ordering::Relaxed)) {
            self.ended = (task == Task::Unknown && !self.seen_alive).then_some(Ended::Forgotten);
            return Ok(Seen::Gone);
        }
        let state = self.api.state(self.api.timing.request).await?;
        if state.is_idle() {
            self.idle_looks += 1;
            return Ok(if self.idle_looks >= IDLE_LOOKS { Seen::Gone } else { Seen::Waiting });
        }
        self.idle_looks = 0;
        let ours = match task {
            Task::Queued(_) => {
                self.seen_alive = true;
                return Ok(Seen::Waiting);
            }
            Task::Active { .. } => true,
            // It may just not have been registered yet.
            Task::Unknown => match self.alone_since {
                Some(since) if since.elapsed() < self.api.timing.unnamed_after => return Ok(Seen::Waiting),
                since => since.is_some(),
            },
            Task::NoRoute | Task::Completed => self.alone_since.is_some(),
        };
        if !ours || (!named && *self.stamp.get_or_insert_with(|| state.stamp.clone()) != state.stamp) {
            return Ok(Seen::Foreign);
        }
        self.seen_alive = true;
        if self.asked.is_none_or(|at| at.elapsed() >= ASK_AGAIN) {
            self.asked = Some(Instant::now());
            self.api.interrupt().await?;
        }
        Ok(Seen::Asked)
    }

    /// Until it is gone, however long others keep it waiting. Gives up when the server is gone or silent for too long.
    pub async fn until_gone(&mut self) -> Result<(), Trouble> {
        let mut alive = Instant::now();
        loop {
            match self.step().await {
                Ok(Seen::Gone | Seen::Foreign) => return Ok(()),
                // Where nobody listens nobody works: queue and run end with the process.
                Err(Trouble::Refused) => {
                    self.ended = Some(Ended::Refused);
                    return Ok(());
                }
                Ok(Seen::Waiting | Seen::Asked) => alive = Instant::now(),
                Err(trouble) if alive.elapsed() >= self.api.timing.unreachable => return Err(trouble),
                Err(_) => {}
            }
            self.pause().await;
        }
    }

    pub async fn pause(&self) {
        let timing = &self.api.timing;
        sleep(if self.idle_looks > 0 { timing.second_look } else { timing.stop_poll }).await;
    }
}

/// Stops a task of an earlier process, as far as it can be told apart.
pub(super) async fn stop(api: &Api, id: &str, knows_ids: &AtomicBool) -> Result<Interrupted, Failure> {
    let mut chase = Chase::new(api, id, knows_ids, None);
    let mut last = Ok(Seen::Waiting);
    let stopping = async {
        loop {
            last = chase.step().await;
            if matches!(last, Ok(Seen::Gone) | Err(Trouble::Refused)) {
                break;
            }
            chase.pause().await;
        }
    };
    let stopped = timeout(api.timing.stop, stopping).await;
    match (stopped, last) {
        (Ok(()), _) if chase.seen_alive => Ok(Interrupted::Stopped),
        (Ok(()), _) => Ok(Interrupted::NothingToStop),
        (Err(_), Ok(_)) => Ok(Interrupted::StillRunning),
        (Err(_), Err(trouble)) => Err(trouble.failure(ENGINE, "stopping a run")),
    }
}
