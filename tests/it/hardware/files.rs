//! AMD cards, cards without a driver and no cards, from the kernel's files.
//! In: made-up files. Out: an `Inventory`.

use gpu_worker::config::DeclaredHardware;
use gpu_worker::hardware::{DriverState, Inventory, Sampler, Settings, Vendor};
use tempfile::TempDir;

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
        ("sys/class/drm/card1/device/uevent", "DRIVER=amdgpu\nPCI_SLOT_NAME=0000:03:00.0"),
        ("sys/class/drm/card1/device/mem_info_vram_total", "25753026560"),
        ("sys/class/drm/card1/device/mem_info_vram_used", "1073741824"),
        ("sys/class/drm/card1/device/gpu_busy_percent", "99"),
        ("sys/class/drm/card1/device/unique_id", "d1f2a3b4c5d6e7f8"),
        ("sys/class/drm/card1/device/hwmon/hwmon4/temp1_input", "61500"),
        ("sys/class/drm/card1/device/hwmon/hwmon4/power1_average", "300000000"),
        ("sys/class/drm/card1/device/ras/umc_err_count", "ue: 2\nce: 17"),
        ("sys/class/drm/card1-DP-1/device/vendor", "0x1002"),
        ("sys/class/drm/card0/device/vendor", "0x1002"),
        ("sys/class/drm/card0/device/uevent", "PCI_SLOT_NAME=0000:0c:00.0"),
        ("sys/class/drm/card0/device/mem_info_vram_total", "536870912"),
        ("sys/class/drm/card2/device/vendor", "0x8086"),
        ("sys/class/drm/card2/device/uevent", "PCI_SLOT_NAME=0000:00:02.0"),
    ]);
    let inventory = look(&root, DeclaredHardware::default()).await;
    let amd: Vec<_> = inventory.gpus.iter().filter(|gpu| gpu.vendor == Vendor::Amd).collect();
    let [gpu] = amd[..] else { panic!("{inventory:?}") };
    assert_eq!((gpu.name.as_deref(), gpu.memory_gb), (Some("AMD GPU 0x744c"), Some(24.0)));
    assert_eq!((gpu.uuid.as_deref(), gpu.pci_bus_id.as_deref()), (Some("d1f2a3b4c5d6e7f8"), Some("0000:03:00.0")));
    assert_eq!(gpu.metrics.memory_free_bytes, Some(25_753_026_560 - 1_073_741_824));
    assert_eq!(
        (gpu.metrics.utilisation_percent, gpu.metrics.temperature_c, gpu.metrics.power_w),
        (Some(99), Some(61), Some(300.0))
    );
    assert_eq!(gpu.ecc.uncorrected, Some(2));
    assert!(inventory.notes.iter().any(|note| note.text.contains("0000:0c:00.0 is not used")), "{:?}", inventory.notes);
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
        assert!(inventory.notes[0].text.starts_with("1 NVIDIA card is on the PCI bus"), "{:?}", inventory.notes);
    }
}

#[tokio::test]
async fn with_gpu_count_zero_nobody_is_asked() {
    let declared = DeclaredHardware { gpu_count: Some(0), ..Default::default() };
    let inventory = look(&kernel(&[]), declared).await;
    assert_eq!((inventory.gpu_driver, inventory.gpus.len()), (DriverState::NotAsked, 0));
}
