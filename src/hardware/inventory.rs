//! What a machine has, as plain values that can be printed, sent and read back.
//! In: nothing. Out: `Inventory` and its parts, filled by the probes.

use super::{DriverState, GpuHealth, Host};
use serde::{Deserialize, Serialize, Serializer};

/// Everything found on this machine. JSON of it can be read back with [`super::from_file`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    /// The driver's state; with several drivers the one that is most worth telling.
    pub gpu_driver: DriverState,
    /// The cards, by index; faulty ones among them.
    pub gpus: Vec<Gpu>,
    /// The machine around them.
    pub host: Host,
    /// What a person should know: overrides, oddities.
    pub notes: Vec<Note>,
}

/// One card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    /// From 0; a card keeps it when another one vanishes. NVIDIA's first, numbered as `nvidia-smi` does (by PCI bus).
    /// CUDA numbers by speed unless `CUDA_DEVICE_ORDER=PCI_BUS_ID`; its `uuid` names a card without doubt.
    pub index: u32,
    /// The model as the driver names it; `GPU_MODEL` overrides it. `None`: the card was never readable.
    pub name: Option<String>,
    /// The driver's lasting id.
    pub uuid: Option<String>,
    /// Such as `00000000:41:00.0`.
    pub pci_bus_id: Option<String>,
    /// Who made it.
    pub vendor: Vendor,
    /// Where the card is known from.
    pub source: Source,
    /// The variables that override what was detected.
    #[serde(default)]
    pub declared: Vec<String>,
    /// The nominal size that the card is sold with, for matching; `GPU_MEMORY_GB` overrides it.
    #[serde(serialize_with = "whole_when_possible")]
    pub memory_gb: Option<f64>,
    /// As the driver reports it.
    pub memory_total_bytes: Option<u64>,
    /// Of this card's driver.
    pub driver_version: Option<String>,
    /// What changes.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// What the card knows about errors of its memory.
    #[serde(default)]
    pub ecc: Ecc,
    /// Whether the card is divided. With it on and no instance, nothing can run on the card.
    #[serde(default)]
    pub mig_enabled: bool,
    /// The instances of a divided card.
    #[serde(default)]
    pub mig: Vec<MigInstance>,
    /// Whether work may be given to it.
    pub health: GpuHealth,
}

/// What changes about a card. `None`: the card does not tell, which is normal (a divided card, a laptop, a virtual GPU).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Free now.
    pub memory_free_bytes: Option<u64>,
    /// Share of the last sample period in which a kernel ran.
    pub utilisation_percent: Option<u32>,
    /// Of the die.
    pub temperature_c: Option<u32>,
    /// Drawn now.
    pub power_w: Option<f64>,
    /// At which the card slows down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_limit_c: Option<u32>,
    /// Most that it may draw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_limit_w: Option<f64>,
    /// Of the shaders, now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_mhz: Option<u32>,
    /// The fastest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_max_mhz: Option<u32>,
    /// Share of its fastest; may be above 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fan_percent: Option<u32>,
    /// Why it is slower than it could be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled: Option<Throttled>,
    /// Processes with memory on the card, by pid.
    pub processes: Option<Vec<GpuProcess>>,
}

/// Why a card is slower than it could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Throttled {
    /// It is too hot.
    Thermal,
    /// It may not draw more.
    Power,
}

impl Throttled {
    /// In a word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Thermal => "thermal",
            Self::Power => "power",
        }
    }
}

/// What a card knows about errors of its memory. `None`: it does not tell, which is normal (no ECC, a divided card).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ecc {
    /// Errors that could not be corrected, since the driver was loaded or the card reset.
    pub uncorrected: Option<u64>,
    /// A repair waits for the next reset. Until then the card works on without the bad rows (NVIDIA, Ampere and newer).
    pub repair_pending: Option<bool>,
    /// Bad pages wait for the next reset and may be used until then (NVIDIA, before Ampere).
    pub retirement_pending: Option<bool>,
    /// There is nothing left to repair with.
    pub repair_failed: Option<bool>,
}

/// A process with memory on a card. In a container the driver may hide processes or give the host's ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuProcess {
    /// Process id.
    pub pid: u32,
    /// `None`: the driver does not tell.
    pub used_bytes: Option<u64>,
}

/// A part of a divided card; work runs on it as on a card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MigInstance {
    /// On its card, from 0.
    pub index: u32,
    /// What `CUDA_VISIBLE_DEVICES` takes.
    pub uuid: Option<String>,
    /// Such as `1g.10gb`.
    pub profile: Option<String>,
    /// By the profile's name: `1g.10gb` is 10.
    #[serde(serialize_with = "whole_when_possible")]
    pub memory_gb: Option<f64>,
    /// As the driver reports it.
    pub memory_total_bytes: Option<u64>,
    /// Free now.
    pub memory_free_bytes: Option<u64>,
}

/// Who made a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vendor {
    /// PCI vendor 0x10de.
    Nvidia,
    /// PCI vendor 0x1002.
    Amd,
    /// PCI vendor 0x8086.
    Intel,
    /// A declared or simulated card.
    Unknown,
}

/// Where a card is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A probe found it.
    Detected,
    /// `GPU_COUNT` says that it is there; nobody saw it.
    Declared,
    /// Invented, for trying things out.
    Simulated,
}

/// What a person should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// How much it matters.
    pub severity: Severity,
    /// One sentence.
    pub text: String,
}

/// How much a note matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Probably not what was meant.
    Warning,
}

impl Note {
    pub(super) fn info(text: impl Into<String>) -> Self {
        Self { severity: Severity::Info, text: text.into() }
    }

    pub(super) fn warning(text: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, text: text.into() }
    }
}

/// What work runs on: a card, or a part of a divided one.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit<'a> {
    /// The card.
    pub gpu: &'a Gpu,
    /// The part of it, when it is divided.
    pub mig: Option<&'a MigInstance>,
}

impl Unit<'_> {
    /// Nominal size, for matching.
    pub fn memory_gb(&self) -> Option<f64> {
        self.mig.map_or(self.gpu.memory_gb, |instance| instance.memory_gb)
    }

    /// What `CUDA_VISIBLE_DEVICES` takes.
    pub fn uuid(&self) -> Option<&str> {
        self.mig.map_or(self.gpu.uuid.as_deref(), |instance| instance.uuid.as_deref())
    }
}

impl Gpu {
    /// A card that should be there and that no probe lists, perhaps because the driver answers for none.
    pub fn missing(index: u32, driver: &DriverState) -> Self {
        let health = if driver.is_fault() { GpuHealth::DriverFault } else { GpuHealth::Missing };
        Self::at(index, Vendor::Unknown, Source::Detected, health)
    }

    /// A card of which only its place is known.
    pub(super) fn at(index: u32, vendor: Vendor, source: Source, health: GpuHealth) -> Self {
        Self {
            index,
            name: None,
            uuid: None,
            pci_bus_id: None,
            vendor,
            source,
            declared: Vec::new(),
            memory_gb: None,
            memory_total_bytes: None,
            driver_version: None,
            metrics: Metrics::default(),
            ecc: Ecc::default(),
            mig_enabled: false,
            mig: Vec::new(),
            health,
        }
    }
}

impl Inventory {
    /// What work can run on now: usable cards, and the instances of divided ones.
    pub fn units(&self) -> Vec<Unit<'_>> {
        let usable = self.gpus.iter().filter(|gpu| gpu.health.is_usable());
        usable
            .flat_map(|gpu| match gpu.mig_enabled {
                true => gpu.mig.iter().map(|instance| Unit { gpu, mig: Some(instance) }).collect(),
                false => vec![Unit { gpu, mig: None }],
            })
            .collect()
    }
}

/// 24, not 24.0: readers of the reference expect integers here.
pub(super) fn whole_when_possible<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(gb) if gb.fract() == 0.0 && (0.0..1e9).contains(gb) => serializer.serialize_u64(*gb as u64),
        Some(gb) => serializer.serialize_f64(*gb),
        None => serializer.serialize_none(),
    }
}
