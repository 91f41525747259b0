//! One engine on this machine: its connector and how it was at the last probe.
//! In: a connector. Out: the latest probe, for everybody who asks.

use super::fence::Fence;
use crate::capabilities::EngineFacts;
use crate::queue::link::unless;
use crate::telemetry::{Notice, tell};
use connectors::contract::{Connector, Health, Probe};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const PROBE_DEADLINE: Duration = Duration::from_secs(15);
/// An engine that is down is asked this often at first, then less and less up to the healthy interval.
const SICK_FIRST: Duration = Duration::from_secs(1);

/// One engine.
pub struct Engine {
    /// Connector name and address number, for people.
    pub label: String,
    /// What drives it.
    pub connector: Arc<dyn Connector>,
    probe: watch::Sender<Probe>,
    fence: OnceLock<Arc<Fence>>,
}

impl Engine {
    /// An engine that has not been probed yet.
    pub fn new(label: String, connector: Arc<dyn Connector>) -> Self {
        Self { label, connector, probe: watch::Sender::new(Probe::unhealthy("not asked yet")), fence: OnceLock::new() }
    }

    /// The latest probe.
    pub fn latest(&self) -> Probe {
        self.probe.borrow().clone()
    }

    /// Whether it can take work.
    pub fn is_healthy(&self) -> bool {
        self.probe.borrow().is_healthy() && !self.is_fenced()
    }

    /// Says which GPU it works on; one that is never told works on none.
    pub fn works_on(&self, fence: Arc<Fence>) {
        let _ = self.fence.set(fence);
    }

    /// The fence of its GPU.
    pub fn fence(&self) -> Option<&Arc<Fence>> {
        self.fence.get()
    }

    /// Whether its GPU may not work.
    pub fn is_fenced(&self) -> bool {
        self.fence().is_some_and(|fence| fence.fenced().is_some())
    }

    /// Hears of every probe that differs from the one before.
    pub fn watch(&self) -> watch::Receiver<Probe> {
        self.probe.subscribe()
    }

    /// What matching needs to know of it.
    pub fn facts(&self) -> EngineFacts {
        let probe = self.probe.borrow();
        EngineFacts {
            name: self.connector.name().to_owned(),
            services: self.connector.services().to_vec(),
            healthy: probe.is_healthy() && !self.is_fenced(),
            models: probe.models.values().flatten().cloned().collect(),
            version: probe.version.clone(),
        }
    }

    /// Asks the engine now; tells when its health changes.
    pub async fn probe(&self) {
        let fresh = match tokio::time::timeout(PROBE_DEADLINE, self.connector.probe()).await {
            Ok(probe) => probe,
            Err(_) => Probe::unhealthy("no answer to a health check in time; is it overloaded or frozen?"),
        };
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

    /// Probes until told to stop.
    pub async fn keep_probing(&self, healthy_interval: Duration, beat: impl Fn(), stop: CancellationToken) {
        let mut sick = SICK_FIRST;
        loop {
            beat();
            let pause = if self.is_healthy() {
                sick = SICK_FIRST;
                healthy_interval
            } else {
                let pause = sick;
                sick = (sick * 2).min(healthy_interval);
                pause
            };
            if unless(&stop, tokio::time::sleep(pause)).await.is_none() {
                return;
            }
            self.probe().await;
        }
    }
}
