//! Letting time pass for everybody: expired leases, due retries, old records. Any agent does it.
//! In: the clock. Out: jobs back in the queue, told once if something happened; on the way, what is wanted of our workers.

use super::control::Control;
use super::link::{Link, unless};
use crate::protocol::Space;
use crate::telemetry::{Notice, tell};
use failpoints::{Point, reach};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const PERIOD: Duration = Duration::from_secs(1);
/// What one tick does of each kind at most, as in `tick.lua`.
const PAGE: u64 = 64;
/// Between two pages: others come in between.
const BETWEEN_PAGES: Duration = Duration::from_millis(10);

/// Ticks about once a second until told to stop; at once again where a whole page was due, so that no rate of jobs
/// outruns it.
pub async fn keep(
    link: &Link,
    space: &Space,
    lease: Duration,
    max_stalls: u32,
    controls: &[Arc<Control>],
    beat: impl Fn(),
    stop: CancellationToken,
) {
    let period = PERIOD.min(lease / 4);
    let workers: Vec<&str> = controls.iter().map(|control| control.worker()).collect();
    loop {
        beat();
        let mut pause = period;
        let history = link.history();
        let ticking = link.watched(async |con| space.tick(con, lease.as_millis() as u64, max_stalls, &workers).await);
        if let Ok(done) = ticking.await {
            for (control, wanted) in controls.iter().zip(done.wanted) {
                control.hear(link, history, wanted);
            }
            if done.reaped.max(done.promoted).max(done.purged) >= PAGE {
                pause = BETWEEN_PAGES.min(period);
            }
            if done.reaped > 0 || done.given_up > 0 {
                reach(Point::Reaped);
                tell(Notice::Ticked {
                    reaped: done.reaped,
                    given_up: done.given_up,
                    purged: done.purged,
                    time_jumped: done.time_jumped,
                });
            }
        }
        if unless(&stop, tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}
