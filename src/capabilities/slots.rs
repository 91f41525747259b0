//! Which slots this machine has: one for each GPU (or one without) and concurrent job, with the engines that belong to it.
//! In: the GPUs, the engines' URLs and GPU lists, the number of concurrent jobs. Out: [`SlotPlan`], pure and repeatable.

use std::collections::BTreeSet;
use std::fmt;

/// One GPU or MIG instance that engines can be paired with.
#[derive(Debug, Clone, PartialEq)]
pub struct GpuFacts {
    /// The number that configuration calls it by.
    pub index: u32,
    /// Nominal memory in GB.
    pub memory_gb: f64,
    /// Its name.
    pub model: String,
    /// The driver's id for it.
    pub uuid: String,
}

/// One configured engine: where it listens, and on which GPUs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EngineSites {
    /// The connector's name.
    pub name: String,
    /// How many URLs are configured: 0 = the engine is not used, 1 for a built-in one.
    pub urls: usize,
    /// The [`GpuFacts::index`] of each URL; `None`: the Nth URL belongs to the Nth GPU.
    pub gpus: Option<Vec<u32>>,
    /// Whether it belongs to a GPU at all; one that does not goes with every slot.
    pub needs_gpu: bool,
    /// Jobs at once on each URL, if it has a number of its own: then it has slots of its own, beside other engines' on its
    /// GPU, or without a GPU.
    pub jobs: Option<u32>,
}

/// One URL of one engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineRef {
    /// The connector's name.
    pub name: String,
    /// Which of its URLs, from 0.
    pub url: usize,
}

/// Runs one job at a time, as a worker of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// From 0, in the order of the GPUs.
    pub index: usize,
    /// What stands behind the worker id; `None` if this is the only slot.
    pub worker_suffix: Option<usize>,
    /// Position in the list of GPUs that was given; `None`: without a GPU.
    pub gpu: Option<usize>,
    /// The engines it serves, one URL each, in the order in which they are configured.
    pub engines: Vec<EngineRef>,
}

impl Slot {
    /// The id that this slot registers under.
    pub fn worker_id(&self, base: &str) -> String {
        self.worker_suffix.map_or_else(|| base.to_owned(), |suffix| format!("{base}-{suffix}"))
    }
}

/// Something about the pairing that its owner should know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields carry the names that the sentence uses")]
pub enum SlotNote {
    /// No engine is configured: nothing can run.
    NoEngines,
    /// No engine is paired with this GPU, so it gets no slot.
    IdleGpu { index: u32 },
    /// There is no GPU for this URL: it gets a slot without one.
    NoGpuFor { engine: String, url: usize },
    /// The engine's list names a GPU that is not there: the URL gets a slot without one.
    UnknownGpu { engine: String, url: usize, index: u32 },
    /// The engine's list has more entries than the engine has URLs.
    SpareGpus { engine: String, entries: usize, urls: usize },
    /// More URLs of one engine on one GPU than jobs at once there: this one is never used.
    IdleUrl { engine: String, url: usize },
}

impl fmt::Display for SlotNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SlotNote::NoEngines => f.write_str("no engine is configured: nothing can run"),
            SlotNote::IdleGpu { index } => write!(f, "GPU {index} has no engine and gets no jobs"),
            SlotNote::NoGpuFor { engine, url } => {
                write!(f, "there is no GPU for URL {} of {engine}: it runs jobs that need none", url + 1)
            }
            SlotNote::UnknownGpu { engine, url, index } => {
                write!(
                    f,
                    "URL {} of {engine} is for GPU {index}, which is not there: it runs jobs that need none",
                    url + 1
                )
            }
            SlotNote::SpareGpus { engine, entries, urls } => {
                write!(f, "{engine} lists {entries} GPUs for {urls} URLs: the last ones have no meaning")
            }
            SlotNote::IdleUrl { engine, url } => {
                write!(
                    f,
                    "URL {} of {engine} shares a GPU that runs fewer jobs at once than it has URLs: it is not used",
                    url + 1
                )
            }
        }
    }
}

/// The slots of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SlotPlan {
    /// In the order of the GPUs, slots without a GPU last.
    pub slots: Vec<Slot>,
    /// What their owner should know.
    pub notes: Vec<SlotNote>,
}

/// One GPU, or the room for one URL of each engine that has no GPU.
#[derive(Default)]
struct Place {
    gpu: Option<usize>,
    pairs: Vec<EngineRef>,
}

/// Whether engines may come and go while the agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crew {
    /// They are the same from start to end: what none of them needs gets no slot.
    Fixed,
    /// Each GPU has its slots whoever is there (without a GPU there is one place), so that workers stay the same ones.
    Changing,
}

/// Pairs engines with GPUs and cuts the machine into slots: one a place and concurrent job (at least 1).
pub fn plan_slots(gpus: &[GpuFacts], engines: &[EngineSites], concurrent_jobs: u32, crew: Crew) -> SlotPlan {
    let mut notes = Vec::new();
    let engines: Vec<&EngineSites> = engines.iter().filter(|engine| engine.urls > 0).collect();
    if engines.is_empty() {
        notes.push(SlotNote::NoEngines);
        if crew == Crew::Fixed {
            return SlotPlan { slots: Vec::new(), notes };
        }
    }
    let (apart, engines): (Vec<_>, Vec<_>) =
        engines.into_iter().partition(|engine| !engine.needs_gpu && engine.jobs.is_some());
    let mut places: Vec<Place> = (0..gpus.len()).map(|gpu| Place { gpu: Some(gpu), pairs: Vec::new() }).collect();
    for engine in engines.iter().filter(|engine| engine.needs_gpu) {
        pair(engine, gpus, &mut places, &mut notes);
    }
    let any_needs_gpu = engines.iter().any(|engine| engine.needs_gpu);
    if any_needs_gpu {
        notes.extend(
            places
                .iter()
                .zip(gpus)
                .filter(|(p, _)| p.pairs.is_empty())
                .map(|(_, g)| SlotNote::IdleGpu { index: g.index }),
        );
        if crew == Crew::Fixed {
            places.retain(|place| !place.pairs.is_empty());
        }
    } else if engines.is_empty() && crew == Crew::Fixed {
        places.clear();
    } else if places.is_empty() {
        places.push(Place::default());
    }
    let jobs = concurrent_jobs.max(1) as usize;
    let mut slots = Vec::new();
    let mut cut = |gpu, engines| slots.push(Slot { index: slots.len(), worker_suffix: None, gpu, engines });
    for place in &places {
        let is_spare = any_needs_gpu && place.pairs.is_empty();
        let most = engines.iter().map(|engine| at_once(engine, place, jobs)).max().unwrap_or(jobs);
        for job in 0..most.max(jobs) {
            let here = engines.iter().filter(|engine| !is_spare && job < at_once(engine, place, jobs));
            cut(place.gpu, here.filter_map(|engine| serve(engine, place, job)).collect());
        }
        notes.extend(idle_urls(place, &engines, jobs));
    }
    for engine in apart {
        let none = Place::default();
        (0..at_once(engine, &none, jobs)).for_each(|job| cut(None, serve(engine, &none, job).into_iter().collect()));
    }
    if slots.len() > 1 {
        slots.iter_mut().for_each(|slot| slot.worker_suffix = Some(slot.index));
    }
    SlotPlan { slots, notes }
}

/// Jobs at once of this engine in this place.
fn at_once(engine: &EngineSites, place: &Place, jobs: usize) -> usize {
    let urls =
        if engine.needs_gpu { place.pairs.iter().filter(|pair| pair.name == engine.name).count() } else { engine.urls };
    engine.jobs.map_or(jobs, |own| own.max(1) as usize * urls)
}

fn pair(engine: &EngineSites, gpus: &[GpuFacts], places: &mut Vec<Place>, notes: &mut Vec<SlotNote>) {
    let name = || engine.name.clone();
    if let Some(entries) = engine.gpus.as_ref().map(Vec::len).filter(|entries| *entries > engine.urls) {
        notes.push(SlotNote::SpareGpus { engine: name(), entries, urls: engine.urls });
    }
    let mut without = gpus.len();
    for url in 0..engine.urls {
        let place = match &engine.gpus {
            None => (url < gpus.len()).then_some(url),
            Some(list) => list.get(url).and_then(|index| gpus.iter().position(|gpu| gpu.index == *index)),
        };
        let place = place.unwrap_or_else(|| {
            match engine.gpus.as_ref().and_then(|list| list.get(url)) {
                Some(index) => notes.push(SlotNote::UnknownGpu { engine: name(), url, index: *index }),
                None => notes.push(SlotNote::NoGpuFor { engine: name(), url }),
            }
            if places.len() <= without {
                places.push(Place::default());
            }
            without += 1;
            without - 1
        });
        if let Some(place) = places.get_mut(place) {
            place.pairs.push(EngineRef { name: name(), url });
        }
    }
}

/// Several URLs of one engine on one GPU share its concurrent jobs in turn.
fn serve(engine: &EngineSites, place: &Place, job: usize) -> Option<EngineRef> {
    if !engine.needs_gpu {
        return Some(EngineRef { name: engine.name.clone(), url: job % engine.urls });
    }
    let urls: Vec<&EngineRef> = place.pairs.iter().filter(|pair| pair.name == engine.name).collect();
    urls.get(job % urls.len().max(1)).map(|pair| (*pair).clone())
}

fn idle_urls(place: &Place, engines: &[&EngineSites], jobs: usize) -> Vec<SlotNote> {
    let names: BTreeSet<&str> = place.pairs.iter().map(|pair| pair.name.as_str()).collect();
    let most = |name: &str| engines.iter().find(|one| one.name == name).map_or(jobs, |one| at_once(one, place, jobs));
    let of = |name: &str| place.pairs.iter().filter(|pair| pair.name == name).skip(most(name)).collect::<Vec<_>>();
    let idle = names.into_iter().flat_map(of);
    idle.map(|pair| SlotNote::IdleUrl { engine: pair.name.clone(), url: pair.url }).collect()
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
