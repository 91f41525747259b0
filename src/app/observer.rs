//! How the agent is, for whoever asks over HTTP.
//! In: slots, engines, GPUs, the way to Redis, loops. Out: one look at all of them; the dashboard started with it.

mod cards;
mod engines;
mod gauges;
mod machine;
mod queue;
mod whole;
mod workers;

use crate::config::Config;
use crate::dashboard::view::{connectors, gpus, series, slots, system, worker};
use crate::dashboard::{self, Source};
use crate::hardware::{Inventory, Reading, Sampler};
use crate::runner::engine::Engine;
use crate::runner::shared::Shared;
use crate::runner::slot::Slot;
use crate::service::loops::Loops;
use crate::telemetry::metrics::{LoopSeen, Observed, RedisSeen};
use machine::Load;
use queue::Queue;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use whole::Memory;

/// Sees all parts of the agent.
pub(super) struct Observer {
    parts: Parts,
    /// The newest readings of the cards.
    readings: Mutex<Vec<Reading>>,
    series: series::Ring,
    queue: Queue,
    load: Mutex<Load>,
    memory: Mutex<Memory>,
    siblings: Mutex<Vec<worker::Sibling>>,
    url: Mutex<Option<String>>,
}

/// What is seen.
pub(super) struct Parts {
    pub shared: Arc<Shared>,
    pub slots: Vec<Arc<Slot>>,
    pub hardware: watch::Receiver<Arc<Inventory>>,
    pub sampler: Sampler,
    pub loops: Loops,
    pub output_dir: PathBuf,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers over HTTP until told to stop, if it is wanted.
pub(super) async fn answer(config: Config, parts: Parts, stop: CancellationToken) {
    let asked = config.dashboard;
    if !asked.enabled {
        return;
    }
    let (host, port, token, allowed_hosts) = (asked.host, asked.port, asked.token, asked.allowed_hosts);
    let settings = dashboard::Settings { host, port, token, allowed_hosts };
    let observer = Arc::new(Observer::new(parts));
    tokio::join!(
        dashboard::keep(settings, observer.clone(), stop.clone()),
        observer.keep_reading(stop.clone()),
        observer.queue.keep(&observer.parts, stop),
    );
}

impl Observer {
    fn new(parts: Parts) -> Self {
        Self {
            parts,
            readings: Mutex::default(),
            series: series::Ring::default(),
            queue: Queue::default(),
            load: Mutex::default(),
            memory: Mutex::default(),
            siblings: Mutex::default(),
            url: Mutex::default(),
        }
    }

    /// Those that are in use now, each once: slots of one GPU share them.
    fn engines(&self) -> Vec<Arc<Engine>> {
        let mut all: Vec<Arc<Engine>> = Vec::new();
        for slot in &self.parts.slots {
            for engine in slot.engines.borrow().iter() {
                if !all.iter().any(|known| Arc::ptr_eq(known, engine)) {
                    all.push(engine.clone());
                }
            }
        }
        all
    }
}

impl Source for Observer {
    fn observe(&self) -> Observed {
        let shared = &self.parts.shared;
        let redis = shared.link.standing();
        let inventory = self.parts.hardware.borrow().clone();
        Observed {
            slots: self.parts.slots.iter().map(|slot| workers::state(slot)).collect(),
            draining: shared.shutdown.drain.is_cancelled(),
            cannot_store: shared.outputs.obstacle(),
            engines: self.engines().iter().map(|engine| engines::seen(engine)).collect(),
            gpus: inventory.gpus.iter().map(|gpu| self.gpu_seen(gpu)).collect(),
            redis: RedisSeen { is_up: redis.is_up, away: redis.away, round_trip: redis.round_trip },
            loops: self
                .parts
                .loops
                .all()
                .into_iter()
                .map(|p| LoopSeen { name: p.name, age: p.age, hangs: p.hangs })
                .collect(),
            gauges: self.gauges(),
        }
    }

    fn worker(&self) -> worker::Worker {
        self.whole()
    }

    fn gpus(&self) -> Vec<gpus::Gpu> {
        self.cards()
    }

    fn series(&self) -> Option<&series::Ring> {
        Some(&self.series)
    }

    fn slots(&self) -> Vec<slots::Slot> {
        self.parts.slots.iter().map(|slot| workers::slot(slot)).collect()
    }

    fn queue(&self) -> crate::dashboard::view::queue::Queue {
        let workers: Vec<_> =
            self.parts.slots.iter().map(|slot| (slot.worker.clone(), slot.capabilities.borrow().clone())).collect();
        self.queue.section(&workers)
    }

    fn connectors(&self) -> Vec<connectors::Connector> {
        self.engines().iter().map(|engine| engines::connector(engine)).collect()
    }

    fn system(&self) -> system::System {
        let inventory = self.parts.hardware.borrow().clone();
        locked(&self.load).system(&inventory)
    }

    fn loop_at(&self, name: &str) -> Option<String> {
        let slot = self.parts.slots.iter().find(|slot| name.strip_prefix("slot ") == Some(&slot.worker))?;
        Some(workers::at(slot))
    }

    fn capabilities(&self) -> Vec<(String, Value)> {
        let of = |slot: &Arc<Slot>| (slot.worker.clone(), slot.capabilities.borrow().to_reference_json().clone());
        self.parts.slots.iter().map(of).collect()
    }

    fn picture(&self, worker: &str) -> Option<slots::Picture> {
        let shown = self.parts.shared.previews.latest(worker)?;
        let (media_type, bytes) = (shown.preview.media_type, shown.preview.bytes);
        Some(slots::Picture { version: shown.version, media_type, bytes })
    }

    fn output_dir(&self) -> Option<PathBuf> {
        Some(self.parts.output_dir.clone())
    }

    fn looked_at(&self) {
        self.queue.looked_at();
    }

    fn opened(&self, url: &str) {
        *locked(&self.url) = Some(url.to_owned());
    }
}
