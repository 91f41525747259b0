//! Renewing leases, apart from the work: a busy or hanging engine never costs a lease.
//! In: what is held. Out: leases kept; jobs that were cancelled or lost are told to stop.

use super::holds::{Holds, Stop};
use super::link::{Link, unless};
use crate::protocol::Space;
use crate::protocol::hold::{Claim, Hold as Answer};
use failpoints::{Point, reach};
use redis::RedisResult;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Renews everything once; jobs that must stop are told so.
pub async fn renew(link: &Link, space: &Space, holds: &Holds, lease: Duration) -> RedisResult<usize> {
    let held = holds.all();
    if held.is_empty() {
        return Ok(0);
    }
    let claims: Vec<Claim> = held.iter().map(|hold| hold.claim.clone()).collect();
    let answers = link.call(async |con| space.renew(con, lease.as_millis() as u64, &claims).await).await?;
    reach(Point::Renewed);
    for (hold, answer) in held.iter().zip(answers) {
        match answer {
            Answer::Ok => {}
            Answer::Cancel => hold.stop(Stop::Cancelled),
            Answer::Moved => hold.stop(Stop::Moved),
            Answer::Lost => hold.stop(Stop::Lost),
        }
    }
    Ok(claims.len())
}

/// Renews at a third of the lease until told to stop: two renewals may be missed.
pub async fn keep(
    link: &Link,
    space: &Space,
    holds: &Holds,
    lease: Duration,
    beat: impl Fn(),
    stop: CancellationToken,
) {
    // Long leases are renewed more often than they need: the loop must be seen to come round.
    let period = (lease / 3).min(Duration::from_secs(20));
    loop {
        beat();
        let soon = match renew(link, space, holds, lease).await {
            Ok(_) => period,
            // The link tells the outage; leases may be short, so try again soon.
            Err(_) => period.min(Duration::from_millis(500)),
        };
        if unless(&stop, tokio::time::sleep(soon)).await.is_none() {
            return;
        }
    }
}
