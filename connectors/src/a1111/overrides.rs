//! Options for one job alone: none is left changed for the jobs behind it.
//! In: `override_settings`. Out: the same, safe to send; afterwards the options as they were.
//!
//! The server puts an option back only if its stored configuration holds it, and Forge puts back none. So each option
//! is stored with its present value before it is overridden, and looked at afterwards. What could not be put back is
//! owed: no further run begins before it is paid.

use super::api::Api;
use super::http::ENGINE;
use super::payload::short;
use crate::failure::{Failure, Reason};
use serde_json::{Map, Value};

/// Options as they were before.
#[derive(Debug, Clone, Default)]
pub(super) struct Before(Map<String, Value>);

/// Looks each of them up, and has the server store what it has now.
pub(super) async fn pin(api: &Api, overrides: &Map<String, Value>) -> Result<Before, Failure> {
    if overrides.is_empty() {
        return Ok(Before::default());
    }
    let options = api.options().await.map_err(|trouble| trouble.failure(ENGINE, "reading its options"))?;
    let mut before = Map::new();
    for (name, wanted) in overrides {
        let Some(value) = options.get(name) else {
            let what = format!("`override_settings`: this server has no option `{}`", short(name));
            return Err(Failure::new(Reason::InvalidPayload, what));
        };
        // It would be stored with 200, and fail this run and others in some other place.
        if !value.is_null() && form(value) != form(wanted) {
            let what = format!("`override_settings`: `{}` must be {}", short(name), form(value));
            return Err(Failure::new(Reason::InvalidFormat, what));
        }
        before.insert(name.clone(), value.clone());
    }
    set(api, &before).await?;
    Ok(Before(before))
}

/// What a value is, for people. To the server a truth value is a number.
fn form(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) | Value::Number(_) => "a number or a truth value",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

async fn set(api: &Api, options: &Map<String, Value>) -> Result<(), Failure> {
    // A VAE among them is loaded before the answer.
    let answer = api.set_options(options, api.timing.load).await.and_then(super::http::Answer::success);
    answer.map(drop).map_err(|trouble| trouble.failure(ENGINE, "setting options"))
}

impl Before {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sees that they are as they were, and puts back those that are not. What is left over is owed.
    pub async fn restore(self, api: &Api) -> Self {
        if self.is_empty() {
            return self;
        }
        match self.put_back(api).await {
            Ok(()) => Self::default(),
            Err(failure) => {
                let names: Vec<&String> = self.0.keys().collect();
                tracing::warn!(?names, %failure, "options of a job could not be put back yet");
                self
            }
        }
    }

    async fn put_back(&self, api: &Api) -> Result<(), Failure> {
        let changed = self.changed(api).await?;
        if changed.is_empty() {
            return Ok(());
        }
        set(api, &changed).await?;
        match self.changed(api).await?.is_empty() {
            true => Ok(()),
            false => Err(Failure::of_host(Reason::ConfigError, "the server does not take options back")),
        }
    }

    async fn changed(&self, api: &Api) -> Result<Map<String, Value>, Failure> {
        let now = api.options().await.map_err(|trouble| trouble.failure(ENGINE, "reading its options"))?;
        let same = |one: &Value, other: &Value| one == other || (one.is_number() && one.as_f64() == other.as_f64());
        let changed = self.0.iter().filter(|(name, value)| !now.get(*name).is_some_and(|now| same(now, value)));
        Ok(changed.map(|(name, value)| (name.clone(), value.clone())).collect())
    }
}
