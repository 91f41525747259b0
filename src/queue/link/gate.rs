//! Claims wait after a failover: the queue may offer what this very agent is at work on, or has done.
//! In: another history of the data, and word that Redis has been told what it may have lost. Out: whether claims may go.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Claims wait no longer: another agent may take the jobs meanwhile anyway.
const LONGEST: Duration = Duration::from_secs(5);

/// Open until it is used for the first time.
#[derive(Default)]
pub(super) struct Gate {
    is_used: std::sync::atomic::AtomicBool,
    shut: Mutex<Option<Instant>>,
    opened: watch::Sender<()>,
}

impl Gate {
    /// From now on somebody opens it.
    pub(super) fn hang(&self) {
        self.is_used.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    pub(super) fn shut(&self) {
        if self.is_used.load(std::sync::atomic::Ordering::Relaxed) {
            *self.shut.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
    }

    pub(super) fn open(&self) {
        *self.shut.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.opened.send_replace(());
    }

    pub(super) fn is_open(&self) -> bool {
        self.shut.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|since| since.elapsed() > LONGEST)
    }

    pub(super) async fn wait(&self) {
        let mut opened = self.opened.subscribe();
        // The sender lives as long as the gate.
        let _ = tokio::time::timeout(LONGEST, opened.wait_for(|()| self.is_open())).await;
    }
}
