//! States of the driver as a whole, each made to happen.
//! In: scenarios. Out: `DriverState`, and whether the library stays loaded.

use super::machine::{Machine, build, ready, states};
use gpu_worker::hardware::{self, DriverState, GpuHealth};
use std::process::Command;

#[test]
fn no_card_is_an_answer_and_unloads_the_library() {
    let mut machine = Machine::new("none");
    let (inventory, loaded) = machine.look_and_loaded();
    assert_eq!((inventory.gpu_driver, inventory.gpus.len(), loaded), (ready(), 0, false));
    machine.becomes("one");
    assert_eq!(machine.look().gpus.len(), 1, "a card that comes later is seen");
}

#[test]
fn no_library_is_an_answer() {
    let (inventory, loaded) = Machine::start(tempfile::tempdir().unwrap(), "one", 60_000).look_and_loaded();
    // On a machine with NVIDIA's own library this is whatever that one says.
    if !loaded && !inventory.gpu_driver.is_fault() {
        assert_eq!((inventory.gpu_driver, inventory.gpus.len()), (DriverState::NoLibrary, 0));
    }
}

#[test]
fn a_library_without_a_kernel_module_is_an_answer_and_asked_again() {
    let mut machine = Machine::new("no-driver");
    let (inventory, loaded) = machine.look_and_loaded();
    assert_eq!((inventory.gpu_driver, loaded), (DriverState::NoKernelModule, false));
    machine.becomes("one");
    assert_eq!(machine.look().gpu_driver, ready(), "a failure is not remembered");
}

#[test]
fn driver_faults_have_a_state_and_a_remedy() {
    for (scenario, state) in [("mismatch", DriverState::VersionMismatch), ("no-permission", DriverState::NoPermission)]
    {
        let (inventory, loaded) = Machine::new(scenario).look_and_loaded();
        assert_eq!((&inventory.gpu_driver, loaded), (&state, false));
        assert!(hardware::text(&inventory).contains(state.remedy().unwrap()));
    }
    let inventory = Machine::new("unknown").look();
    assert!(matches!(inventory.gpu_driver, DriverState::Failed { .. }), "{inventory:?}");
}

#[test]
fn a_broken_library_is_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("libnvidia-ml.so.1"), "not a library").unwrap();
    let inventory = Machine::start(folder, "one", 60_000).look();
    assert!(matches!(inventory.gpu_driver, DriverState::Failed { .. }), "{inventory:?}");
}

#[test]
fn a_library_without_shutdown_is_a_fault_and_no_panic() {
    let mut machine = Machine::with("one", 60_000, &["-DWITHOUT_SHUTDOWN"]);
    for _ in 0..2 {
        assert!(matches!(machine.look().gpu_driver, DriverState::Failed { .. }));
    }
}

#[test]
fn on_wsl_the_library_with_a_kernel_module_wins() {
    let mut machine = Machine::with("one", 60_000, &["-DWITHOUT_MODULE"]);
    assert_eq!(machine.look().gpu_driver, DriverState::NoKernelModule);
    let folder = machine.folder().join("usr/lib/wsl/lib");
    std::fs::create_dir_all(&folder).unwrap();
    build(&folder, &[]);
    assert_eq!(machine.look().gpu_driver, ready());
}

#[test]
fn a_driver_that_fails_later_marks_its_cards() {
    let mut machine = Machine::new("four");
    machine.look();
    machine.becomes("fault-later");
    let (inventory, loaded) = machine.look_and_loaded();
    assert!(inventory.gpu_driver.is_fault() && !loaded, "{inventory:?}");
    assert_eq!(states(&inventory), vec![GpuHealth::DriverFault; 4]);
    machine.becomes("four");
    assert_eq!(states(&machine.look()), vec![GpuHealth::Healthy; 4]);
}

#[test]
fn a_driver_that_hangs_is_a_state_until_it_answers() {
    let folder = tempfile::tempdir().unwrap();
    build(folder.path(), &[]);
    let gate = folder.path().join("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let mut machine = Machine::start(folder, "hanging", 200);
    for _ in 0..2 {
        let inventory = machine.look();
        assert_eq!(inventory.gpu_driver, DriverState::NotAnswering { waited_ms: 200 });
        assert!(inventory.host.ram_gb.is_some(), "the rest is told all the same");
    }
    machine.becomes("one");
    drop(std::fs::OpenOptions::new().write(true).open(&gate).unwrap());
    while machine.look().gpu_driver != ready() {}
}
