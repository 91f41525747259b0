//! `make soak`: agents run many small jobs for a while, and what they hold on to is measured.
//! In: `MINUTES=`, `RATE=` (jobs a second), `AGENTS=`. Out: a table, slopes and a verdict; exit code 1 if a job was lost or
//! failed, or if file descriptors or threads pile up.

#![allow(clippy::expect_used, clippy::panic, clippy::exit, reason = "a tool that cannot go on says where, and stops")]

mod soak;
#[path = "../it/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests need more of it")]
mod support;

use soak::Plan;
use std::time::Duration;

fn plan() -> Result<Plan, String> {
    let mut plan = Plan { time: Duration::from_secs(15 * 60), rate: 100, agents: 2, pause: Duration::from_secs(5) };
    // Cargo adds `--bench`.
    for word in std::env::args().skip(1).filter(|word| !word.starts_with('-')) {
        let parsed = word.split_once('=').and_then(|(name, text)| Some((name, text.parse::<f64>().ok()?)));
        let (name, number) = parsed.ok_or_else(|| format!("{word:?} is not NAME=NUMBER"))?;
        match name {
            "MINUTES" => plan.time = Duration::from_secs_f64(number.clamp(0.1, 10_000.0) * 60.0),
            "RATE" => plan.rate = number.clamp(1.0, 10_000.0) as u64,
            "AGENTS" => plan.agents = number.clamp(1.0, 100.0) as u64,
            _ => return Err(format!("there is no {name}; there are MINUTES, RATE, AGENTS")),
        }
    }
    Ok(plan)
}

fn main() {
    let plan = plan().unwrap_or_else(|wrong| {
        eprintln!("soak: {wrong}");
        std::process::exit(64)
    });
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let report = runtime.block_on(soak::run(&plan, |line| println!("{line}")));
    println!("{report}\nagain: {}", plan.command());
    if !report.is_sound() {
        std::process::exit(1);
    }
}
