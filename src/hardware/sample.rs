//! The part of an inventory that changes from minute to minute.
//! In: an `Inventory`. Out: a `Sample`.

use super::{DriverState, Ecc, Gpu, GpuHealth, Inventory, Metrics};
use serde::{Deserialize, Serialize};

/// What changes from minute to minute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The driver's state.
    pub gpu_driver: DriverState,
    /// By index.
    pub gpus: Vec<GpuSample>,
    /// Memory that programs can still have.
    pub ram_available_bytes: Option<u64>,
    /// Free for this user on the output folder's file system.
    pub disk_free_bytes: Option<u64>,
}

/// What changes about one card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GpuSample {
    /// The card's index.
    pub index: u32,
    /// Its readings.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// What it knows about errors of its memory.
    #[serde(default)]
    pub ecc: Ecc,
    /// Whether work may be given to it.
    pub health: GpuHealth,
}

impl From<&Gpu> for GpuSample {
    fn from(gpu: &Gpu) -> Self {
        Self { index: gpu.index, metrics: gpu.metrics.clone(), ecc: gpu.ecc.clone(), health: gpu.health.clone() }
    }
}

impl From<&Inventory> for Sample {
    fn from(inventory: &Inventory) -> Self {
        Self {
            gpu_driver: inventory.gpu_driver.clone(),
            gpus: inventory.gpus.iter().map(GpuSample::from).collect(),
            ram_available_bytes: inventory.host.ram_available_bytes,
            disk_free_bytes: inventory.host.disk.as_ref().map(|disk| disk.free_bytes),
        }
    }
}
