//! Asks NVIDIA's management library (NVML) which cards are here.
//! In: `libnvidia-ml.so.1`, found by the dynamic loader. Out: driver state and cards; never a panic, never a cached failure.
//!
//! ```text
//! closed ──open──> open with cards: stays loaded, asked again each time
//!   ^  └─ no library, no module, fault, no cards: unloaded at once, opened anew at the next look
//!   └──── the driver fails a call that concerns all cards
//! ```

use super::{DriverState, Found, GpuProbe, Note, card, pci};
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The plain name goes through the loader's search path. WSL keeps its library where the loader may not look, and a distribution's
/// own library finds no kernel module there.
const LIBRARIES: [&str; 2] = ["libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1"];

/// NVIDIA's cards.
pub(super) struct Nvidia {
    root: PathBuf,
    open: Option<Nvml>,
}

impl Nvidia {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            open: None,
        }
    }

    fn cards(&mut self) -> Result<Found, DriverState> {
        let nvml = match self.open.take() {
            Some(nvml) => nvml,
            None => open()?,
        };
        let count = nvml.device_count().map_err(|error| state_of(&error))?;
        let version = nvml.sys_driver_version().ok();
        let gpus: Vec<_> = (0..count)
            .map(|index| card::read(&nvml, index, version.as_deref()))
            .collect();
        let empty = gpus
            .iter()
            .filter(|gpu| gpu.mig_enabled && gpu.mig.is_empty() && gpu.health.is_usable());
        let notes = empty
            .map(|gpu| {
                let index = gpu.index;
                Note::warning(format!(
                    "GPU {index} is in MIG mode without instances, so nothing can run on it: create some (nvidia-smi mig -cgi ... -C) or turn the mode off (nvidia-smi -i {index} -mig 0)"
                ))
            })
            .collect();
        if !gpus.is_empty() {
            self.open = Some(nvml);
        }
        Ok(Found {
            driver: DriverState::Ready {
                name: "nvidia".into(),
                version,
            },
            gpus,
            notes,
        })
    }

    /// Cards without a driver are worth a word: the commonest first-day fault.
    fn absent(&self, driver: DriverState) -> Found {
        let missing = matches!(driver, DriverState::NoLibrary | DriverState::NoKernelModule);
        let notes = match if missing {
            pci::nvidia_cards(&self.root)
        } else {
            0
        } {
            0 => Vec::new(),
            count => vec![Note::warning(format!(
                "{count} NVIDIA {} on the PCI bus, but the driver is not available here: install it and reboot, or start this container with the GPUs",
                if count == 1 { "card is" } else { "cards are" }
            ))],
        };
        Found {
            driver,
            gpus: Vec::new(),
            notes,
        }
    }
}

impl GpuProbe for Nvidia {
    fn name(&self) -> &'static str {
        "nvidia"
    }

    fn look(&mut self) -> Found {
        self.cards().unwrap_or_else(|driver| self.absent(driver))
    }
}

/// Opens the first library that works; else the state most worth telling.
fn open() -> Result<Nvml, DriverState> {
    let mut worst = DriverState::NoLibrary;
    for library in LIBRARIES {
        let state = match Nvml::builder().lib_path(OsStr::new(library)).init() {
            Ok(nvml) if nvml.lib().nvmlShutdown.is_ok() => return Ok(nvml),
            Ok(nvml) => {
                // Dropping it would call the missing function, which panics.
                std::mem::forget(nvml);
                DriverState::Failed {
                    message: format!("{library} has no nvmlShutdown"),
                }
            }
            Err(NvmlError::LibloadingError(error)) => not_loaded(library, &error.to_string()),
            Err(error) => state_of(&error),
        };
        if state.weight() > worst.weight() {
            worst = state;
        }
    }
    Err(worst)
}

/// The loader names the file that it did not find: ours means "not here", another one means a broken installation.
fn not_loaded(library: &str, error: &str) -> DriverState {
    if error.contains(&format!(
        "{library}: cannot open shared object file: No such file"
    )) {
        DriverState::NoLibrary
    } else {
        DriverState::Failed {
            message: error.to_owned(),
        }
    }
}

fn state_of(error: &NvmlError) -> DriverState {
    match error {
        NvmlError::LibraryNotFound => DriverState::NoLibrary,
        NvmlError::DriverNotLoaded => DriverState::NoKernelModule,
        NvmlError::LibRmVersionMismatch => DriverState::VersionMismatch,
        NvmlError::NoPermission | NvmlError::OperatingSystem => DriverState::NoPermission,
        other => DriverState::Failed {
            message: other.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_not_a_broken_one() {
        let absent = "libnvidia-ml.so.1: cannot open shared object file: No such file or directory";
        assert_eq!(not_loaded(LIBRARIES[0], absent), DriverState::NoLibrary);
        for broken in [
            "libcuda.so.1: cannot open shared object file: No such file or directory",
            "/usr/lib/libnvidia-ml.so.1: file too short",
        ] {
            assert!(not_loaded(LIBRARIES[0], broken).is_fault(), "{broken}");
        }
    }
}
