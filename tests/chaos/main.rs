//! `make chaos`: agents are killed without end while they work, and what became of every job is checked.
//! In: `JOBS=`, `KILLS=`, `AGENTS=`, `SEED=`. Out: a table and a verdict; exit code 1 unless every job ended once and well.
//!
//! The seed decides which jobs there are, who is killed, when, and how long it stays away. What the machine makes of it
//! differs from run to run.

#![allow(clippy::expect_used, clippy::panic, clippy::exit, reason = "a tool that cannot go on says where, and stops")]

mod storm;
#[path = "../it/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests need more of it")]
mod support;

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use storm::outage::{Gone, Outage};
use storm::plan::Plan;

fn plan() -> Result<Plan, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_millis() as u64 % 1_000_000);
    let mut plan = Plan { jobs: 10_000, kills: 1_000, agents: 6, seed: now };
    // Cargo adds `--bench`.
    for word in std::env::args().skip(1).filter(|word| !word.starts_with('-')) {
        let (name, text) = word.split_once('=').ok_or_else(|| format!("{word:?} is not NAME=NUMBER"))?;
        let number: u64 = text.parse().map_err(|_| format!("{word:?} is not NAME=NUMBER"))?;
        match name {
            "JOBS" => plan.jobs = number.max(1),
            "KILLS" => plan.kills = number,
            "AGENTS" => plan.agents = number.max(1),
            "SEED" => plan.seed = number,
            _ => return Err(format!("there is no {name}; there are JOBS, KILLS, AGENTS, SEED")),
        }
    }
    Ok(plan)
}

/// `SCENARIO=outage`: Redis is away for a minute under a hundred running jobs, in each way.
async fn outages() -> bool {
    let mut sound = true;
    for gone in [Gone::Killed, Gone::Unreachable] {
        let (away, lease) = (Duration::from_secs(60), Duration::from_secs(20));
        let verdict = Outage { jobs: 100, agents: 10, away, lease, gone }.run().await;
        println!("{gone:?}\n{verdict}");
        sound &= verdict.is_sound();
    }
    sound
}

fn main() {
    if std::env::args().any(|word| word == "SCENARIO=outage") {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        std::process::exit(i32::from(!runtime.block_on(outages())));
    }
    let plan = plan().unwrap_or_else(|wrong| {
        eprintln!("chaos: {wrong}");
        std::process::exit(64)
    });
    if let Err(missed) = storm::broken::check_the_checker() {
        eprintln!("chaos: the checker is no good: {missed}");
        std::process::exit(70);
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    println!("again: {}", plan.command());
    let report = runtime.block_on(storm::run(&plan));
    println!("{report}");
    if !report.is_sound() {
        println!("again: {}", plan.command());
        std::process::exit(1);
    }
}
