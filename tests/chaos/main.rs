//! `make chaos`: agents are killed without end while they work, and what became of every job is checked.
//! In: `JOBS=`, `KILLS=`, `AGENTS=`, `SEED=`, `FAULTS=`, `SCENARIO=`. Out: a table and a verdict; exit code 1 unless every
//! job ended once and well, and the record of all writes to Redis shows nothing that the promise forbids.
//!
//! The seed decides which jobs there are, what goes wrong, when, and for how long. What the machine makes of it differs
//! from run to run.

#![allow(clippy::expect_used, clippy::panic, clippy::exit, reason = "a tool that cannot go on says where, and stops")]

mod storm;
#[path = "../it/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests need more of it")]
mod support;

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use storm::outage::{Gone, Outage};
use storm::plan::{self, Plan};

/// What is played. Each scenario is a file in `storm/` with a `run` of its own.
enum Scenario {
    Storm,
    Outage,
}

impl Scenario {
    fn of(name: &str) -> Result<Self, String> {
        match name {
            "storm" => Ok(Self::Storm),
            "outage" => Ok(Self::Outage),
            _ => Err(format!("there is no scenario {name:?}; there are: storm, outage")),
        }
    }
}

fn arguments() -> Result<(Scenario, Plan), String> {
    let mut scenario = Scenario::Storm;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_millis() as u64 % 1_000_000);
    let troubles = plan::troubles("all")?;
    let mut plan = Plan { jobs: 10_000, kills: 1_000, agents: 6, seed: now, troubles };
    // Cargo adds `--bench`.
    for word in std::env::args().skip(1).filter(|word| !word.starts_with('-')) {
        let (name, text) = word.split_once('=').ok_or_else(|| format!("{word:?} is not NAME=VALUE"))?;
        match name {
            "FAULTS" => {
                plan.troubles = plan::troubles(text)?;
                continue;
            }
            "SCENARIO" => {
                scenario = Scenario::of(text)?;
                continue;
            }
            _ => {}
        }
        let number: u64 = text.parse().map_err(|_| format!("{word:?} is not NAME=NUMBER"))?;
        match name {
            "JOBS" => plan.jobs = number.max(1),
            "KILLS" => plan.kills = number,
            "AGENTS" => plan.agents = number.max(1),
            "SEED" => plan.seed = number,
            _ => return Err(format!("there is no {name}; there are JOBS, KILLS, AGENTS, SEED, FAULTS, SCENARIO")),
        }
    }
    if plan.has(plan::Trouble::Clock) && storm::faketime().is_none() {
        return Err(storm::NO_FAKETIME.to_owned());
    }
    Ok((scenario, plan))
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
    let (scenario, plan) = arguments().unwrap_or_else(|wrong| {
        eprintln!("chaos: {wrong}");
        std::process::exit(64)
    });
    if let Err(missed) = storm::broken::check_the_checker() {
        eprintln!("chaos: the checker is no good: {missed}");
        std::process::exit(70);
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    if matches!(scenario, Scenario::Outage) {
        std::process::exit(i32::from(!runtime.block_on(outages())));
    }
    println!("again: {}", plan.command());
    let report = runtime.block_on(storm::run(&plan));
    println!("{report}");
    if !report.is_sound() {
        println!("again: {}", plan.command());
        std::process::exit(1);
    }
}
