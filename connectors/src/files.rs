//! Engines that are files, made into connectors: what each offers, and for which GPUs.
//! In: a file of the folder, the GPUs, what the agent gives to such engines. Out: connectors, or why there are none.

use crate::contract::Connector;
use crate::failure::Failure;
use crate::folder::{self, Entry, Kind};
use crate::process::{Gpu, Payloads, Process, Settings, Timing};
use crate::rest::{Definition, Fault, Rest, SECRET_PREFIX, Secrets};
use secrecy::ExposeSecret;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// What the agent gives to engines that are files.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The program and first words that lead to the guard.
    pub guard: Vec<OsString>,
    /// Environment for processes, without anything secret.
    pub env: Vec<(String, String)>,
    /// What definitions may refer to; a process gets those that bear its name.
    pub secrets: Secrets,
    /// Folder for the files of runs.
    pub scratch: PathBuf,
    /// Bytes of private memory for each process.
    pub memory: Option<u64>,
    /// How long a process may take for what.
    pub timing: Timing,
}

/// An engine with its connectors.
pub struct Loaded {
    /// One, or one for each GPU or address.
    pub connectors: Vec<One>,
    /// What it wants to offer.
    pub services: Vec<String>,
    /// Whether each connector belongs to a GPU.
    pub needs_gpu: bool,
    /// For the conformance suite.
    pub conformance: Option<Payloads>,
    /// Worth telling.
    pub warnings: Vec<String>,
}

/// One connector of either kind.
#[derive(Clone)]
pub enum One {
    /// A process of its own.
    Process(Arc<Process>),
    /// A server elsewhere.
    Rest(Arc<Rest>),
}

/// Why there are no connectors.
pub enum Unusable {
    /// The text of a definition is wrong.
    Faults(Vec<Fault>),
    /// It cannot be started, or does not answer as it should: it may later.
    Silent(Arc<Process>, Failure),
    /// It cannot be read or set up.
    Failed(String),
}

impl One {
    /// As the agent sees it.
    pub fn connector(&self) -> Arc<dyn Connector> {
        match self {
            Self::Process(process) => process.clone(),
            Self::Rest(rest) => rest.clone(),
        }
    }

    /// Offers these services from now on. The first call counts.
    pub fn offer(&self, services: Vec<String>) {
        match self {
            Self::Process(process) => process.offer(services),
            Self::Rest(rest) => rest.offer(services),
        }
    }

    /// Whether the run of this id is at work or waits for its place, as far as the connector knows.
    pub fn is_at_work(&self, service_job_id: &str) -> bool {
        match self {
            Self::Process(process) => process.is_at_work(service_job_id),
            Self::Rest(rest) => rest.is_at_work(service_job_id),
        }
    }

    /// Ends what was started for it, and waits until nothing of it is left.
    pub async fn close(&self, why: &str) {
        if let Self::Process(process) = self {
            process.close(why).await;
        }
    }

    /// How many runs were handed over.
    pub fn jobs_taken(&self) -> u64 {
        match self {
            Self::Process(process) => process.jobs_taken(),
            Self::Rest(rest) => rest.jobs_taken(),
        }
    }
}

/// Reads or starts an engine. It offers nothing until [`One::offer`] says what.
///
/// # Errors
/// Why it cannot be used, now or at all.
pub async fn load(entry: &Entry, gpus: &[Gpu], around: &Surroundings, within: Duration) -> Result<Loaded, Unusable> {
    match entry.kind {
        Kind::Process => {
            // Whether it needs a GPU only it can say, and it loads its model first: so it gets one to load it to.
            let first = Arc::new(Process::new(around.of_process(entry, gpus.first(), &names_beside(entry).await)));
            ask_again(entry, gpus, around, first, within).await
        }
        Kind::Rest => rest(entry, around).await,
    }
}

/// Asks an engine that was [`Unusable::Silent`] once more.
///
/// # Errors
/// The same, if it is silent still.
pub async fn ask_again(
    entry: &Entry,
    gpus: &[Gpu],
    around: &Surroundings,
    first: Arc<Process>,
    within: Duration,
) -> Result<Loaded, Unusable> {
    let names = names_beside(entry).await;
    let make = |gpu: Option<&Gpu>| Arc::new(Process::new(around.of_process(entry, gpu, &names)));
    let described = match first.describe(within).await {
        Ok(described) => described,
        Err(failure) => return Err(Unusable::Silent(first, failure)),
    };
    let processes = match gpus {
        [] => vec![first],
        [_, others @ ..] if described.gpu => {
            std::iter::once(first).chain(others.iter().map(|gpu| make(Some(gpu)))).collect()
        }
        _ => {
            first.close("it needs no GPU").await;
            vec![make(None)]
        }
    };
    Ok(Loaded {
        connectors: processes.into_iter().map(One::Process).collect(),
        services: described.services,
        needs_gpu: described.gpu,
        conformance: described.conformance,
        warnings: Vec::new(),
    })
}

async fn rest(entry: &Entry, around: &Surroundings) -> Result<Loaded, Unusable> {
    let text =
        definition(&entry.path).await.map_err(|error| Unusable::Failed(format!("it cannot be read: {error}")))?;
    let definition = Definition::read(&text, &around.secrets).map_err(Unusable::Faults)?;
    let mut connectors = Vec::new();
    for address in 0..definition.urls.len() {
        let made = Rest::new(entry.name, definition.clone(), address);
        connectors.push(One::Rest(Arc::new(made.map_err(|failure| Unusable::Failed(failure.message))?)));
    }
    Ok(Loaded {
        connectors,
        services: definition.services,
        needs_gpu: definition.gpu,
        conformance: definition.conformance,
        warnings: definition.warnings.iter().map(ToString::to_string).collect(),
    })
}

/// The text of a definition. It may have grown since the folder was looked at.
async fn definition(path: &Path) -> std::io::Result<String> {
    let (file, mut text) = (tokio::fs::File::open(path).await?, String::new());
    if file.take(folder::DEFINITION_MAX + 1).read_to_string(&mut text).await? as u64 > folder::DEFINITION_MAX {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

impl Surroundings {
    /// Empties the folder for the files of runs: what is in it is of an earlier agent.
    ///
    /// # Errors
    /// It cannot be emptied.
    pub fn clear(&self) -> std::io::Result<()> {
        match std::fs::remove_dir_all(&self.scratch) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// `names`: those of all engines of its folder, whose variables are theirs.
    fn of_process(&self, entry: &Entry, gpu: Option<&Gpu>, names: &[String]) -> Settings {
        let mut env = self.env.clone();
        let secrets = self.secrets.iter().filter(|(variable, _)| is_meant(variable, entry.name, names));
        env.extend(secrets.map(|(name, secret)| (name.clone(), secret.expose_secret().to_owned())));
        Settings {
            name: entry.name,
            path: entry.path.clone(),
            guard: self.guard.clone(),
            env,
            scratch: self.scratch.join(place_of(entry.name, gpu)),
            gpu: gpu.cloned(),
            memory: self.memory,
            timing: self.timing.clone(),
        }
    }
}

/// The names of all engines in the folder of this one.
async fn names_beside(entry: &Entry) -> Vec<String> {
    let Some(dir) = entry.path.parent().map(Path::to_owned) else { return Vec::new() };
    // A file system that hangs must not hold up the one thread.
    tokio::task::spawn_blocking(move || folder::names(&dir)).await.unwrap_or_default()
}

/// Whether a variable is for this engine: the longest name that it bears is its. `CONNECTOR_DRAW_FAST_KEY` is for
/// `draw-fast`, and for `draw` only where there is no such engine.
fn is_meant(variable: &str, engine: &str, names: &[String]) -> bool {
    let beginning = |name: &str| format!("{SECRET_PREFIX}{}_", name.to_ascii_uppercase().replace(['-', '.'], "_"));
    let own = beginning(engine);
    let longer = |other: &String| other.len() > own.len() && variable.starts_with(other.as_str());
    variable.starts_with(&own) && !names.iter().map(|name| beginning(name)).any(|other| longer(&other))
}

/// A folder of its own for each process of an engine. The instances of a divided card share its number, not its id.
fn place_of(name: &str, gpu: Option<&Gpu>) -> String {
    match gpu {
        None => name.to_owned(),
        Some(gpu) if gpu.uuid.is_empty() => format!("{name}-gpu{}", gpu.index),
        Some(gpu) => {
            let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
            format!("{name}-{}", gpu.uuid.chars().map(plain).collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_goes_to_the_engine_whose_longest_name_it_bears() {
        let names = ["draw", "draw-fast", "draw.fast.2", "paint"].map(str::to_owned);
        for (variable, meant) in [
            ("CONNECTOR_DRAW_KEY", &["draw"][..]),
            ("CONNECTOR_DRAW_FAST_KEY", &["draw-fast"]),
            ("CONNECTOR_DRAW_FAST_2_KEY", &["draw.fast.2"]),
            ("CONNECTOR_DRAW_FAST", &["draw"]),
            ("CONNECTOR_DRAW", &[]),
            ("CONNECTOR_DRAWER_KEY", &[]),
            ("CONNECTOR_PAINT_FAST_KEY", &["paint"]),
        ] {
            let found: Vec<_> = names.iter().filter(|name| is_meant(variable, name, &names)).collect();
            assert_eq!(found, meant, "{variable}");
        }
        assert!(is_meant("CONNECTOR_DRAW_FAST_KEY", "draw", &["draw".to_owned()]), "there is no `draw-fast`");
    }

    #[test]
    fn processes_of_one_engine_share_no_folder() {
        let gpu = |index, uuid: &str| Gpu { index, uuid: uuid.to_owned() };
        let gpus = [gpu(0, ""), gpu(1, ""), gpu(0, "MIG-GPU-1f/1/0"), gpu(0, "MIG-GPU-1f/2/0"), gpu(0, "GPU-1f")];
        let mut places: Vec<String> = gpus.iter().map(|gpu| place_of("paint", Some(gpu))).collect();
        places.push(place_of("paint", None));
        assert!(places.iter().all(|place| !place.contains('/')), "{places:?}");
        let different: std::collections::BTreeSet<_> = places.iter().collect();
        assert_eq!(different.len(), places.len(), "{places:?}");
    }
}
