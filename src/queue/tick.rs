//! Letting time pass for everybody: expired leases, due retries, old records. Any agent does it.
//! In: the clock. Out: jobs back in the queue, told once if something happened.

use super::link::{Link, unless};
use crate::protocol::Space;
use crate::telemetry::{Notice, tell};
use failpoints::{Point, reach};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const PERIOD: Duration = Duration::from_secs(1);

/// Ticks about once a second until told to stop.
pub async fn keep(
    link: &Link,
    space: &Space,
    lease: Duration,
    max_stalls: u32,
    beat: impl Fn(),
    stop: CancellationToken,
) {
    let period = PERIOD.min(lease / 4);
    loop {
        beat();
        if let Ok(done) = link.watched(async |con| space.tick(con, lease.as_millis() as u64, max_stalls).await).await
            && (done.reaped > 0 || done.given_up > 0)
        {
            reach(Point::Reaped);
            tell(Notice::Ticked {
                reaped: done.reaped,
                given_up: done.given_up,
                purged: done.purged,
                time_jumped: done.time_jumped,
            });
        }
        if unless(&stop, tokio::time::sleep(period)).await.is_none() {
            return;
        }
    }
}
