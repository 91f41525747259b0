//! Which server it is, by asking it.
//! In: a few small questions. Out: its flavour, and the version that it tells.
//!
//! | question | who answers | source |
//! |---|---|---|
//! | `GET /api/version` `{"version"}` | Ollama | its docs/api.md |
//! | `GET /props` with `default_generation_settings` | llama.cpp | its tools/server/README.md |
//! | `GET /version` `{"version"}` | vLLM | its OpenAI-compatible server |
//! | `GET /api/v0/models` `{"data": [..]}` | LM Studio | its REST API reference |
//!
//! Whoever answers none of them is taken for the service itself, which is the least that all of them can do.

use super::http::{self, Http, Tree};
use crate::http::{Answer, Trouble};
use serde_json::Value;
use std::time::Duration;

/// Whose manner a server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavour {
    /// The service itself, or a server of which nothing more is known.
    OpenAi,
    Vllm,
    LlamaCpp,
    Ollama,
    LmStudio,
}

impl Flavour {
    /// How many of [`SERVICES`](super::SERVICES) it has routes for, as far as is known: of the local ones none makes
    /// pictures, and the Responses API is vLLM's alone.
    pub fn services(self) -> usize {
        match self {
            Self::OpenAi => 9,
            Self::Vllm => 7,
            Self::LlamaCpp | Self::Ollama | Self::LmStudio => 5,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Vllm => "vllm",
            Self::LlamaCpp => "llama.cpp",
            Self::Ollama => "ollama",
            Self::LmStudio => "lmstudio",
        }
    }
}

/// # Errors
/// If the server gave no answer at all: then nothing is known.
pub(super) async fn ask(server: &Http, limit: Duration) -> Result<(Flavour, Option<String>), Trouble> {
    let get = |path: &'static str| server.get(Tree::Root, path, &None, limit);
    let (ollama, props, version, studio) =
        tokio::join!(get("api/version"), get("props"), get("version"), get("api/v0/models"));
    let said = |answer: &Result<Answer, Trouble>| answer.as_ref().ok().and_then(http::said).unwrap_or_default();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    // First of all: llama.cpp has a shim of some of Ollama's routes, Ollama has none of llama.cpp's.
    let props_said = said(&props);
    if props_said["default_generation_settings"].is_object() {
        return Ok((Flavour::LlamaCpp, text(&props_said["build_info"])));
    }
    if let Some(version) = text(&said(&ollama)["version"]) {
        return Ok((Flavour::Ollama, Some(version)));
    }
    if let Some(version) = text(&said(&version)["version"]) {
        return Ok((Flavour::Vllm, Some(version)));
    }
    if said(&studio)["data"].is_array() {
        return Ok((Flavour::LmStudio, None));
    }
    // A question that was not answered may have been the one that tells.
    for answer in [ollama, props, version, studio] {
        answer?;
    }
    Ok((Flavour::OpenAi, None))
}
