//! From configuration and hardware to engines and slots.
//! In: `Config`, the inventory, connectors. Out: what the agent runs.

use super::drivers::Driven;
use super::engine_files::{EngineFiles, Ready, surroundings};
use super::gpus::Gpus;
use super::places::{Place, places};
use super::roster::{Floor, Roster};
use crate::capabilities::{Capabilities, Crew, GpuFacts, HardwareFacts, Parts, Slot as PlannedSlot, SlotPlan};
use crate::config::Config;
use crate::hardware::{Inventory, Sampler, Settings, Unit};
use crate::protocol::Space;
use crate::queue::link::unless;
use crate::queue::wake;
use crate::runner::engine::Engine;
use crate::runner::fence::Fence;
use crate::runner::shared::{Limits, Shared};
use crate::runner::slot::Slot;
use crate::telemetry::{Notice, tell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a start waits for what engines say of themselves.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// Waking is a hint: without it a slot looks anew at its next poll.
const WAKE_LONGEST: Duration = Duration::from_secs(1);

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
        max_stalls: config.jobs.max_stalls,
        poll: config.jobs.poll_interval,
        timeout: config.jobs.timeout,
        max_payload_bytes: config.jobs.max_payload_bytes,
        retry_backoff: config.jobs.retry_backoff,
        events_max: config.jobs.events_max,
        output_dir: config.output_dir.clone(),
        preview_retention: config.jobs.failed_retention,
    }
}

/// Engines and the slots they are paired into.
pub struct Built {
    roster: Arc<Roster>,
    files: Option<EngineFiles>,
    /// The slots as they are from the start to the end.
    plan: SlotPlan,
    /// What each GPU of the plan is.
    places: Vec<Place>,
    fences: BTreeMap<u32, Arc<Fence>>,
    hardware: watch::Receiver<Arc<Inventory>>,
    sampler: Sampler,
    gpus: Option<Gpus>,
}

impl Built {
    /// Looks at the hardware, asks the engines how they are, and pairs them.
    pub async fn new(config: &Config, driven: Vec<Driven>, simulated: Option<(u32, f64)>) -> std::io::Result<Self> {
        let ((said, events), (to_ask, asks)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let settings = Settings::new(&config.output_dir, config.declared.clone());
        let sampler = Sampler::start(Settings { simulated, events: Some(said), ..settings })?;
        let (mut looked, mut opened) = (None, None);
        if config.engines.files.dir.is_some() {
            surroundings(config).clear()?;
            // There is a process for each GPU: the GPUs come first, and what is planned later is what was seen here.
            let inventory = looked.insert(sampler.inventory().await);
            opened = EngineFiles::open(config, &gpu_facts(inventory), &driven).await;
        }
        let crew = if opened.is_some() { Crew::Changing } else { Crew::Fixed };
        let roster = Arc::new(Roster::new(config.jobs.concurrent, crew, config.jobs.stuck_step));
        for driven in driven {
            roster.add(driven);
        }
        let (files, ready) = opened.map_or((None, Vec::new()), |(files, ready)| (Some(files), ready));
        for Ready { name, needs_gpu, ones } in ready {
            roster.install(name, needs_gpu, ones);
        }
        let (engines, sites) = (roster.engines(), roster.sites());
        // Side by side: neither a slow driver nor a dead engine holds up the other.
        let asked = futures_util::future::join_all(engines.iter().map(|engine| engine.probe()));
        // An engine that hangs is asked again later; the others and Redis do not wait for it.
        let look = async {
            match looked {
                Some(inventory) => inventory,
                None => sampler.inventory().await,
            }
        };
        let (inventory, _) = tokio::join!(look, tokio::time::timeout(FIRST_LOOK, asked));
        for note in &inventory.notes {
            tell(Notice::Hardware { note: &note.text });
        }
        if inventory.gpu_driver.is_fault() {
            tell(Notice::Hardware { note: &inventory.gpu_driver.explain() });
        }
        let (facts, places): (Vec<_>, Vec<_>) = places(&inventory, &sites).into_iter().unzip();
        roster.place(facts);
        let plan = roster.plan();
        for note in &plan.notes {
            tell(Notice::Hardware { note: &note.to_string() });
        }
        let planned = plan.slots.iter().filter_map(|slot| places.get(slot.gpu?)).map(|place| place.gpu);
        let fences: BTreeMap<u32, Arc<Fence>> =
            planned.map(|gpu| (gpu, Arc::new(Fence::new(gpu, to_ask.clone())))).collect();
        let gpus = Gpus::new(sampler.clone(), inventory, fences.values().cloned(), events, asks);
        let hardware = gpus.latest();
        let built = Self { roster, files, plan, places, fences, hardware, sampler, gpus: Some(gpus) };
        built.roster.fence(built.plan.slots.iter().map(|slot| built.fence_of(slot)).collect());
        Ok(built)
    }

    /// Whoever watches the GPUs; handed out once.
    pub fn take_gpus(&mut self) -> Option<Gpus> {
        self.gpus.take()
    }

    /// The hardware as last seen.
    pub fn hardware(&self) -> watch::Receiver<Arc<Inventory>> {
        self.hardware.clone()
    }

    /// Reads the hardware.
    pub fn sampler(&self) -> Sampler {
        self.sampler.clone()
    }

    fn fence_of(&self, slot: &PlannedSlot) -> Option<Arc<Fence>> {
        self.fences.get(&self.places.get(slot.gpu?)?.gpu).cloned()
    }

    fn capabilities(&self, slot: &PlannedSlot, worker: &str, config: &Config, engines: &[Arc<Engine>]) -> Capabilities {
        let inventory = self.hardware.borrow().clone();
        let is_fenced = self.fence_of(slot).is_some_and(|fence| fence.fenced().is_some());
        let place = slot.gpu.and_then(|at| self.places.get(at)).filter(|_| !is_fenced);
        let unit = place.and_then(|place| place.find(&inventory));
        Capabilities::new(Parts {
            worker_id: worker.to_owned(),
            machine_id: config.identity.machine_id.clone(),
            hardware: HardwareFacts {
                gpu_memory_gb: unit.as_ref().and_then(Unit::memory_gb).map(|gb| offered_memory(gb, engines)),
                gpu_model: unit.as_ref().and_then(|unit| unit.gpu.name.clone()),
                gpu_count: u32::from(unit.is_some()),
                cpu_cores: Some(inventory.host.cpu_cores),
                ram_gb: inventory.host.ram_gb,
            },
            engines: engines.iter().map(|engine| engine.facts()).collect(),
            classes_left_out: engines.iter().flat_map(|engine| engine.classes_left_out()).collect(),
            traits: config.traits.clone(),
            workflow_id: config.identity.workflow_id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    /// The slots of this machine.
    pub fn slots(&self, config: &Config, shared: &Arc<Shared>) -> Vec<Arc<Slot>> {
        let slot = |(planned, engines): (&PlannedSlot, Arc<[Arc<Engine>]>)| {
            let worker = planned.worker_id(&config.identity.worker_id);
            let capabilities = self.capabilities(planned, &worker, config, &engines);
            Arc::new(Slot::new(shared.clone(), worker, self.fence_of(planned), engines, capabilities))
        };
        self.plan.slots.iter().zip(self.roster.lists()).map(slot).collect()
    }

    /// Keeps what each slot offers in step with its engines as they come and go, with their health and models, and with
    /// its GPU's fence.
    pub fn watch_engines(
        mut self,
        slots: &[Arc<Slot>],
        config: &Config,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let interval = config.jobs.health_interval;
        let files = self.files.take();
        let built = Arc::new(self);
        for (at, slot) in slots.iter().enumerate() {
            let (built, slot, config) = (built.clone(), slot.clone(), config.clone());
            let until = stop.clone();
            tasks.spawn(async move {
                unless(&until, built.keep_offer(at, &slot, &config)).await;
            });
        }
        let floor = Floor { slots: slots.to_vec(), tasks: tasks.clone(), stop: stop.clone(), interval };
        built.roster.open(floor);
        if let Some(files) = files {
            tasks.spawn(files.watch(built.roster.clone(), stop.clone()));
        }
    }

    async fn keep_offer(&self, at: usize, slot: &Slot, config: &Config) {
        let mut lists = slot.engines.subscribe();
        let mut fence = slot.fence.as_ref().map(|fence| fence.watch());
        loop {
            let engines = lists.borrow_and_update().clone();
            let mut probes: Vec<_> = engines.iter().map(|engine| engine.watch()).collect();
            // Made after listening has begun: a change meanwhile is heard of below.
            loop {
                let fresh = self.capabilities(&self.plan.slots[at], &slot.worker, config, &engines);
                slot.capabilities.send_replace(Arc::new(fresh));
                // A slot that is blocked on the tokens of what it offered before must look anew.
                let waking = wake::call(&slot.shared.link, &slot.shared.space, &slot.worker);
                let _ = tokio::time::timeout(WAKE_LONGEST, waking).await;
                let changes = probes.iter_mut().map(|probe| Box::pin(probe.changed()));
                let changed = async {
                    match engines.is_empty() {
                        // While its only engine is a file that has gone, or changes.
                        true => std::future::pending().await,
                        false => drop(futures_util::future::select_all(changes).await),
                    }
                };
                tokio::select! {
                    _ = lists.changed() => break,
                    () = changed => {}
                    () = changes_of(&mut fence) => {}
                }
            }
        }
    }
}

/// The GPUs as engines are paired with them.
pub fn gpu_facts(inventory: &Inventory) -> Vec<GpuFacts> {
    places(inventory, &[]).into_iter().map(|(facts, _)| facts).collect()
}

/// Less than what jobs have asked for in vain.
fn offered_memory(nominal: f64, engines: &[Arc<Engine>]) -> f64 {
    engines.iter().filter_map(|engine| engine.memory_limit_gb()).map(f64::next_down).fold(nominal, f64::min)
}

async fn changes_of<T>(watched: &mut Option<watch::Receiver<T>>) {
    if let Some(watched) = watched
        && watched.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}
