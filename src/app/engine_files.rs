//! The engines of CONNECTORS_DIR: taken up at the start, and again whenever a file appears, changes or goes.
//! In: the folder and the GPUs. Out: engines for the roster; notices about files that are none, new ones and lost ones.
//!
//! ```text
//!   appears ─settled─▶ loading ──good──▶ in use ──goes─▶ let go
//!                        ▲  └─faulty─▶ told: what it was before stays; tried again when it changes
//!                        └── a process that is silent is asked again ──┘
//! ```

mod contents;
mod folder;
mod taking;

use super::Driven;
use super::roster::Roster;
use super::settling::{Change, SETTLE, Settling};
use crate::capabilities::GpuFacts;
use crate::config::Config;
use crate::queue::link::unless;
use crate::telemetry::{Notice, tell};
use connectors::files::{Loaded, One, Surroundings, Unusable};
use connectors::folder::Entry;
use connectors::process::{Gpu, Timing};
use contents::Contents;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use taking::LATER_WORDS;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// How long the start waits for an engine to describe itself; slower ones are taken up when they have.
const FIRST_WORDS: Duration = Duration::from_secs(10);
/// Between two looks at the folder: a few calls, also where it lies on a network.
const LOOK: Duration = Duration::from_secs(2);

/// What the agent gives to engines that are files.
pub fn surroundings(config: &Config) -> Surroundings {
    Surroundings {
        // The program that runs, even if its file has been replaced by a newer one.
        guard: vec!["/proc/self/exe".into(), "connectors".into(), "guard".into()],
        env: config.engines.files.inherited.clone(),
        secrets: config.engines.files.secrets.clone(),
        scratch: config.state_dir.join("connectors"),
        memory: config.engines.files.memory,
        timing: Timing::default(),
    }
}

/// An engine that is a file, ready for work.
pub struct Ready {
    /// Its name.
    pub name: &'static str,
    /// Whether each of its connectors belongs to a GPU.
    pub needs_gpu: bool,
    /// Its connectors.
    pub ones: Vec<One>,
}

impl From<Ready> for Driven {
    fn from(Ready { name, needs_gpu, ones }: Ready) -> Self {
        Self { name, gpus: None, needs_gpu, jobs: None, connectors: ones.iter().map(One::connector).collect() }
    }
}

/// The files of the folder, and what has become of them.
pub struct EngineFiles {
    dir: PathBuf,
    around: Arc<Surroundings>,
    gpus: Arc<[Gpu]>,
    settling: Settling,
    files: BTreeMap<PathBuf, File>,
    /// Which engine offers which service.
    owners: BTreeMap<String, &'static str>,
    loads: JoinSet<Load>,
    /// What has been told of other files.
    told: BTreeMap<PathBuf, String>,
    /// Files whose name another one has.
    namesakes: BTreeSet<PathBuf>,
    unreadable: bool,
    /// The folder has been looked at, with whatever came of it.
    looked: bool,
}

struct File {
    entry: Entry,
    /// Counts its versions.
    version: u64,
    loading: Option<AbortHandle>,
    in_use: bool,
    /// What it was when it was taken up.
    taken: Option<Contents>,
    /// That it is silent has been told.
    silence_told: bool,
    /// Services that others have.
    in_vain: Vec<String>,
}

struct Load {
    path: PathBuf,
    version: u64,
    /// The file right before.
    contents: Option<Contents>,
    result: Result<Loaded, Unusable>,
}

impl EngineFiles {
    /// Looks at the folder and takes up what is in it. `driven` are the engines that there are already: their services
    /// are theirs.
    pub async fn open(config: &Config, gpus: &[GpuFacts], driven: &[Driven]) -> Option<(Self, Vec<Ready>)> {
        let dir = config.engines.files.dir.clone()?;
        let mut owners = BTreeMap::new();
        for connector in driven.iter().flat_map(|driven| &driven.connectors) {
            owners.extend(connector.services().iter().map(|service| (service.clone(), connector.name())));
        }
        let mut files = Self {
            dir,
            around: Arc::new(surroundings(config)),
            gpus: gpus.iter().map(|gpu| Gpu { index: gpu.index, uuid: gpu.uuid.clone() }).collect(),
            settling: Settling::default(),
            files: BTreeMap::new(),
            owners,
            loads: JoinSet::new(),
            told: BTreeMap::new(),
            namesakes: BTreeSet::new(),
            unreadable: false,
            looked: false,
        };
        let found = files.look().await.unwrap_or_default();
        files.settling = Settling::start(&found);
        for (entry, _) in found.engines {
            files.load(entry, FIRST_WORDS);
        }
        // Side by side: interpreters take seconds to load what an engine needs. Taken up in the order of their names.
        let mut loaded = Vec::new();
        while let Some(load) = files.loads.join_next().await {
            loaded.extend(load);
        }
        loaded.sort_by(|a, b| a.path.cmp(&b.path));
        let ready = loaded.into_iter().filter_map(|load| files.take_up(load)).collect();
        Some((files, ready))
    }

    /// Keeps the roster in step with the folder until told to stop.
    pub async fn watch(mut self, roster: Arc<Roster>, stop: CancellationToken) {
        loop {
            let pause = if self.settling.is_moving() { SETTLE } else { LOOK };
            let pausing = tokio::time::sleep(pause);
            tokio::pin!(pausing);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = &mut pausing => break,
                    Some(load) = self.loads.join_next() => {
                        let Ok(load) = load else { continue };
                        let path = load.path.clone();
                        let was_in_use = self.files.get(&path).is_some_and(|file| file.in_use);
                        match self.take_up(load) {
                            Some(Ready { name, needs_gpu, ones }) => roster.install(name, needs_gpu, ones),
                            None => self.let_go_if_unused(&path, was_in_use, &roster),
                        }
                    }
                }
            }
            let Some(Some(found)) = unless(&stop, self.look()).await else { continue };
            for change in self.settling.look(&found, Instant::now()) {
                match change {
                    Change::Came(entry) => self.came(entry).await,
                    Change::Went(path) => self.went(&path, &roster),
                }
            }
        }
    }

    async fn came(&mut self, entry: Entry) {
        let same = |file: &&File| file.entry.name == entry.name && file.entry.path != entry.path && file.in_use;
        if let Some(other) = self.files.values().find(same) {
            let fault = format!("{} has the same name; rename one of them", other.entry.path.display());
            tell(Notice::EngineFileFault { file: &entry.path.display().to_string(), fault: &fault, kept: false });
            self.namesakes.insert(entry.path);
            return;
        }
        // Looked at while it was being taken up, or saved once more as it was.
        if let Some(File { in_use: true, taken: Some(taken), in_vain, loading: None, .. }) =
            self.files.get_mut(&entry.path)
            && in_vain.is_empty()
            && let Some(now) = Contents::of(&entry.path).await
            && taken.is_all_of(&now, entry.kind)
        {
            // What comes next is compared with the file that is there now.
            *taken = now;
            return;
        }
        self.load(entry, LATER_WORDS);
    }

    fn went(&mut self, path: &Path, roster: &Roster) {
        let Some(file) = self.files.remove(path) else { return };
        if let Some(loading) = file.loading {
            loading.abort();
        }
        for namesake in std::mem::take(&mut self.namesakes) {
            self.settling.forget(&namesake);
        }
        if file.in_use {
            self.free(file.entry.name, &[]);
            roster.remove(file.entry.name);
        }
    }

    /// A version that is good, but has no service left for it.
    fn let_go_if_unused(&mut self, path: &Path, was_in_use: bool, roster: &Roster) {
        let Some(file) = self.files.get(path) else { return };
        if was_in_use && !file.in_use {
            roster.remove(file.entry.name);
        }
    }
}
