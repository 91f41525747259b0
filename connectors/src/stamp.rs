//! Whether a file is still the one that was read.
//! In: a path. Out: a stamp that differs after every change.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Which file, how long, and when it was last written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    written: (i64, i64),
}

impl Stamp {
    /// The stamp of this file; `None` if it is not there.
    pub async fn of(path: &Path) -> Option<Self> {
        Some(Self::from(&tokio::fs::metadata(path).await.ok()?))
    }
}

impl Stamp {
    /// Whether it is the same file, written once more or not.
    pub fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

impl From<&Metadata> for Stamp {
    fn from(meta: &Metadata) -> Self {
        let written = (meta.mtime(), meta.mtime_nsec());
        Self { device: meta.dev(), inode: meta.ino(), length: meta.len(), written }
    }
}
