//! The breakers under a clock of their own.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn model() -> Part {
    Part::Model("a.safetensors".to_owned())
}

#[test]
fn three_failures_in_a_row_open_and_a_success_between_them_begins_the_count_anew() {
    let (mut breakers, now) = (Breakers::default(), Instant::now());
    assert_eq!(breakers.failed(Part::Whole, false, "j", "", now), None);
    assert_eq!(breakers.failed(Part::Whole, false, "j", "", now), None);
    assert!(!breakers.succeeded(&Part::Whole), "it was never left out");
    assert_eq!(breakers.failed(Part::Whole, false, "j", "", now), None);
    assert_eq!(breakers.failed(Part::Whole, false, "j", "", now), None);
    assert!(!breakers.is_open(&Part::Whole));
    assert_eq!(breakers.failed(Part::Whole, false, "j", "why", now), Some(5 * SECOND));
    assert!(breakers.is_open(&Part::Whole));
    assert_eq!(breakers.rests(&Part::Whole, now), Some(("why", 5 * SECOND)));
}

#[test]
fn pauses_double_up_to_ten_minutes_and_a_success_on_trial_ends_it() {
    let (mut breakers, mut now) = (Breakers::default(), Instant::now());
    let mut pauses = Vec::new();
    for _ in 0..10 {
        let pause = breakers.failed(model(), true, "j", "", now).unwrap();
        pauses.push(pause.as_secs());
        now += pause - SECOND;
        assert!(breakers.review(true, now).is_empty(), "the pause is not over");
        now += SECOND;
        assert_eq!(breakers.review(true, now), [model()]);
        assert!(!breakers.is_open(&model()));
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 600, 600, 600]);
    assert!(breakers.succeeded(&model()));
    assert!(breakers.snapshot().is_empty());
    assert_eq!(breakers.failed(model(), true, "j", "", now), Some(5 * SECOND), "from the beginning");
}

#[test]
fn the_whole_engine_comes_back_only_after_a_good_probe() {
    let (mut breakers, now) = (Breakers::default(), Instant::now());
    breakers.failed(Part::Whole, true, "j", "", now);
    let later = now + 6 * SECOND;
    assert!(breakers.review(false, later).is_empty());
    assert!(breakers.is_open(&Part::Whole));
    assert_eq!(breakers.next_due(later), Some(Duration::ZERO));
    assert_eq!(breakers.review(true, later), [Part::Whole]);
    assert_eq!(
        breakers.failed(Part::Whole, false, "j", "", later),
        Some(10 * SECOND),
        "one failure is enough on trial"
    );
}

#[test]
fn what_ends_while_the_breaker_is_open_changes_nothing() {
    let (mut breakers, now) = (Breakers::default(), Instant::now());
    breakers.failed(model(), true, "j", "", now);
    assert_eq!(breakers.failed(model(), true, "j", "", now), None);
    assert!(!breakers.succeeded(&model()));
    assert_eq!(breakers.next_due(now), Some(5 * SECOND));
}

#[test]
fn the_least_need_that_failed_is_the_limit_and_a_larger_run_lifts_it() {
    let (mut breakers, now) = (Breakers::default(), Instant::now());
    breakers.failed(Part::Memory(24_000), true, "j", "", now);
    breakers.failed(Part::Memory(16_000), true, "j", "", now);
    breakers.failed(Part::Class("c1".to_owned()), true, "j", "", now);
    assert_eq!(breakers.memory_limit(), Some(16_000));
    assert_eq!(breakers.classes(), BTreeSet::from(["c1".to_owned()]));
    let later = now + 60 * SECOND;
    assert_eq!(breakers.review(false, later).len(), 3);
    assert_eq!((breakers.memory_limit(), breakers.classes().len()), (None, 0));
    assert!(!breakers.memory_sufficed(8_000), "a smaller run proves nothing");
    assert!(breakers.memory_sufficed(16_000));
    assert_eq!(breakers.failed(Part::Memory(16_000), true, "j", "", later), Some(60 * SECOND));
    assert_eq!(breakers.failed(Part::Memory(24_000), true, "j", "", later), Some(120 * SECOND));
}

#[test]
fn names_out_of_jobs_do_not_fill_the_memory_and_old_failures_are_forgotten() {
    let (mut breakers, now) = (Breakers::default(), Instant::now());
    breakers.failed(Part::Whole, false, "j", "", now);
    for at in 0..10_000u64 {
        breakers.failed(Part::Model(at.to_string()), false, "j", "", now + Duration::from_millis(at));
    }
    assert!(breakers.snapshot().len() <= PARTS_MAX);
    assert!(breakers.snapshot().iter().any(|shown| shown.part == Part::Whole));
    breakers.failed(model(), false, "j", "", now + 2 * MEMORY);
    assert_eq!(breakers.snapshot().len(), 1);
}
