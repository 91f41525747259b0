//! Which engines there are and how each is reached.
//! In: nothing. Out: the structs that `config` fills.

use secrecy::SecretString;
use std::path::PathBuf;
use url::Url;

/// The engines to drive.
#[derive(Debug, Clone, Default)]
pub struct Engines {
    /// ComfyUI servers, in order: the Nth belongs to the Nth GPU unless `gpus` says otherwise.
    pub comfyui: Option<HttpEngine>,
    /// AUTOMATIC1111 servers, likewise.
    pub a1111: Option<HttpEngine>,
    /// Servers of the OpenAI API.
    pub openai: Option<OpenAiEngine>,
    /// The built-in simulation.
    pub simulation: Option<SimulationEngine>,
    /// Engines that are files.
    pub files: EngineFiles,
}

/// Engines that are files of `CONNECTORS_DIR`.
#[derive(Debug, Clone, Default)]
pub struct EngineFiles {
    /// `CONNECTORS_DIR`.
    pub dir: Option<PathBuf>,
    /// `CONNECTORS_MEMORY_GB`, in bytes.
    pub memory: Option<u64>,
    /// Variables that begin with `CONNECTOR_`: what such engines may be given.
    pub secrets: std::collections::BTreeMap<String, SecretString>,
    /// What of the agent's own environment an executable may see.
    pub inherited: Vec<(String, String)>,
}

/// An engine reached over HTTP.
#[derive(Debug, Clone)]
pub struct HttpEngine {
    /// Base URLs without a path at the end.
    pub urls: Vec<Url>,
    /// `COMFYUI_GPUS`: the GPU index of each URL.
    pub gpus: Option<Vec<u32>>,
    /// Basic authentication.
    pub username: Option<String>,
    /// Basic authentication.
    pub password: Option<SecretString>,
    /// Sent as a bearer token.
    pub api_key: Option<SecretString>,
}

/// Servers of the OpenAI API.
#[derive(Debug, Clone)]
pub struct OpenAiEngine {
    /// Base URLs, with or without `/v1`.
    pub urls: Vec<Url>,
    /// `OPENAI_GPUS`: the GPU index of each URL; none: they are bound to no GPU.
    pub gpus: Option<Vec<u32>>,
    /// Sent as a bearer token.
    pub api_key: Option<SecretString>,
    /// `OPENAI_SERVICES`; empty: what the server has routes for.
    pub services: Vec<String>,
    /// `OPENAI_MODELS`.
    pub models: Vec<String>,
    /// `OPENAI_CONCURRENCY`: jobs at once on each.
    pub concurrency: Option<u32>,
}

/// The built-in simulation.
#[derive(Debug, Clone)]
pub struct SimulationEngine {
    /// `SIMULATION_SERVICES`: services beside `simulation` that it answers.
    pub services: Vec<String>,
}
