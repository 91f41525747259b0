//! From configuration and hardware to engines and slots.
//! In: `Config`, the inventory, connectors. Out: what the agent runs.

use crate::capabilities::{
    Capabilities, EngineRef, EngineSites, GpuFacts, HardwareFacts, Parts, Slot as PlannedSlot, SlotPlan, plan_slots,
};
use crate::config::{Config, HttpEngine};
use crate::hardware::{Inventory, Sampler, Settings};
use crate::protocol::Space;
use crate::runner::engine::Engine;
use crate::runner::shared::{Limits, Shared};
use crate::runner::slot::Slot;
use crate::telemetry::{Notice, tell};
use connectors::contract::Connector;
use connectors::failure::Failure;
use connectors::registry;
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a start waits for what engines say of themselves.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// The queue's place in Redis, as configured.
pub fn space(config: &Config) -> Space {
    Space {
        prefix: config.redis.key_prefix.clone(),
        reference_events: config.redis.reference_events,
        stream_max: u64::from(config.jobs.events_max) * 5,
        retention_ms: config.jobs.retention.as_millis() as u64,
        failed_retention_ms: config.jobs.failed_retention.as_millis() as u64,
    }
}

/// Times and sizes of a run, as configured.
pub fn limits(config: &Config) -> Limits {
    Limits {
        lease: config.jobs.lease,
        poll: config.jobs.poll_interval,
        timeout: config.jobs.timeout,
        max_payload_bytes: config.jobs.max_payload_bytes,
        retry_backoff: config.jobs.retry_backoff,
        events_max: config.jobs.events_max,
        output_dir: config.output_dir.clone(),
    }
}

/// A connector for each address of one engine.
pub struct Driven {
    /// The connector's name.
    pub name: &'static str,
    /// The GPU of each address, if told.
    pub gpus: Option<Vec<u32>>,
    /// Whether each address belongs to one GPU.
    pub needs_gpu: bool,
    /// One for each address.
    pub connectors: Vec<Arc<dyn Connector>>,
}

/// The connectors that the configuration asks for.
///
/// # Errors
/// An engine whose settings cannot be used.
pub fn drivers(config: &Config) -> Result<Vec<Driven>, Failure> {
    let mut driven = Vec::new();
    if let Some(engine) = &config.engines.comfyui {
        let connectors =
            engine.urls.iter().map(|url| registry::Engine::ComfyUi(Box::new(comfyui(engine, url)?)).build());
        driven.push(Driven {
            name: "comfyui",
            gpus: engine.gpus.clone(),
            needs_gpu: true,
            connectors: connectors.collect::<Result<_, _>>()?,
        });
    }
    if let Some(engine) = &config.engines.a1111 {
        let connectors = engine.urls.iter().map(|url| registry::Engine::A1111(Box::new(a1111(engine, url)?)).build());
        driven.push(Driven {
            name: "a1111",
            gpus: engine.gpus.clone(),
            needs_gpu: true,
            connectors: connectors.collect::<Result<_, _>>()?,
        });
    }
    if let Some(engine) = &config.engines.simulation {
        let connector = registry::Engine::Simulation { services: engine.services.clone() }.build()?;
        driven.push(Driven { name: "simulation", gpus: None, needs_gpu: false, connectors: vec![connector] });
    }
    Ok(driven)
}

fn comfyui(engine: &HttpEngine, url: &url::Url) -> Result<connectors::comfyui::Settings, Failure> {
    let secret = |secret: &Option<secrecy::SecretString>| secret.as_ref().map(|text| text.expose_secret().to_owned());
    let mut settings = connectors::comfyui::Settings::at(url.as_str())?;
    settings.username = engine.username.clone().or(settings.username);
    settings.password = secret(&engine.password).map(Into::into).or(settings.password);
    settings.api_key = secret(&engine.api_key).map(Into::into);
    Ok(settings)
}

fn a1111(engine: &HttpEngine, url: &url::Url) -> Result<connectors::a1111::Settings, Failure> {
    let mut settings = connectors::a1111::Settings::at(url.as_str())?;
    settings.username = engine.username.clone();
    settings.password = engine.password.as_ref().map(|secret| secret.expose_secret().to_owned().into());
    Ok(settings)
}

/// Engines and the slots they are paired into.
pub struct Built {
    /// All engines.
    pub engines: Vec<Arc<Engine>>,
    by_ref: BTreeMap<(String, usize), Arc<Engine>>,
    plan: SlotPlan,
    /// The hardware at the start.
    pub inventory: Inventory,
    /// Asks the hardware again.
    pub sampler: Sampler,
}

impl Built {
    /// Looks at the hardware, asks the engines how they are, and pairs them.
    pub async fn new(config: &Config, driven: Vec<Driven>, simulated: Option<(u32, f64)>) -> std::io::Result<Self> {
        let sampler =
            Sampler::start(Settings { simulated, ..Settings::new(&config.output_dir, config.declared.clone()) })?;
        let mut engines = Vec::new();
        let mut by_ref = BTreeMap::new();
        let mut sites = Vec::new();
        for Driven { name, gpus, needs_gpu, connectors } in driven {
            sites.push(EngineSites { name: name.to_owned(), urls: connectors.len(), gpus, needs_gpu });
            let several = connectors.len() > 1;
            for (at, connector) in connectors.into_iter().enumerate() {
                let label = if several { format!("{name}[{at}]") } else { name.to_owned() };
                let engine = Arc::new(Engine::new(label, connector));
                by_ref.insert((name.to_owned(), at), engine.clone());
                engines.push(engine);
            }
        }
        // Side by side: neither a slow driver nor a dead engine holds up the other.
        let asked = futures_util::future::join_all(engines.iter().map(|engine| engine.probe()));
        // An engine that hangs is asked again later; the others and Redis do not wait for it.
        let (inventory, _) = tokio::join!(sampler.inventory(), tokio::time::timeout(FIRST_LOOK, asked));
        for note in &inventory.notes {
            tell(Notice::Hardware { note: &note.text });
        }
        if inventory.gpu_driver.is_fault() {
            tell(Notice::Hardware { note: &inventory.gpu_driver.explain() });
        }
        let plan = plan_slots(&gpu_facts(&inventory), &sites, config.jobs.concurrent);
        for note in &plan.notes {
            tell(Notice::Hardware { note: &note.to_string() });
        }
        Ok(Self { engines, by_ref, plan, inventory, sampler })
    }

    fn engines_of(&self, slot: &PlannedSlot) -> Vec<Arc<Engine>> {
        let find = |engine: &EngineRef| self.by_ref.get(&(engine.name.clone(), engine.url)).cloned();
        slot.engines.iter().filter_map(find).collect()
    }

    fn capabilities(&self, slot: &PlannedSlot, worker: &str, config: &Config, engines: &[Arc<Engine>]) -> Capabilities {
        let units = self.inventory.units();
        let unit = slot.gpu.and_then(|at| units.get(at));
        Capabilities::new(Parts {
            worker_id: worker.to_owned(),
            machine_id: config.identity.machine_id.clone(),
            hardware: HardwareFacts {
                gpu_memory_gb: unit.and_then(crate::hardware::Unit::memory_gb),
                gpu_model: unit.and_then(|unit| unit.gpu.name.clone()),
                gpu_count: u32::from(unit.is_some()),
                cpu_cores: Some(self.inventory.host.cpu_cores),
                ram_gb: self.inventory.host.ram_gb,
            },
            engines: engines.iter().map(|engine| engine.facts()).collect(),
            traits: config.traits.clone(),
            workflow_id: config.identity.workflow_id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    /// The slots of this machine.
    pub fn slots(&self, config: &Config, shared: &Arc<Shared>) -> Vec<Arc<Slot>> {
        let units = self.inventory.units();
        let slot = |planned: &PlannedSlot| {
            let worker = planned.worker_id(&config.identity.worker_id);
            let engines = self.engines_of(planned);
            let capabilities = self.capabilities(planned, &worker, config, &engines);
            let gpu = planned.gpu.and_then(|at| units.get(at)).map(|unit| unit.gpu.index);
            Arc::new(Slot::new(shared.clone(), worker, gpu, engines, capabilities))
        };
        self.plan.slots.iter().map(slot).collect()
    }

    /// Keeps what each slot offers in step with its engines' health and models.
    pub fn watch_engines(self, slots: &[Arc<Slot>], config: &Config, tasks: &TaskTracker, stop: &CancellationToken) {
        for engine in &self.engines {
            let (engine, until, interval) = (engine.clone(), stop.clone(), config.jobs.health_interval);
            tasks.spawn(async move { engine.keep_probing(interval, || {}, until).await });
        }
        let built = Arc::new(self);
        for (at, slot) in slots.iter().enumerate() {
            let (built, slot, until, config) = (built.clone(), slot.clone(), stop.clone(), config.clone());
            tasks.spawn(async move {
                let mut probes: Vec<_> = slot.engines.iter().map(|engine| engine.watch()).collect();
                loop {
                    let changes = probes.iter_mut().map(|probe| Box::pin(probe.changed()));
                    tokio::select! {
                        () = until.cancelled() => return,
                        _ = futures_util::future::select_all(changes), if !slot.engines.is_empty() => {}
                    }
                    let planned = &built.plan.slots[at];
                    let fresh = built.capabilities(planned, &slot.worker, &config, &slot.engines);
                    slot.capabilities.send_replace(Arc::new(fresh));
                }
            });
        }
    }
}

fn gpu_facts(inventory: &Inventory) -> Vec<GpuFacts> {
    let facts = |unit: &crate::hardware::Unit<'_>| GpuFacts {
        index: unit.gpu.index,
        memory_gb: unit.memory_gb().unwrap_or(0.0),
        model: unit.gpu.name.clone().unwrap_or_default(),
        uuid: unit.uuid().unwrap_or_default().to_owned(),
    };
    inventory.units().iter().map(facts).collect()
}
