//! The engines that the configuration names, each with the connectors that drive it.
//! In: `Config`. Out: a connector for each address; the first setting that cannot be used.

use crate::config::{Config, HttpEngine, OpenAiEngine};
use connectors::contract::Connector;
use connectors::failure::Failure;
use connectors::registry;
use secrecy::ExposeSecret;
use std::sync::Arc;
use std::time::Duration;

/// A connector for each address of one engine.
pub struct Driven {
    /// The connector's name.
    pub name: &'static str,
    /// The GPU of each address, if told.
    pub gpus: Option<Vec<u32>>,
    /// Whether each address belongs to one GPU.
    pub needs_gpu: bool,
    /// Jobs at once on each address, if it has a number of its own.
    pub jobs: Option<u32>,
    /// One for each address.
    pub connectors: Vec<Arc<dyn Connector>>,
}

/// The connectors that the configuration asks for.
///
/// # Errors
/// An engine whose settings cannot be used.
pub fn drivers(config: &Config) -> Result<Vec<Driven>, Failure> {
    let mut driven = Vec::new();
    if let Some(engine) = &config.engines.comfyui {
        let connectors = engine
            .urls
            .iter()
            .map(|url| registry::Engine::ComfyUi(Box::new(comfyui(engine, url, config.jobs.health_interval)?)).build());
        driven.push(Driven {
            name: "comfyui",
            gpus: engine.gpus.clone(),
            needs_gpu: true,
            jobs: None,
            connectors: connectors.collect::<Result<_, _>>()?,
        });
    }
    if let Some(engine) = &config.engines.a1111 {
        let connectors = engine.urls.iter().map(|url| registry::Engine::A1111(Box::new(a1111(engine, url)?)).build());
        driven.push(Driven {
            name: "a1111",
            gpus: engine.gpus.clone(),
            needs_gpu: true,
            jobs: None,
            connectors: connectors.collect::<Result<_, _>>()?,
        });
    }
    if let Some(engine) = &config.engines.openai {
        let connectors = engine.urls.iter().map(|url| registry::Engine::OpenAi(Box::new(openai(engine, url)?)).build());
        driven.push(Driven {
            name: "openai",
            gpus: engine.gpus.clone(),
            // It may stand anywhere; here it does if its GPU is told.
            needs_gpu: engine.gpus.is_some(),
            jobs: engine.concurrency,
            connectors: connectors.collect::<Result<_, _>>()?,
        });
    }
    if let Some(engine) = &config.engines.simulation {
        let connector = registry::Engine::Simulation { services: engine.services.clone() }.build()?;
        driven.push(Driven {
            name: "simulation",
            gpus: None,
            needs_gpu: false,
            jobs: None,
            connectors: vec![connector],
        });
    }
    Ok(driven)
}

fn comfyui(engine: &HttpEngine, url: &url::Url, interval: Duration) -> Result<connectors::comfyui::Settings, Failure> {
    let secret = |secret: &Option<secrecy::SecretString>| secret.as_ref().map(|text| text.expose_secret().to_owned());
    let mut settings = connectors::comfyui::Settings::at(url.as_str())?;
    settings.username = engine.username.clone().or(settings.username);
    settings.password = secret(&engine.password).map(Into::into).or(settings.password);
    settings.api_key = secret(&engine.api_key).map(Into::into);
    // A probe that comes at its time lists the models anew; those that come earlier need not.
    settings.timing.models_refresh = settings.timing.models_refresh.min(interval / 2);
    Ok(settings)
}

fn a1111(engine: &HttpEngine, url: &url::Url) -> Result<connectors::a1111::Settings, Failure> {
    let mut settings = connectors::a1111::Settings::at(url.as_str())?;
    settings.username = engine.username.clone();
    settings.password = engine.password.as_ref().map(|secret| secret.expose_secret().to_owned().into());
    Ok(settings)
}

fn openai(engine: &OpenAiEngine, url: &url::Url) -> Result<connectors::openai::Settings, Failure> {
    let mut settings = connectors::openai::Settings::at(url.as_str())?;
    settings.api_key = engine.api_key.as_ref().map(|secret| secret.expose_secret().to_owned().into());
    settings.services = engine.services.clone();
    settings.models = engine.models.clone();
    settings.concurrency = engine.concurrency.map_or(1, |jobs| jobs as usize);
    Ok(settings)
}
