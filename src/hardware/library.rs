//! Tells whether a library that this process has loaded was replaced on disk, as an unattended upgrade does.
//! In: the kernel's list of what this process has mapped. Out: yes or no, for one `stat` a look.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The file behind a loaded library.
pub(super) struct Mapped {
    path: PathBuf,
    file: (u64, u64),
}

impl Mapped {
    /// The file of the library with this name, if it is loaded and still where it was.
    pub(super) fn now(name: &str) -> Option<Self> {
        let path = path_in(&std::fs::read_to_string("/proc/self/maps").ok()?, name)?;
        Some(Self { file: identity(&path)?, path })
    }

    /// Whether another file, or none, is there now.
    pub(super) fn is_replaced(&self) -> bool {
        identity(&self.path) != Some(self.file)
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// The path is the rest of a line from its first slash; the file's name carries the version behind the library's.
fn path_in(maps: &str, name: &str) -> Option<PathBuf> {
    maps.lines().find_map(|line| {
        let path = &line[line.find('/')?..];
        path.rsplit('/').next()?.starts_with(name).then(|| PathBuf::from(path))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_found_among_what_is_mapped() {
        let maps = "7f0-7f1 r-xp 00000000 08:01 1 /usr/lib/libc.so.6\n7f2-7f3 r--p 00000000 00:00 0 \n\
                    7f4-7f5 r-xp 00000000 08:01 2 /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.550.90.07\n";
        assert_eq!(
            path_in(maps, "libnvidia-ml.so"),
            Some("/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.550.90.07".into())
        );
        assert_eq!(path_in(maps, "libcuda.so"), None);
    }

    #[test]
    fn another_file_of_the_same_name_is_a_replacement() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libx.so.1");
        std::fs::write(&path, "old").unwrap();
        let mapped = Mapped { file: identity(&path).unwrap(), path: path.clone() };
        assert!(!mapped.is_replaced());
        std::fs::write(folder.path().join("new"), "new").unwrap();
        std::fs::rename(folder.path().join("new"), &path).unwrap();
        assert!(mapped.is_replaced());
        std::fs::remove_file(&path).unwrap();
        assert!(mapped.is_replaced());
    }
}
