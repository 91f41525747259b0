//! A few seconds of `make soak`, and the line that it draws through its samples.

#[path = "../soak/soak/mod.rs"]
mod tool;

use std::time::Duration;
use tool::Plan;
use tool::slope::Slope;

#[test]
fn a_line_through_points_has_its_slope_and_its_error() {
    let line = Slope::of(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]).unwrap();
    assert_eq!(line, Slope { slope: 2.0, error: 0.0 });
    assert!(line.grows(1.9) && !line.grows(2.1));
    // Up and down around a level: the slope is less than its error.
    let level = Slope::of(&[(0.0, 5.0), (1.0, 9.0), (2.0, 4.0), (3.0, 8.0)]).unwrap();
    assert!(level.slope < level.error && !level.grows(0.1), "{level:?}");
    assert_eq!(Slope::of(&[(0.0, 1.0), (1.0, 2.0)]), None);
    assert_eq!(Slope::of(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
}

#[tokio::test]
async fn a_short_soak_accounts_for_every_job() {
    let plan = Plan { time: Duration::from_secs(3), rate: 30, agents: 1, pause: Duration::from_millis(300) };
    let report = tool::run(&plan, |_| {}).await;
    assert!(report.accounts.submitted > 60, "{report}");
    assert_eq!((report.lost(), report.failed()), (0, 0), "{report}");
    assert_eq!(report.accounts.done(), report.accounts.submitted);
    assert_eq!(report.accounts.latencies.len() as u64, report.accounts.submitted);
}
