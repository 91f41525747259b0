//! What a file was when an engine was made of it, so that the same edit is not taken up twice.
//! In: a file. Out: its stamp and the hash of its text; whether another look at it shows anything new.

use connectors::folder::{Kind, Stamp};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Larger files are told apart by their stamps alone.
const HASHED_MAX: u64 = 16 << 20;

/// A file as it was at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contents {
    stamp: Stamp,
    hash: Option<[u8; 32]>,
}

impl Contents {
    /// `None` if it cannot be read, or is being written.
    pub async fn of(path: &Path) -> Option<Self> {
        let path = path.to_owned();
        // A file system that hangs must not hold up the one thread.
        tokio::task::spawn_blocking(move || Self::read(&path)).await.ok().flatten()
    }

    fn read(path: &Path) -> Option<Self> {
        let meta = std::fs::metadata(path).ok()?;
        let stamp = Stamp::from(&meta);
        let hash = match meta.len() <= HASHED_MAX {
            true => Some(Sha256::digest(std::fs::read(path).ok()?).into()),
            false => None,
        };
        let unchanged = Stamp::from(&std::fs::metadata(path).ok()?) == stamp;
        unchanged.then_some(Self { stamp, hash })
    }

    /// Whether there is nothing in `later` that this was not. A program that was written once more in its place is new: it
    /// is touched when something beside it has changed.
    pub fn is_all_of(&self, later: &Self, kind: Kind) -> bool {
        let same_text = self.hash.is_some() && self.hash == later.hash;
        self.stamp == later.stamp || same_text && (kind == Kind::Rest || !self.stamp.is_same_file(&later.stamp))
    }
}
