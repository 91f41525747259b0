//! The handle through which the program asks for its hardware; it answers in time even when a driver hangs.
//! In: settings or a script, the probes' answers. Out: `Inventory` and `Sample`.

use super::baseline::Baseline;
use super::deadline::Answerer;
use super::scripted::Simulated;
use super::{DriverState, Events, Found, GpuProbe, Host, Inventory, Note, Reading, Sample, declared, host, probes};
use crate::config::DeclaredHardware;
use futures_util::future::join_all;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How to look.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the kernel's files are: `/`, another folder in tests.
    pub root: PathBuf,
    /// The folder whose disk counts.
    pub disk_folder: PathBuf,
    /// Overrides.
    pub declared: DeclaredHardware,
    /// How long an answer may take. The driver's first answer takes a second or two for each card when nothing keeps it loaded.
    pub deadline: Duration,
    /// Invented cards (count, GB each) instead of real ones.
    pub simulated: Option<(u32, f64)>,
    /// Where to tell what drivers say on their own.
    pub events: Option<Events>,
}

impl Settings {
    /// This machine, with 10 s to answer.
    pub fn new(disk_folder: impl Into<PathBuf>, declared: DeclaredHardware) -> Self {
        Self {
            root: "/".into(),
            disk_folder: disk_folder.into(),
            declared,
            deadline: Duration::from_secs(10),
            simulated: None,
            events: None,
        }
    }
}

/// Asks the probes. Cheap to clone; the probes' threads end with the last clone.
#[derive(Clone)]
pub struct Sampler(Kind);

#[derive(Clone)]
enum Kind {
    Live(Arc<Live>),
    Scripted(watch::Receiver<Inventory>),
}

/// What a probe can be asked.
enum Question {
    Look,
    Readings,
}

enum Answer {
    Found(Found),
    Readings(Vec<Reading>),
}

struct Live {
    gpus: Vec<(Answerer<Answer, Question>, Mutex<Baseline>)>,
    host: Answerer<Host>,
    last_host: Mutex<Host>,
    declared: DeclaredHardware,
}

impl Sampler {
    /// Starts a thread for each probe; nothing is asked yet. With `GPU_COUNT=0` no GPU probe is started.
    pub fn start(settings: Settings) -> io::Result<Self> {
        let gpu_probes: Vec<Box<dyn GpuProbe>> = match settings.simulated {
            _ if settings.declared.gpu_count == Some(0) => Vec::new(),
            Some((count, memory_gb)) => vec![Box::new(Simulated { count, memory_gb })],
            None => probes(&settings.root, settings.events),
        };
        let gpu = |mut probe: Box<dyn GpuProbe>| {
            let probe_name = probe.name();
            let answer = move |question| match question {
                Question::Look => Answer::Found(probe.look()),
                Question::Readings => Answer::Readings(probe.readings()),
            };
            let answerer = Answerer::start(probe_name, settings.deadline, answer)?;
            Ok((answerer, Mutex::default()))
        };
        let gpus = gpu_probes.into_iter().map(gpu).collect::<io::Result<_>>()?;
        let Settings { root, disk_folder, declared, deadline, .. } = settings;
        let host = Answerer::start("host", deadline, move |()| host::read(&root, &disk_folder))?;
        Ok(Self(Kind::Live(Arc::new(Live { gpus, host, last_host: Mutex::default(), declared }))))
    }

    /// Answers with what the sender holds, so that a test can take a card away.
    pub fn scripted(script: watch::Receiver<Inventory>) -> Self {
        Self(Kind::Scripted(script))
    }

    /// Looks at everything now.
    pub async fn inventory(&self) -> Inventory {
        match &self.0 {
            Kind::Live(live) => live.inventory().await,
            Kind::Scripted(script) => script.borrow().clone(),
        }
    }

    /// How the cards are at this moment, for little effort. A driver that hangs has told nothing.
    pub async fn readings(&self) -> Vec<Reading> {
        match &self.0 {
            Kind::Live(live) => {
                let asked = join_all(live.gpus.iter().map(|(answerer, _)| answerer.ask(Question::Readings)));
                let told = |answer| match answer {
                    Ok(Answer::Readings(readings)) => readings,
                    Ok(Answer::Found(_)) | Err(_) => Vec::new(),
                };
                asked.await.into_iter().flat_map(told).collect()
            }
            Kind::Scripted(script) => script.borrow().gpus.iter().cloned().filter_map(Reading::of).collect(),
        }
    }

    /// What changes, read now. As thorough as [`Self::inventory`], so that a fault shows in both; only smaller to pass on.
    pub async fn sample(&self) -> Sample {
        Sample::from(&self.inventory().await)
    }
}

impl Live {
    async fn inventory(&self) -> Inventory {
        let (found, host) = tokio::join!(join_all(self.gpus.iter().map(found)), self.host.ask(()));
        let mut inventory = Inventory {
            gpu_driver: if self.gpus.is_empty() { DriverState::NotAsked } else { DriverState::NoLibrary },
            gpus: Vec::new(),
            host: Host::default(),
            notes: Vec::new(),
        };
        for mut found in found {
            let before = inventory.gpus.len() as u32;
            found.gpus.iter_mut().for_each(|gpu| gpu.index += before);
            inventory.gpus.append(&mut found.gpus);
            inventory.notes.append(&mut found.notes);
            if found.driver.weight() > inventory.gpu_driver.weight() {
                inventory.gpu_driver = found.driver;
            }
        }
        let mut last_host = self.last_host.lock().unwrap_or_else(PoisonError::into_inner);
        match host {
            Ok(host) => last_host.clone_from(&host),
            Err(_) => {
                inventory
                    .notes
                    .push(Note::warning("the machine's own figures are old: reading them (the disk?) hangs"));
            }
        }
        inventory.host = last_host.clone();
        declared::apply(inventory, &self.declared)
    }
}

async fn found((answerer, baseline): &(Answerer<Answer, Question>, Mutex<Baseline>)) -> Found {
    let answer = answerer.ask(Question::Look).await;
    let mut baseline = baseline.lock().unwrap_or_else(PoisonError::into_inner);
    match answer {
        Ok(Answer::Found(found)) => baseline.complete(found),
        Ok(Answer::Readings(_)) | Err(_) => baseline.without_answer(answerer.deadline()),
    }
}
