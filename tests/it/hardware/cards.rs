//! What is read of each card, and the faults of single ones.
//! In: scenarios. Out: `Gpu`s.

use super::machine::{Machine, ready, states};
use gpu_worker::hardware::{self, Ecc, GpuHealth, Inventory, Vendor};

#[test]
fn one_card_tells_everything() {
    let (inventory, loaded) = Machine::new("one").look_and_loaded();
    assert!(loaded);
    assert_eq!(inventory.gpu_driver, ready());
    let [gpu] = &inventory.gpus[..] else { panic!("{inventory:?}") };
    assert_eq!((gpu.index, gpu.vendor, gpu.memory_gb), (0, Vendor::Nvidia, Some(24.0)));
    assert_eq!(gpu.name.as_deref(), Some("NVIDIA GeForce RTX 4090"));
    assert_eq!(gpu.uuid.as_deref(), Some("GPU-00000000-0000-0000-0000-000000000000"));
    assert_eq!(gpu.pci_bus_id.as_deref(), Some("00000000:41:00.0"));
    assert_eq!(gpu.driver_version.as_deref(), Some("550.90.07"));
    assert_eq!(gpu.memory_total_bytes, Some(24_564 << 20));
    assert_eq!(gpu.metrics.memory_free_bytes, Some(23_164 << 20));
    assert_eq!(
        (gpu.metrics.utilisation_percent, gpu.metrics.temperature_c, gpu.metrics.power_w),
        (Some(37), Some(41), Some(22.5))
    );
    let processes = gpu.metrics.processes.as_ref().unwrap();
    assert_eq!(processes.len(), 1, "one that computes and draws is one");
    assert_eq!((processes[0].pid, processes[0].used_bytes), (4242, Some(1000 << 20)));
    assert_eq!((gpu.health.clone(), gpu.mig_enabled), (GpuHealth::Healthy, false));
}

#[test]
fn one_of_four_lost_leaves_three() {
    let mut machine = Machine::new("four");
    let before = machine.look();
    assert_eq!(states(&before), vec![GpuHealth::Healthy; 4]);
    machine.becomes("one-of-four-lost");
    let after = machine.look();
    let expected = [GpuHealth::Healthy, GpuHealth::Healthy, GpuHealth::Lost, GpuHealth::Healthy];
    assert_eq!(states(&after), expected);
    assert_eq!(
        (&after.gpus[2].uuid, &after.gpus[2].name),
        (&before.gpus[2].uuid, &before.gpus[2].name),
        "it is known which one"
    );
    assert_eq!(after.units().len(), 3);
    assert_eq!(after.gpu_driver, ready());
    machine.becomes("four");
    assert_eq!(states(&machine.look()), vec![GpuHealth::Healthy; 4]);
}

#[test]
fn a_card_lost_before_the_start_is_listed_nameless() {
    let inventory = Machine::new("one-of-four-lost").look();
    assert_eq!((inventory.gpus.len(), inventory.units().len(), inventory.gpus[2].name.as_ref()), (4, 3, None));
}

#[test]
fn a_card_that_is_not_counted_any_more_is_missing_and_moves_no_other() {
    let mut machine = Machine::new("four");
    let before = machine.look();
    machine.becomes("three-of-four");
    let after = machine.look();
    let uuids = |inventory: &Inventory| inventory.gpus.iter().map(|gpu| gpu.uuid.clone()).collect::<Vec<_>>();
    assert_eq!(uuids(&after), uuids(&before));
    assert_eq!(after.gpus[2].health, GpuHealth::Missing);
}

#[test]
fn a_card_without_a_handle_is_that_cards_fault() {
    for (scenario, health) in [("handle-lost", GpuHealth::Lost), ("card-no-permission", GpuHealth::NoPermission)] {
        let inventory = Machine::new(scenario).look();
        assert_eq!((states(&inventory), inventory.gpu_driver), (vec![health], ready()));
    }
}

#[test]
fn what_a_card_does_not_tell_is_absent_and_no_fault() {
    let inventory = Machine::new("not-supported").look();
    let [gpu] = &inventory.gpus[..] else { panic!("{inventory:?}") };
    assert_eq!((gpu.memory_gb, gpu.health.clone()), (None, GpuHealth::Healthy));
    assert_eq!(gpu.metrics, hardware::Metrics::default());
    assert!(inventory.notes.iter().any(|note| note.text.contains("set GPU_MEMORY_GB")));
}

#[test]
fn a_divided_card_offers_its_instances() {
    for scenario in ["mig", "mig-old-driver"] {
        let inventory = Machine::new(scenario).look();
        let [gpu] = &inventory.gpus[..] else { panic!("{inventory:?}") };
        assert_eq!((gpu.memory_gb, gpu.mig_enabled, gpu.metrics.utilisation_percent), (Some(80.0), true, None));
        let found: Vec<_> = gpu.mig.iter().map(|mig| (mig.index, mig.profile.as_deref(), mig.memory_gb)).collect();
        assert_eq!(found, [(0, Some("3g.40gb"), Some(40.0)), (2, Some("1g.10gb"), Some(10.0))], "{scenario}");
        let units: Vec<_> =
            inventory.units().iter().map(|unit| (unit.memory_gb(), unit.uuid().unwrap().to_owned())).collect();
        assert_eq!(units[1], (Some(10.0), "MIG-00000000-0000-0000-0000-000000000002".into()));
        assert_eq!(units.len(), 2);
    }
}

#[test]
fn a_divided_card_without_instances_offers_nothing_and_says_so() {
    let inventory = Machine::new("mig-empty").look();
    assert!(inventory.units().is_empty());
    assert!(inventory.notes[0].text.contains("MIG mode without instances"), "{:?}", inventory.notes);
}

#[test]
fn a_card_that_fails_to_tell_its_memory_is_at_fault() {
    let inventory = Machine::new("card-unknown").look();
    assert!(matches!(states(&inventory)[..], [GpuHealth::Failed { .. }]), "{inventory:?}");
    assert!(inventory.gpus[0].name.is_some() && inventory.units().is_empty());
}

#[test]
fn a_divided_card_needs_no_privileges_to_offer_its_instances() {
    let inventory = Machine::new("mig-unprivileged").look();
    assert_eq!((inventory.gpus[0].memory_gb, states(&inventory)), (None, vec![GpuHealth::Healthy]));
    assert_eq!((inventory.units().len(), inventory.units()[0].memory_gb()), (2, Some(40.0)));
    assert_eq!(inventory.notes, []);
}

#[test]
fn what_a_card_knows_of_its_memory_is_read_where_there_is_something_to_read() {
    let mut machine = Machine::new("one");
    assert_eq!(machine.look().gpus[0].ecc, Ecc::default(), "no ECC is no fault");
    std::fs::write(machine.folder().join("ecc"), "0 5").unwrap();
    let expected = [
        ("remap-pending", Ecc { repair_pending: Some(true), repair_failed: Some(false), ..Ecc::default() }),
        ("remap-failed", Ecc { repair_pending: Some(false), repair_failed: Some(true), ..Ecc::default() }),
        ("retirement-pending", Ecc { retirement_pending: Some(true), ..Ecc::default() }),
    ];
    for (scenario, ecc) in expected {
        machine.becomes(scenario);
        let inventory = machine.look();
        assert_eq!(inventory.gpus[0].ecc, Ecc { uncorrected: Some(5), ..ecc }, "{scenario}");
        assert_eq!(states(&inventory), [GpuHealth::Healthy], "what follows from it is not the reader's business");
    }
}
