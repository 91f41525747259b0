//! `config`: check or show the configuration.
//! In: the chosen sources. Out: what is wrong with them, or what is in force and why.

use super::{Chosen, Exit, Failed};
use crate::config;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Say what is wrong, all of it, with its line
    Check,
    /// Say what is in force, and where each value comes from (secrets masked)
    Show {
        /// JSON for programs
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(chosen: &Chosen, args: Args) -> Result<Exit, Failed> {
    match args.action {
        Action::Check => {
            let result = config::load(&chosen.sources()?);
            let text = config::check_text(&result);
            match result {
                Ok(_) => {
                    say!("{}", text.trim_end());
                    Ok(Exit::Done)
                }
                Err(_) => Err(Failed::usage(text.trim_end().to_owned())),
            }
        }
        Action::Show { json } => {
            let loaded = chosen.load()?;
            if json {
                say!("{:#}", config::show_json(&loaded));
            } else {
                say!("{}", config::show_text(&loaded).trim_end());
            }
            Ok(Exit::Done)
        }
    }
}
