//! How the agent is, for whoever asks over HTTP.
//! In: slots, engines, GPUs, the way to Redis, loops. Out: one look at all of them; the dashboard started with it.

use super::controls::{Operator, engines_of};
use super::siblings::Siblings;
use crate::config::Config;
use crate::dashboard::{self, Place, Sibling, Source};
use crate::hardware::{Gpu, Inventory};
use crate::runner::breaker::{Part, State};
use crate::runner::engine::Engine;
use crate::runner::shared::Shared;
use crate::runner::slot::Slot;
use crate::service::loops::Loops;
use crate::telemetry::metrics::{EngineSeen, GpuSeen, LoopSeen, Observed, RedisSeen};
use connectors::contract::Health;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Sees all parts of the agent.
pub(super) struct Observer {
    pub shared: Arc<Shared>,
    pub slots: Vec<Arc<Slot>>,
    pub hardware: watch::Receiver<Arc<Inventory>>,
    pub loops: Loops,
    /// Other dashboards of this machine.
    pub siblings: Arc<Siblings>,
}

/// Answers over HTTP until told to stop, if it is wanted.
pub(super) async fn answer(config: Config, observer: Observer, operator: Operator, stop: CancellationToken) {
    let asked = config.dashboard;
    if asked.enabled {
        let (host, port, token, allowed_hosts) = (asked.host, asked.port, asked.token, asked.allowed_hosts);
        let place = Place::of(&config.state_dir, &config.identity.worker_id);
        let settings = dashboard::Settings { host, port, token, allowed_hosts, read_only: asked.read_only, place };
        let found = observer.siblings.own_url();
        dashboard::keep(settings, Arc::new(observer), Arc::new(operator), found, stop).await;
    }
}

impl Source for Observer {
    fn observe(&self) -> Observed {
        let redis = self.shared.link.standing();
        let inventory = self.hardware.borrow().clone();
        Observed {
            slots: self.slots.iter().map(|slot| slot.status()).collect(),
            desired: self.slots.iter().map(|slot| slot.control.desired().word()).collect(),
            draining: self.shared.shutdown.drain.is_cancelled(),
            cannot_store: self.shared.outputs.obstacle(),
            engines: engines_of(&self.slots).iter().map(|engine| engine_seen(engine)).collect(),
            gpus: inventory.gpus.iter().map(|gpu| self.gpu_seen(gpu)).collect(),
            redis: RedisSeen { is_up: redis.is_up, away: redis.away, round_trip: redis.round_trip },
            loops: self
                .loops
                .all()
                .into_iter()
                .map(|p| LoopSeen { name: p.name, age: p.age, hangs: p.hangs })
                .collect(),
        }
    }

    fn siblings(&self) -> Vec<Sibling> {
        self.siblings.known()
    }
}

impl Observer {
    fn gpu_seen(&self, gpu: &Gpu) -> GpuSeen {
        let fences = self.slots.iter().filter_map(|slot| slot.fence.as_ref());
        let is_fenced = fences.clone().any(|fence| fence.gpu == gpu.index && fence.fenced().is_some());
        GpuSeen {
            index: gpu.index,
            name: gpu.name.clone().unwrap_or_default(),
            uuid: gpu.uuid.clone().unwrap_or_default(),
            driver: gpu.driver_version.clone().unwrap_or_default(),
            is_healthy: gpu.health.is_usable(),
            is_fenced,
            utilisation: gpu.metrics.utilisation_percent.map(|percent| f64::from(percent) / 100.0),
            memory_total: gpu.memory_total_bytes,
            memory_free: gpu.metrics.memory_free_bytes,
            temperature: gpu.metrics.temperature_c,
            power: gpu.metrics.power_w,
        }
    }
}

fn engine_seen(engine: &Engine) -> EngineSeen {
    let probe = engine.latest();
    let shown = engine.snapshot();
    let open = shown.iter().filter(|shown| matches!(shown.state, State::Open { .. }));
    let resting = open.clone().find(|shown| matches!(shown.part, Part::Whole | Part::Runs));
    let why = match (&probe.health, engine.fence().and_then(|fence| fence.fenced()), resting) {
        (Health::Unhealthy(why), ..) => why.clone(),
        (Health::Healthy, Some(fenced), _) => format!("its GPU may not work: {}", fenced.reason),
        (Health::Healthy, None, Some(resting)) => format!("left out for a while: {}", resting.why),
        (Health::Healthy, None, None) => String::new(),
    };
    EngineSeen {
        label: engine.label.clone(),
        is_healthy: engine.is_healthy(),
        why,
        queue: probe.queue_remaining,
        left_out: open.map(|shown| shown.part.word()).collect(),
    }
}
