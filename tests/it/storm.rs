//! A small kill storm, the same as `make chaos` runs at length; and the checker that judges it.

#[path = "../chaos/storm/mod.rs"]
pub mod tool;

use std::time::Duration;
use tool::outage::{Gone, Outage};
use tool::plan::{self, Plan};

#[test]
fn the_checker_catches_what_is_broken() {
    assert_eq!(tool::broken::check_the_checker(), Ok(()));
}

/// Sound, with these faults.
async fn weather(faults: &str, jobs: u64, kills: u64, seed: u64) -> tool::Report {
    let troubles = plan::troubles(faults).unwrap();
    let plan = Plan { jobs, kills, agents: 3, seed, troubles };
    let report = tool::run(&plan).await;
    assert!(report.is_sound(), "{report}\n{}", plan.command());
    report
}

#[tokio::test]
async fn agents_that_are_killed_at_work_lose_no_job_and_end_none_twice() {
    let report = weather("kill", 40, 12, 11).await;
    assert_eq!(report.figure("kills"), 12);
}

#[tokio::test]
async fn agents_that_are_frozen_beyond_their_lease_lose_no_job() {
    let report = weather("freeze", 100, 8, 12).await;
    assert!(report.figure("agents frozen for up to three leases") > 0, "{report}");
    assert!(report.figure("  lost with their lease") > 0, "{report}");
}

#[tokio::test]
async fn a_redis_that_is_killed_under_work_costs_no_job() {
    let report = weather("redis", 30, 4, 13).await;
    assert_eq!(report.figure("times that Redis was killed and came back"), 4);
    assert_eq!(report.figure("  gaps in them"), 4);
}

#[tokio::test]
async fn agents_whose_clocks_are_an_hour_off_do_as_the_others() {
    let report = weather("clock,kill", 30, 6, 14).await;
    // The fault is real: their logs tell of another hour.
    let now = jiff::Timestamp::now().as_second();
    let off: Vec<i64> = report.logs.iter().map(|log| (first_time(log) - now + 1800).div_euclid(3600)).collect();
    assert_eq!(off, [1, -1, 0]);
}

/// When a log begins, by the clock of whoever wrote it.
fn first_time(log: &str) -> i64 {
    let line: serde_json::Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    let time: jiff::Timestamp = line["timestamp"].as_str().unwrap().parse().unwrap();
    time.as_second()
}

#[tokio::test]
async fn connections_that_are_cut_and_scripts_that_are_forgotten_cost_no_job() {
    let report = weather("disconnect,flush", 40, 12, 15).await;
    assert!(report.figure("times that all connections were cut") > 0, "{report}");
    assert!(report.figure("times that Redis forgot all scripts") > 0, "{report}");
}

#[tokio::test]
async fn engines_that_forget_everything_cost_no_job() {
    let report = weather("engine,kill", 30, 8, 16).await;
    assert!(report.figure("engines restarted with nothing in them") > 0, "{report}");
}

#[tokio::test]
async fn jobs_that_the_reference_adds_cancels_and_runs_end_once() {
    let report = weather("foreign,cancel,kill", 60, 12, 17).await;
    assert!(report.figure("jobs that the reference's hub added") > 0, "{report}");
    assert!(report.figure("jobs that a reference worker completed") > 0, "{report}");
    assert!(report.figure("cancellations asked for") > 0, "{report}");
}

#[tokio::test]
async fn redis_gone_for_longer_than_the_leases_loses_no_job_and_runs_none_twice() {
    let (away, lease) = (Duration::from_secs(6), Duration::from_secs(4));
    let outage = |gone| Outage { jobs: 12, agents: 3, away, lease, gone };
    let (killed, unreachable) = (outage(Gone::Killed), outage(Gone::Unreachable));
    let verdicts = tokio::join!(killed.run(), unreachable.run());
    for verdict in [verdicts.0, verdicts.1] {
        assert!(verdict.is_sound(), "{verdict}");
    }
}
