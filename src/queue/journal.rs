//! Ends of jobs: on disk until Redis has confirmed them, and in memory for a while longer.
//! In: a claim and how its run ended. Out: the same, after a restart of the agent or a failover of Redis.
//!
//! On disk, so that an agent that dies while Redis is away loses no result. What Redis has confirmed it can still lose, by
//! a failover or with the tail of its log; only if this agent dies at the same time, too, is the job run again.
//!
//! One file each, `{STATE_DIR}/journal/{worker}/{claim id}.json`, written whole or not at all. Handing in the same end
//! twice is harmless, so a file that outlives its confirmation is, too.

use super::confirmed::{Confirmed, End};
use super::settle::Outcome;
use crate::protocol::hold::Claim;
use failpoints::{Point, reach};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Files of another version are left alone.
const VERSION: u32 = 1;

/// The folder, and what has been confirmed of late.
#[derive(Debug, Clone)]
pub struct Journal {
    folder: PathBuf,
    confirmed: Arc<Mutex<Confirmed>>,
}

/// An end that waits for its confirmation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unconfirmed {
    version: u32,
    /// What was held.
    pub claim: Claim,
    /// How it ended.
    pub outcome: Outcome,
    #[serde(skip)]
    path: PathBuf,
}

impl Journal {
    /// The journal below a state folder; nothing is made yet.
    pub fn at(state_dir: &Path) -> Self {
        Self { folder: state_dir.join("journal"), confirmed: Arc::default() }
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, Confirmed> {
        self.confirmed.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Redis has confirmed an end.
    pub fn confirm(&self, claim: &Claim, outcome: &Outcome) {
        self.recent().add(claim, outcome, Instant::now());
    }

    /// The ends confirmed of late, oldest first.
    pub fn confirmed(&self) -> Vec<Arc<End>> {
        self.recent().all(Instant::now())
    }

    fn of_worker(&self, worker: &str) -> PathBuf {
        // Worker ids may hold what a path must not.
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
        self.folder.join(worker.chars().map(plain).collect::<String>())
    }

    /// Writes an end down, to the disk.
    pub fn keep(&self, worker: &str, claim: &Claim, outcome: &Outcome) -> io::Result<Unconfirmed> {
        let folder = self.of_worker(worker);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let claim_id = claim.token.rsplit('|').next().unwrap_or_default();
        let path = folder.join(format!("{claim_id}.json"));
        let part = folder.join(format!(".{claim_id}.part"));
        let entry = Unconfirmed { version: VERSION, claim: claim.clone(), outcome: outcome.clone(), path };
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        file.write_all(&serde_json::to_vec(&entry)?)?;
        file.sync_all()?;
        reach(Point::JournalWritten);
        fs::rename(&part, &entry.path)?;
        reach(Point::JournalRenamed);
        fs::File::open(&folder)?.sync_all()?;
        Ok(entry)
    }

    /// What a worker's earlier process could not hand in.
    pub fn unconfirmed(&self, worker: &str) -> Vec<Unconfirmed> {
        let Ok(files) = fs::read_dir(self.of_worker(worker)) else { return Vec::new() };
        let read = |path: PathBuf| {
            let entry: Unconfirmed = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
            (entry.version == VERSION).then_some(Unconfirmed { path, ..entry })
        };
        let mut paths: Vec<PathBuf> = files.filter_map(|file| Some(file.ok()?.path())).collect();
        let ends_in = |path: &Path, wanted: &str| path.extension().is_some_and(|extension| extension == wanted);
        // Half-written when its process died: the run itself is then taken up from the engine.
        for part in paths.iter().filter(|path| ends_in(path, "part")) {
            let _ = fs::remove_file(part);
        }
        paths.retain(|path| ends_in(path, "json"));
        paths.sort();
        paths.into_iter().filter_map(read).collect()
    }
}

impl Unconfirmed {
    /// Redis has it, or will never want it.
    pub fn forget(self) {
        let _ = fs::remove_file(&self.path);
        reach(Point::JournalForgotten);
    }
}
