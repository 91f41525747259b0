//! What one server can do: asked of it, once for each server that is seen to be another than before.
//! In: its answers to `/system_stats`, `/features` and a question about its routes. Out: one table that the rest goes by.
//!
//! ```text
//!   unknown ──first probe or run──▶ asked ──says another version or start, stops answering──▶ unknown
//! ```
//!
//! | feature | asked by | without it |
//! |---|---|---|
//! | routes that cancel a job | cancelling an id that nobody has | queue and interrupt, each by its own route |
//! | interrupt by id | version, 0.3.57 | said in the log; sent only right after our prompt was seen to run |
//! | previews that name their prompt | the answer to our first message on the socket | those in our run's time are ours |
//! | previews by prompt | version, 0.5.0 | as the server was started |
//! | API keys kept out of the queue | version, 0.3.68 | jobs with keys are not given to it |
//! | time of submission in history | the entry itself | our own clock |
//! | largest body | `/features` | its 413 |
//! | canonical ids, names of refusals | nothing: ids are always canonical, both names are understood | |
//!
//! A version that cannot be read says nothing: what does no harm is tried, what could do harm is not.

use super::http::{Http, Trouble};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The first release that takes over a prompt id chosen by the client, without which no run can be found again.
pub(super) const OLDEST: Release = Release(0, 3, 45);
const INTERRUPTS_BY_ID: Release = Release(0, 3, 57);
const HIDES_KEYS: Release = Release(0, 3, 68);
const PREVIEWS_BY_PROMPT: Release = Release(0, 5, 0);

/// A release number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Release(pub u64, pub u64, pub u64);

impl Release {
    /// `0.27.0`, perhaps with a `v` or a suffix; forks with other words have none.
    pub fn read(version: &str) -> Option<Self> {
        let mut parts = version.trim_start_matches('v').splitn(3, '.');
        let mut number = || {
            let part = parts.next()?;
            part[..part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len())].parse().ok()
        };
        Some(Self(number()?, number()?, number()?))
    }
}

/// What a server can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Features {
    /// As it calls itself.
    pub version: Option<String>,
    /// One route cancels waiting and running prompts alike.
    pub cancels_jobs: bool,
    /// An interrupt that names another prompt than the running one does nothing.
    pub interrupts_by_id: bool,
    /// `extra_data.preview_method` sets what a prompt shows.
    pub previews_by_prompt: bool,
    /// API keys in `extra_data` do not show in queue and history.
    pub hides_keys: bool,
    /// Largest body that it takes, in bytes.
    pub body_max: Option<u64>,
    /// Tells this start of this server from another, as far as that can be told.
    identity: Value,
}

impl Features {
    fn new(stats: &Value, features: &Value, cancels_jobs: bool) -> Self {
        let version = version_of(stats);
        let release = version.as_deref().and_then(Release::read);
        let since = |first: Release, unknown: bool| release.map_or(unknown, |release| release >= first);
        Self {
            cancels_jobs,
            interrupts_by_id: since(INTERRUPTS_BY_ID, false),
            previews_by_prompt: since(PREVIEWS_BY_PROMPT, true),
            hides_keys: since(HIDES_KEYS, false),
            body_max: features["max_upload_size"].as_u64(),
            identity: identity(stats),
            version,
        }
    }
}

/// What is known of a server; nothing, until it has been asked.
#[derive(Default)]
pub(super) struct Known(Mutex<Option<Arc<Features>>>);

impl Known {
    fn get(&self) -> Option<Arc<Features>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It has gone, or is no longer what it was: what comes next is asked anew.
    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// As known, or asked now.
    pub async fn of(&self, http: &Http, limit: Duration) -> Result<Arc<Features>, Trouble> {
        if let Some(known) = self.get() {
            return Ok(known);
        }
        let stats = http.get(&["system_stats"], limit).await?.success()?.json()?;
        self.seen(http, &stats, limit).await
    }

    /// What follows from these `/system_stats`, which have just come; the rest is asked if the server is another.
    pub async fn seen(&self, http: &Http, stats: &Value, limit: Duration) -> Result<Arc<Features>, Trouble> {
        if let Some(known) = self.get().filter(|known| known.identity == identity(stats)) {
            return Ok(known);
        }
        let (features, cancels_jobs) = tokio::join!(ask_features(http, limit), ask_cancel(http, limit));
        let found = Arc::new(Features::new(stats, &features?, cancels_jobs?));
        tracing::debug!(?found, "what this ComfyUI can do");
        if !found.interrupts_by_id && !found.cancels_jobs {
            let version = found.version.as_deref().unwrap_or("unknown");
            tracing::warn!(
                version,
                "this ComfyUI may interrupt whatever runs, whichever prompt is named: use it for one worker alone, or update it to 0.3.57 or newer"
            );
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
        Ok(found)
    }
}

pub(super) fn version_of(stats: &Value) -> Option<String> {
    stats.pointer("/system/comfyui_version").and_then(Value::as_str).map(str::to_owned)
}

/// Versions and arguments: what changes by the second is left out.
fn identity(stats: &Value) -> Value {
    let mut system = stats["system"].clone();
    if let Some(system) = system.as_object_mut() {
        system.retain(|name, _| !name.starts_with("ram_"));
    }
    system
}

async fn ask_features(http: &Http, limit: Duration) -> Result<Value, Trouble> {
    match http.get(&["features"], limit).await?.success() {
        Ok(answer) => answer.json(),
        // Some forks have no such route.
        Err(Trouble::Status { .. }) => Ok(Value::Null),
        Err(trouble) => Err(trouble),
    }
}

/// An id that nobody has: the answer tells of the route alone. Older servers say 405, and some 404.
async fn ask_cancel(http: &Http, limit: Duration) -> Result<bool, Trouble> {
    let nobodys = uuid::Uuid::new_v4().to_string();
    let answer = http.post(&["api", "jobs", &nobodys, "cancel"], &json!({}), limit).await?;
    Ok(answer.status == 200 && answer.json::<Value>().is_ok_and(|said| said["cancelled"].is_boolean()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(version: &str) -> Features {
        Features::new(&json!({ "system": { "comfyui_version": version } }), &Value::Null, false)
    }

    #[test]
    fn versions_become_features_and_a_strange_one_is_met_with_care() {
        // version: interrupt by id, previews by prompt, keys hidden
        for (version, expected) in [
            ("0.3.45", (false, false, false)),
            ("0.3.56", (false, false, false)),
            ("0.3.57", (true, false, false)),
            ("0.3.64", (true, false, false)),
            ("0.3.68", (true, false, true)),
            ("0.4.0", (true, false, true)),
            ("v0.5.0-12-gabcdef", (true, true, true)),
            ("0.18.1", (true, true, true)),
            ("0.27.0", (true, true, true)),
            ("1.0.0rc2", (true, true, true)),
            ("unknown", (false, true, false)),
            ("swarm", (false, true, false)),
            ("", (false, true, false)),
        ] {
            let found = of(version);
            assert_eq!((found.interrupts_by_id, found.previews_by_prompt, found.hides_keys), expected, "{version}");
        }
    }

    #[test]
    fn memory_that_comes_and_goes_makes_no_other_server() {
        let stats = |free: u64, argv: &str| json!({ "system": { "ram_free": free, "argv": [argv] } });
        assert_eq!(identity(&stats(1, "main.py")), identity(&stats(2, "main.py")));
        assert_ne!(identity(&stats(1, "main.py")), identity(&stats(1, "main.py --cpu")));
    }
}
