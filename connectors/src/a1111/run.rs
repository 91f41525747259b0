//! One job's life in AUTOMATIC1111: checked, prepared for, handed over, followed, held against what was asked.
//! In: a job and the runner's context. Out: an outcome, a failure, or a stop that was seen to take effect.
//!
//! ```text
//!   payload read ─▶ names checked ─▶ id recorded ─▶ the bay ─▶ idle, checkpoint set, options stored ─▶ in flight
//!        │                │              │Lost        │ waits for the request before it                   │
//!        └─ Failure       └─ Failure     └─ nothing   └─ cancel: Cancelled, nothing sent                  │
//!                                           started                                                       │
//!   Outcome ◀─ sealed ◀─ compared with `info` ◀─ not interrupted, not skipped ◀─ answered ────────────────┤
//!                          └─ Failure            └─ thrown away                  cancel: stopped, thrown away
//! ```

use super::A1111;
use super::accept::interrupted;
use super::api::State;
use super::checkpoint::{self, Checkpoint};
use super::flight::{Bay, Beacon, Flight, Landing};
use super::http::{ENGINE, Trouble};
use super::overrides::{self, Before};
use super::payload::Plan;
use super::progress::Tracker;
use super::stop::{Ended, Seen};
use super::{inputs, names, refusal, stop::Chase};
use crate::contract::{Outcome, Reattached, RunContext, RunError, Stage};
use crate::failure::{Failure, Reason};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

pub(super) struct Attempt<'a> {
    pub server: &'a A1111,
    pub ctx: &'a RunContext,
    /// Sent as `force_task_id`, and recorded before.
    pub id: &'a str,
    /// The job's owner wants to see pictures of the work while it goes on.
    pub shows: bool,
}

/// What was done before a request is sent.
struct Prepared {
    bay: OwnedMutexGuard<Bay>,
    checkpoint: Option<Checkpoint>,
    before: Before,
    /// What the server did when all was prepared.
    state: State,
}

impl Attempt<'_> {
    /// Gives up `work` when the job is cancelled; only for what leaves nothing behind on the server.
    async fn unless_cancelled<T, E: Into<RunError>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, RunError> {
        tokio::select! {
            biased;
            () = self.ctx.cancel.cancelled() => Err(RunError::Cancelled),
            done = work => done.map_err(Into::into),
        }
    }

    pub async fn run(&self, mut plan: Plan) -> Result<Outcome, RunError> {
        self.unless_cancelled(names::check(&self.server.api, &mut plan)).await?;
        self.unless_cancelled(inputs::inline(self.ctx, &mut plan.body)).await?;
        self.ctx.ledger.record_service_job(self.id).await?;
        let asked = Instant::now();
        let mut tracker = Tracker::new(&*self.ctx.progress, self.shows);
        let prepared = self.unless_cancelled(self.prepare(&plan, &mut tracker)).await?;
        let (prepared_ms, before) = (ms(asked.elapsed()), prepared.state.clone());
        let handed_over = Instant::now();
        let (landing, checkpoint) = self.fly(&plan, prepared, &mut tracker).await?;
        let started = tracker.started;
        let (run_ms, landed) = (ms(handed_over.elapsed()), Instant::now());
        let (pictures, fields) = match landing {
            Landing::Answered { pictures, fields } => (pictures, fields),
            Landing::Refused(answer) => {
                // Interrupted before its first picture it fails for the lack of one. A request that never began finds
                // the flags as the run before it left them.
                if plan.kind.is_generation() && answer.status >= 500 {
                    let flags = |state: &State| (state.interrupted, state.skipped, state.stamp.clone());
                    let began = |state: &State| started.is_some() || flags(state) != flags(&before);
                    self.undisturbed(&tracker, began).await?;
                }
                return Err(refusal::failure(&answer, "running the job", &plan.body).into());
            }
            Landing::Lost(trouble) => return Err(trouble.failure(ENGINE, "waiting for the result").into()),
            Landing::Ended(how) => {
                // Behind somebody else's work ours has done nothing.
                let at_work = started.is_some() || how == Ended::Refused && before.is_idle();
                return Err(Failure { ended_engine: at_work, ..ended_in_mid_run() }.into());
            }
            Landing::Failed(failure) => return Err(failure.into()),
        };
        let mut outcome = self.accept(&plan, checkpoint.as_ref(), pictures, &fields, &mut tracker).await?;
        outcome.timings = BTreeMap::from([
            ("prepare_ms".to_owned(), prepared_ms),
            ("run_ms".to_owned(), run_ms),
            ("fetch_ms".to_owned(), ms(landed.elapsed())),
        ]);
        if let Some(started) = started {
            outcome.timings.insert("queued_ms".to_owned(), ms(started.saturating_duration_since(handed_over)));
        }
        Ok(outcome)
    }

    async fn prepare(&self, plan: &Plan, tracker: &mut Tracker<'_>) -> Result<Prepared, Failure> {
        let api = &self.server.api;
        tracker.say(Stage::Waiting, 0.0, "waiting for the server");
        let mut bay = self.server.bay.clone().lock_owned().await;
        // A cancel in the midst of it leaves the debt where it is.
        bay.owed = bay.owed.clone().restore(api).await;
        if !bay.owed.is_empty() {
            let what = "options that an earlier job changed cannot be put back on this server";
            return Err(Failure::of_host(Reason::ConfigError, what));
        }
        self.idle(tracker).await?;
        let mut checkpoint = None;
        if let Some(name) = &plan.checkpoint {
            let wanted = checkpoint::find(api, name).await?;
            let what = format!("loading the checkpoint {}", wanted.bare_title());
            // Each has its usual time, and none a sign of life.
            tracker.say(Stage::Kind(what.clone()), 0.0, what);
            if let Err(failure) = checkpoint::switch(api, &wanted).await {
                // A file may bring the server down. Only a connection that breaks has the same reason.
                let broke = failure.reason == Reason::ConnectionFailed;
                let is_gone = broke && matches!(api.state(api.timing.request).await, Err(Trouble::Refused));
                return Err(if is_gone { ended_in_mid_run() } else { failure });
            }
            // Looked up again: the first use of a file gives it its hash.
            checkpoint = Some(checkpoint::find(api, name).await?);
        }
        let before = overrides::pin(api, &plan.overrides).await?;
        // Asked last: what begins after this, and is not known by an id, is taken to be ours.
        let state = api.state(api.timing.request).await;
        let state = state.map_err(|trouble| trouble.failure(ENGINE, "asking what it does"))?;
        Ok(Prepared { bay, checkpoint, before, state })
    }

    /// Waits for somebody else's work to end, for a while: a request that waits in the server's queue cannot be withdrawn.
    async fn idle(&self, tracker: &mut Tracker<'_>) -> Result<(), Failure> {
        let api = &self.server.api;
        let since = Instant::now();
        loop {
            match api.state(api.timing.request).await {
                Ok(state) if state.is_idle() || since.elapsed() >= api.timing.idle_patience => return Ok(()),
                Ok(_) => tracker.say(Stage::Waiting, 0.0, "waiting: the server is at work for somebody else"),
                Err(Trouble::Silent | Trouble::Broken) if since.elapsed() < api.timing.unreachable => {}
                Err(trouble) => return Err(trouble.failure(ENGINE, "asking what it does")),
            }
            sleep(api.timing.poll).await;
        }
    }

    /// Sends it off and waits for it, or for the word to stop.
    async fn fly(
        &self,
        plan: &Plan,
        prepared: Prepared,
        tracker: &mut Tracker<'_>,
    ) -> Result<(Landing, Option<Checkpoint>), RunError> {
        let (api, timing) = (&self.server.api, &self.server.api.timing);
        let Prepared { bay, checkpoint, before, state } = prepared;
        let alone = state.is_idle();
        let mut body = plan.body.clone();
        if plan.kind.is_generation() {
            body.insert("force_task_id".to_owned(), json!(self.id));
            if !plan.overrides.is_empty() {
                body.insert("override_settings".to_owned(), Value::Object(plan.overrides.clone()));
                body.insert("override_settings_restore_afterwards".to_owned(), json!(true));
            }
        }
        let beacon = Beacon { id: self.id.to_owned(), stop: CancellationToken::new(), over: CancellationToken::new() };
        self.server.under_way(beacon.clone());
        // Whatever becomes of this future, the request is not left running unnoticed.
        let _unattended = beacon.stop.clone().drop_guard();
        let flight = Flight {
            api: api.clone(),
            kind: plan.kind,
            body: Value::Object(body),
            outputs: self.ctx.outputs.clone(),
            expects_grid: plan.expects_grid,
            before,
            bay,
            beacon: beacon.clone(),
            knows_ids: self.server.knows_ids.clone(),
            alone,
        };
        tracker.handed_over(plan.stage());
        let mut landing = flight.launch();
        let landed = tokio::select! {
            biased;
            () = self.ctx.cancel.cancelled() => {
                beacon.stop.cancel();
                if timeout(timing.stop, beacon.over.cancelled()).await.is_err() {
                    tracing::warn!(task = self.id, "cancelled, but the server is still at it; it is watched until it ends");
                }
                return Err(RunError::Cancelled);
            }
            landed = &mut landing => landed,
            failure = tracker.follow(api, self.id, &self.server.knows_ids, alone) => return Err(failure.into()),
        };
        // An interrupted run answers 200 with an unfinished picture, and nothing in it says so.
        if beacon.stop.is_cancelled() {
            return Err(interrupted());
        }
        let landing = landed.map_err(|_| Failure::new(Reason::InternalError, "the request came to no end"))?;
        Ok((landing, checkpoint))
    }

    /// The result of an earlier process's request went with its connection. What is left to do is to stop the request.
    pub async fn reattach(&self) -> Result<Reattached, RunError> {
        let api = &self.server.api;
        let mut chase = Chase::new(api, self.id, &self.server.knows_ids, None);
        let mut tracker = Tracker::new(&*self.ctx.progress, false);
        let mut asked = None;
        let mut alive = Instant::now();
        loop {
            let seen = tokio::select! {
                biased;
                // A waiting request cannot be withdrawn; `interrupt` is there for the rest.
                () = self.ctx.cancel.cancelled() => return Err(RunError::Cancelled),
                seen = chase.step() => seen,
            };
            match seen {
                // Without task ids: the next run waits until the server is idle.
                Ok(Seen::Gone | Seen::Foreign) | Err(Trouble::Refused) => return Ok(Reattached::Unknown),
                Ok(Seen::Waiting) => {
                    let what = "waiting for an earlier run of this job to come up, to stop it";
                    tracker.say(Stage::Waiting, 0.0, what);
                }
                Ok(Seen::Asked) => {
                    tracker.say(Stage::Unseen, 0.0, "stopping an earlier run of this job, whose result is lost");
                }
                Err(trouble) if alive.elapsed() >= api.timing.unreachable => {
                    return Err(trouble.failure(ENGINE, "looking for an earlier run").into());
                }
                Err(_) => {}
            }
            if seen.is_ok() {
                alive = Instant::now();
            }
            if matches!(seen, Ok(Seen::Asked)) && asked.get_or_insert_with(Instant::now).elapsed() >= api.timing.stop {
                // It looks at no interrupt now; the new request is queued behind it.
                return Ok(Reattached::Unknown);
            }
            chase.pause().await;
        }
    }
}

fn ended_in_mid_run() -> Failure {
    Failure::of_ended_engine("AUTOMATIC1111 has ended or was restarted in mid-run; look at its log")
}

fn ms(time: Duration) -> u64 {
    time.as_millis() as u64
}
