//! How the server is: whether it answers, what it works on, which models it has.
//! In: a few small questions with short limits. Out: a probe; whatever is wrong is said with its remedy.
//!
//! There is no small route that tells a version: results do, so that it is known from the first one on.

use super::api::{Api, State};
use super::checkpoint::{self, Checkpoint};
use super::http::Trouble;
use super::settings::Settings;
use crate::contract::{Health, Probe};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Mutex as Lock, PoisonError};
use tokio::sync::Mutex;
use tokio::time::Instant;

type Models = BTreeMap<String, Vec<String>>;

/// Model lists of the last probe, and when they were read.
#[derive(Default)]
pub(super) struct Shelf {
    kept: Mutex<Option<(Instant, Models)>>,
    checkpoints: Lock<Vec<Checkpoint>>,
}

pub(super) async fn probe(api: &Api, settings: &Settings, shelf: &Shelf, version: Option<String>) -> Probe {
    let state = match api.state(settings.timing.probe).await {
        Ok(state) => state,
        Err(trouble) => return Probe::unhealthy(remedy(&trouble, settings)),
    };
    let models = match shelf.models(api).await {
        Ok(models) => models,
        Err(trouble) => return Probe::unhealthy(remedy(&trouble, settings)),
    };
    let queue_remaining = Some(remaining(api, &state).await);
    if models.get("checkpoints").is_none_or(Vec::is_empty) {
        let at = at(settings);
        let why = format!("the server at {at} has no checkpoint; put one into its folder models/Stable-diffusion");
        return Probe { version, models, queue_remaining, ..Probe::unhealthy(why) };
    }
    Probe { health: Health::Healthy, version, models, queue_remaining }
}

/// Tasks that failed before they started are listed as waiting for good: a list on an idle server counts for nothing.
async fn remaining(api: &Api, state: &State) -> u64 {
    if state.is_idle() {
        return 0;
    }
    let waiting = api.http.get("internal/pending-tasks", api.timing.probe).await;
    let waiting: Option<Value> = waiting.ok().and_then(|answer| answer.success().ok()?.json().ok());
    1 + waiting.and_then(|said| said["size"].as_u64()).unwrap_or(0)
}

impl Shelf {
    /// The name under which a checkpoint is advertised, whichever of its names this is.
    pub fn title_of(&self, name: &str) -> String {
        let known = self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|one| one.is(name)).map_or(name, Checkpoint::bare_title).to_owned()
    }

    /// The lists, read anew when they are old or hold no checkpoint. Only checkpoints are a must.
    async fn models(&self, api: &Api) -> Result<Models, Trouble> {
        let mut kept = self.kept.lock().await;
        if let Some((read, models)) = kept.as_ref()
            && read.elapsed() < api.timing.models_refresh
            && models.get("checkpoints").is_some_and(|names| !names.is_empty())
        {
            return Ok(models.clone());
        }
        let limit = api.timing.probe;
        let (checkpoints, vae, loras) = tokio::join!(
            api.list_within("sd-models", limit),
            api.list_within("sd-vae", limit),
            api.list_within("loras", limit)
        );
        let checkpoints = checkpoint::read_all(&checkpoints?.ok_or(Trouble::Nonsense)?);
        let mut models = Models::new();
        models.insert("checkpoints".to_owned(), checkpoints.iter().map(|one| one.bare_title().to_owned()).collect());
        for (folder, list, key) in [("vae", vae, "filename"), ("loras", loras, "path")] {
            if let Ok(Some(Value::Array(list))) = list {
                let file = |item: &Value| Some(item[key].as_str()?.rsplit(['/', '\\']).next()?.to_owned());
                models.insert(folder.to_owned(), list.iter().filter_map(file).collect());
            }
        }
        *self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner) = checkpoints;
        *kept = Some((Instant::now(), models.clone()));
        Ok(models)
    }
}

/// The settings hold the address without user name and password.
fn at(settings: &Settings) -> &str {
    settings.base_url.as_str().trim_end_matches('/')
}

fn remedy(trouble: &Trouble, settings: &Settings) -> String {
    let at = at(settings);
    match trouble {
        Trouble::Refused => {
            format!("nothing answers at {at}; start AUTOMATIC1111 there (with --api) or correct the address")
        }
        Trouble::Unreachable => format!("{at} cannot be reached; check its name, the route and its certificate"),
        Trouble::Silent => format!(
            "AUTOMATIC1111 at {at} does not answer in time; it is loading a model, overloaded or frozen: if this lasts, restart it"
        ),
        Trouble::Broken => {
            format!("AUTOMATIC1111 at {at} ends connections without an answer; it is restarting, or not AUTOMATIC1111")
        }
        Trouble::Status { status: 401 | 403, .. } => {
            format!("AUTOMATIC1111 at {at} refuses us; check A1111_USERNAME and A1111_PASSWORD (its --api-auth)")
        }
        Trouble::Status { status: 404, .. } => {
            format!("{at} has no API; start AUTOMATIC1111 with --api, or correct the address")
        }
        Trouble::Status { status, .. } => format!("{at} answered {status}; is it AUTOMATIC1111's address?"),
        Trouble::Nonsense | Trouble::TooLarge => {
            format!("what answers at {at} is not AUTOMATIC1111; correct the address")
        }
    }
}
