//! All state of one server, shared by its routes, its jobs and the handle.
//! In: options. Out: the places where queue, progress, settings and faults live.

use super::options::{Options, Quirks};
use super::progress::Progress;
use super::settings::Settings;
use crate::pace::Pace;
use crate::wire::Wire;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// One run, for tests to look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Execution {
    /// `force_task_id`, or what the server made up; empty for upscaling.
    pub task: String,
    /// The request.
    pub request: serde_json::Value,
    /// The checkpoint used.
    pub checkpoint: String,
    /// Sampling steps taken, over all batches.
    pub steps: u64,
    /// `running`, `success`, `error`, `interrupted`, `skipped` or `lost` (by a restart).
    pub outcome: &'static str,
}

/// The server's state.
pub struct Server {
    pub(crate) options: Options,
    pub(crate) wire: Arc<Wire>,
    pub(crate) pace: Pace,
    /// Requests are served in order of arrival under one lock.
    pub(crate) lock: tokio::sync::Mutex<()>,
    pub(crate) threads: Semaphore,
    life: Mutex<CancellationToken>,
    progress: Mutex<Progress>,
    settings: Mutex<Settings>,
    quirks: Mutex<Quirks>,
    executions: Mutex<Vec<Execution>>,
    requests: Mutex<Vec<String>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    pub(crate) fn new(options: Options) -> Arc<Server> {
        Arc::new(Server {
            wire: Wire::new(),
            pace: Pace::default(),
            lock: tokio::sync::Mutex::default(),
            threads: Semaphore::new(options.threads),
            life: Mutex::default(),
            progress: Mutex::default(),
            settings: Mutex::new(Settings::new(&options)),
            quirks: Mutex::new(options.quirks.clone()),
            executions: Mutex::default(),
            requests: Mutex::default(),
            options,
        })
    }

    pub(crate) fn progress(&self) -> MutexGuard<'_, Progress> {
        locked(&self.progress)
    }

    pub(crate) fn settings(&self) -> MutexGuard<'_, Settings> {
        locked(&self.settings)
    }

    pub(crate) fn quirks(&self) -> MutexGuard<'_, Quirks> {
        locked(&self.quirks)
    }

    pub(crate) fn executions(&self) -> MutexGuard<'_, Vec<Execution>> {
        locked(&self.executions)
    }

    /// Method and path of every request, in order of arrival.
    pub(crate) fn requests(&self) -> MutexGuard<'_, Vec<String>> {
        locked(&self.requests)
    }

    pub(crate) fn life(&self) -> CancellationToken {
        locked(&self.life).clone()
    }

    /// What dies with the process: everything but the stored configuration.
    pub(crate) fn forget(&self) {
        std::mem::take(&mut *locked(&self.life)).cancel();
        *self.progress() = Progress::default();
        for run in self.executions().iter_mut().filter(|run| run.outcome == "running") {
            run.outcome = "lost";
        }
        self.wire.cut_all();
    }
}
