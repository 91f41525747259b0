//! All state of one server, shared by its routes, its runner and the handle.
//! In: options. Out: the places where queue, sockets, files, cache and faults live.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

use super::cache::Cache;
use super::folders::Folders;
use super::hub::Hub;
use super::ledger::Ledger;
use super::options::{Options, Quirks};
use super::pace::Pace;
use super::wire::Wire;

/// One run of one prompt, for tests to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// As submitted.
    pub prompt_id: String,
    /// Nodes that did work, in order; cached ones are absent.
    pub nodes: Vec<String>,
    /// `running`, `success`, `error`, `interrupted` or `lost` (by a restart).
    pub outcome: &'static str,
}

#[derive(Default)]
pub(crate) struct Freeing {
    pub unload_models: bool,
    pub free_memory: bool,
}

/// The server's state.
pub struct Server {
    pub(crate) options: Options,
    pub(crate) wire: Arc<Wire>,
    pub(crate) hub: Hub,
    pub(crate) folders: Folders,
    pub(crate) pace: Pace,
    pub(crate) work: Notify,
    pub(crate) interrupt: AtomicBool,
    pub(crate) model_loaded: AtomicBool,
    ledger: Mutex<Ledger>,
    quirks: Mutex<Quirks>,
    cache: Mutex<Cache>,
    freeing: Mutex<Freeing>,
    models: Mutex<BTreeMap<String, Vec<String>>>,
    executions: Mutex<Vec<Execution>>,
    written: Mutex<Vec<PathBuf>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

impl Server {
    pub(crate) fn new(options: Options) -> io::Result<Arc<Server>> {
        Ok(Arc::new(Server {
            wire: Wire::new(),
            hub: Hub::new(),
            folders: Folders::open(options.folder.clone())?,
            pace: Pace::default(),
            work: Notify::new(),
            interrupt: AtomicBool::new(false),
            model_loaded: AtomicBool::new(false),
            ledger: Mutex::default(),
            quirks: Mutex::new(options.quirks.clone()),
            cache: Mutex::new(Cache::new(options.cached_graphs)),
            freeing: Mutex::default(),
            models: Mutex::new(options.models.clone()),
            executions: Mutex::default(),
            written: Mutex::default(),
            options,
        }))
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        locked(&self.ledger)
    }

    pub(crate) fn quirks(&self) -> MutexGuard<'_, Quirks> {
        locked(&self.quirks)
    }

    pub(crate) fn cache(&self) -> MutexGuard<'_, Cache> {
        locked(&self.cache)
    }

    pub(crate) fn freeing(&self) -> MutexGuard<'_, Freeing> {
        locked(&self.freeing)
    }

    pub(crate) fn models(&self) -> MutexGuard<'_, BTreeMap<String, Vec<String>>> {
        locked(&self.models)
    }

    pub(crate) fn executions(&self) -> MutexGuard<'_, Vec<Execution>> {
        locked(&self.executions)
    }

    pub(crate) fn written(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        locked(&self.written)
    }

    pub(crate) fn tell_queue_length(&self) {
        let remaining = self.ledger().remaining();
        self.hub.everybody(super::messages::status(remaining, None));
    }

    /// What dies with the process: queue, history, numbers, caches, the running prompt, sockets and temporary files.
    pub(crate) fn forget(&self) {
        std::mem::take(&mut *self.ledger()).end_life();
        self.cache().clear();
        *self.freeing() = Freeing::default();
        self.interrupt.store(false, Ordering::SeqCst);
        self.model_loaded.store(false, Ordering::SeqCst);
        self.wire.cut_all();
        self.hub.forget_all();
        self.folders.wipe_temp();
    }
}
