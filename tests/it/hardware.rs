//! Hardware discovery against a stand-in NVML and made-up kernel files.
//! In: `nvml/nvml.c`, built here. Out: each driver state as the agent sees it.
//!
//! The dynamic loader reads its search path when a process starts, so each test starts this test binary again as a child, which
//! looks each time a line comes in and prints what it found.

use gpu_worker::config::DeclaredHardware;
use gpu_worker::hardware::{self, DriverState, GpuHealth, Inventory, Sampler, Settings, Vendor};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const CHILD: &str = "GPU_WORKER_PROBE_CHILD";
const MARK: &str = "inventory: ";

#[test]
#[ignore = "the other tests start it as a child process"]
fn child() {
    let Ok(deadline_ms) = std::env::var(CHILD) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut settings = Settings::new("/", DeclaredHardware::default());
    settings.root = PathBuf::from("/nonexistent");
    settings.deadline = Duration::from_millis(deadline_ms.parse().unwrap());
    let sampler = Sampler::start(settings).unwrap();
    for _ in std::io::stdin().lines() {
        let inventory = runtime.block_on(sampler.inventory());
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let answer = (inventory, maps.contains("libnvidia-ml"));
        println!("\n{MARK}{}", serde_json::to_string(&answer).unwrap());
    }
    // A thread that hangs in the stand-in must not keep the child.
    std::process::exit(0);
}

struct Machine {
    folder: TempDir,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Machine {
    fn new(scenario: &str) -> Self {
        Self::with(scenario, 60_000, &[])
    }

    fn with(scenario: &str, deadline_ms: u64, compiler_flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        build(folder.path(), compiler_flags);
        Self::start(folder, scenario, deadline_ms)
    }

    fn start(folder: TempDir, scenario: &str, deadline_ms: u64) -> Self {
        std::fs::write(folder.path().join("scenario"), scenario).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "hardware::child", "--ignored", "--nocapture"]);
        command
            .env(CHILD, deadline_ms.to_string())
            .env("LD_LIBRARY_PATH", folder.path());
        command.env("GPU_WORKER_FAKE_NVML", folder.path().join("scenario"));
        command.env("GPU_WORKER_FAKE_NVML_GATE", folder.path().join("gate"));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (
            child.stdin.take().unwrap(),
            BufReader::new(child.stdout.take().unwrap()),
        );
        Self {
            folder,
            child,
            input,
            output,
        }
    }

    fn becomes(&self, scenario: &str) {
        std::fs::write(self.folder.path().join("scenario"), scenario).unwrap();
    }

    /// What the child sees now, and whether the library is loaded in it.
    fn look_and_loaded(&mut self) -> (Inventory, bool) {
        writeln!(self.input, "look").unwrap();
        let mut line = String::new();
        while !line.starts_with(MARK) {
            line.clear();
            assert_ne!(
                self.output.read_line(&mut line).unwrap(),
                0,
                "the child ended: {:?}",
                self.child.wait()
            );
        }
        serde_json::from_str(&line[MARK.len()..]).unwrap()
    }

    fn look(&mut self) -> Inventory {
        self.look_and_loaded().0
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn build(folder: &Path, flags: &[&str]) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/nvml/nvml.c");
    let mut compiler = Command::new("cc");
    compiler
        .args(["-shared", "-fPIC", "-O0", "-Wall", "-Wextra", "-Werror"])
        .args(flags);
    let status = compiler
        .arg("-o")
        .arg(folder.join("libnvidia-ml.so.1"))
        .arg(source)
        .status();
    assert!(status.expect("a C compiler (cc) is needed").success());
}

fn states(inventory: &Inventory) -> Vec<GpuHealth> {
    inventory
        .gpus
        .iter()
        .map(|gpu| gpu.health.clone())
        .collect()
}

fn ready() -> DriverState {
    DriverState::Ready {
        name: "nvidia".into(),
        version: Some("550.90.07".into()),
    }
}

#[test]
fn one_card_tells_everything() {
    let (inventory, loaded) = Machine::new("one").look_and_loaded();
    assert!(loaded);
    assert_eq!(inventory.gpu_driver, ready());
    let [gpu] = &inventory.gpus[..] else {
        panic!("{inventory:?}")
    };
    assert_eq!(
        (gpu.index, gpu.vendor, gpu.memory_gb),
        (0, Vendor::Nvidia, Some(24.0))
    );
    assert_eq!(gpu.name.as_deref(), Some("NVIDIA GeForce RTX 4090"));
    assert_eq!(
        gpu.uuid.as_deref(),
        Some("GPU-00000000-0000-0000-0000-000000000000")
    );
    assert_eq!(gpu.pci_bus_id.as_deref(), Some("00000000:41:00.0"));
    assert_eq!(gpu.driver_version.as_deref(), Some("550.90.07"));
    assert_eq!(gpu.memory_total_bytes, Some(24_564 << 20));
    assert_eq!(gpu.metrics.memory_free_bytes, Some(23_164 << 20));
    assert_eq!(
        (
            gpu.metrics.utilisation_percent,
            gpu.metrics.temperature_c,
            gpu.metrics.power_w
        ),
        (Some(37), Some(41), Some(22.5))
    );
    let processes = gpu.metrics.processes.as_ref().unwrap();
    assert_eq!(processes.len(), 1, "one that computes and draws is one");
    assert_eq!(
        (processes[0].pid, processes[0].used_bytes),
        (4242, Some(1000 << 20))
    );
    assert_eq!(
        (gpu.health.clone(), gpu.mig_enabled),
        (GpuHealth::Healthy, false)
    );
}

#[test]
fn no_card_is_an_answer_and_unloads_the_library() {
    let mut machine = Machine::new("none");
    let (inventory, loaded) = machine.look_and_loaded();
    assert_eq!(
        (inventory.gpu_driver, inventory.gpus.len(), loaded),
        (ready(), 0, false)
    );
    machine.becomes("one");
    assert_eq!(
        machine.look().gpus.len(),
        1,
        "a card that comes later is seen"
    );
}

#[test]
fn no_library_is_an_answer() {
    let (inventory, loaded) =
        Machine::start(tempfile::tempdir().unwrap(), "one", 60_000).look_and_loaded();
    // On a machine with NVIDIA's own library this is whatever that one says.
    if !loaded && !inventory.gpu_driver.is_fault() {
        assert_eq!(
            (inventory.gpu_driver, inventory.gpus.len()),
            (DriverState::NoLibrary, 0)
        );
    }
}

#[test]
fn a_library_without_a_kernel_module_is_an_answer_and_asked_again() {
    let mut machine = Machine::new("no-driver");
    let (inventory, loaded) = machine.look_and_loaded();
    assert_eq!(
        (inventory.gpu_driver, loaded),
        (DriverState::NoKernelModule, false)
    );
    machine.becomes("one");
    assert_eq!(
        machine.look().gpu_driver,
        ready(),
        "a failure is not remembered"
    );
}

#[test]
fn driver_faults_have_a_state_and_a_remedy() {
    for (scenario, state) in [
        ("mismatch", DriverState::VersionMismatch),
        ("no-permission", DriverState::NoPermission),
    ] {
        let (inventory, loaded) = Machine::new(scenario).look_and_loaded();
        assert_eq!((&inventory.gpu_driver, loaded), (&state, false));
        assert!(hardware::text(&inventory).contains(state.remedy().unwrap()));
    }
    let inventory = Machine::new("unknown").look();
    assert!(
        matches!(inventory.gpu_driver, DriverState::Failed { .. }),
        "{inventory:?}"
    );
}

#[test]
fn a_broken_library_is_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("libnvidia-ml.so.1"), "not a library").unwrap();
    let inventory = Machine::start(folder, "one", 60_000).look();
    assert!(
        matches!(inventory.gpu_driver, DriverState::Failed { .. }),
        "{inventory:?}"
    );
}

#[test]
fn a_library_without_shutdown_is_a_fault_and_no_panic() {
    let mut machine = Machine::with("one", 60_000, &["-DWITHOUT_SHUTDOWN"]);
    for _ in 0..2 {
        assert!(matches!(
            machine.look().gpu_driver,
            DriverState::Failed { .. }
        ));
    }
}

#[test]
fn one_of_four_lost_leaves_three() {
    let mut machine = Machine::new("four");
    let before = machine.look();
    assert_eq!(states(&before), vec![GpuHealth::Healthy; 4]);
    machine.becomes("one-of-four-lost");
    let after = machine.look();
    let expected = [
        GpuHealth::Healthy,
        GpuHealth::Healthy,
        GpuHealth::Lost,
        GpuHealth::Healthy,
    ];
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
    assert_eq!(
        (
            inventory.gpus.len(),
            inventory.units().len(),
            inventory.gpus[2].name.as_ref()
        ),
        (4, 3, None)
    );
}

#[test]
fn a_card_that_is_not_counted_any_more_is_missing_and_moves_no_other() {
    let mut machine = Machine::new("four");
    let before = machine.look();
    machine.becomes("three-of-four");
    let after = machine.look();
    let uuids = |inventory: &Inventory| {
        inventory
            .gpus
            .iter()
            .map(|gpu| gpu.uuid.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(uuids(&after), uuids(&before));
    assert_eq!(after.gpus[2].health, GpuHealth::Missing);
}

#[test]
fn a_card_without_a_handle_is_that_cards_fault() {
    for (scenario, health) in [
        ("handle-lost", GpuHealth::Lost),
        ("card-no-permission", GpuHealth::NoPermission),
    ] {
        let inventory = Machine::new(scenario).look();
        assert_eq!(
            (states(&inventory), inventory.gpu_driver),
            (vec![health], ready())
        );
    }
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
fn what_a_card_does_not_tell_is_absent_and_no_fault() {
    let inventory = Machine::new("not-supported").look();
    let [gpu] = &inventory.gpus[..] else {
        panic!("{inventory:?}")
    };
    assert_eq!(
        (gpu.memory_gb, gpu.health.clone()),
        (None, GpuHealth::Healthy)
    );
    assert_eq!(gpu.metrics, hardware::Metrics::default());
    assert!(
        inventory
            .notes
            .iter()
            .any(|note| note.text.contains("set GPU_MEMORY_GB"))
    );
}

#[test]
fn a_divided_card_offers_its_instances() {
    for scenario in ["mig", "mig-old-driver"] {
        let inventory = Machine::new(scenario).look();
        let [gpu] = &inventory.gpus[..] else {
            panic!("{inventory:?}")
        };
        assert_eq!(
            (
                gpu.memory_gb,
                gpu.mig_enabled,
                gpu.metrics.utilisation_percent
            ),
            (Some(80.0), true, None)
        );
        let found: Vec<_> = gpu
            .mig
            .iter()
            .map(|mig| (mig.index, mig.profile.as_deref(), mig.memory_gb))
            .collect();
        assert_eq!(
            found,
            [
                (0, Some("3g.40gb"), Some(40.0)),
                (2, Some("1g.10gb"), Some(10.0))
            ],
            "{scenario}"
        );
        let units: Vec<_> = inventory
            .units()
            .iter()
            .map(|unit| (unit.memory_gb(), unit.uuid().unwrap().to_owned()))
            .collect();
        assert_eq!(
            units[1],
            (
                Some(10.0),
                "MIG-00000000-0000-0000-0000-000000000002".into()
            )
        );
        assert_eq!(units.len(), 2);
    }
}

#[test]
fn a_divided_card_without_instances_offers_nothing_and_says_so() {
    let inventory = Machine::new("mig-empty").look();
    assert!(inventory.units().is_empty());
    assert!(
        inventory.notes[0]
            .text
            .contains("MIG mode without instances"),
        "{:?}",
        inventory.notes
    );
}

#[test]
fn a_driver_that_hangs_is_a_state_until_it_answers() {
    let folder = tempfile::tempdir().unwrap();
    build(folder.path(), &[]);
    let gate = folder.path().join("gate");
    assert!(
        Command::new("mkfifo")
            .arg(&gate)
            .status()
            .unwrap()
            .success()
    );
    let mut machine = Machine::start(folder, "hanging", 200);
    for _ in 0..2 {
        let inventory = machine.look();
        assert_eq!(
            inventory.gpu_driver,
            DriverState::NotAnswering { waited_ms: 200 }
        );
        assert!(
            inventory.host.ram_gb.is_some(),
            "the rest is told all the same"
        );
    }
    machine.becomes("one");
    drop(std::fs::OpenOptions::new().write(true).open(&gate).unwrap());
    while machine.look().gpu_driver != ready() {}
}

mod files {
    use super::*;

    fn kernel(files: &[(&str, &str)]) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("{text}\n")).unwrap();
        }
        root
    }

    async fn look(root: &TempDir, declared: DeclaredHardware) -> Inventory {
        let mut settings = Settings::new(root.path(), declared);
        settings.root = root.path().to_owned();
        Sampler::start(settings).unwrap().inventory().await
    }

    #[tokio::test]
    async fn amd_cards_come_from_the_kernels_files() {
        let root = kernel(&[
            ("sys/class/drm/card1/device/vendor", "0x1002"),
            ("sys/class/drm/card1/device/device", "0x744c"),
            (
                "sys/class/drm/card1/device/uevent",
                "DRIVER=amdgpu\nPCI_SLOT_NAME=0000:03:00.0",
            ),
            (
                "sys/class/drm/card1/device/mem_info_vram_total",
                "25753026560",
            ),
            (
                "sys/class/drm/card1/device/mem_info_vram_used",
                "1073741824",
            ),
            ("sys/class/drm/card1/device/gpu_busy_percent", "99"),
            ("sys/class/drm/card1/device/unique_id", "d1f2a3b4c5d6e7f8"),
            (
                "sys/class/drm/card1/device/hwmon/hwmon4/temp1_input",
                "61500",
            ),
            (
                "sys/class/drm/card1/device/hwmon/hwmon4/power1_average",
                "300000000",
            ),
            ("sys/class/drm/card1-DP-1/device/vendor", "0x1002"),
            ("sys/class/drm/card0/device/vendor", "0x1002"),
            (
                "sys/class/drm/card0/device/uevent",
                "PCI_SLOT_NAME=0000:0c:00.0",
            ),
            (
                "sys/class/drm/card0/device/mem_info_vram_total",
                "536870912",
            ),
            ("sys/class/drm/card2/device/vendor", "0x8086"),
            (
                "sys/class/drm/card2/device/uevent",
                "PCI_SLOT_NAME=0000:00:02.0",
            ),
        ]);
        let inventory = look(&root, DeclaredHardware::default()).await;
        let amd: Vec<_> = inventory
            .gpus
            .iter()
            .filter(|gpu| gpu.vendor == Vendor::Amd)
            .collect();
        let [gpu] = amd[..] else {
            panic!("{inventory:?}")
        };
        assert_eq!(
            (gpu.name.as_deref(), gpu.memory_gb),
            (Some("AMD GPU 0x744c"), Some(24.0))
        );
        assert_eq!(
            (gpu.uuid.as_deref(), gpu.pci_bus_id.as_deref()),
            (Some("d1f2a3b4c5d6e7f8"), Some("0000:03:00.0"))
        );
        assert_eq!(
            gpu.metrics.memory_free_bytes,
            Some(25_753_026_560 - 1_073_741_824)
        );
        assert_eq!(
            (
                gpu.metrics.utilisation_percent,
                gpu.metrics.temperature_c,
                gpu.metrics.power_w
            ),
            (Some(99), Some(61), Some(300.0))
        );
        assert!(
            inventory
                .notes
                .iter()
                .any(|note| note.text.contains("0000:0c:00.0 is not used")),
            "{:?}",
            inventory.notes
        );
    }

    #[tokio::test]
    async fn nvidia_cards_without_a_driver_are_worth_a_word() {
        let root = kernel(&[
            ("sys/bus/pci/devices/0000:41:00.0/vendor", "0x10de"),
            ("sys/bus/pci/devices/0000:41:00.0/class", "0x030200"),
            ("sys/bus/pci/devices/0000:41:00.1/vendor", "0x10de"),
            ("sys/bus/pci/devices/0000:41:00.1/class", "0x040300"),
        ]);
        let inventory = look(&root, DeclaredHardware::default()).await;
        if inventory.gpu_driver == DriverState::NoLibrary {
            assert!(
                inventory.notes[0]
                    .text
                    .starts_with("1 NVIDIA card is on the PCI bus"),
                "{:?}",
                inventory.notes
            );
        }
    }

    #[tokio::test]
    async fn with_gpu_count_zero_nobody_is_asked() {
        let declared = DeclaredHardware {
            gpu_count: Some(0),
            ..Default::default()
        };
        let inventory = look(&kernel(&[]), declared).await;
        assert_eq!(
            (inventory.gpu_driver, inventory.gpus.len()),
            (DriverState::NotAsked, 0)
        );
    }
}

#[tokio::test]
async fn simulated_cards_stand_on_the_real_host() {
    let mut settings = Settings::new("/", DeclaredHardware::default());
    settings.simulated = Some((2, 24.0));
    let sampler = Sampler::start(settings).unwrap();
    let inventory = sampler.inventory().await;
    assert_eq!(
        (
            inventory.units().len(),
            inventory.host.cpu_cores > 0,
            inventory.host.disk.is_some()
        ),
        (2, true, true)
    );
    let sample = sampler.sample().await;
    assert_eq!(sample.gpus[1].metrics.memory_free_bytes, Some(24 << 30));
}

#[tokio::test]
async fn a_script_can_take_a_card_away() {
    let (script, read) = tokio::sync::watch::channel(hardware::simulated(1, 24.0));
    let sampler = Sampler::scripted(read);
    assert_eq!(sampler.inventory().await.units().len(), 1);
    script.send_modify(|inventory| inventory.gpus[0].health = GpuHealth::Lost);
    assert_eq!(sampler.inventory().await.units().len(), 0);
}
