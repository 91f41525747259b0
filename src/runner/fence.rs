//! The fence of one GPU: whether the engines on it may work, told by whoever watches the hardware.
//! In: why the GPU may not work, or that it may. Out: engines that are not offered, runs that hear that they must stop.

use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// How long a run waits for a look at its GPU. The driver may hang just then.
const LOOK_LONGEST: Duration = Duration::from_secs(3);

/// Why a GPU may not work, as the queue's readers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fenced {
    /// What was found.
    pub reason: String,
    /// What a person should do.
    pub remedy: String,
    /// When, ISO-8601.
    pub since: String,
    /// `fenced`, or `checking` while the GPU is made to show that it is well.
    pub state: &'static str,
    /// Whether the job at work is taken from it; else it may finish.
    #[serde(skip)]
    pub hands_back: bool,
}

/// Asks for a look at the hardware; answered when it has been taken in.
pub type Ask = oneshot::Sender<()>;

/// The fence of one GPU, or of a card with all its instances.
#[derive(Debug)]
pub struct Fence {
    /// The GPU's number.
    pub gpu: u32,
    state: watch::Sender<Option<Arc<Fenced>>>,
    asks: mpsc::UnboundedSender<Ask>,
}

impl Fence {
    /// An open fence. `asks` go to whoever watches the hardware.
    pub fn new(gpu: u32, asks: mpsc::UnboundedSender<Ask>) -> Self {
        Self { gpu, state: watch::Sender::new(None), asks }
    }

    /// Why the GPU may not work; `None`: it may.
    pub fn fenced(&self) -> Option<Arc<Fenced>> {
        self.state.borrow().clone()
    }

    /// Closes it, for this reason.
    pub fn close(&self, fenced: Fenced) {
        self.state.send_replace(Some(Arc::new(fenced)));
    }

    /// Opens it.
    pub fn open(&self) {
        self.state.send_replace(None);
    }

    /// Hears each change.
    pub fn watch(&self) -> watch::Receiver<Option<Arc<Fenced>>> {
        self.state.subscribe()
    }

    /// Comes back once the job at work must be taken from the GPU.
    pub async fn hands_back(&self) {
        let is_hard = |state: &Option<Arc<Fenced>>| state.as_ref().is_some_and(|fenced| fenced.hands_back);
        // The sender is this fence: it cannot go before.
        let _ = self.state.subscribe().wait_for(is_hard).await;
    }

    /// Has the hardware looked at now; comes back when what was found counts, or when that takes too long.
    pub async fn look(&self) {
        let (done, looked) = oneshot::channel();
        if self.asks.send(done).is_ok() {
            let _ = tokio::time::timeout(LOOK_LONGEST, looked).await;
        }
    }
}
