//! A small kill storm, the same as `make chaos` runs at length; and the checker that judges it.

#[path = "../chaos/storm/mod.rs"]
mod tool;

use std::time::Duration;
use tool::outage::{Gone, Outage};
use tool::plan::Plan;

#[test]
fn the_checker_catches_what_is_broken() {
    assert_eq!(tool::broken::check_the_checker(), Ok(()));
}

#[tokio::test]
async fn agents_that_are_killed_at_work_lose_no_job_and_end_none_twice() {
    let plan = Plan { jobs: 40, kills: 12, agents: 3, seed: 11 };
    let report = tool::run(&plan).await;
    assert!(report.is_sound(), "{report}\n{}", plan.command());
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
