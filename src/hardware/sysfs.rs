//! Finds AMD cards in the files of the amdgpu kernel driver; tells of Intel cards, whose files do not tell their memory.
//! In: `/sys/class/drm` under a given root. Out: cards, ordered by PCI address.
//!
//! Tested on made-up files after the kernel's documentation of amdgpu; not run on a real GPU yet.

use super::{DriverState, Ecc, Found, Gpu, GpuHealth, GpuProbe, Metrics, Note, Source, Vendor, nominal};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Graphics built into a processor reports the slice of RAM that firmware sets aside, 512 MiB to 2 GiB as shipped.
const SMALLEST_CARD_BYTES: u64 = 3 << 30;
/// Where Intel's built-in graphics sits in every machine.
const INTEL_BUILT_IN: &str = "0000:00:02.0";

/// AMD's cards.
pub(super) struct Sysfs {
    root: PathBuf,
}

impl Sysfs {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// PCI address and folder of each card, without the connectors (`card0-DP-1`).
    fn cards(&self) -> Vec<(String, PathBuf)> {
        let Ok(entries) = std::fs::read_dir(self.root.join("sys/class/drm")) else {
            return Vec::new();
        };
        let is_card = |name: &str| name.strip_prefix("card").is_some_and(|number| number.parse::<u32>().is_ok());
        let mut cards: Vec<_> = entries
            .flatten()
            .filter(|entry| entry.file_name().to_str().is_some_and(is_card))
            .map(|entry| entry.path().join("device"))
            .map(|device| (address(&device), device))
            .collect();
        cards.sort();
        cards
    }
}

impl GpuProbe for Sysfs {
    fn name(&self) -> &'static str {
        "sysfs"
    }

    fn look(&mut self) -> Found {
        let mut found = Found { driver: DriverState::NoLibrary, gpus: Vec::new(), notes: Vec::new() };
        let version = text(&self.root.join("sys/module/amdgpu"), "version");
        for (address, device) in self.cards() {
            match text(&device, "vendor").as_deref() {
                Some("0x1002") => match amd(found.gpus.len() as u32, &address, &device) {
                    Ok(gpu) => found.gpus.push(Gpu { driver_version: version.clone(), ..gpu }),
                    Err(note) => found.notes.push(note),
                },
                Some("0x8086") if address != INTEL_BUILT_IN => found.notes.push(Note::info(format!(
                    "Intel card at {address} is not used: its driver does not tell its memory. Declare it with GPU_COUNT and GPU_MEMORY_GB"
                ))),
                _ => {}
            }
        }
        if !found.gpus.is_empty() {
            found.driver = DriverState::Ready { name: "amdgpu".into(), version };
        }
        found
    }
}

fn amd(index: u32, address: &str, device: &Path) -> Result<Gpu, Note> {
    let Some(total) = number::<u64>(device, "mem_info_vram_total") else {
        return Err(Note::warning(format!(
            "AMD card at {address} is not used: its memory is not readable (is the amdgpu driver bound to it?)"
        )));
    };
    if total < SMALLEST_CARD_BYTES {
        let mib = total >> 20;
        return Err(Note::info(format!(
            "AMD graphics at {address} is not used: {mib} MiB, probably built into the processor"
        )));
    }
    let name = text(device, "product_name").or_else(|| Some(format!("AMD GPU {}", text(device, "device")?)));
    let sensors = sensors(device);
    let sensor = |file: &str| number::<u64>(sensors.as_deref()?, file);
    Ok(Gpu {
        memory_gb: Some(nominal::memory_gb(total, name.as_deref().unwrap_or_default())),
        name,
        uuid: text(device, "unique_id"),
        pci_bus_id: Some(address.to_owned()),
        memory_total_bytes: Some(total),
        metrics: Metrics {
            memory_free_bytes: number::<u64>(device, "mem_info_vram_used").map(|used| total.saturating_sub(used)),
            utilisation_percent: number(device, "gpu_busy_percent"),
            temperature_c: sensor("temp1_input").map(|millidegrees| (millidegrees / 1000) as u32),
            // Newer cards have only the instantaneous value.
            power_w: sensor("power1_average")
                .or_else(|| sensor("power1_input"))
                .map(|microwatts| microwatts as f64 / 1e6),
            temperature_limit_c: sensor("temp1_crit").map(|millidegrees| (millidegrees / 1000) as u32),
            power_limit_w: sensor("power1_cap").map(|microwatts| microwatts as f64 / 1e6),
            clock_mhz: sensor("freq1_input").map(|hertz| (hertz / 1_000_000) as u32),
            ..Metrics::default()
        },
        // `ue: 0` and `ce: 0`, a line each, on cards with RAS (Instinct, some Radeon Pro).
        ecc: Ecc {
            uncorrected: text(&device.join("ras"), "umc_err_count")
                .and_then(|counts| counts.lines().find_map(|line| line.strip_prefix("ue:")?.trim().parse().ok())),
            ..Ecc::default()
        },
        ..Gpu::at(index, Vendor::Amd, Source::Detected, GpuHealth::Healthy)
    })
}

fn sensors(device: &Path) -> Option<PathBuf> {
    Some(std::fs::read_dir(device.join("hwmon")).ok()?.flatten().next()?.path())
}

/// The line `PCI_SLOT_NAME=0000:03:00.0` of the device's events file.
fn address(device: &Path) -> String {
    let events = text(device, "uevent").unwrap_or_default();
    events.lines().find_map(|line| line.strip_prefix("PCI_SLOT_NAME=")).unwrap_or_default().to_owned()
}

fn text(folder: &Path, file: &str) -> Option<String> {
    let text = std::fs::read_to_string(folder.join(file)).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn number<T: FromStr>(folder: &Path, file: &str) -> Option<T> {
    text(folder, file)?.parse().ok()
}
