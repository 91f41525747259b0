//! `probe`: what this machine has, and whether its engines answer and its outputs find a place.
//! In: the configuration. Out: the inventory, the engines and the outputs, for a person or as JSON.

use super::render::plain;
use super::{Chosen, Exit, Failed};
use crate::app;
use crate::hardware::{self, Sampler, Settings};
use crate::output::Outputs;
use connectors::contract::{Health, Probe};
use serde_json::{Value, json};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// JSON for programs
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(chosen: &Chosen, args: Args) -> Result<Exit, Failed> {
    let config = chosen.load()?.config;
    let sampler = Sampler::start(Settings::new(&config.output_dir, config.declared.clone()))?;
    let mut driven = app::drivers(&config).map_err(|failure| Failed::usage(failure.message))?;
    if config.engines.files.dir.is_some() {
        let gpus = app::gpu_facts(&sampler.inventory().await);
        if let Some((_, ready)) = app::engine_files::EngineFiles::open(&config, &gpus, &driven).await {
            driven.extend(ready.into_iter().map(app::Driven::from));
        }
    }
    let engines: Vec<_> =
        driven.iter().flat_map(|driven| driven.connectors.iter().map(|connector| (driven.name, connector))).collect();
    let asked = futures_util::future::join_all(engines.iter().map(|(_, connector)| connector.probe()));
    let outputs = Outputs::new(&config);
    // The folder is the agent's: whoever asks may be another user.
    let try_storing = async { if config.outputs.bucket.is_some() { outputs.try_storing().await } else { Ok(()) } };
    let (inventory, probes, storing) = tokio::join!(sampler.inventory(), asked, try_storing);
    let refused = storing.err().map(|failure| failure.message);
    let engines = engines.iter().map(|(name, _)| *name).zip(probes);
    if args.json {
        let mut document: Value = serde_json::from_str(&hardware::json(&inventory)).unwrap_or_default();
        let engine = |(name, probe): (&str, Probe)| {
            let mut value = json!(probe);
            value["name"] = json!(name);
            value
        };
        document["engines"] = engines.map(engine).collect();
        document["outputs"] = json!({ "place": outputs.shown(), "refused": refused });
        say!("{document:#}");
    } else {
        put!("{}", hardware::text(&inventory));
        for (name, probe) in engines {
            say!("{:<11} {}", "Engine", line(name, &probe));
        }
        let line = match refused {
            None if config.outputs.bucket.is_some() => format!("{} takes them", outputs.shown()),
            None => format!("go to {}", outputs.shown()),
            Some(why) => format!("cannot be stored: {}", plain(&why)),
        };
        say!("{:<11} {line}", "Outputs");
    }
    Ok(Exit::Done)
}

fn line(name: &str, probe: &Probe) -> String {
    match &probe.health {
        Health::Healthy => {
            let version = probe.version.as_deref().map(|version| format!(" {}", plain(version))).unwrap_or_default();
            let models: usize = probe.models.values().map(Vec::len).sum();
            format!("{name}{version} answers, {models} model files")
        }
        Health::Unhealthy(why) => format!("{name} cannot take work: {}", plain(why)),
    }
}
