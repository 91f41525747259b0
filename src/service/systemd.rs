//! What systemd is told: ready, stopping, and that the loops still come round.
//! In: the list of loops. Out: notifications, if there is a systemd that listens.

use super::loops::{Beat, Loops};
use sd_notify::NotifyState;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Says that the agent is up. Redis may still be away: that is no reason to be started again.
pub fn ready(status: &str) {
    let _ = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says that the agent is on its way out.
pub fn stopping() {
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
}

/// Feeds the watchdog while every loop comes round; a hanging one starves it, and systemd starts the agent anew.
pub async fn feed_watchdog(loops: Loops, beat: Beat, stop: CancellationToken) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        loops.remove(&beat);
        return;
    };
    let period = (limit / 3).max(Duration::from_millis(100));
    loop {
        beat.tick();
        let hanging = loops.hanging();
        if hanging.is_empty() {
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        } else {
            tracing::error!(loops = hanging.join(","), "loops hang; the watchdog is not fed");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(period) => {}
        }
    }
}
