//! `top`: the dashboard's picture in a terminal.
//! In: an agent's address, or none: those of this machine. Out: a screen that lives, or one picture as plain text.
//!
//! ```text
//!   find ──▶ client ──▶ feed ──news──▶ state ──▶ draw ──▶ terminal
//!              ▲                        ▲  keys ─┘ (look: colours, Unicode)
//!              └──────── orders ────────┘
//! ```

mod bars;
mod clean;
mod client;
mod draw;
mod feed;
mod figures;
mod find;
mod header;
mod keys;
mod live;
mod look;
mod once;
mod order;
mod over;
mod panels;
mod picture;
mod sse;
mod state;
mod terminal;

#[cfg(test)]
mod tests;

use super::{Chosen, Exit, Failed};
use client::Client;
use look::Look;
use state::{Feed, State};
use std::io::IsTerminal;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where an agent answers, such as http://127.0.0.1:1511 (default: the agents of this machine)
    url: Option<String>,
    /// A file that holds the agent's token (default: WORKER_DASHBOARD_TOKEN, else what the agent wrote into STATE_DIR)
    #[arg(long, value_name = "PATH")]
    token_file: Option<PathBuf>,
    /// Print one picture as plain text (what happens where there is no terminal)
    #[arg(long)]
    once: bool,
}

/// How often, and between which pauses, an agent is asked for one picture that has everything.
const TURNS: usize = 10;
const TURN: std::time::Duration = std::time::Duration::from_millis(200);

/// Columns of plain text where nobody says how many.
const COLUMNS: u16 = 120;

pub(super) async fn run(chosen: &Chosen, args: Args) -> Result<Exit, Failed> {
    let clients = find::agents(chosen, args.url.as_deref(), args.token_file.as_deref()).await?;
    let look = Look::of(|name| std::env::var(name).ok());
    let is_terminal = std::io::stdout().is_terminal() && std::env::var("TERM").is_ok_and(|term| term != "dumb");
    if args.once || !is_terminal {
        return print(&clients, look).await;
    }
    live::run(clients, look).await?;
    Ok(Exit::Done)
}

/// One picture of each.
async fn print(clients: &[Client], look: Look) -> Result<Exit, Failed> {
    let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let columns = columns.map_or(COLUMNS, |columns: u16| columns.clamp(60, 400));
    let mut exit = Exit::Done;
    for (at, client) in clients.iter().enumerate() {
        let mut state = State::new((at, clients.len(), client.shown()));
        for turn in 0..TURNS {
            match client.snapshot(None).await {
                Ok(Some((value, _))) => state.hear("snapshot", value, Feed::Live, local_ms()),
                Ok(None) => {}
                Err(why) => state.lose(why, local_ms()),
            }
            // Some things an agent looks at only once somebody asks.
            let is_whole = state.picture.queue.waiting.is_some() || state.picture.worker.redis.connected != Some(true);
            if is_whole || turn + 1 == TURNS {
                break;
            }
            tokio::time::sleep(TURN).await;
        }
        if !state.picture.is_one() {
            let why = state.stale().map_or("what answers is no agent", |(_, why)| why).to_owned();
            remark!("gpu-worker: {}: {why}", client.shown());
            exit = Exit::Unreachable;
            continue;
        }
        let gap = if at == 0 { "" } else { "\n" };
        put!("{gap}{}", once::text(&state, columns, look));
    }
    Ok(exit)
}

/// This machine's clock.
fn local_ms() -> f64 {
    jiff::Timestamp::now().as_millisecond() as f64
}
