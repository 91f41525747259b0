//! After a restart or failover of Redis: what it may have lost is told to it again.
//! In: word that the data has another history. Out: leases renewed, workers registered, confirmed ends handed in once more.
//!
//! ```text
//!   calm ──another history──▶ asserting (no claims) ──everything told──▶ calm
//! ```
//! Each of these calls is harmless to a Redis that has lost nothing.

use super::holds::Holds;
use super::journal::Journal;
use super::lease;
use super::link::{Link, persist, unless};
use super::settle::attempt;
use crate::protocol::Space;
use crate::protocol::outcome::Settled;
use crate::telemetry::{Notice, tell};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Claims wait no longer for it: another agent may take the jobs meanwhile anyway.
const CLAIMS_WAIT: Duration = Duration::from_secs(5);

/// Knows which histories have been answered.
pub struct Reassertion {
    answered: watch::Sender<u64>,
}

impl Reassertion {
    /// One that has nothing to tell yet.
    pub fn new(link: &Link) -> Self {
        Self { answered: watch::Sender::new(*link.histories().borrow()) }
    }

    /// Asserts after each change of history, until told to stop. `register` has every worker register at once.
    #[expect(clippy::too_many_arguments, reason = "what is asserted is spread over as many places")]
    pub async fn keep(
        &self,
        link: &Link,
        space: &Space,
        holds: &Holds,
        journal: &Journal,
        lease: Duration,
        register: impl Fn(),
        stop: CancellationToken,
    ) {
        let mut histories = link.histories();
        loop {
            // The link lives as long as its borrower.
            let Some(Ok(&history)) = unless(&stop, histories.wait_for(|now| now != &*self.answered.borrow()))
                .await
                .as_ref()
                .map(|changed| changed.as_deref())
            else {
                return;
            };
            register();
            // First of all what another agent might claim and run a second time.
            let Some(renewed) = persist(&stop, || lease::renew(link, space, holds, lease)).await else { return };
            let ends = journal.confirmed();
            let mut restored = 0;
            for end in &ends {
                let Some(settled) = persist(&stop, || attempt(link, space, &end.claim, &end.outcome)).await else {
                    return;
                };
                restored += usize::from(settled.is_ok_and(|settled| !matches!(settled, Settled::Already | Settled::Lost { .. })));
            }
            self.answered.send_replace(history);
            tell(Notice::Reasserted { held: renewed.unwrap_or(0), ends: ends.len(), restored });
        }
    }

    /// Returns once the present history has been answered: until then the queue may offer what is done or at work.
    pub async fn done(&self, link: &Link) {
        let histories = link.histories();
        let answered = async { self.answered.subscribe().wait_for(|answered| *answered >= *histories.borrow()).await.is_ok() };
        let _ = tokio::time::timeout(CLAIMS_WAIT, answered).await;
    }
}
