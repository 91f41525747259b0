//! Every way into the fence and out of it, on a clock that the test turns.

use super::*;
use crate::hardware::{GpuHealth, Source, Vendor, xid};

/// A card and its clock.
struct Card {
    fitness: Fitness,
    gpu: Gpu,
    driver: DriverState,
    now: Instant,
}

impl Card {
    fn new() -> Self {
        let gpu = Gpu::at(1, Vendor::Nvidia, Source::Detected, GpuHealth::Healthy);
        let driver = DriverState::Ready { name: "nvidia".into(), version: None };
        let mut card = Self { fitness: Fitness::default(), gpu, driver, now: Instant::now() };
        assert_eq!(card.look(), None);
        card
    }

    fn look(&mut self) -> Option<Step> {
        self.fitness.look(&self.gpu, &self.driver, self.now)
    }

    fn health(&mut self, health: GpuHealth) -> Option<Step> {
        self.gpu.health = health;
        self.look()
    }

    fn xid(&mut self, number: u64) -> Option<Step> {
        self.fitness.xid(xid(number).unwrap(), 1, self.now)
    }

    /// Lets time pass, looking each second, until a check is asked for; answers how long that took.
    fn until_check(&mut self, longest: u64) -> Option<u64> {
        (0..=longest).find(|_| {
            let step = self.look();
            self.now += Duration::from_secs(1);
            step == Some(Step::Check)
        })
    }

    fn checked(&mut self, outcome: Checked) -> Option<Step> {
        self.fitness.checked(&outcome, self.now)
    }
}

fn fenced(step: Option<Step>) -> Fault {
    match step {
        Some(Step::Fence(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

const HOURS: u64 = 3600;

#[test]
fn a_transient_fault_ends_after_its_pause_and_a_check() {
    let mut card = Card::new();
    let fault = fenced(card.xid(94));
    assert!(fault.reason.starts_with("Xid 94: contained") && fault.hands_back && !card.fitness.is_fit(), "{fault:?}");
    assert_eq!(card.until_check(HOURS), Some(300));
    assert!(!card.fitness.is_fit(), "not before the check");
    assert_eq!(card.look(), None, "one check at a time");
    assert!(matches!(card.checked(Checked::Passed), Some(Step::Readmit(after)) if after.as_secs() == 301));
    assert!(card.fitness.is_fit());
}

#[test]
fn what_needs_a_reset_does_not_end_by_time_but_by_the_driver_losing_and_finding_the_card() {
    for number in [64, 79, 95, 119, 120] {
        let mut card = Card::new();
        assert!(fenced(card.xid(number)).hands_back);
        assert_eq!(card.until_check(20 * HOURS), None, "{number}");
        assert_eq!(card.health(GpuHealth::Lost), None, "the Xid stays the reason");
        assert_eq!(card.until_check(10), None);
        card.health(GpuHealth::Healthy);
        assert!(card.until_check(10).is_some());
        assert!(matches!(card.checked(Checked::Passed), Some(Step::Readmit(_))));
    }
}

#[test]
fn a_fatal_xid_replaces_a_lesser_reason() {
    let mut card = Card::new();
    fenced(card.health(GpuHealth::Lost));
    assert!(fenced(card.xid(79)).reason.starts_with("Xid 79"));
    // What was lost before the Xid does not count as its reset; that it is lost still does.
    assert_eq!(card.look(), None);
    card.health(GpuHealth::Healthy);
    assert!(card.until_check(10).is_some());
}

#[test]
fn programs_faults_fence_nothing_however_many() {
    let mut card = Card::new();
    for number in [13, 31, 43, 45] {
        assert!(matches!(card.xid(number), Some(Step::Tell(row)) if row.number == number));
        for _ in 0..1000 {
            assert_eq!(card.xid(number), None, "told once a minute");
        }
        assert!(card.fitness.is_fit());
    }
    card.now += TOLD_EVERY;
    assert!(matches!(card.xid(45), Some(Step::Tell(_))));
}

#[test]
fn a_card_that_comes_and_goes_works_less_and_less_often_and_is_never_lost_for_ever() {
    let mut card = Card::new();
    let mut pauses = Vec::new();
    for _ in 0..9 {
        fenced(card.xid(48));
        pauses.push(card.until_check(5 * HOURS).unwrap() / 60);
        card.checked(Checked::Passed);
    }
    assert_eq!(pauses, [10, 20, 40, 80, 160, 240, 240, 240, 240], "minutes");
    card.now += MEMORY_OF_FENCES;
    fenced(card.xid(48));
    assert_eq!(card.until_check(HOURS), Some(600), "forgiven");
}

#[test]
fn a_failed_check_is_made_again_later_and_later() {
    let mut card = Card::new();
    fenced(card.xid(94));
    card.until_check(HOURS).unwrap();
    for minutes in [10, 20, 40] {
        assert_eq!(card.checked(Checked::Failed("wrong bytes".into())), None);
        assert!(!card.fitness.is_fit());
        assert_eq!(card.until_check(5 * HOURS), Some(minutes * 60));
    }
    assert!(matches!(card.checked(Checked::CannotTell("no CUDA".into())), Some(Step::Readmit(_))));
}

#[test]
fn a_fault_during_the_check_counts_more_than_its_outcome() {
    let mut card = Card::new();
    fenced(card.health(GpuHealth::Missing));
    card.health(GpuHealth::Healthy);
    card.until_check(10).unwrap();
    assert_eq!(card.health(GpuHealth::Missing), None, "the same reason is told once");
    assert_eq!(card.checked(Checked::Passed), None);
    assert!(!card.fitness.is_fit());
    card.health(GpuHealth::Healthy);
    card.until_check(10).unwrap();
    assert!(fenced(card.xid(119)).reason.starts_with("Xid 119"), "another reason is told");
    assert_eq!(card.checked(Checked::Passed), None);
}

#[test]
fn memory_errors_count_from_where_they_stood() {
    let mut card = Card::new();
    card.gpu.ecc.uncorrected = Some(7);
    assert_eq!(card.look(), None, "old errors are no news");
    card.gpu.ecc.uncorrected = None;
    assert_eq!(card.look(), None);
    card.gpu.ecc.uncorrected = Some(8);
    let fault = fenced(card.look());
    assert!(fault.reason.contains("8 since the driver was loaded") && fault.hands_back, "{fault:?}");
    assert_eq!(card.until_check(HOURS), Some(600));
    card.checked(Checked::Passed);
    card.gpu.ecc.uncorrected = Some(0);
    assert_eq!(card.look(), None, "a reset");
    card.gpu.ecc.uncorrected = Some(1);
    fenced(card.look());
    assert!(card.fitness.memory_error(1, card.now).is_some(), "and the driver's own word is another reason");
}

#[test]
fn the_drivers_own_faults_let_jobs_finish_and_end_with_it() {
    let mut card = Card::new();
    card.driver = DriverState::VersionMismatch;
    let fault = fenced(card.health(GpuHealth::DriverFault));
    assert!(!fault.hands_back && fault.remedy.contains("reboot"), "{fault:?}");
    card.driver = DriverState::NotAnswering { waited_ms: 10_000 };
    assert!(fenced(card.look()).reason.contains("has not answered"), "another fault is told");
    card.driver = DriverState::Ready { name: "nvidia".into(), version: None };
    card.health(GpuHealth::Healthy);
    assert!(card.until_check(10).is_some());
}

#[test]
fn what_the_card_says_of_its_memory_counts() {
    let mut card = Card::new();
    card.gpu.ecc.repair_pending = Some(true);
    assert_eq!(card.look(), None, "a card whose repair waits for a reset works on without the bad rows");
    card.gpu.ecc.retirement_pending = Some(true);
    assert!(!fenced(card.look()).hands_back);
    card.gpu.ecc.repair_failed = Some(true);
    assert!(fenced(card.look()).remedy.contains("replaced"));
    assert_eq!(card.until_check(10 * HOURS), None);
}

#[test]
fn nobody_asks_for_the_health_of_cards_that_nobody_saw() {
    let mut card = Card::new();
    card.driver = DriverState::NoLibrary;
    assert_eq!(card.health(GpuHealth::Unchecked), None);
}
