//! The commands: what a person or a script types.
//! In: arguments. Out: answers on stdout, an exit code.

#[macro_use]
mod out;

mod agent;
mod cancel;
mod check_gpu;
mod configuration;
mod connectors;
mod control;
mod dashboard;
mod dev;
mod explain;
mod jobs;
mod local;
mod local_redis;
mod offer;
mod outcome;
mod probe;
mod render;
mod session;
mod stand_in;
mod submit;
mod temporary;
mod top;
mod watch;
mod workers;

pub use out::{lost, note};
pub use outcome::{Exit, Failed};

use crate::protocol::control::Desired;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// The agent of a GPU server: claims jobs from Redis, runs them on this machine's engines, streams progress.
#[derive(Debug, Parser)]
#[command(name = "gpu-worker", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    sources: Chosen,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Where configuration comes from, for every command.
#[derive(Debug, Clone, Default, Args)]
pub struct Chosen {
    /// Read variables from this file (default: ./.env.worker, else /etc/gpu-worker/env)
    #[arg(long, global = true, value_name = "PATH")]
    env_file: Option<PathBuf>,
    /// Which Redis, such as redis://127.0.0.1:6379 (HUB_REDIS_URL)
    #[arg(long, global = true, value_name = "URL")]
    redis: Option<String>,
    /// Set any variable, over environment and file; may be repeated
    #[arg(long = "set", global = true, value_name = "NAME=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent (what happens without a command)
    Run,
    /// Try everything on this machine: a Redis of its own, a simulated GPU, a stand-in ComfyUI
    Dev(dev::Args),
    /// Hand in a job: a job file, or a ComfyUI graph in API format
    Submit(submit::Args),
    /// Follow a job to its end
    Watch(watch::Args),
    /// Stop a job
    Cancel(cancel::Args),
    /// List jobs, show one, or give a failed one a new life
    Jobs(jobs::Args),
    /// Tell why a job waits: what it needs, and what speaks against each worker
    Explain(explain::Args),
    /// List the workers
    Workers(workers::Args),
    /// Have a worker claim no more jobs; what runs goes on
    Pause(control::Args),
    /// Have a paused or drained worker claim jobs again
    Resume(control::Args),
    /// Have a worker claim no more jobs, and wait until nothing runs any more
    Drain(control::DrainArgs),
    /// Print a link that opens the dashboard of this machine's agent
    Dashboard(dashboard::Args),
    /// Watch an agent of this machine, or another one, live in the terminal
    Top(top::Args),
    /// Show what this machine has, and whether it can be used
    Probe(probe::Args),
    /// Engines of your own: list, check, try them
    Connectors(connectors::Args),
    /// Check or show the configuration
    Config(configuration::Args),
    /// An engine that does no GPU work, for demos and tests
    StandIn(stand_in::Args),
    /// Try the memory of the GPU that CUDA_VISIBLE_DEVICES names; the agent does so before a fenced GPU works again
    #[command(hide = true)]
    CheckGpu,
}

/// Does what was asked.
///
/// # Errors
/// What a person is told, with the exit code.
pub async fn run(cli: Cli) -> Result<Exit, Failed> {
    let chosen = cli.sources;
    match cli.command.unwrap_or(Command::Run) {
        Command::Run => agent::run(&chosen).await,
        Command::Dev(args) => dev::run(&chosen, args).await,
        Command::Submit(args) => submit::run(&chosen, args).await,
        Command::Watch(args) => watch::run(&chosen, args).await,
        Command::Cancel(args) => cancel::run(&chosen, args).await,
        Command::Jobs(args) => jobs::run(&chosen, args).await,
        Command::Explain(args) => explain::run(&chosen, args).await,
        Command::Workers(args) => workers::run(&chosen, args).await,
        Command::Pause(args) => control::run(&chosen, args, Desired::Paused).await,
        Command::Resume(args) => control::run(&chosen, args, Desired::Running).await,
        Command::Drain(args) => control::drain(&chosen, args).await,
        Command::Dashboard(args) => dashboard::run(&chosen, args).await,
        Command::Top(args) => top::run(&chosen, args).await,
        Command::Probe(args) => probe::run(&chosen, args).await,
        Command::Connectors(args) => connectors::run(&chosen, args).await,
        Command::Config(args) => configuration::run(&chosen, args),
        Command::StandIn(args) => stand_in::run(args).await,
        Command::CheckGpu => check_gpu::run(),
    }
}
