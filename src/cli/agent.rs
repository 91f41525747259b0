//! `run`: the agent itself.
//! In: the configuration. Out: an agent, until it is told to stop.

use super::{Chosen, Exit, Failed, session};
use crate::app::{self, Built, Left};
use crate::output::Outputs;
use crate::service::shutdown::{Shutdown, follow_signals};
use crate::telemetry::{Notice, log, tell};
use connectors::failure::FailureType;

pub(super) async fn run(chosen: &Chosen) -> Result<Exit, Failed> {
    let loaded = chosen.load()?;
    let config = loaded.config;
    log::install(config.log.level, config.log.json);
    for warning in &loaded.warnings {
        tell(Notice::Config { warning: warning.to_string() });
    }
    // A worker that can store nothing would fail every job that it takes.
    let outputs = Outputs::new(&config);
    if let Err(failure) = outputs.try_storing().await {
        let place = outputs.shown();
        if config.outputs.bucket.is_none() {
            return Err(Failed::usage(format!("OUTPUT_DIR={place}: {}", failure.message)));
        }
        // What a network does now it may do better in a minute; what is set wrongly stays wrong.
        if matches!(failure.kind(), FailureType::AuthError | FailureType::SystemError) {
            return Err(Failed::usage(failure.message));
        }
        tell(Notice::CannotStore { place: &place, error: &failure.message });
    }
    let shutdown = Shutdown::default();
    // Before anything can block: a signal during start-up counts.
    let signals = tokio::spawn(follow_signals(shutdown.clone()));
    let link = session::link(&config)?;
    let driven = app::drivers(&config).map_err(|failure| Failed::usage(failure.message))?;
    if driven.is_empty() && config.engines.files.dir.is_none() {
        return Err(Failed::usage("none of the configured engines has a connector in this release; see SERVICES"));
    }
    let built = Built::new(&config, driven, None).await?;
    let left = app::run(&config, built, outputs, link, shutdown).await;
    signals.abort();
    match left {
        Left::InOrder => Ok(Exit::Done),
        Left::Superseded => Err(Failed::new(
            Exit::Done,
            format!("another gpu-worker with the id {} has started; this one has stopped", config.identity.worker_id),
        )),
    }
}
