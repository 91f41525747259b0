//! Where log lines go: stderr, for people on a terminal and as JSON elsewhere; the newest are kept in memory, too.
//! In: level and format. Out: the process's subscriber.

use super::recent::{self, Listener};
use std::io::IsTerminal;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Installs the process's log. Libraries below `warn` stay silent: their chatter may hold what jobs contain.
pub fn install(level: tracing::Level, json: Option<bool>) {
    let terminal = std::io::stderr().is_terminal();
    let filter = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("gpu_worker", level)
        .with_target("connectors", level)
        .with_target("stand_ins", level);
    let registry = tracing_subscriber::registry().with(filter).with(Listener(recent::of_process()));
    let installed = if json.unwrap_or(!terminal) {
        registry
            .with(tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr))
            .try_init()
    } else {
        registry
            .with(tracing_subscriber::fmt::layer().with_target(false).with_ansi(terminal).with_writer(std::io::stderr))
            .try_init()
    };
    // A second call in one process (tests) keeps the first log.
    let _ = installed;
}
