//! How the server is: version, load, models.
//! In: a few small questions with short limits. Out: a probe; whatever is wrong is said with its remedy.

use super::api::Api;
use super::features::{OLDEST, Release, version_of};
use super::http::Trouble;
use super::settings::Settings;
use crate::contract::{Health, Probe};
use futures_util::future::join_all;
use serde_json::Value;
use std::collections::BTreeMap;
use tokio::sync::Mutex;
use tokio::time::Instant;

type Models = BTreeMap<String, Vec<String>>;

/// Model lists of the last probe, and when they were read.
#[derive(Default)]
pub(super) struct Shelf(Mutex<Option<(Instant, Models)>>);

pub(super) async fn probe(api: &Api, settings: &Settings, shelf: &Shelf) -> Probe {
    let limit = settings.timing.probe;
    let stats = match api.http.get(&["system_stats"], limit).await.and_then(|answer| answer.success()?.json()) {
        Ok(stats) => stats,
        Err(trouble) => {
            // What answers next may be another one.
            api.known.forget();
            return Probe::unhealthy(remedy(&trouble, settings));
        }
    };
    let version = version_of(&stats);
    if !stats.get("system").is_some_and(Value::is_object) {
        api.known.forget();
        return Probe::unhealthy(remedy(&Trouble::Nonsense, settings));
    }
    if let Some(found) = version.as_deref().and_then(Release::read).filter(|found| *found < OLDEST) {
        let Release(major, minor, patch) = found;
        let why = format!("ComfyUI {major}.{minor}.{patch} ignores prompt ids; update it to 0.3.45 or newer");
        return Probe { version, ..Probe::unhealthy(why) };
    }
    let (queue_remaining, models, features) =
        tokio::join!(api.queue_remaining(limit), shelf.models(api, settings), api.known.seen(&api.http, &stats, limit));
    // Without them it is met as one of which nothing is known.
    drop(features);
    match queue_remaining {
        Ok(remaining) => Probe { health: Health::Healthy, version, models, queue_remaining: Some(remaining) },
        Err(trouble) => Probe { version, models, ..Probe::unhealthy(remedy(&trouble, settings)) },
    }
}

impl Shelf {
    /// The lists, read anew when they are old. A folder that cannot be read keeps its last list; unknown ones are left out.
    async fn models(&self, api: &Api, settings: &Settings) -> Models {
        let mut kept = self.0.lock().await;
        if let Some((read, models)) = kept.as_ref()
            && read.elapsed() < settings.timing.models_refresh
        {
            return models.clone();
        }
        let old = kept.take().map(|(_, models)| models).unwrap_or_default();
        let lists = settings.model_folders.iter().map(async |folder| {
            let answer = api.http.get(&["models", folder], settings.timing.probe).await;
            match answer.and_then(|answer| answer.success()?.json::<Vec<String>>()) {
                Ok(names) => Some((folder.clone(), names)),
                Err(Trouble::Status { .. }) => None,
                Err(_) => old.get(folder).map(|names| (folder.clone(), names.clone())),
            }
        });
        let models: Models = join_all(lists).await.into_iter().flatten().collect();
        *kept = Some((Instant::now(), models.clone()));
        models
    }
}

fn remedy(trouble: &Trouble, settings: &Settings) -> String {
    // The settings hold the address without user name and password.
    let at = settings.base_url.as_str().trim_end_matches('/');
    match trouble {
        Trouble::Refused => format!(
            "nothing answers at {at}; start ComfyUI there (it opens its port only after all custom nodes are loaded) \
             or correct the address"
        ),
        Trouble::Unreachable => format!("{at} cannot be reached; check its name, the route and its certificate"),
        Trouble::Silent => {
            format!(
                "ComfyUI at {at} does not answer in time; it is loading a model, overloaded or frozen: if this lasts, restart it"
            )
        }
        Trouble::Broken => {
            format!("ComfyUI at {at} ends connections without an answer; it is restarting, or not ComfyUI")
        }
        Trouble::Status { status: 401 | 403, .. } => {
            format!("ComfyUI at {at} refuses us; check user name, password or key of this engine")
        }
        Trouble::Status { status, .. } => format!("{at} answered {status} to /system_stats; is it ComfyUI's address?"),
        Trouble::Nonsense | Trouble::TooLarge => format!("what answers at {at} is not ComfyUI; correct the address"),
    }
}
