//! The one list of connectors that are built in.
//! In: typed settings of an engine. Out: the connector that drives it; the list says what there is to choose from.

use crate::a1111::{self, A1111};
use crate::comfyui::{self, ComfyUi};
use crate::contract::Connector;
use crate::failure::Failure;
use crate::openai::{self, OpenAi};
use crate::simulation::{self, Simulation};
use std::sync::Arc;

/// What the list says about a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The name that configuration and dashboards use.
    pub name: &'static str,
    /// One line for a person.
    pub about: &'static str,
    /// The services that it serves without being told of more.
    pub services: &'static [&'static str],
}

/// Every connector that is built in. To add one: its folder, its line here, and its arm in [`Engine`].
pub const CONNECTORS: &[Entry] = &[
    Entry {
        name: comfyui::NAME,
        about: "ComfyUI 0.3.45 and newer: API-format graphs in, any kind of file out",
        services: &[comfyui::NAME],
    },
    Entry {
        name: a1111::NAME,
        about: "AUTOMATIC1111 1.10, and Forge and SD.Next where they agree: txt2img, img2img, inpainting, upscaling",
        services: &[a1111::NAME],
    },
    Entry {
        name: openai::NAME,
        about: "the OpenAI API: the service, vLLM, llama.cpp, Ollama, LM Studio; texts as they are written, vectors, pictures",
        services: openai::SERVICES,
    },
    Entry {
        name: simulation::NAME,
        about: "steps, small pictures and failures on request; no GPU, no engine",
        services: &[simulation::NAME],
    },
];

/// One engine to build a connector for.
pub enum Engine {
    /// A ComfyUI server.
    ComfyUi(Box<comfyui::Settings>),
    /// An AUTOMATIC1111 server.
    A1111(Box<a1111::Settings>),
    /// A server of the OpenAI API.
    OpenAi(Box<openai::Settings>),
    /// The simulated engine, with services besides `simulation`.
    Simulation {
        /// Further services that it serves.
        services: Vec<String>,
    },
}

impl Engine {
    /// The name in [`CONNECTORS`].
    pub fn name(&self) -> &'static str {
        match self {
            Self::ComfyUi(_) => comfyui::NAME,
            Self::A1111(_) => a1111::NAME,
            Self::OpenAi(_) => openai::NAME,
            Self::Simulation { .. } => simulation::NAME,
        }
    }

    /// Builds the connector. Nothing is contacted: `probe` does that.
    ///
    /// # Errors
    /// `system_error/config_error` if the settings cannot be used.
    pub fn build(self) -> Result<Arc<dyn Connector>, Failure> {
        Ok(match self {
            Self::ComfyUi(settings) => Arc::new(ComfyUi::new(*settings)?),
            Self::A1111(settings) => Arc::new(A1111::new(*settings)?),
            Self::OpenAi(settings) => Arc::new(OpenAi::new(*settings)?),
            Self::Simulation { services } => Arc::new(Simulation::new(services)),
        })
    }
}

/// The line of this name.
pub fn entry(name: &str) -> Option<&'static Entry> {
    CONNECTORS.iter().find(|entry| entry.name == name)
}
