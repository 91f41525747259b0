//! When a file of a folder has changed for good: editors save in several steps, and copies take a while.
//! In: what each look at the folder finds. Out: files that are new or changed and have come to rest, files that have gone.
//!
//! ```text
//!   settled ──looks different──▶ moving ──the same for SETTLE──▶ settled: told
//!      ▲                          │  ▲ different again
//!      └──as it was before────────┘  └─ begins anew
//! ```

use connectors::folder::{Entry, Stamp};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a file must look the same.
pub(super) const SETTLE: Duration = Duration::from_millis(700);

/// What a look at the folder finds.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Engines.
    pub engines: Vec<(Entry, Stamp)>,
    /// Files that are there all the same.
    pub others: BTreeSet<PathBuf>,
}

/// What has come of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// New, or other than before.
    Came(Entry),
    /// No longer there.
    Went(PathBuf),
}

#[derive(Default)]
struct Known {
    settled: Option<Stamp>,
    /// How it looks since when; no stamp: it is not there.
    moving: Option<(Option<Stamp>, Instant)>,
}

/// The files of a folder.
#[derive(Default)]
pub(super) struct Settling {
    known: BTreeMap<PathBuf, Known>,
}

impl Settling {
    /// Takes these as they are.
    pub fn start(found: &Found) -> Self {
        let known =
            |(entry, stamp): &(Entry, Stamp)| (entry.path.clone(), Known { settled: Some(*stamp), moving: None });
        Self { known: found.engines.iter().map(known).collect() }
    }

    /// Takes a look. A file that is there and no engine any more has not gone: what it was may go on.
    pub fn look(&mut self, found: &Found, now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        let engines: BTreeMap<&PathBuf, &(Entry, Stamp)> =
            found.engines.iter().map(|engine| (&engine.0.path, engine)).collect();
        for path in engines.keys() {
            self.known.entry((*path).clone()).or_default();
        }
        self.known.retain(|path, known| {
            let engine = engines.get(path);
            let looks = engine.map(|(_, stamp)| *stamp);
            if looks == known.settled || looks.is_none() && found.others.contains(path) {
                known.moving = None;
                return known.settled.is_some();
            }
            match known.moving {
                Some((before, since)) if before == looks => {
                    if now.saturating_duration_since(since) >= SETTLE {
                        (known.settled, known.moving) = (looks, None);
                        changes.push(match engine {
                            Some((entry, _)) => Change::Came(entry.clone()),
                            None => Change::Went(path.clone()),
                        });
                    }
                }
                _ => known.moving = Some((looks, now)),
            }
            known.settled.is_some() || known.moving.is_some()
        });
        // Whoever takes the name of another comes after it has gone.
        changes.sort_by_key(|change| matches!(change, Change::Came(_)));
        changes
    }

    /// Whether a look is due soon.
    pub fn is_moving(&self) -> bool {
        self.known.values().any(|known| known.moving.is_some())
    }

    /// Has this file come anew.
    pub fn forget(&mut self, path: &PathBuf) {
        self.known.remove(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use connectors::folder::look;
    use std::path::Path;

    fn found(folder: &Path, others: &[&str]) -> Found {
        let scanned = connectors::folder::scan(folder).unwrap().engines;
        let stamp = |entry: Entry| {
            let stamp = Stamp::from(&std::fs::metadata(&entry.path).unwrap());
            (entry, stamp)
        };
        let others = others.iter().map(|name| folder.join(name)).collect();
        Found { engines: scanned.into_iter().map(stamp).collect(), others }
    }

    #[test]
    fn only_what_has_come_to_rest_is_told_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.toml");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        let begun = Instant::now();
        let at = |ms: u64| begun + Duration::from_millis(ms);
        let came = || vec![Change::Came(look(&file).unwrap().unwrap())];
        let mut settling = Settling::start(&found(folder.path(), &[]));
        let look_at =
            |settling: &mut Settling, others: &[&str], ms| settling.look(&found(folder.path(), others), at(ms));
        assert_eq!(look_at(&mut settling, &[], 0), [], "nothing there");
        for (ms, text) in [(1000, "1"), (2000, "22"), (3000, "333")] {
            write(text);
            assert_eq!(look_at(&mut settling, &[], ms), [], "still being written");
            assert!(settling.is_moving());
        }
        assert_eq!(look_at(&mut settling, &[], 3699), []);
        assert_eq!(look_at(&mut settling, &[], 3700), came());
        assert_eq!(look_at(&mut settling, &[], 9000), []);
        assert!(!settling.is_moving());
        // An editor that moves the file away and writes it anew.
        std::fs::remove_file(&file).unwrap();
        assert_eq!(look_at(&mut settling, &[], 10_000), []);
        write("4444");
        assert_eq!(look_at(&mut settling, &[], 20_000), []);
        assert_eq!(look_at(&mut settling, &[], 21_000), came());
        settling.forget(&file);
        assert_eq!(look_at(&mut settling, &[], 22_000), []);
        assert_eq!(look_at(&mut settling, &[], 23_000), came());
        std::fs::remove_file(&file).unwrap();
        assert_eq!(look_at(&mut settling, &["a.toml"], 24_000), [], "there, and no engine any more");
        assert_eq!(look_at(&mut settling, &["a.toml"], 25_000), []);
        assert_eq!(look_at(&mut settling, &[], 26_000), []);
        assert_eq!(look_at(&mut settling, &[], 27_000), [Change::Went(file.clone())]);
        assert_eq!(look_at(&mut settling, &[], 28_000), []);
    }
}
