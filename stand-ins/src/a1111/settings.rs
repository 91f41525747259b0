//! Options, what the stored configuration holds of them, and which checkpoint is set and which is loaded.
//! In: options set by request or by override. Out: their values, and the leaks between jobs.

use super::lists;
use super::options::{Checkpoint, Fork, Options};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

pub(crate) struct Settings {
    pub values: Map<String, Value>,
    /// Only these are put back after a job.
    stored: BTreeSet<String>,
    pub checkpoints: Vec<Checkpoint>,
    /// Files that came since the last look.
    pub unseen: Vec<Checkpoint>,
    /// By name.
    pub loaded: Option<String>,
    fork: Fork,
}

/// What a failing handler raises: a Python class and its text.
pub(crate) type Raised = (&'static str, String);

impl Settings {
    pub(crate) fn new(options: &Options) -> Self {
        let mut settings = Self {
            values: lists::object("options"),
            stored: options.stored.clone(),
            checkpoints: options.checkpoints.clone(),
            unseen: Vec::new(),
            loaded: None,
            fork: options.fork,
        };
        // The first checkpoint was loaded, and so hashed, when the server started; a second start knows the hash.
        if let Some(first) = settings.checkpoints.first_mut() {
            first.used = true;
            let (title, name) = (title(first), first.name.clone());
            settings.values.insert("sd_model_checkpoint".to_owned(), json!(title));
            settings.loaded = Some(name);
        }
        settings
    }

    pub(crate) fn all(&self) -> Value {
        let mut all = self.values.clone();
        let loaded = self.checkpoints.iter().find(|one| Some(&one.name) == self.loaded.as_ref());
        all.insert("sd_checkpoint_hash".to_owned(), json!(loaded.map_or("", |one| &one.sha256)));
        Value::Object(all)
    }

    pub(crate) fn list(&self) -> Value {
        let entry = |one: &Checkpoint| {
            let file = format!("/opt/webui/models/Stable-diffusion/{}", one.name);
            json!({
                "title": title(one), "model_name": one.model_name(),
                "hash": one.used.then(|| &one.sha256[..10]), "sha256": one.used.then_some(&one.sha256),
                "filename": format!("{file}.safetensors"), "config": format!("{file}.yaml"),
            })
        };
        self.checkpoints.iter().map(entry).collect()
    }

    /// A full name, or else the shortest title that has the text anywhere in it.
    pub(crate) fn resolve(&self, name: &str) -> Option<&Checkpoint> {
        let bare = name.split(" [").next().unwrap_or(name);
        let is = |one: &&Checkpoint| {
            [title(one), format!("{}.safetensors", one.name), one.model_name(), one.stem().to_owned()]
                .iter()
                .any(|known| known == name || known == bare)
                || (one.used && (one.sha256 == name || one.sha256[..10] == *name))
        };
        let part = || {
            let found = self.checkpoints.iter().filter(|one| !name.is_empty() && title(one).contains(name));
            found.min_by_key(|one| title(one).len())
        };
        self.checkpoints.iter().find(is).or_else(part)
    }

    /// The checkpoint that a job would use now.
    pub(crate) fn current(&self) -> Option<Checkpoint> {
        let set = self.values["sd_model_checkpoint"].as_str().and_then(|name| self.resolve(name));
        set.or(self.checkpoints.first()).cloned()
    }

    /// Loads it; `true` if that took a load.
    pub(crate) fn load(&mut self, name: &str) -> bool {
        let set =
            self.values["sd_model_checkpoint"].as_str().and_then(|set| self.resolve(set)).map(|one| one.name.clone());
        if let Some(one) = self.checkpoints.iter_mut().find(|one| one.name == name) {
            one.used = true;
            let title = title(one);
            // The title changes with the hash, and the option with the title.
            if set.as_deref() == Some(name) {
                self.values.insert("sd_model_checkpoint".to_owned(), json!(title));
            }
        }
        self.loaded.replace(name.to_owned()).as_deref() != Some(name)
    }

    /// Sets and stores.
    pub(crate) fn set(&mut self, changes: &Map<String, Value>) -> Result<(), Raised> {
        if let Some(name) = changes.get("sd_model_checkpoint").and_then(Value::as_str)
            && self.resolve(name).is_none()
        {
            return Err(("RuntimeError", format!("model '{name}' not found")));
        }
        for (name, value) in changes {
            if !self.values.contains_key(name) {
                return Err(("KeyError", format!("'{name}'")));
            }
            self.values.insert(name.clone(), value.clone());
            self.stored.insert(name.clone());
        }
        Ok(())
    }

    /// Sets for a job; answers what is put back behind it.
    pub(crate) fn override_with(&mut self, overrides: &Map<String, Value>) -> Result<Map<String, Value>, Raised> {
        let mut kept = Map::new();
        for (name, value) in overrides {
            let Some(before) = self.values.get(name).cloned() else {
                return Err(("KeyError", format!("'{name}'")));
            };
            if name == "sd_model_checkpoint" && value.as_str().is_none_or(|name| self.resolve(name).is_none()) {
                if self.fork == Fork::Forge {
                    return Err(("RuntimeError", format!("model {value} not found")));
                }
                // Dropped without a word: the job uses the current one.
                continue;
            }
            if self.stored.contains(name) && self.fork != Fork::Forge {
                kept.insert(name.clone(), before);
            }
            self.values.insert(name.clone(), value.clone());
        }
        Ok(kept)
    }

    pub(crate) fn put_back(&mut self, kept: Map<String, Value>) {
        self.values.extend(kept);
        // The title may have got its hash meanwhile.
        if let Some(one) = self.values["sd_model_checkpoint"].as_str().and_then(|name| self.resolve(name)) {
            let title = title(one);
            self.values.insert("sd_model_checkpoint".to_owned(), json!(title));
        }
    }
}

fn title(one: &Checkpoint) -> String {
    match one.used {
        true => format!("{}.safetensors [{}]", one.name, &one.sha256[..10]),
        false => format!("{}.safetensors", one.name),
    }
}
