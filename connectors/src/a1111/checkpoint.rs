//! The checkpoint that a job names: found under one exact name, switched to once, and seen to be set.
//! In: a name as people write it. Out: the checkpoint as the server lists it, set for the runs to come.
//!
//! Per-job overrides are not used for it: with them alternating jobs load twice, an unknown name is replaced by
//! the current checkpoint, and a part of a name by whatever contains it.

use super::api::Api;
use super::http::ENGINE;
use super::payload::short;
use super::refusal;
use crate::failure::{Failure, Reason};
use serde_json::{Map, Value, json};

/// One entry of the server's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// Changes when the file is first used: then the hash is added.
    pub title: String,
    pub model_name: String,
    /// The short hash; unknown until the file was first used.
    pub hash: Option<String>,
    pub sha256: Option<String>,
    file: String,
}

impl Checkpoint {
    fn read(item: &Value) -> Option<Self> {
        let text = |name: &str| item[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let title = text("title")?;
        let file = text("filename").unwrap_or_default();
        Some(Self {
            model_name: text("model_name").unwrap_or_else(|| title.clone()),
            hash: text("hash"),
            sha256: text("sha256"),
            file: file.rsplit(['/', '\\']).next().unwrap_or_default().to_owned(),
            title,
        })
    }

    /// The title without the hash behind it.
    pub fn bare_title(&self) -> &str {
        self.title.rsplit_once(" [").filter(|(_, hash)| hash.ends_with(']')).map_or(&self.title, |(bare, _)| bare)
    }

    /// Whether this name is one of its names, in full: the server itself would take any part of one.
    pub fn is(&self, name: &str) -> bool {
        let hash = |known: &Option<String>| known.as_deref() == Some(name);
        let bare = name.rsplit_once(" [").filter(|(_, hash)| hash.ends_with(']')).map_or(name, |(bare, _)| bare);
        self.title == name
            || self.bare_title() == bare
            || self.model_name == name
            || (!self.file.is_empty() && self.file == name)
            || hash(&self.hash)
            || hash(&self.sha256)
    }
}

pub(super) fn read_all(list: &Value) -> Vec<Checkpoint> {
    list.as_array().into_iter().flatten().filter_map(Checkpoint::read).collect()
}

async fn all(api: &Api) -> Result<Vec<Checkpoint>, Failure> {
    let list = api.list("sd-models").await.map_err(|trouble| trouble.failure(ENGINE, "listing checkpoints"))?;
    Ok(read_all(&list.unwrap_or_default()))
}

/// Looks it up; a file that came since the server's last look is found, too.
pub(super) async fn find(api: &Api, name: &str) -> Result<Checkpoint, Failure> {
    let find = |list: &[Checkpoint]| list.iter().find(|one| one.is(name)).cloned();
    if let Some(found) = find(&all(api).await?) {
        return Ok(found);
    }
    api.refresh_checkpoints().await.map_err(|trouble| trouble.failure(ENGINE, "having it look for new checkpoints"))?;
    let list = all(api).await?;
    find(&list).ok_or_else(|| {
        let mut there: Vec<_> = list.iter().take(8).map(|one| short(one.bare_title())).collect();
        if list.len() > there.len() {
            there.push(format!("{} more", list.len() - there.len()));
        }
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        let what = format!("this server lacks the checkpoint `{}`; it has {there}", short(name));
        Failure::of_host(Reason::ModelNotFound, what)
    })
}

/// Has it set, loading it if another one is, and checks that it is set then.
pub(super) async fn switch(api: &Api, wanted: &Checkpoint) -> Result<(), Failure> {
    if is_set(api, wanted).await? {
        return Ok(());
    }
    tracing::info!(checkpoint = wanted.bare_title(), "switching AUTOMATIC1111's checkpoint");
    let options = Map::from_iter([("sd_model_checkpoint".to_owned(), json!(wanted.title))]);
    let answer = api.set_options(&options, api.timing.load).await;
    let answer = answer.map_err(|trouble| trouble.failure(ENGINE, "switching the checkpoint"))?;
    if answer.status != 200 {
        let failure = refusal::failure(&answer, "switching the checkpoint", &[]);
        let failure = Failure { hosts_fault: true, ..failure };
        // Nothing else was to be read but this file.
        let is_damaged = failure.reason == Reason::DependencyError;
        return Err(failure.about_model(is_damaged.then(|| wanted.bare_title().to_owned())));
    }
    if is_set(api, wanted).await? {
        return Ok(());
    }
    // It goes back to the one before, with 200, when it cannot read a file.
    let title = wanted.bare_title();
    let what = format!("the server was told to load `{title}`, and has another checkpoint set; is the file damaged?");
    Err(Failure::of_host(Reason::DependencyError, what).about_model(Some(title.to_owned())))
}

async fn is_set(api: &Api, wanted: &Checkpoint) -> Result<bool, Failure> {
    let options = api.options().await.map_err(|trouble| trouble.failure(ENGINE, "reading its options"))?;
    let set = options.get("sd_model_checkpoint").and_then(Value::as_str).unwrap_or_default();
    Ok(wanted.is(set))
}
