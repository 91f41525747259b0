//! How a file becomes an engine in use: loaded in a task of its own, given the services that are free.
//! In: entries of the folder that have come to rest. Out: engines for the roster; notices about what cannot be used.

use super::contents::Contents;
use super::{EngineFiles, File, Load, Ready};
use crate::telemetry::{Notice, tell};
use connectors::files::{self, Unusable};
use connectors::folder::Entry;
use connectors::process::Process;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long an engine that appears later, or is asked again, is waited for.
pub(super) const LATER_WORDS: Duration = Duration::from_secs(60);
/// Between two questions to an engine that could not be started.
const ASK_AGAIN: Duration = Duration::from_secs(1);

impl EngineFiles {
    pub(super) fn load(&mut self, entry: Entry, within: Duration) {
        let (path, around, gpus) = (entry.path.clone(), self.around.clone(), self.gpus.clone());
        let fresh = || File {
            entry: entry.clone(),
            version: 0,
            loading: None,
            in_use: false,
            taken: None,
            silence_told: false,
            in_vain: Vec::new(),
        };
        let file = self.files.entry(path.clone()).or_insert_with(fresh);
        (file.entry, file.silence_told) = (entry.clone(), false);
        file.version += 1;
        let version = file.version;
        let loading = self.loads.spawn(async move {
            let contents = Contents::of(&path).await;
            Load { path, version, contents, result: files::load(&entry, &gpus, &around, within).await }
        });
        if let Some(earlier) = file.loading.replace(loading) {
            earlier.abort();
        }
    }

    fn ask_again(&mut self, path: PathBuf, version: u64, process: Arc<Process>) {
        let Some(file) = self.files.get_mut(&path) else { return };
        let (entry, around, gpus) = (file.entry.clone(), self.around.clone(), self.gpus.clone());
        file.loading = Some(self.loads.spawn(async move {
            tokio::time::sleep(ASK_AGAIN).await;
            let contents = Contents::of(&path).await;
            let result = files::ask_again(&entry, &gpus, &around, process, LATER_WORDS).await;
            Load { path, version, contents, result }
        }));
    }

    /// What a load has come to; an engine to use, if there is one.
    pub(super) fn take_up(&mut self, Load { path, version, contents, result }: Load) -> Option<Ready> {
        let file = self.files.get_mut(&path).filter(|file| file.version == version)?;
        let (shown, kept, name) = (path.display().to_string(), file.in_use, file.entry.name);
        let tell_fault = |fault: &str| tell(Notice::EngineFileFault { file: &shown, fault, kept });
        let loaded = match result {
            Ok(loaded) => loaded,
            Err(Unusable::Faults(faults)) => {
                faults.iter().for_each(|fault| tell_fault(&fault.to_string()));
                return None;
            }
            Err(Unusable::Failed(why)) => {
                tell_fault(&why);
                return None;
            }
            Err(Unusable::Silent(process, failure)) => {
                if !std::mem::replace(&mut file.silence_told, true) {
                    tell_fault(&failure.message);
                }
                self.ask_again(path, version, process);
                return None;
            }
        };
        for warning in &loaded.warnings {
            tell(Notice::EngineFile { file: &shown, note: warning });
        }
        let (services, in_vain) = self.claim(name, &loaded.services);
        self.free(name, &services);
        let file = self.files.get_mut(&path)?;
        (file.in_use, file.in_vain, file.loading) = (!services.is_empty(), in_vain, None);
        file.taken = contents;
        if services.is_empty() {
            tell(Notice::EngineFileFault {
                file: &shown,
                fault: "other engines offer all of its services",
                kept: false,
            });
            return None;
        }
        for one in &loaded.connectors {
            one.offer(services.clone());
        }
        tell(Notice::EngineFileInUse { file: &shown, services: services.join(","), changed: kept });
        Some(Ready { name, needs_gpu: loaded.needs_gpu, ones: loaded.connectors })
    }

    /// Services have one owner each: the first that names them. Answers those that are this engine's, and the others.
    fn claim(&mut self, name: &'static str, services: &[String]) -> (Vec<String>, Vec<String>) {
        let (mut ours, mut in_vain) = (Vec::new(), Vec::new());
        for service in services {
            let owner = *self.owners.entry(service.clone()).or_insert(name);
            if owner == name {
                ours.push(service.clone());
            } else {
                let note = format!("the service {service} is {owner}'s already: {name} does not offer it");
                tell(Notice::EngineFile { file: name, note: &note });
                in_vain.push(service.clone());
            }
        }
        (ours, in_vain)
    }

    /// This engine offers nothing but these any more: whoever has waited for the others, or for its name, comes anew.
    pub(super) fn free(&mut self, name: &'static str, kept: &[String]) {
        let before = self.owners.len();
        self.owners.retain(|service, owner| *owner != name || kept.contains(service));
        if self.owners.len() == before {
            return;
        }
        let owners = &self.owners;
        let heirs = self.files.values().filter(|file| file.in_vain.iter().any(|service| !owners.contains_key(service)));
        for path in heirs.map(|file| file.entry.path.clone()).collect::<Vec<_>>() {
            self.settling.forget(&path);
        }
    }
}
