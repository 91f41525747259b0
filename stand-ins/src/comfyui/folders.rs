//! The three folders of a server and the rule by which saved files get their names.
//! In: file prefixes and names out of requests. Out: paths that stay inside the folders.

use std::io;
use std::path::{Component, Path, PathBuf};

/// A folder of its own making is removed at the end.
pub(crate) struct Folders {
    base: PathBuf,
    temporary: bool,
}

impl Drop for Folders {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Where a node saves: folder, its name in answers, and the next file number.
pub(crate) struct Slot {
    pub folder: PathBuf,
    pub subfolder: String,
    pub stem: String,
    pub counter: u32,
}

impl Folders {
    pub(crate) fn open(base: Option<PathBuf>) -> io::Result<Folders> {
        let temporary = base.is_none();
        let base = base.unwrap_or_else(|| {
            std::env::temp_dir().join(format!(
                "stand-in-comfyui-{}",
                uuid::Uuid::new_v4().simple()
            ))
        });
        for kind in ["output", "input", "temp"] {
            std::fs::create_dir_all(base.join(kind))?;
        }
        Ok(Folders { base, temporary })
    }

    /// Called at the end, for a connection that is still winding up may hold on to this.
    pub(crate) fn leave(&self) {
        if self.temporary {
            let _ = std::fs::remove_dir_all(&self.base);
        }
    }

    /// `None` for a type that does not exist.
    pub(crate) fn of(&self, kind: &str) -> Option<PathBuf> {
        ["output", "input", "temp"]
            .contains(&kind)
            .then(|| self.base.join(kind))
    }

    pub(crate) fn output(&self) -> PathBuf {
        self.base.join("output")
    }

    /// Path of a name as used by graphs, `subfolder/name`.
    pub(crate) fn input(&self, name: &str) -> Option<PathBuf> {
        inside(&self.base.join("input"), name)
    }

    pub(crate) fn input_names(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.base.join("input"))
            .into_iter()
            .flatten()
            .flatten();
        let mut names: Vec<_> = files
            .filter(|file| file.path().is_file())
            .map(|file| file.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn wipe_temp(&self) {
        let temp = self.base.join("temp");
        let _ = std::fs::remove_dir_all(&temp);
        let _ = std::fs::create_dir_all(&temp);
    }

    /// The number is the highest present plus one, so names of deleted files are used again.
    pub(crate) fn slot(&self, kind: &str, prefix: &str) -> io::Result<Slot> {
        let root = self.base.join(kind);
        let path = inside(&root, prefix).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "Saving image outside the output folder is not allowed.",
            )
        })?;
        let stem = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let folder = path.parent().unwrap_or(&root).to_owned();
        std::fs::create_dir_all(&folder)?;
        let highest = std::fs::read_dir(&folder)?
            .flatten()
            .filter_map(|file| number_in(&file.file_name().to_string_lossy(), &stem))
            .max();
        let subfolder = folder
            .strip_prefix(&root)
            .map(|sub| sub.to_string_lossy().into_owned())
            .unwrap_or_default();
        Ok(Slot {
            folder,
            subfolder,
            stem,
            counter: highest.unwrap_or(0) + 1,
        })
    }
}

fn number_in(name: &str, stem: &str) -> Option<u32> {
    let rest = name.strip_prefix(stem)?.strip_prefix('_')?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Joins a relative path without ever leaving the root.
pub(crate) fn inside(root: &Path, relative: &str) -> Option<PathBuf> {
    let mut path = root.to_owned();
    for part in Path::new(relative).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir => {
                path.pop();
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    path.starts_with(root).then_some(path)
}
