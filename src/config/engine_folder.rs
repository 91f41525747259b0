//! Whether CONNECTORS_DIR leads to a folder that can be read.
//! In: the path as it was given. Out: a warning where it does not, with the folder that was probably meant.

use super::nearest::nearest;
use super::reader::Reader;
use super::report::Report;
use std::io;
use std::path::{Path, PathBuf};

const NAME: &str = "CONNECTORS_DIR";
/// Names that are compared with a misspelt one.
const BESIDE_MAX: usize = 1000;

/// The folder. One that is not there is no fault: it may be made, or mounted, while the agent runs.
pub(super) fn engine_folder(reader: &Reader<'_>, report: &mut Report) -> Option<PathBuf> {
    let folder = reader.text(NAME).map(PathBuf::from)?;
    let shown = folder.display();
    let found = match std::fs::read_dir(&folder) {
        Ok(_) => return Some(folder),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let meant = meant(&folder).map(|meant| format!("did you mean {}? ", meant.display())).unwrap_or_default();
            format!("there is no folder {shown}; {meant}Its engines are used as soon as it is there")
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => format!("{shown} is a file, no folder"),
        Err(error) => format!("the folder {shown} cannot be read: {error}"),
    };
    report.warn(&reader.origin(NAME), NAME, found);
    Some(folder)
}

/// The folder that there is, if one part of the path is misspelt.
fn meant(folder: &Path) -> Option<PathBuf> {
    let whole = std::path::absolute(folder).ok()?;
    let there = whole.ancestors().find(|part| part.is_dir())?;
    let mut rest = whole.strip_prefix(there).ok()?.components();
    let written = rest.next()?.as_os_str().to_str()?;
    let beside = std::fs::read_dir(there).ok()?.flatten().take(BESIDE_MAX);
    let names: Vec<String> = beside
        .filter(|entry| there.join(entry.file_name()).join(rest.as_path()).is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let name = nearest(written, names.iter().map(String::as_str), (written.len() / 3).max(2))?;
    let found = there.join(name).join(rest.as_path());
    // As it was written, which may have been in a few words.
    let depth = whole.components().count() - folder.components().count();
    let own: PathBuf = found.components().skip(if folder.is_absolute() { 0 } else { depth }).collect();
    Some(own).filter(|own| own.is_dir())
}
