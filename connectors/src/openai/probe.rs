//! How the server is: whether it answers, which one it is, which models it has.
//! In: a few small questions with short limits. Out: a probe; whatever is wrong is said with its remedy.

use super::flavour::{self, Flavour};
use super::http::{self, Http, Tree};
use super::settings::Settings;
use crate::contract::{Health, Probe};
use crate::http::Trouble;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What is known of the server since the last probe.
#[derive(Default)]
pub(super) struct Known {
    inner: Mutex<Inner>,
}

#[derive(Default, Clone)]
struct Inner {
    flavour: Option<Flavour>,
    version: Option<String>,
    models: Vec<String>,
}

impl Known {
    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The models that it lists.
    pub fn models(&self) -> Vec<String> {
        self.with(|inner| inner.models.clone())
    }

    /// Which server it is; asked once, and again after a probe that went wrong: another one may listen there then.
    pub async fn flavour(&self, http: &Http, settings: &Settings) -> Result<Flavour, Trouble> {
        if let Some(flavour) = self.with(|inner| inner.flavour) {
            return Ok(flavour);
        }
        let (flavour, version) = flavour::ask(http, settings.timing.probe).await?;
        self.with(|inner| (inner.flavour, inner.version) = (Some(flavour), version));
        Ok(flavour)
    }
}

pub(super) async fn probe(server: &Http, settings: &Settings, known: &Known) -> Probe {
    let probe = ask(server, settings, known).await;
    if !probe.is_healthy() {
        known.with(|inner| inner.flavour = None);
    }
    probe
}

async fn ask(server: &Http, settings: &Settings, known: &Known) -> Probe {
    let (at, limit) = (settings.api.as_str(), settings.timing.probe);
    let answer = match server.get(Tree::Api, "models", &None, limit).await {
        Ok(answer) => answer,
        Err(trouble) => return Probe::unhealthy(remedy(trouble, at)),
    };
    let listed = match answer.status {
        200..=299 => {
            let said = http::value(&answer).ok();
            let Some(list) = said.as_ref().and_then(|said| said["data"].as_array()) else {
                return Probe::unhealthy(remedy(Trouble::Nonsense, at));
            };
            // llama.cpp with several models answers to other names, too.
            let names = |model: &Value| {
                let aliases = model["aliases"].as_array().into_iter().flatten().filter_map(Value::as_str);
                model["id"].as_str().into_iter().chain(aliases).map(str::to_owned).collect::<Vec<_>>()
            };
            list.iter().flat_map(names).collect()
        }
        401 | 403 if server.has_key() => return Probe::unhealthy(format!("{at} refuses us; check OPENAI_API_KEY")),
        401 | 403 => return Probe::unhealthy(format!("{at} asks for a key; set OPENAI_API_KEY")),
        // Some servers have no such list.
        404 | 405 if !settings.models.is_empty() => Vec::new(),
        404 | 405 => {
            let why = format!("{at} lists no models; correct OPENAI_URL, or name the models in OPENAI_MODELS");
            return Probe::unhealthy(why);
        }
        429 => return Probe::unhealthy(format!("{at} answered 429: it limits how often it may be asked")),
        503 => return Probe::unhealthy(format!("{at} answered 503: it is loading its model or has too much to do")),
        status => return Probe::unhealthy(format!("{at}/models answered {status}; is it an OpenAI API?")),
    };
    let flavour = match known.flavour(server, settings).await {
        Ok(flavour) => flavour,
        Err(trouble) => return Probe::unhealthy(remedy(trouble, at)),
    };
    let listed: Vec<String> = listed;
    known.with(|inner| inner.models.clone_from(&listed));
    let mut models = listed;
    if flavour == Flavour::Ollama {
        // A name without a tag means `latest`, and that is how jobs name it.
        let short: Vec<String> =
            models.iter().filter_map(|name| name.strip_suffix(":latest").map(str::to_owned)).collect();
        models.extend(short);
    }
    models.extend(settings.models.iter().filter(|name| !models.contains(name)).cloned().collect::<Vec<_>>());
    let version = known.with(|inner| inner.version.clone());
    let version = Some(version.map_or_else(|| flavour.name().to_owned(), |told| format!("{} {told}", flavour.name())));
    if models.is_empty() {
        let why = format!("the server at {at} has no model; give it one (Ollama: ollama pull NAME)");
        return Probe { version, ..Probe::unhealthy(why) };
    }
    let models = BTreeMap::from([("models".to_owned(), models)]);
    Probe { health: Health::Healthy, version, models, queue_remaining: None }
}

fn remedy(trouble: Trouble, at: &str) -> String {
    match trouble {
        Trouble::Refused => format!("nothing answers at {at}; start the server there, or correct OPENAI_URL"),
        Trouble::Unreachable => format!("{at} cannot be reached; check the route there"),
        Trouble::UnknownName => format!("the name in {at} leads nowhere; correct OPENAI_URL"),
        Trouble::Untrusted => format!("the certificate at {at} does not hold, or it does not speak TLS"),
        Trouble::Silent => format!("{at} does not answer in time; it is loading a model, overloaded or frozen"),
        Trouble::Broken => format!("{at} ends connections without an answer; it is restarting"),
        Trouble::Nonsense | Trouble::TooLarge | Trouble::Status { .. } => {
            format!("what answers at {at} is no OpenAI API; correct OPENAI_URL")
        }
    }
}
