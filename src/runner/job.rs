//! One job's life on this worker.
//! In: a held job and the slot's engines. Out: how it ended, ready to be handed in.
//!
//! ```text
//!   held ──▶ read ──misfit──▶ given back, to be indexed again
//!              │ └─unreadable──▶ failed
//!              ▼
//!           engine chosen ──none can──▶ given back
//!              ▼
//!           running ──▶ completed | failed
//!              │ stop: cancelled, timed out, lost, worker leaves
//!              ▼
//!           stopping (the engine's own work ends) ──▶ cancelled | failed | thrown away | given back
//! ```

use super::end::Ended;
use super::engine::Engine;
use super::engine::seats::Seats;
use super::fetch::{NotHere, fetch};
use super::shared::Shared;
use super::slot::Engines;
use super::tokens::Tokens;
use crate::capabilities::Capabilities;
use crate::protocol::claim::ClaimedJob;
use crate::queue::holds::{Hold, Stop};
use crate::queue::link::unless;
use failpoints::{Point, reach};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long an engine may take to stop before it is left behind.
pub(super) const STOP_GRACE: Duration = Duration::from_secs(30);

/// How long engines may take to come up before a job of an earlier process is given back.
const ENGINE_PATIENCE: Duration = Duration::from_secs(120);

/// What an earlier process of this worker left of a job.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// The engine's id for the work, if it was about to get it.
    pub service_job_id: Option<String>,
}

/// A job at work.
pub struct Run<'a> {
    /// What all slots share.
    pub shared: &'a Arc<Shared>,
    /// The worker's id.
    pub worker: &'a str,
    /// Its engines, in the order of preference.
    pub engines: &'a Engines,
    /// What it offers.
    pub capabilities: &'a Capabilities,
    /// The hold on the job.
    pub hold: &'a Hold,
    /// What is told of it.
    pub about: &'a About,
    /// Its place in an engine that takes only so many jobs, or one in each that may be its own.
    pub seats: Mutex<&'a mut Seats>,
    /// What of its text Redis has not been told yet: it goes before the end.
    pub untold: Mutex<Option<Arc<Tokens>>>,
}

/// What is told of a job beside its id.
#[derive(Debug, Clone)]
pub struct About {
    /// When it was claimed.
    pub claimed: Instant,
    /// What it asks for, once it has been read.
    pub service: Arc<OnceLock<String>>,
}

impl About {
    /// What it asks for; empty while nobody knows.
    pub fn service(&self) -> &str {
        self.service.get().map_or("", String::as_str)
    }
}

impl<'a> Run<'a> {
    /// Lives the job's life up to its end. `earlier` is what an earlier process of this worker left of it.
    pub async fn live(&self, claimed: &ClaimedJob, earlier: Option<&Earlier>) -> Ended {
        let capabilities = earlier.is_none().then_some(self.capabilities);
        let fetched = loop {
            match fetch(self.shared, claimed, capabilities).await {
                Ok(Ok(fetched)) => break fetched,
                Ok(Err(NotHere::Misfit(why))) => return Ended::released(true, format!("it does not fit: {why}")),
                Ok(Err(NotHere::Gone)) => return Ended::ThrownAway,
                Ok(Err(NotHere::Unreadable(failure))) => {
                    return self.failed(&failure, None, Instant::now());
                }
                // The payload stays readable as long as the job is held.
                Err(_) if self.hold.why().is_none() => tokio::time::sleep(Duration::from_millis(200)).await,
                Err(_) => return self.stopped(None, Instant::now()),
            }
        };
        reach(Point::JobRead);
        let service = &fetched.job.service;
        let _ = self.about.service.set(service.clone());
        let serves = |engine: &&Arc<Engine>| {
            engine.is_healthy() && (service.is_empty() || engine.connector.services().contains(service))
        };
        if earlier.is_some() {
            self.engines_awake(&serves).await;
        }
        let engines = self.engines.borrow().clone();
        let has_room = |engine: &&Arc<Engine>| serves(engine) && self.seats().has_room(engine);
        let Some(engine) = engines.iter().find(has_room).or_else(|| engines.iter().find(serves)) else {
            // Cancelled while an engine was waited for, or none came: an earlier process's work must not go on for nobody.
            if let Some(id) = earlier.and_then(|earlier| earlier.service_job_id.as_deref())
                && self.hold.why() != Some(Stop::Moved)
            {
                let stopping = engines.iter().map(|engine| engine.connector.interrupt(id));
                let _ = tokio::time::timeout(STOP_GRACE, futures_util::future::join_all(stopping)).await;
            }
            return Ended::released(false, "no engine of this worker can take it now");
        };
        let customer = fetched.fields.get("customer_id");
        self.shared.board.taken(self.worker, &fetched.job, customer, &engine.label);
        self.seats().settle(engine);
        let _at_work = engine.enter();
        self.run(engine, fetched, earlier.and_then(|earlier| earlier.service_job_id.clone())).await
    }

    fn seats(&self) -> MutexGuard<'_, &'a mut Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine is done with it: its place is another job's.
    pub(super) fn vacate(&self) {
        self.seats().release();
    }

    /// After a restart of the whole machine the agent is up before its engines: the job is kept for them a while.
    async fn engines_awake(&self, serves: &impl Fn(&&Arc<Engine>) -> bool) {
        let waiting = async {
            // Nobody knows when a fence ends: others take the job meanwhile.
            let is_hopeless = || self.engines.borrow().iter().any(|engine| engine.is_fenced());
            while !self.engines.borrow().iter().any(|engine| serves(&engine)) && !is_hopeless() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let _ = tokio::time::timeout(ENGINE_PATIENCE, unless(&self.hold.signal(), waiting)).await;
    }
}
