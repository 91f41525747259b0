//! The runs at work in this process, each in a task of its own that stops by itself when nobody waits for it any more.
//! In: a run's id and its work. Out: its end; the list of those at work, and the means to stop one of them.

use crate::contract::{Interrupted, Lost, RunContext, RunError};
use crate::failure::{Failure, Reason};
use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The runs at work, by the id that the queue knows.
#[derive(Default)]
pub(crate) struct Live {
    stops: Mutex<HashMap<String, Stop>>,
    handed: AtomicU64,
}

#[derive(Clone, Default)]
struct Stop {
    asked: CancellationToken,
    ended: CancellationToken,
}

/// How the work of a run can end other than well.
#[derive(Debug)]
pub(crate) enum Cut {
    /// It was asked to stop, and did.
    Stopped,
    /// The job is no longer ours; the engine was stopped.
    Lost,
    /// It failed.
    Failed(Failure),
}

impl From<Failure> for Cut {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Live {
    fn with<T>(&self, f: impl FnOnce(&mut HashMap<String, Stop>) -> T) -> T {
        f(&mut self.stops.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts a run whose work is handed to the engine now.
    pub fn hand(&self) {
        self.handed.fetch_add(1, Ordering::Relaxed);
    }

    /// How many runs were handed to the engine.
    pub fn handed(&self) -> u64 {
        self.handed.load(Ordering::Relaxed)
    }

    /// Whether a run of this id is at work or waits for its place.
    pub fn knows(&self, id: &str) -> bool {
        self.with(|live| live.contains_key(id))
    }

    /// How many are at work or wait for their place.
    pub fn count(&self) -> usize {
        self.with(|live| live.len())
    }

    /// Stops one and waits for its end.
    pub async fn stop(&self, id: &str, within: Duration) -> Interrupted {
        let Some(stop) = self.with(|live| live.get(id).cloned()) else {
            return Interrupted::NothingToStop;
        };
        stop.asked.cancel();
        match tokio::time::timeout(within, stop.ended.cancelled()).await {
            Ok(()) => Interrupted::Stopped,
            Err(_) => Interrupted::StillRunning,
        }
    }

    /// Sees a run through. `work` gets the order to stop, and returns only when the engine is no longer at work for it.
    pub async fn attend<T, F>(
        self: &Arc<Self>,
        id: &str,
        ctx: &RunContext,
        work: impl FnOnce(CancellationToken) -> F,
    ) -> Result<T, RunError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Cut>> + Send + 'static,
    {
        let entered = self.enter(id);
        let asked = entered.stop.asked.clone();
        // Whoever drops this future is not there to see the engine stop: the task does it alone.
        let nobody_waits = asked.clone().drop_guard();
        let work = work(asked.clone());
        let mut task = tokio::spawn(async move {
            let ended = work.await;
            drop(entered);
            ended
        });
        let ended = tokio::select! {
            ended = &mut task => ended,
            () = ctx.cancel.cancelled() => {
                asked.cancel();
                task.await
            }
        };
        drop(nobody_waits.disarm());
        match ended {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(Cut::Lost)) => Err(Lost.into()),
            Ok(Err(Cut::Failed(failure))) if !ctx.cancel.is_cancelled() => Err(failure.into()),
            Ok(Err(_)) if ctx.cancel.is_cancelled() => Err(RunError::Cancelled),
            Ok(Err(_)) => Err(Failure::new(Reason::ServiceUnavailable, "the run was interrupted from outside").into()),
            Err(_) => Err(Failure::new(Reason::InternalError, "the connector crashed on this job").into()),
        }
    }

    fn enter(self: &Arc<Self>, id: &str) -> Entered {
        let stop = Stop::default();
        self.with(|live| live.insert(id.to_owned(), stop.clone()));
        Entered { live: self.clone(), id: id.to_owned(), stop }
    }
}

/// Leaves the list when the work has ended, however it did.
struct Entered {
    live: Arc<Live>,
    id: String,
    stop: Stop,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.live.with(|live| live.remove(&self.id));
        self.stop.ended.cancel();
    }
}
