//! One look at CONNECTORS_DIR.
//! In: the folder. Out: its engines, told apart from what only looks like one; notices about the latter, once each.

use super::EngineFiles;
use crate::app::settling::Found;
use crate::telemetry::{Notice, tell};
use connectors::folder::{self, Stamp};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

impl EngineFiles {
    /// What is in the folder; `None` if it cannot be read, which changes nothing.
    pub(super) async fn look(&mut self) -> Option<Found> {
        let (dir, known) = (self.dir.clone(), self.files.keys().cloned().collect::<Vec<_>>());
        let looking = tokio::task::spawn_blocking(move || look(&dir, &known));
        let looked = looking.await.unwrap_or_else(|_| Err(io::Error::other("the look at it crashed")));
        let dir = self.dir.display().to_string();
        let (found, oddities) = match looked {
            Ok(found) => found,
            Err(error) => {
                // At the start the configuration says so, with the folder that was probably meant.
                let is_first = !std::mem::replace(&mut self.looked, true);
                if !std::mem::replace(&mut self.unreadable, true) && !is_first {
                    tell(Notice::EngineFile { file: &dir, note: &format!("the folder cannot be read: {error}") });
                }
                return None;
            }
        };
        self.looked = true;
        if std::mem::take(&mut self.unreadable) {
            tell(Notice::EngineFile { file: &dir, note: "the folder can be read now" });
        }
        for (path, why) in oddities.iter().filter(|(path, why)| self.told.get(*path) != Some(*why)) {
            let kept = self.files.get(path).is_some_and(|file| file.in_use);
            tell(Notice::EngineFileFault { file: &path.display().to_string(), fault: why, kept });
        }
        self.told = oddities;
        Some(found)
    }
}

fn look(dir: &Path, known: &[PathBuf]) -> io::Result<(Found, BTreeMap<PathBuf, String>)> {
    let scanned = folder::scan(dir)?;
    let mut found = Found::default();
    for entry in scanned.engines {
        if let Ok(meta) = std::fs::metadata(&entry.path) {
            found.engines.push((entry, Stamp::from(&meta)));
        }
    }
    let mut oddities: BTreeMap<PathBuf, String> =
        scanned.oddities.into_iter().map(|odd| (std::path::absolute(&odd.path).unwrap_or(odd.path), odd.why)).collect();
    let engines: BTreeSet<&PathBuf> = found.engines.iter().map(|(entry, _)| &entry.path).collect();
    for path in known.iter().filter(|path| !engines.contains(path) && path.exists()) {
        found.others.insert(path.clone());
        oddities.entry(path.clone()).or_insert_with(|| "it is not executable: chmod +x it".to_owned());
    }
    Ok((found, oddities))
}
