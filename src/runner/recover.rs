//! What an earlier process of this worker held when it ended: taken up, handed in, or stopped, before anything is claimed.
//! In: the journal, what Redis and the engine remember. Out: those jobs lived to their end; an engine that works for nobody else.

use super::engine::seats::Seats;
use super::job::{Earlier, STOP_GRACE};
use super::shared::Shared;
use super::slot::Slot;
use super::work::beating;
use crate::queue::link::{persist, unless};
use crate::queue::recover::{self, Orphan, Recovered};
use crate::queue::settle;
use crate::service::loops::Beat;
use crate::telemetry::{Notice, tell};
use connectors::contract::Interrupted;
use tokio::sync::watch;

/// A slot that has yet to see what was held, for as long as this lives. Until all have, none claims: it might take the place
/// in an engine of a job that another one holds already.
pub(super) struct Looking(watch::Sender<usize>);

impl Looking {
    pub(super) fn new(all: &watch::Sender<usize>) -> Self {
        all.send_modify(|looking| *looking += 1);
        Self(all.clone())
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.send_modify(|looking| *looking -= 1);
    }
}

impl Slot {
    /// Takes up what an earlier process of this worker held: its engine may have finished it, or be at work on it.
    pub(super) async fn recover(&self, beat: &Beat) {
        self.take_up(beat).await;
        self.state().looking = None;
        let mut others = self.shared.looking.subscribe();
        let others = unless(&self.shared.shutdown.drain, others.wait_for(|looking| *looking == 0));
        let _ = beating(beat, others).await;
    }

    async fn take_up(&self, beat: &Beat) {
        let Shared { link, space, limits, shutdown, .. } = &*self.shared;
        for kept in self.shared.journal.unconfirmed(&self.worker) {
            let handed =
                settle::hand_in(link, space, &self.shared.journal, &kept.claim, &kept.outcome, &shutdown.drain);
            match beating(beat, handed).await {
                Some(Ok(settled)) => {
                    let became = format!("{settled:?}").to_lowercase();
                    tell(Notice::HandedIn { worker: &self.worker, job: &kept.claim.id, became });
                }
                Some(Err(error)) => {
                    tracing::error!(job = kept.claim.id, %error, "a kept end of a job was refused");
                    continue;
                }
                None => return,
            }
            kept.forget();
        }
        let looking = persist(&shutdown.drain, || async {
            beat.tick();
            recover::left_behind(link, space, &self.worker, limits.lease, limits.max_stalls).await
        });
        // Redis may be away for long: the agent waits for it here as it would before a claim.
        let Some(Ok(found)) = looking.await else { return };
        let mut seats = match found.held.is_empty() {
            true => Seats::default(),
            false => Seats::reserve(&self.engines.borrow().clone()),
        };
        self.state().looking = None;
        for id in found.given_up {
            tell(Notice::GivenUp { worker: &self.worker, job: &id });
        }
        for orphan in found.orphans {
            beating(beat, self.stop_orphan(orphan)).await;
        }
        for Recovered { claimed, token, service_job_id } in found.held {
            tell(Notice::TakenUp { worker: &self.worker, job: &claimed.id, started: service_job_id.is_some() });
            let capabilities = self.capabilities.borrow().clone();
            self.work(&claimed, Some(Earlier { service_job_id }), token, &capabilities, &mut seats, beat).await;
        }
    }

    /// The engine may still be at work for a job that has gone to somebody else.
    async fn stop_orphan(&self, Orphan { job, service_job_id }: Orphan) {
        let engines = self.engines.borrow().clone();
        for engine in engines.iter() {
            // Ids are unique: an engine that does not know this one has nothing to stop.
            let stopped = tokio::time::timeout(STOP_GRACE, engine.connector.interrupt(&service_job_id)).await;
            if matches!(stopped, Ok(Ok(Interrupted::Stopped))) {
                tell(Notice::OrphanStopped { worker: &self.worker, job: &job, engine: &engine.label });
            }
        }
        self.forget_start(&job).await;
    }

    /// Not to forget costs the next start a question to the engine.
    pub(super) async fn forget_start(&self, job: &str) {
        let Shared { link, space, .. } = &*self.shared;
        let _ = recover::forget_start(link, space, &self.worker, job).await;
    }
}
