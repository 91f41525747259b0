//! After a restart or failover of Redis: what it may have lost is told to it again.
//! In: word that the data has another history. Out: what is wanted of workers said again, leases renewed, workers registered,
//! confirmed ends handed in once more.
//!
//! ```text
//!   calm ──another history──▶ asserting (no claims) ──everything told──▶ calm
//! ```
//! Each of these calls is harmless to a Redis that has lost nothing.

use super::control::Control;
use super::holds::Holds;
use super::journal::Journal;
use super::lease;
use super::link::{Link, persist, unless};
use super::settle::attempt;
use crate::protocol::Space;
use crate::protocol::outcome::Settled;
use crate::telemetry::{Notice, tell};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What Redis can be told.
pub struct Known<'a> {
    /// What is wanted of the workers.
    pub controls: &'a [Arc<Control>],
    /// The jobs at work.
    pub holds: &'a Holds,
    /// The jobs that have ended of late.
    pub journal: &'a Journal,
    /// How long a renewal lasts.
    pub lease: Duration,
}

/// Asserts after each change of history, until told to stop. `register` has every worker register at once.
pub async fn keep(link: &Link, space: &Space, known: Known<'_>, register: impl Fn(), stop: CancellationToken) {
    link.assert_before_claims();
    let mut histories = link.histories();
    loop {
        // The sender lives as long as the link.
        let Some(Ok(())) = unless(&stop, histories.changed()).await else { return };
        let history = *histories.borrow_and_update();
        // A worker that was paused must not begin to claim because Redis forgot that it was.
        for control in known.controls {
            let Some(_) = persist(&stop, || control.assert(link, space, history)).await else { return };
        }
        register();
        // First of all what another agent might claim and run a second time.
        let renewing = persist(&stop, || lease::renew(link, space, known.holds, known.lease));
        let Some(renewed) = renewing.await else { return };
        let ends = known.journal.confirmed();
        let mut restored = 0;
        for end in &ends {
            let handing = persist(&stop, || attempt(link, space, &end.claim, &end.outcome));
            let Some(settled) = handing.await else { return };
            let news = |settled| !matches!(settled, Settled::Already | Settled::Lost { .. });
            restored += usize::from(settled.is_ok_and(news));
        }
        link.asserted(history);
        tell(Notice::Reasserted { held: renewed.unwrap_or(0), ends: ends.len(), restored });
    }
}
