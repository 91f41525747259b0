//! `make chaos`: agents are killed without end while they work, and what became of every job is checked.
//! In: `JOBS=`, `KILLS=`, `AGENTS=`, `SEED=`, `FAULTS=`, `FAILOVERS=`, `SCENARIO=`. Out: a table and a verdict; exit code 1 unless every
//! job ended once and well, and the record of all writes to Redis shows nothing that the promise forbids.
//!
//! The seed decides which jobs there are, what goes wrong, when, and for how long. What the machine makes of it differs
//! from run to run.

#![allow(clippy::expect_used, clippy::panic, clippy::exit, reason = "a tool that cannot go on says where, and stops")]

mod storm;
#[path = "../it/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests need more of it")]
mod support;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use storm::failover::Failovers;
use storm::outage::{Gone, Outage};
use storm::plan::{self, Plan};

/// What is played. Each scenario is a file in `storm/` with a `run` of its own.
enum Scenario {
    Storm(Plan),
    Outage,
    Failover(Failovers),
}

const NAMES: [&str; 5] = ["JOBS", "KILLS", "AGENTS", "SEED", "FAILOVERS"];

fn arguments() -> Result<Scenario, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_millis() as u64 % 1_000_000);
    let (mut scenario, mut faults) = ("storm".to_owned(), "all".to_owned());
    let mut numbers: BTreeMap<&str, u64> = BTreeMap::new();
    // Cargo adds `--bench`.
    for word in std::env::args().skip(1).filter(|word| !word.starts_with('-')) {
        let (name, text) = word.split_once('=').ok_or_else(|| format!("{word:?} is not NAME=VALUE"))?;
        match name {
            "FAULTS" => text.clone_into(&mut faults),
            "SCENARIO" => text.clone_into(&mut scenario),
            _ => {
                let known = NAMES.into_iter().find(|known| *known == name);
                let names = NAMES.join(", ");
                let name = known.ok_or_else(|| format!("there is no {name}; there are {names}, FAULTS, SCENARIO"))?;
                numbers.insert(name, text.parse().map_err(|_| format!("{word:?} is not NAME=NUMBER"))?);
            }
        }
    }
    let number = |name: &str, default: u64| numbers.get(name).copied().unwrap_or(default);
    let seed = number("SEED", now);
    match scenario.as_str() {
        "storm" => {
            let (jobs, agents) = (number("JOBS", 10_000).max(1), number("AGENTS", 6).max(1));
            let plan = Plan { jobs, kills: number("KILLS", 1_000), agents, seed, troubles: plan::troubles(&faults)? };
            if plan.has(plan::Trouble::Clock) && storm::faketime().is_none() {
                return Err(storm::NO_FAKETIME.to_owned());
            }
            Ok(Scenario::Storm(plan))
        }
        "outage" => Ok(Scenario::Outage),
        "failover" => Ok(Scenario::Failover(Failovers {
            jobs: number("JOBS", 1_000).max(1),
            failovers: number("FAILOVERS", 20),
            kills: number("KILLS", 20),
            agents: number("AGENTS", 4).max(1),
            seed,
            sentinels: 3,
            lease: Duration::from_secs(10),
        })),
        other => Err(format!("there is no scenario {other:?}; there are: storm, outage, failover")),
    }
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
    let scenario = arguments().unwrap_or_else(|wrong| {
        eprintln!("chaos: {wrong}");
        std::process::exit(64)
    });
    if let Err(missed) = storm::broken::check_the_checker() {
        eprintln!("chaos: the checker is no good: {missed}");
        std::process::exit(70);
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let command = match &scenario {
        Scenario::Storm(plan) => plan.command(),
        Scenario::Outage => std::process::exit(i32::from(!runtime.block_on(outages()))),
        Scenario::Failover(failovers) => failovers.command(),
    };
    println!("again: {command}");
    let report = match scenario {
        Scenario::Failover(failovers) => runtime.block_on(failovers.run()),
        Scenario::Storm(plan) => runtime.block_on(storm::run(&plan)),
        Scenario::Outage => return,
    };
    println!("{report}");
    if !report.is_sound() {
        println!("again: {command}");
        std::process::exit(1);
    }
}
