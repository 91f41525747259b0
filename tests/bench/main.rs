//! `make bench`: what the product costs, each figure beside a yardstick of the same run. Nothing here passes or fails.
//!
//! `make bench` runs every section, `make bench NAME=claim` one of them. Each starts redis-servers and agents of its
//! own and takes them away again.

#![allow(clippy::expect_used, clippy::panic, clippy::exit, reason = "a bench that cannot go on says where, and stops")]

mod back;
mod cancel;
mod claim;
mod crowd;
mod cycles;
mod dashboards;
mod gap;
mod idle;
mod indexing;
mod latency;
mod memory;
mod orphans;
mod output;
mod stage;
#[path = "../it/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests need more of it")]
mod support;
mod table;
mod yardstick;

use table::Table;

const SECTIONS: [&str; 13] = [
    "claim",
    "indexing",
    "latency",
    "crowd",
    "cycles",
    "gap",
    "idle",
    "memory",
    "cancel",
    "orphans",
    "back",
    "output",
    "dashboards",
];

async fn run(section: &str, table: &mut Table) {
    match section {
        "claim" => claim::run(table).await,
        "indexing" => indexing::run(table).await,
        "latency" => latency::run(table).await,
        "crowd" => crowd::run(table).await,
        "cycles" => cycles::run(table).await,
        "gap" => gap::run(table).await,
        "idle" => idle::run(table).await,
        "memory" => memory::run(table).await,
        "cancel" => cancel::run(table).await,
        "orphans" => orphans::run(table).await,
        "dashboards" => Box::pin(dashboards::run(table)).await,
        "output" => Box::pin(output::run(table)).await,
        _ => Box::pin(back::run(table)).await,
    }
}

fn main() {
    // Cargo adds `--bench`; what is no option names a section.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if let Some(unknown) = wanted.iter().find(|name| !SECTIONS.contains(&name.as_str())) {
        eprintln!("bench: no section is called {unknown}; there are: {}", SECTIONS.join(", "));
        std::process::exit(64);
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for section in SECTIONS.iter().filter(|name| wanted.is_empty() || wanted.iter().any(|word| word == *name)) {
        let mut table = Table::new(section);
        runtime.block_on(run(section, &mut table));
        table.print();
    }
}
