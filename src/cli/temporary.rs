//! A temporary folder that is gone with its process, at the latest when the next process makes one of the same kind.
//! In: what kind. Out: a path, until it is dropped.
//!
//! A killed process cannot clear up. So each folder holds a file that its owner keeps locked, and whoever makes a new
//! one removes those whose lock is free. Until it is locked that file has another name, and the folder is left alone.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

const LOCK: &str = "owner.lock";
const UNLOCKED: &str = "owner.new";

/// A temporary folder, removed when dropped.
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    pub(super) fn new(kind: &str) -> io::Result<Self> {
        Self::inside(&std::env::temp_dir(), kind)
    }

    fn inside(parent: &Path, kind: &str) -> io::Result<Self> {
        remove_abandoned(parent, kind);
        let path = parent.join(format!("{kind}-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&path)?;
        let lock = File::create_new(path.join(UNLOCKED))?;
        lock.lock()?;
        fs::rename(path.join(UNLOCKED), path.join(LOCK))?;
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// What cannot be read or removed is somebody else's.
fn remove_abandoned(parent: &Path, kind: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_str().and_then(|name| name.strip_prefix(kind)?.strip_prefix('-')).is_some();
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let Ok(lock) = File::open(entry.path().join(LOCK)) else { continue };
        if !matches!(lock.try_lock(), Err(TryLockError::WouldBlock | TryLockError::Error(_))) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abandoned_folders_go_and_those_in_use_stay() {
        let parent = tempfile::tempdir().unwrap();
        let at = |name: &str| parent.path().join(name);
        for name in ["kind-abandoned", "kind-foreign", "other-abandoned"] {
            fs::create_dir(at(name)).unwrap();
        }
        File::create(at("kind-abandoned").join(LOCK)).unwrap();
        File::create(at("other-abandoned").join(LOCK)).unwrap();
        let used = Folder::inside(parent.path(), "kind").unwrap();
        let another = Folder::inside(parent.path(), "kind").unwrap();
        assert!(used.path().exists() && another.path().exists());
        assert!(!at("kind-abandoned").exists());
        assert!(at("kind-foreign").exists() && at("other-abandoned").exists());
        let path = used.path().to_owned();
        drop(used);
        assert!(!path.exists());
    }
}
