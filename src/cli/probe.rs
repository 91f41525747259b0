//! `probe`: what this machine has.
//! In: the configuration. Out: the inventory for a person or as JSON.

use super::{Chosen, Exit, Failed};
use crate::hardware::{self, Sampler, Settings};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// JSON for programs
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(chosen: &Chosen, args: Args) -> Result<Exit, Failed> {
    let config = chosen.load()?.config;
    let sampler = Sampler::start(Settings::new(&config.output_dir, config.declared.clone()))?;
    let inventory = sampler.inventory().await;
    if args.json {
        println!("{}", hardware::json(&inventory));
    } else {
        print!("{}", hardware::text(&inventory));
    }
    Ok(Exit::Done)
}
