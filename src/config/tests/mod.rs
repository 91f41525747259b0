//! Tests of the configuration: grammar, names, values, engines, showing, documents.
//! In: sources made here. Out: nothing. No environment is read, and files live in temporary folders.

mod documents;
mod engines;
mod grammar;
mod known_names;
mod loading;
mod naming;
mod outputs;
mod redis_addresses;
mod secrets;
mod values;

use super::{Loaded, Report, Sources, load};
use std::path::PathBuf;

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn from_env(env: &[(&str, &str)]) -> Sources {
    Sources { env: pairs(env), host_name: "box.example.org".into(), ..Sources::default() }
}

/// A file in a folder that lives as long as the first value.
fn file(text: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("worker.env");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn load_file(text: impl AsRef<[u8]>) -> Result<Loaded, Report> {
    let (_folder, path) = file(text);
    load(&Sources { env_file: Some(path), host_name: "box".into(), ..Sources::default() })
}

fn load_env(env: &[(&str, &str)]) -> Result<Loaded, Report> {
    load(&from_env(env))
}

/// What `config show` gives for one name.
fn shown(loaded: &Loaded, name: &str) -> (Option<String>, String) {
    let entry = loaded.origins.iter().find(|entry| entry.name == name).unwrap();
    (entry.value.clone(), entry.origin.to_string())
}
