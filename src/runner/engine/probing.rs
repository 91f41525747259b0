//! Asking an engine how it is: at its interval, soon while it is down, and about each run that should be gone.
//! In: probes, runs that were told to stop. Out: the engine's health, for everybody who asks.

use super::{Engine, locked};
use crate::queue::announce::now_ms;
use crate::queue::link::unless;
use crate::telemetry::{Notice, tell};
use connectors::contract::{Health, Interrupted, Probe};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const PROBE_DEADLINE: Duration = Duration::from_secs(15);
/// An engine that is down is asked this often at first, then less and less up to the healthy interval.
const SICK_FIRST: Duration = Duration::from_secs(1);
/// The same while there are runs to look after, at the most.
const LEFTOVERS_PAUSE: Duration = Duration::from_secs(4);

impl Engine {
    /// Asks the engine now; tells when its health changes.
    pub async fn probe(&self) {
        let mut fresh = match tokio::time::timeout(PROBE_DEADLINE, self.connector.probe()).await {
            Ok(probe) => probe,
            Err(_) => Probe::unhealthy("no answer to a health check in time; is it overloaded or frozen?"),
        };
        if fresh.is_healthy() {
            let still = match self.see_them_stop().await {
                None => self.still_jammed(fresh.queue_remaining),
                still => still,
            };
            if let Some(why) = still {
                fresh.health = Health::Unhealthy(why);
            }
        }
        self.probed.store(now_ms(), Ordering::Relaxed);
        let is_good = fresh.is_healthy();
        self.conclude(fresh);
        self.review(is_good);
    }

    pub(super) fn conclude(&self, fresh: Probe) {
        let before = self.latest();
        if before.health != fresh.health {
            match &fresh.health {
                Health::Healthy => tell(Notice::EngineHealthy {
                    engine: &self.label,
                    version: fresh.version.as_deref(),
                    models: fresh.models.values().map(Vec::len).sum(),
                }),
                Health::Unhealthy(why) => tell(Notice::EngineUnhealthy { engine: &self.label, why }),
            }
        }
        self.probe.send_if_modified(|probe| {
            let changed =
                (&probe.health, &probe.version, &probe.models) != (&fresh.health, &fresh.version, &fresh.models);
            *probe = fresh;
            changed
        });
    }

    /// Why the engine is busy with what it was told to stop, if it is.
    async fn see_them_stop(&self) -> Option<String> {
        let ids: Vec<String> = locked(&self.leftovers).iter().cloned().collect();
        for id in ids {
            match tokio::time::timeout(PROBE_DEADLINE, self.connector.interrupt(&id)).await {
                Ok(Ok(Interrupted::Stopped | Interrupted::NothingToStop)) => {
                    locked(&self.leftovers).remove(&id);
                }
                Ok(Ok(Interrupted::StillRunning)) => {
                    return Some(
                        "a run that was told to stop still goes on; if that lasts, restart the engine".to_owned(),
                    );
                }
                Ok(Err(failure)) => return Some(failure.message),
                Err(_) => {
                    return Some("no answer when told to stop a run; if that lasts, restart the engine".to_owned());
                }
            }
        }
        None
    }

    fn still_jammed(&self, remaining: Option<u64>) -> Option<String> {
        let mut jam = locked(&self.jam);
        let least = (*jam)?;
        match remaining {
            Some(now) if now > 0 && least.is_none_or(|least| now >= least) => {
                *jam = Some(Some(now));
                Some(format!("its queue of {now} does not move; if that lasts, restart the engine"))
            }
            _ => {
                *jam = None;
                None
            }
        }
    }

    /// What has been left out for long enough gets another chance.
    fn review(&self, probe_is_good: bool) {
        let on_trial = locked(&self.breakers).review(probe_is_good, Instant::now());
        for part in &on_trial {
            tell(Notice::OnTrial { engine: &self.label, part: part.describe() });
        }
        if !on_trial.is_empty() {
            self.probe.send_modify(|_| {});
        }
    }

    /// Probes until told to stop.
    pub async fn keep_probing(&self, healthy_interval: Duration, beat: impl Fn(), stop: CancellationToken) {
        let mut sick = SICK_FIRST;
        let mut next = Instant::now() + if self.latest().is_healthy() { healthy_interval } else { sick };
        loop {
            beat();
            // What is left out of an engine that is down need not be looked at before the engine is back.
            let due = self.latest().is_healthy().then(|| locked(&self.breakers).next_due(Instant::now())).flatten();
            let pause = next.saturating_duration_since(Instant::now());
            let news = async {
                tokio::select! {
                    () = self.connector.changed() => {
                        next = Instant::now();
                        false
                    }
                    () = self.news.notified() => true,
                    () = tokio::time::sleep(due.map_or(pause, |due| pause.min(due))) => false,
                }
            };
            let Some(news) = unless(&stop, news).await else { return };
            if news {
                // It was just found wanting, or its breakers have changed: the pauses begin anew.
                sick = SICK_FIRST;
                if !self.latest().is_healthy() {
                    next = next.min(Instant::now() + sick);
                }
                continue;
            }
            self.probe().await;
            next = Instant::now() + if self.latest().is_healthy() { healthy_interval } else { sick };
            sick = match self.latest().is_healthy() {
                true => SICK_FIRST,
                // A run that nobody waits for is stopped as soon as the engine hears again.
                false if self.has_leftovers() => (sick * 2).min(LEFTOVERS_PAUSE).min(healthy_interval),
                false => (sick * 2).min(healthy_interval),
            };
        }
    }
}
