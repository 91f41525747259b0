//! A folder of engines: which of its files are some, and of which kind.
//! In: a folder. Out: its engines by name; a sentence for each file that looks like one and is none.

use crate::process::is_service;
use crate::registry;
pub use crate::stamp::Stamp;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The longest definition of an HTTP engine: no text that people write is longer.
pub const DEFINITION_MAX: u64 = 1 << 20;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An executable that speaks JSON-RPC.
    Process,
    /// A TOML file that describes an HTTP engine.
    Rest,
}

/// An engine that is a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The file's name without its ending.
    pub name: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
}

/// A file that looks like an engine and is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oddity {
    /// The file.
    pub path: PathBuf,
    /// Why, and what to do.
    pub why: String,
}

/// What a folder holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Folder {
    /// In the order of their names.
    pub engines: Vec<Entry>,
    /// What is wrong with others.
    pub oddities: Vec<Oddity>,
}

/// Looks through a folder; not into those below it.
///
/// # Errors
/// The folder cannot be read.
pub fn scan(folder: &Path) -> io::Result<Folder> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut found = Folder::default();
    for path in paths {
        let why = match look(&path) {
            Ok(None) => continue,
            Ok(Some(entry)) => match found.engines.iter().find(|other| other.name == entry.name) {
                None => {
                    found.engines.push(entry);
                    continue;
                }
                Some(other) => {
                    let other = other.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    format!("{other} has the same name; rename one of them")
                }
            },
            Err(why) => why,
        };
        found.oddities.push(Oddity { path, why });
    }
    Ok(found)
}

/// The names of everything in a folder that is an engine or looks like one, whatever is wrong with it.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let engines = entries.map(|entry| entry.path()).filter(|path| !matches!(look(path), Ok(None)));
    engines.filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned())).collect()
}

/// What this file is; `None` if it does not look like an engine.
///
/// # Errors
/// Why a file that looks like an engine is none.
pub fn look(path: &Path) -> Result<Option<Entry>, String> {
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if file.starts_with(['.', '#']) || file.ends_with(['~', '#']) || file.ends_with(".bak") {
        return Ok(None);
    }
    let meta = fs::metadata(path).map_err(|error| format!("it cannot be read: {error}"))?;
    if !meta.is_file() {
        return Ok(None);
    }
    let mode = meta.permissions().mode();
    let kind = match path.extension().is_some_and(|ending| ending == "toml") {
        true => Kind::Rest,
        false if mode & 0o111 != 0 => Kind::Process,
        false if begins_with_interpreter(path) => return Err("it is not executable: chmod +x it".to_owned()),
        false => return Ok(None),
    };
    if kind == Kind::Rest && meta.len() > DEFINITION_MAX {
        let (bytes, most) = (meta.len(), DEFINITION_MAX >> 20);
        return Err(format!("it has {bytes} bytes; a definition may have {most} MiB"));
    }
    if mode & 0o002 != 0 {
        return Err("everybody may write to it: chmod o-w it".to_owned());
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    if !is_service(&stem) {
        return Err("letters, digits, `_` and `-` make the name of an engine: rename it".to_owned());
    }
    if registry::entry(&stem).is_some() {
        return Err(format!("{stem} is the name of a built-in engine: rename it"));
    }
    let absolute = std::path::absolute(path).map_err(|error| error.to_string())?;
    Ok(Some(Entry { name: name(&stem), path: absolute, kind }))
}

fn begins_with_interpreter(path: &Path) -> bool {
    let mut two = [0; 2];
    fs::File::open(path).and_then(|mut file| io::Read::read_exact(&mut file, &mut two)).is_ok() && two == *b"#!"
}

/// The contract's names live as long as the process. Each is kept once, however often a folder is looked through.
fn name(stem: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(stem) {
        return known;
    }
    let fresh: &'static str = Box::leak(stem.to_owned().into_boxed_str());
    names.insert(fresh);
    fresh
}
