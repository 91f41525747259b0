//! The engine's id for a run becomes durable before the engine gets the work.
//! In: that id. Out: stored in the job, or the news that the job is lost.

use super::job::{About, Run};
use super::shared::Shared;
use crate::protocol::hold::Hold as Answer;
use crate::queue::holds::{Hold, Stop};
use crate::queue::lease;
use crate::queue::link::persist;
use crate::telemetry::{Notice, tell};
use async_trait::async_trait;
use connectors::contract::{Ledger, Lost};
use failpoints::{Point, reach};
use std::sync::{Arc, Mutex};

/// Records one run.
pub struct RedisLedger {
    shared: Arc<Shared>,
    hold: Hold,
    worker: String,
    about: About,
    recorded: Mutex<Option<String>>,
}

impl RedisLedger {
    /// The ledger of this run; `recorded` is what an earlier process of this worker has stored.
    pub fn new(run: &Run<'_>, recorded: Option<String>) -> Self {
        let (shared, hold, about) = (run.shared.clone(), run.hold.clone(), run.about.clone());
        Self { shared, hold, worker: run.worker.to_owned(), about, recorded: Mutex::new(recorded) }
    }

    /// The engine's id, once recorded.
    pub fn service_job_id(&self) -> Option<String> {
        self.recorded.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Ledger for RedisLedger {
    async fn record_service_job(&self, service_job_id: &str) -> Result<(), Lost> {
        let Shared { link, space, holds, limits, .. } = &*self.shared;
        let start = || async {
            let answer = link.call(async |con| space.start(con, &self.hold.claim, service_job_id).await).await?;
            if answer != Answer::Lost {
                return Ok(answer);
            }
            // A Redis that has failed over may have forgotten the claim: a renewal asserts it, if nobody else has the job.
            lease::renew(link, space, holds, limits.lease).await?;
            match self.hold.why() {
                None => link.call(async |con| space.start(con, &self.hold.claim, service_job_id).await).await,
                Some(_) => Ok(answer),
            }
        };
        // Without Redis nothing may be handed to the engine: a second worker could do the same.
        match persist(&self.hold.signal(), start).await {
            Some(Ok(Answer::Ok)) => {}
            Some(Ok(Answer::Cancel)) => self.hold.stop(Stop::Cancelled),
            Some(Ok(answer @ (Answer::Moved | Answer::Lost))) => {
                self.hold.stop(if answer == Answer::Moved { Stop::Moved } else { Stop::Lost });
                return Err(Lost);
            }
            Some(Err(error)) => {
                tracing::error!(job = self.hold.claim.id, %error, "the start of a job could not be recorded");
                return Err(Lost);
            }
            None => return Err(Lost),
        }
        let mut recorded = self.recorded.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = recorded.replace(service_job_id.to_owned());
        drop(recorded);
        reach(Point::StartRecorded);
        // Only the first start tells how long the job had to wait for it.
        if before.is_none() {
            let (worker, job, service) = (self.worker.as_str(), self.hold.claim.id.as_str(), self.about.service());
            self.shared.board.started(worker);
            tell(Notice::HandedToEngine { worker, job, service, after: self.about.claimed.elapsed() });
        }
        Ok(())
    }
}
