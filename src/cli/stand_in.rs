//! `stand-in`: an engine that does no GPU work.
//! In: a port. Out: a server on loopback, until it is told to stop.

use super::{Exit, Failed};
use crate::service::shutdown::{Shutdown, follow_signals};
use stand_ins::{a1111, comfyui, openai};
use std::time::Duration;
use tokio::net::TcpListener;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    engine: Engine,
}

#[derive(Debug, clap::Subcommand)]
enum Engine {
    /// ComfyUI's API; its pictures say `stand-in`
    Comfyui {
        /// Port on loopback; 0 picks a free one
        #[arg(long, default_value_t = 8188)]
        port: u16,
        /// Time of one sampling step
        #[arg(long, default_value_t = 10, value_name = "MS")]
        step_ms: u64,
    },
    /// AUTOMATIC1111's API; its pictures say `stand-in`
    A1111 {
        /// Port on loopback; 0 picks a free one
        #[arg(long, default_value_t = 7860)]
        port: u16,
        /// Time of one sampling step
        #[arg(long, default_value_t = 10, value_name = "MS")]
        step_ms: u64,
        /// Without the routes of the web page, as with the server's --nowebui
        #[arg(long)]
        nowebui: bool,
    },
    /// The OpenAI API; its texts begin with `Stand-in`
    Openai {
        /// Port on loopback; 0 picks a free one
        #[arg(long, default_value_t = 8000)]
        port: u16,
        /// Time of one piece of text
        #[arg(long, default_value_t = 20, value_name = "MS")]
        step_ms: u64,
        /// Whose manner it has
        #[arg(long, value_enum, default_value_t = Manner::Openai)]
        like: Manner,
    },
}

/// Whose manner a server of the OpenAI API has.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Manner {
    Openai,
    Vllm,
    Llamacpp,
    Ollama,
}

pub(super) async fn run(args: Args) -> Result<Exit, Failed> {
    let (name, port, step_ms) = match args.engine {
        Engine::Comfyui { port, step_ms } => ("ComfyUI", port, step_ms),
        Engine::A1111 { port, step_ms, .. } => ("AUTOMATIC1111", port, step_ms),
        Engine::Openai { port, step_ms, .. } => ("OpenAI API", port, step_ms),
    };
    let listener = TcpListener::bind(("127.0.0.1", port))
        .await
        .map_err(|error| Failed::new(Exit::Failed, format!("port {port}: {error}")))?;
    say!("stand-in {name} at http://{}", listener.local_addr()?);
    let shutdown = Shutdown::default();
    tokio::spawn(follow_signals(shutdown.clone()));
    let step_time = Duration::from_millis(step_ms);
    match args.engine {
        Engine::Comfyui { .. } => {
            let options = comfyui::Options { step_time, ..comfyui::Options::default() };
            comfyui::serve(listener, options, shutdown.drain).await?;
        }
        Engine::A1111 { nowebui, .. } => {
            let options = a1111::Options { step_time, nowebui, ..a1111::Options::default() };
            a1111::serve(listener, options, shutdown.drain).await?;
        }
        Engine::Openai { like, .. } => {
            let flavour = match like {
                Manner::Openai => openai::Flavour::OpenAi,
                Manner::Vllm => openai::Flavour::Vllm,
                Manner::Llamacpp => openai::Flavour::LlamaCpp,
                Manner::Ollama => openai::Flavour::Ollama,
            };
            let options = openai::Options { flavour, token_time: step_time, ..openai::Options::default() };
            openai::serve(listener, options, shutdown.drain).await?;
        }
    }
    Ok(Exit::Done)
}
