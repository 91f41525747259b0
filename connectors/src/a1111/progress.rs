//! Progress of our own task, by its id; the global state adds steps while the task is known to be the one at work.
//! In: looks at the server while a request is under way. Out: reports whose fraction never falls, or that it is silent.

use super::api::{Api, State, Task};
use super::http::Trouble;
use crate::contract::{Progress, ProgressSink, Stage};
use crate::failure::{Failure, Reason};
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::time::{Instant, sleep};

pub(super) struct Tracker<'a> {
    sink: &'a dyn ProgressSink,
    best: f64,
    /// What the server's work on our request counts as.
    work: Stage,
    /// When our task was first seen at work.
    pub started: Option<Instant>,
    /// Somebody skipped a picture of ours: no answer says so.
    pub skipped: bool,
    /// Number of the newest picture that was shown; `None`: nobody wants to see any.
    seen: Option<i64>,
}

impl<'a> Tracker<'a> {
    pub fn new(sink: &'a dyn ProgressSink, shows: bool) -> Self {
        Self { sink, best: 0.0, work: Stage::Unseen, started: None, skipped: false, seen: shows.then_some(-1) }
    }

    pub fn say(&mut self, stage: Stage, fraction: f64, message: impl Into<String>) {
        self.report(stage, fraction, message.into(), None);
    }

    fn report(&mut self, stage: Stage, fraction: f64, message: String, step: Option<(u64, u64)>) {
        self.best = self.best.max(fraction.clamp(0.0, 1.0));
        self.sink.report(Progress { fraction: self.best, message: Some(message), node: None, step, stage });
    }

    /// The request is sent. Until the server is seen at work on it nothing tells how far it is.
    pub fn handed_over(&mut self, work: Stage) {
        self.work = work;
        self.say(Stage::Unseen, 0.0, "handed to AUTOMATIC1111");
    }

    fn at_work(&mut self, fraction: f64, state: &State) {
        self.started.get_or_insert_with(Instant::now);
        self.skipped |= state.skipped;
        let batches = match state.job_count {
            2.. => format!(", batch {} of {}", (state.job_no + 1).min(state.job_count), state.job_count),
            _ => String::new(),
        };
        // Until sampling begins the number of steps is that of the job before.
        if state.job_count > 0 && state.steps > 0 && fraction > 0.0 {
            let step = (state.step + 1).min(state.steps);
            // The last part of a run, decoding, looks like its last step.
            self.report(
                self.work.clone(),
                fraction.min(0.99),
                format!("step {step} of {}{batches}", state.steps),
                Some((step, state.steps)),
            );
        } else {
            self.say(self.work.clone(), fraction.min(0.99), "the server has begun");
        }
    }

    /// Follows the task until the server has been silent for too long; whoever waits for the answer drops this.
    pub async fn follow(&mut self, api: &Api, id: &str, knows_ids: &AtomicBool, alone: bool) -> Failure {
        let (mut alive, since) = (Instant::now(), Instant::now());
        loop {
            match self.look(api, id, knows_ids, alone, since).await {
                Ok(()) => alive = Instant::now(),
                // A server that is gone ends the request as well, which tells more.
                Err(_) if alive.elapsed() < api.timing.unreachable => {}
                Err(_) => {
                    let waited = api.timing.unreachable.as_secs();
                    return Failure::of_host(
                        Reason::ServiceUnavailable,
                        format!(
                            "AUTOMATIC1111 has given no sign of life for {waited} s in mid-run; it hangs: restart it"
                        ),
                    );
                }
            }
            sleep(api.timing.poll).await;
        }
    }

    async fn look(
        &mut self,
        api: &Api,
        id: &str,
        knows_ids: &AtomicBool,
        alone: bool,
        since: Instant,
    ) -> Result<(), Trouble> {
        let task = match self.seen {
            None => api.task(id).await?,
            Some(seen) => {
                let (task, picture) = api.task_with_picture(id, seen).await?;
                if let Some((number, preview)) = picture {
                    self.seen = Some(number);
                    self.sink.preview(preview);
                }
                task
            }
        };
        match task {
            Task::Active { fraction } => {
                knows_ids.store(true, Ordering::Relaxed);
                let state = api.state(api.timing.request).await?;
                self.at_work(fraction, &state);
            }
            Task::Queued(place) => {
                knows_ids.store(true, Ordering::Relaxed);
                let place = place.unwrap_or_else(|| "queued".to_owned());
                let what = format!("waiting in the server's queue ({})", super::payload::short(&place));
                self.say(Stage::Waiting, 0.0, what);
            }
            Task::Completed => self.say(Stage::Fetching, 0.0, "fetching the pictures"),
            // Without task ids what runs is ours if nothing ran before.
            Task::NoRoute => self.anonymous(api, alone).await?,
            Task::Unknown => {
                let unnamed = !knows_ids.load(Ordering::Relaxed) && since.elapsed() >= api.timing.unnamed_after;
                self.anonymous(api, alone && unnamed).await?;
            }
        }
        Ok(())
    }

    async fn anonymous(&mut self, api: &Api, ours: bool) -> Result<(), Trouble> {
        let state = api.state(api.timing.request).await?;
        if ours && !state.is_idle() {
            // A hundredth is there from the start.
            self.at_work((state.fraction - 0.01).max(0.0), &state);
        }
        Ok(())
    }
}
