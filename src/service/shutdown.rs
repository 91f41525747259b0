//! Stopping in two steps: the first signal drains, the second stops now.
//! In: SIGTERM, SIGINT, or a caller. Out: two tokens that everything watches.

use tokio_util::sync::CancellationToken;

/// The two steps.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Claim no more; running jobs may finish.
    pub drain: CancellationToken,
    /// Give running jobs back now.
    pub now: CancellationToken,
}

impl Shutdown {
    /// Takes the next step.
    pub fn step(&self) {
        if self.drain.is_cancelled() {
            self.now.cancel();
        } else {
            self.drain.cancel();
        }
    }
}

/// Takes a step at each SIGTERM or SIGINT, for as long as it is polled.
pub async fn follow_signals(shutdown: Shutdown) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        shutdown.step();
    }
}
