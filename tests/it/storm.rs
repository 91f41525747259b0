//! A small kill storm, the same as `make chaos` runs at length; and the checker that judges it.

#[path = "../chaos/storm/mod.rs"]
pub mod tool;

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
