//! A run as a user sees it: a model loads, steps come, the picture is decoded and stored.

use super::*;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A report of the sampler of a job of `steps + 4` parts: two before it, two after it.
fn sampler(step: u64, steps: u64) -> Progress {
    let fraction = (2.0 + step as f64) / (steps as f64 + 4.0);
    Progress { fraction, node: Some("3".into()), step: Some((step, steps)), ..Progress::default() }
}

fn other(node: &str, fraction: f64) -> Progress {
    Progress { fraction, node: Some(node.into()), ..Progress::default() }
}

fn left(steady: &Steady, now: f64) -> Option<f64> {
    steady.left(seconds(now)).map(|guess| guess.left.as_secs_f64())
}

#[test]
fn loading_is_not_taken_for_the_pace_and_the_guess_falls_by_a_second_a_second() {
    let mut steady = Steady::default();
    steady.note(&other("1", 0.0), seconds(0.0));
    assert_eq!(left(&steady, 29.0), None, "a model loads: nobody knows");
    // The first step ends 31 s after the start, each further one takes one second; 200 of them.
    for step in 0..=2 {
        steady.note(&sampler(step, 200), seconds(30.0 + step as f64));
    }
    assert_eq!(left(&steady, 32.0), None, "two steps that may differ");
    let mut before = f64::MAX;
    for step in 3..=200 {
        let now = 30.0 + step as f64;
        steady.note(&sampler(step, 200), seconds(now));
        let told = left(&steady, now).unwrap();
        assert!((told - (202.0 - step as f64)).abs() < 0.01, "{told} s left after step {step}");
        assert!(told < before, "never more than before");
        before = told;
    }
    // Decoding and saving, one part each; and then the files are fetched.
    steady.note(&other("8", 202.0 / 204.0), seconds(230.0));
    let told = steady.left(seconds(230.5)).unwrap();
    assert_eq!((told.left, told.stepping), (seconds(1.5), false));
    steady.note(&Progress { fraction: 1.0, stage: Stage::Fetching, ..Progress::default() }, seconds(232.0));
    assert_eq!(left(&steady, 232.0), None, "how long files take nobody knows");
}

#[test]
fn a_step_that_hangs_brings_the_end_no_nearer_and_has_no_pace_in_the_end() {
    let mut steady = Steady::default();
    (0..=10).for_each(|step| steady.note(&sampler(step, 20), seconds(step as f64)));
    assert_eq!(left(&steady, 10.0), Some(12.0));
    assert_eq!((left(&steady, 10.5), left(&steady, 15.0), left(&steady, 30.0)), (Some(11.5), Some(11.0), Some(11.0)));
    assert_eq!(left(&steady, 31.0), None);
    assert_eq!(left(&steady, 0.0), Some(12.0), "a clock that is behind changes nothing");
}

#[test]
fn a_pace_that_changes_is_followed_and_skipped_steps_count() {
    let mut steady = Steady::default();
    (0..=100).for_each(|step| steady.note(&sampler(step, 400), seconds(step as f64)));
    // The card slows down to a third, and reports come every fifth step.
    (1..=40).for_each(|n| steady.note(&sampler(100 + 5 * n, 400), seconds(100.0 + 15.0 * n as f64)));
    let told = left(&steady, 700.0).unwrap();
    assert!((told - 102.0 * 3.0).abs() < 0.01, "{told}");
}

#[test]
fn small_steps_before_larger_work_say_nothing_about_it() {
    let mut steady = Steady::default();
    // Five steps that are a tenth of the whole.
    let before = |step: u64| Progress {
        fraction: step as f64 / 50.0,
        node: Some("1".into()),
        step: Some((step, 5)),
        ..Progress::default()
    };
    for step in 0..=5 {
        steady.note(&before(step), seconds(step as f64 / 10.0));
        assert_eq!(left(&steady, step as f64 / 10.0), None);
    }
    // The larger node: its own steps alone count.
    let large = |step: u64| Progress {
        fraction: 0.1 + 0.9 * step as f64 / 45.0,
        node: Some("2".into()),
        step: Some((step, 45)),
        ..Progress::default()
    };
    (0..=3).for_each(|step| steady.note(&large(step), seconds(2.0 * step as f64)));
    assert!((left(&steady, 6.0).unwrap() - 84.0).abs() < 0.01);
}

#[test]
fn steps_that_begin_anew_and_a_share_that_stands_still_have_no_pace() {
    let mut steady = Steady::default();
    (0..=10).for_each(|step| steady.note(&sampler(step, 20), seconds(step as f64)));
    // Memory ran out, and the run begins again: the share stays where it was.
    for step in 1..=5 {
        steady.note(&Progress { fraction: 0.5, ..sampler(step, 20) }, seconds(20.0 + step as f64));
        assert_eq!(left(&steady, 20.0 + step as f64), None);
    }
    let odd = Progress { fraction: 0.5, step: Some((u64::MAX, 0)), ..Progress::default() };
    (0..5).for_each(|n| steady.note(&odd, seconds(30.0 + n as f64)));
    assert_eq!(left(&steady, 40.0), None);
}
