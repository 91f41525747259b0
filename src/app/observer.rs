//! How the agent is, for whoever asks over HTTP.
//! In: slots, engines, GPUs, the way to Redis, loops. Out: one look at all of them; the dashboard started with it.

mod cards;
mod engines;
mod gauges;
mod holders;
mod machine;
mod queue;
mod whole;
mod workers;

use super::controls::{Operator, engines_of};
use super::siblings::Siblings;
use crate::config::Config;
use crate::dashboard::view::{self, connectors, gpus, series, slots, system, worker};
use crate::dashboard::{self, Place, Source};
use crate::hardware::{Inventory, Reading, Sampler};
use crate::runner::engine::Engine;
use crate::runner::shared::Shared;
use crate::runner::slot::Slot;
use crate::service::loops::Loops;
use crate::telemetry::metrics::{LoopSeen, Observed, Readiness, RedisSeen};
use futures_util::future::BoxFuture;
use machine::Load;
use queue::Queue;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use whole::Memory;

/// Sees all parts of the agent.
pub(super) struct Observer {
    pub(super) parts: Parts,
    /// The newest readings of the cards.
    readings: Mutex<Vec<Reading>>,
    series: series::Ring,
    /// What engines hold of each card's memory.
    held: Mutex<BTreeMap<u32, u64>>,
    queue: Queue,
    load: Mutex<Load>,
    memory: Mutex<Memory>,
    read_only: bool,
}

/// What is seen.
pub(super) struct Parts {
    pub shared: Arc<Shared>,
    pub slots: Vec<Arc<Slot>>,
    pub hardware: watch::Receiver<Arc<Inventory>>,
    pub sampler: Sampler,
    pub loops: Loops,
    pub output_dir: PathBuf,
    /// The id that the agent was given.
    pub id: String,
    /// Other dashboards of this machine.
    pub siblings: Arc<Siblings>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers over HTTP until told to stop, if it is wanted.
pub(super) async fn answer(config: Config, parts: Parts, stop: CancellationToken) {
    if !config.dashboard.enabled {
        return;
    }
    let (ports, asked) = (holders::ports(&config), config.dashboard);
    let (host, port, token, allowed_hosts) = (asked.host, asked.port, asked.token, asked.allowed_hosts);
    let place = Place::of(&config.state_dir, &config.identity.worker_id);
    let settings = dashboard::Settings { host, port, token, allowed_hosts, read_only: asked.read_only, place };
    let found = parts.siblings.own_url();
    let operator =
        Operator { shared: parts.shared.clone(), slots: parts.slots.clone(), hardware: parts.hardware.clone() };
    let observer = Arc::new(Observer::new(parts, asked.read_only));
    tokio::join!(
        dashboard::keep(settings, observer.clone(), Arc::new(operator), found, stop.clone()),
        observer.keep_reading(ports, stop.clone()),
        observer.keep_in_mind(stop.clone()),
        observer.queue.keep(&observer.parts, stop),
    );
}

impl Observer {
    fn new(parts: Parts, read_only: bool) -> Self {
        Self {
            parts,
            readings: Mutex::default(),
            series: series::Ring::default(),
            held: Mutex::default(),
            queue: Queue::default(),
            load: Mutex::default(),
            memory: Mutex::default(),
            read_only,
        }
    }

    fn engines(&self) -> Vec<Arc<Engine>> {
        engines_of(&self.parts.slots)
    }

    /// Something of what waits.
    fn with_queue<T>(&self, read: impl FnOnce(&view::queue::Queue) -> T) -> T {
        let workers: Vec<_> =
            self.parts.slots.iter().map(|slot| (slot.worker.clone(), slot.capabilities.borrow().clone())).collect();
        self.queue.with_section(&workers, read)
    }
}

impl Source for Observer {
    fn observe(&self) -> Observed {
        let inventory = self.parts.hardware.borrow().clone();
        let machine = locked(&self.load).look();
        Observed {
            readiness: self.readiness(),
            gpus: inventory.gpus.iter().map(|gpu| self.gpu_seen(gpu)).collect(),
            loops: self.loops(),
            gauges: self.gauges(&machine),
            process: machine.process,
        }
    }

    fn readiness(&self) -> Readiness {
        let shared = &self.parts.shared;
        let redis = shared.link.standing();
        Readiness {
            slots: self.parts.slots.iter().map(|slot| workers::standing(slot)).collect(),
            desired: self.parts.slots.iter().map(|slot| slot.control.desired().word()).collect(),
            draining: shared.shutdown.drain.is_cancelled(),
            cannot_store: shared.outputs.obstacle(),
            engines: self.engines().iter().map(|engine| engines::seen(engine)).collect(),
            redis: RedisSeen {
                is_up: redis.is_up && redis.silent.is_none(),
                away: redis.away.or(redis.silent),
                round_trip: redis.round_trip,
            },
        }
    }

    fn fresh(&self) -> BoxFuture<'_, ()> {
        match self.parts.shared.link.standing().is_up {
            true => Box::pin(self.queue.fresh()),
            // It would not be answered.
            false => Box::pin(std::future::ready(())),
        }
    }

    fn loops(&self) -> Vec<LoopSeen> {
        let seen = self.parts.loops.all().into_iter();
        seen.map(|pulse| LoopSeen { name: pulse.name, age: pulse.age, hangs: pulse.hangs }).collect()
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

    fn queue(&self) -> view::queue::Queue {
        self.with_queue(Clone::clone)
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

    fn read_only(&self) -> bool {
        self.read_only
    }

    fn looked_at(&self) {
        self.queue.looked_at();
    }
}
