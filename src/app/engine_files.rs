//! The engines of CONNECTORS_DIR: built at the start, watched from then on.
//! In: the folder and the GPUs. Out: engines to pair with GPUs; notices about files that are none, new ones and lost ones.

use super::Driven;
use crate::capabilities::GpuFacts;
use crate::config::Config;
use crate::queue::link::unless;
use crate::runner::engine::Engine;
use crate::telemetry::{Notice, tell};
use connectors::files::{self, Surroundings, Unusable};
use connectors::folder::{self, Entry, Folder};
use connectors::process::{Gpu, Process};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

/// How long the start waits for an engine to describe itself; slower ones are taken up when they have.
const FIRST_WORDS: Duration = Duration::from_secs(10);
/// Between two questions to an engine that could not be started.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Between two looks at the folder.
const LOOK: Duration = Duration::from_secs(3);

/// Which engine offers which service.
type Taken = Arc<Mutex<BTreeMap<String, String>>>;

/// What the agent gives to engines that are files.
pub fn surroundings(config: &Config) -> Surroundings {
    Surroundings {
        // The program that runs, even if its file has been replaced by a newer one.
        guard: vec!["/proc/self/exe".into(), "connectors".into(), "guard".into()],
        env: config.engines.files.inherited.clone(),
        secrets: config.engines.files.secrets.clone(),
        scratch: config.state_dir.join("connectors"),
        memory: config.engines.files.memory,
    }
}

/// Builds what is in the folder. `driven` are the engines that there are already: their services are theirs.
pub async fn load(config: &Config, gpus: &[GpuFacts], driven: &[Driven]) -> Vec<Driven> {
    let Some(dir) = &config.engines.files.dir else { return Vec::new() };
    let Folder { engines, oddities } = match look(dir).await {
        Ok(found) => found,
        Err(error) => {
            tell(Notice::EngineFile { file: &dir.display().to_string(), note: &format!("cannot be read: {error}") });
            return Vec::new();
        }
    };
    for odd in &oddities {
        tell(Notice::EngineFile { file: &odd.path.display().to_string(), note: &odd.why });
    }
    let taken = Taken::default();
    for connector in driven.iter().flat_map(|driven| &driven.connectors) {
        claim(&taken, connector.name(), connector.services());
    }
    let gpus: Vec<Gpu> = gpus.iter().map(|gpu| Gpu { index: gpu.index, uuid: gpu.uuid.clone() }).collect();
    let around = surroundings(config);
    // Side by side: interpreters take seconds to load what an engine needs.
    let loading = engines.iter().map(|entry| files::load(entry, &gpus, &around, FIRST_WORDS));
    let loaded = futures_util::future::join_all(loading).await;
    let built = engines.iter().zip(loaded).filter_map(|(entry, loaded)| build(entry, loaded, &taken, !gpus.is_empty()));
    built.collect()
}

fn build(entry: &Entry, loaded: Result<files::Loaded, Unusable>, taken: &Taken, gpus: bool) -> Option<Driven> {
    let file = entry.path.display().to_string();
    let note = |note: &str| tell(Notice::EngineFile { file: &file, note });
    match loaded {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                note(warning);
            }
            // In the order of the files, whoever was first to answer.
            let services = claim(taken, entry.name, &loaded.services);
            for one in &loaded.connectors {
                one.offer(services.clone());
            }
            let connectors: Vec<_> = loaded.connectors.iter().map(files::One::connector).collect();
            if services.is_empty() {
                note("it is not used: other engines offer all of its services");
                return None;
            }
            Some(Driven { name: entry.name, gpus: None, needs_gpu: loaded.needs_gpu, jobs: None, connectors })
        }
        Err(Unusable::Faults(faults)) => {
            for fault in faults {
                note(&format!("it is not used: {fault}"));
            }
            None
        }
        Err(Unusable::Failed(why)) => {
            note(&format!("it is not used: {why}"));
            None
        }
        Err(Unusable::Silent(process, failure)) => {
            note(&failure.message);
            tokio::spawn(take_up(process.clone(), taken.clone(), file, gpus));
            Some(Driven { name: entry.name, gpus: None, needs_gpu: false, jobs: None, connectors: vec![process] })
        }
    }
}

/// An engine that was not ready at the start offers its services once it is.
async fn take_up(process: Arc<Process>, taken: Taken, file: String, gpus: bool) {
    let described = loop {
        match process.describe(Duration::from_secs(60)).await {
            Ok(described) => break described,
            Err(_) => tokio::time::sleep(ASK_AGAIN).await,
        }
    };
    if described.gpu && gpus {
        tell(Notice::EngineFile {
            file: &file,
            note: "it needs a GPU and was not ready at the start: restart the agent",
        });
        return;
    }
    use connectors::contract::Connector;
    process.offer(claim(&taken, process.name(), &described.services));
}

/// Services have one owner each: the first that names them. Answers those that are now this engine's.
fn claim(taken: &Taken, name: &str, services: &[String]) -> Vec<String> {
    let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
    let mut ours = Vec::new();
    for service in services {
        let owner = taken.entry(service.clone()).or_insert_with(|| name.to_owned());
        if owner == name {
            ours.push(service.clone());
        } else {
            let note = format!("the service {service} is {owner}'s already: {name} does not offer it");
            tell(Notice::EngineFile { file: name, note: &note });
        }
    }
    ours
}

async fn look(dir: &Path) -> std::io::Result<Folder> {
    let dir = dir.to_owned();
    tokio::task::spawn_blocking(move || folder::scan(&dir)).await.unwrap_or_else(|_| Ok(Folder::default()))
}

type Files = BTreeMap<PathBuf, Option<SystemTime>>;

async fn files_of(dir: &Path) -> Option<Files> {
    let found = look(dir).await.ok()?;
    let mut files = Files::new();
    for entry in found.engines {
        let written = tokio::fs::metadata(&entry.path).await.and_then(|meta| meta.modified()).ok();
        files.insert(entry.path, written);
    }
    Some(files)
}

/// Tells of files that come and go. A changed file is taken up by its own engine, which is asked at once.
pub async fn watch(dir: PathBuf, engines: Vec<Arc<Engine>>, stop: CancellationToken) {
    let mut known = files_of(&dir).await.unwrap_or_default();
    while unless(&stop, tokio::time::sleep(LOOK)).await.is_some() {
        let Some(now) = files_of(&dir).await else { continue };
        for (path, written) in &now {
            let (file, name) = (path.display().to_string(), path.file_stem().unwrap_or_default().to_string_lossy());
            let of = |engine: &&Arc<Engine>| engine.connector.name() == name;
            let mut driven = engines.iter().filter(of).peekable();
            match known.get(path) {
                Some(before) if before == written => {}
                _ if driven.peek().is_none() => {
                    tell(Notice::EngineFile { file: &file, note: "new or mended: restart the agent to use it" });
                }
                _ => futures_util::future::join_all(driven.map(|engine| engine.probe())).await.clear(),
            }
        }
        for path in known.keys().filter(|path| !now.contains_key(*path)) {
            let file = path.display().to_string();
            tell(Notice::EngineFile {
                file: &file,
                note: "gone or unusable: what was started goes on until a restart",
            });
        }
        known = now;
    }
}
