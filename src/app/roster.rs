//! Which engines there are now, and which slot has which of them.
//! In: the engines built in, those of files as they come, change and go. Out: each slot's list; engines that are looked after.
//!
//! ```text
//!   waits for its place ──free──▶ in use ──changed, gone──▶ retired: nothing begins ──runs ended──▶ closed: its place is free
//! ```
//!
//! A place is one address or GPU of an engine: on the one the new engine may work while the old one ends a run on the other.

mod assigning;

use super::Driven;
use crate::capabilities::{Crew, EngineSites, GpuFacts};
use crate::queue::link::unless;
use crate::runner::engine::Engine;
use crate::runner::fence::Fence;
use crate::runner::slot::Slot;
use crate::telemetry::{Notice, tell};
use connectors::files::One;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a retired engine is looked after for what it was told to stop.
const LEFTOVERS_LONGEST: Duration = Duration::from_secs(60);
/// Between two looks at it.
const LEFTOVERS_PAUSE: Duration = Duration::from_secs(1);

/// The engines of this agent.
pub struct Roster {
    gpus: OnceLock<Vec<GpuFacts>>,
    jobs: u32,
    crew: Crew,
    patience: Duration,
    /// The fence of each slot's GPU.
    fences: OnceLock<Vec<Option<Arc<Fence>>>>,
    floor: OnceLock<Floor>,
    state: Mutex<State>,
}

/// Where engines are put to work.
pub struct Floor {
    /// All slots, in the order of the plan.
    pub slots: Vec<Arc<Slot>>,
    /// Where engines are looked after.
    pub tasks: TaskTracker,
    /// Ends that.
    pub stop: CancellationToken,
    /// How often a healthy engine is asked.
    pub interval: Duration,
}

#[derive(Default)]
struct State {
    seats: Vec<Seat>,
    places: BTreeMap<(&'static str, usize), Arc<Semaphore>>,
    round: u64,
    /// Notes of the plan that have been told.
    told: BTreeSet<String>,
}

/// One engine with its addresses.
struct Seat {
    name: &'static str,
    site: EngineSites,
    /// Which version of it; one that has come too late for its place is another one.
    round: u64,
    working: Vec<Option<Working>>,
}

struct Working {
    engine: Arc<Engine>,
    one: Option<One>,
    retired: CancellationToken,
    _place: Option<OwnedSemaphorePermit>,
}

impl Roster {
    /// A roster of nobody. `patience` is for steps of which nothing is known.
    pub fn new(jobs: u32, crew: Crew, patience: Duration) -> Self {
        let (gpus, fences, floor, state) = (OnceLock::new(), OnceLock::new(), OnceLock::new(), Mutex::default());
        Self { gpus, jobs, crew, patience, fences, floor, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an engine that stays.
    pub fn add(&self, driven: Driven) {
        let Driven { name, gpus, needs_gpu, jobs, connectors } = driven;
        let site = EngineSites { name: name.to_owned(), urls: connectors.len(), gpus, needs_gpu, jobs };
        let several = connectors.len() > 1;
        let working = connectors.into_iter().enumerate().map(|(at, connector)| {
            let engine = Arc::new(Engine::new(label(name, at, several), connector, self.patience));
            Some(Working { engine, one: None, retired: CancellationToken::new(), _place: None })
        });
        let seat = Seat { name, site, round: 0, working: working.collect() };
        self.state().seats.push(seat);
    }

    /// Takes up an engine that is a file, in the place of what that file was before.
    pub fn install(self: &Arc<Self>, name: &'static str, needs_gpu: bool, ones: Vec<One>) {
        let several = ones.len() > 1;
        let site = EngineSites { name: name.to_owned(), urls: ones.len(), gpus: None, needs_gpu, jobs: None };
        let (before, round) = {
            let mut state = self.state();
            state.round += 1;
            let round = state.round;
            let working = ones.iter().map(|_| None).collect();
            let fresh = Seat { name, site, round, working };
            let before = match state.seats.iter_mut().find(|seat| seat.name == name) {
                Some(seat) => std::mem::replace(seat, fresh).working,
                None => {
                    state.seats.push(fresh);
                    Vec::new()
                }
            };
            (before, round)
        };
        self.retire(before, "its file has changed");
        for (at, one) in ones.into_iter().enumerate() {
            let engine = Arc::new(Engine::new(label(name, at, several), one.connector(), self.patience));
            let place = self.state().places.entry((name, at)).or_insert_with(|| Arc::new(Semaphore::new(1))).clone();
            if let Ok(free) = place.clone().try_acquire_owned() {
                self.arrive((name, at, round), engine, one, free);
                continue;
            }
            let Some(Floor { tasks, stop, .. }) = self.floor.get() else { continue };
            let (me, stop) = (self.clone(), stop.clone());
            tasks.spawn(async move {
                if let Some(Ok(free)) = unless(&stop, place.acquire_owned()).await {
                    me.arrive((name, at, round), engine, one, free);
                }
            });
        }
        self.assign();
    }

    /// Lets an engine go whose file has gone.
    pub fn remove(&self, name: &str) {
        let gone = {
            let mut state = self.state();
            let at = state.seats.iter().position(|seat| seat.name == name);
            at.map(|at| state.seats.remove(at).working).unwrap_or_default()
        };
        self.retire(gone, "its file has gone");
        self.assign();
    }

    fn arrive(
        &self,
        (name, at, round): (&'static str, usize, u64),
        engine: Arc<Engine>,
        one: One,
        free: OwnedSemaphorePermit,
    ) {
        {
            let mut state = self.state();
            let seat = state.seats.iter_mut().find(|seat| seat.name == name && seat.round == round);
            // A newer version is on its way, or none.
            let Some(place) = seat.and_then(|seat| seat.working.get_mut(at)) else { return };
            let retired = CancellationToken::new();
            *place = Some(Working { engine: engine.clone(), one: Some(one), retired, _place: Some(free) });
        }
        self.assign();
        self.look_after(&engine, true);
    }

    fn look_after(&self, engine: &Arc<Engine>, is_new: bool) {
        let Some(Floor { tasks, stop, interval, .. }) = self.floor.get() else { return };
        let retired = {
            let state = self.state();
            let mut all = state.seats.iter().flat_map(|seat| seat.working.iter().flatten());
            all.find(|working| Arc::ptr_eq(&working.engine, engine)).map(|working| working.retired.clone())
        };
        let (engine, stop, interval) = (engine.clone(), stop.clone(), *interval);
        tasks.spawn(async move {
            let until = stop.child_token();
            let looking = async {
                if is_new {
                    unless(&until, engine.probe()).await;
                }
                engine.keep_probing(interval, || {}, until.clone()).await;
            };
            match retired {
                Some(retired) => drop(unless(&retired, looking).await),
                None => looking.await,
            }
        });
    }

    fn retire(&self, before: Vec<Option<Working>>, why: &'static str) {
        for working in before.into_iter().flatten() {
            let runs = working.engine.runs();
            working.engine.retire();
            tell(Notice::EngineFileRetired { engine: &working.engine.label, why, runs });
            let Some(Floor { tasks, stop, .. }) = self.floor.get() else { continue };
            tasks.spawn(end(working, why, stop.clone()));
        }
    }

    /// Every engine in use.
    pub fn engines(&self) -> Vec<Arc<Engine>> {
        let state = self.state();
        state.seats.iter().flat_map(|seat| seat.working.iter().flatten()).map(|one| one.engine.clone()).collect()
    }

    /// Which engine needs what.
    pub fn sites(&self) -> Vec<EngineSites> {
        self.state().seats.iter().map(|seat| seat.site.clone()).collect()
    }

    /// Says which GPUs there are; from then on there is a plan.
    pub fn place(&self, gpus: Vec<GpuFacts>) {
        let _ = self.gpus.set(gpus);
    }

    /// Says which fence each slot of the first plan has.
    pub fn fence(&self, fences: Vec<Option<Arc<Fence>>>) {
        let _ = self.fences.set(fences);
        self.assign();
    }

    /// Puts the engines to work. From here on they come and go.
    pub fn open(&self, floor: Floor) {
        let notes = self.plan().notes.iter().map(ToString::to_string).collect();
        self.state().told = notes;
        let _ = self.floor.set(floor);
        for engine in self.engines() {
            self.look_after(&engine, false);
        }
        self.assign();
    }
}

fn label(name: &str, at: usize, several: bool) -> String {
    if several { format!("{name}[{at}]") } else { name.to_owned() }
}

/// Sees a retired engine through its last runs.
async fn end(working: Working, why: &'static str, stop: CancellationToken) {
    let engine = &working.engine;
    let leaving = async {
        engine.idle().await;
        let begun = Instant::now();
        while engine.has_leftovers() && begun.elapsed() < LEFTOVERS_LONGEST {
            engine.probe().await;
            tokio::time::sleep(LEFTOVERS_PAUSE).await;
        }
    };
    unless(&stop, leaving).await;
    working.retired.cancel();
    if let Some(one) = &working.one {
        one.close(why).await;
    }
}
