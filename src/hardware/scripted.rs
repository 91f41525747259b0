//! Hardware from a script instead of a machine: recorded inventories for tests, invented cards for trying things out.
//! In: a JSON file, or a count and a size. Out: an `Inventory`, or a probe that finds invented cards.

use super::{DriverState, Found, Gpu, GpuHealth, GpuProbe, Host, Inventory, Metrics, Note, Source, Vendor};
use std::path::{Path, PathBuf};

/// A recorded inventory could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The file could not be read.
    #[error("can't read {0}")]
    Read(PathBuf, #[source] std::io::Error),
    /// The file is not what `gpu-worker probe --json` prints.
    #[error("{0} is not an inventory")]
    Parse(PathBuf, #[source] serde_json::Error),
}

/// Reads back what `gpu-worker probe --json` printed.
pub fn from_file(path: &Path) -> Result<Inventory, ScriptError> {
    let bytes = std::fs::read(path).map_err(|error| ScriptError::Read(path.to_owned(), error))?;
    serde_json::from_slice(&bytes).map_err(|error| ScriptError::Parse(path.to_owned(), error))
}

/// An inventory of invented cards, marked as such, on a host of which nothing is known.
pub fn simulated(count: u32, memory_gb: f64) -> Inventory {
    let Found { driver, gpus, notes } = Simulated { count, memory_gb }.look();
    Inventory { gpu_driver: driver, gpus, host: Host { cpu_cores: 1, ..Host::default() }, notes }
}

/// A probe that finds invented cards.
pub(super) struct Simulated {
    pub(super) count: u32,
    pub(super) memory_gb: f64,
}

impl GpuProbe for Simulated {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn look(&mut self) -> Found {
        let bytes = (self.memory_gb * f64::from(1 << 30)) as u64;
        let gpu = |index| Gpu {
            name: Some("Simulated GPU".into()),
            uuid: Some(format!("simulated-{index}")),
            memory_gb: Some(self.memory_gb),
            memory_total_bytes: Some(bytes),
            metrics: Metrics { memory_free_bytes: Some(bytes), utilisation_percent: Some(0), ..Metrics::default() },
            ..Gpu::at(index, Vendor::Unknown, Source::Simulated, GpuHealth::Unchecked)
        };
        Found {
            driver: DriverState::Ready { name: "simulated".into(), version: None },
            gpus: (0..self.count).map(gpu).collect(),
            notes: vec![Note::info("the GPUs are simulated")],
        }
    }
}
