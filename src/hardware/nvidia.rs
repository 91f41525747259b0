//! Asks NVIDIA's management library (NVML) which cards are here.
//! In: `libnvidia-ml.so.1`, found by the dynamic loader. Out: driver state and cards; never a panic, never a cached failure.
//!
//! Tested against a stand-in library; not run on a real GPU yet.
//!
//! ```text
//! closed ──open──> open with cards: stays loaded, asked again each time
//!   ^  └─ no library, no module, fault, no cards: unloaded at once, opened anew at the next look
//!   ├──── the driver fails a call that concerns all cards
//!   └──── the library's file was replaced (an upgrade): every program that starts now meets the new one, and so does the next look
//! ```

use super::library::Mapped;
use super::listener::{Events, Listener};
use super::{DriverState, Found, Gpu, GpuProbe, Note, Reading, card, pci};
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const LIBRARY: &str = "libnvidia-ml.so.1";
/// WSL keeps its library where the loader may not look, and a distribution's own library finds no kernel module there.
const WSL_LIBRARY: &str = "usr/lib/wsl/lib/libnvidia-ml.so.1";

/// Its real file carries the version: `libnvidia-ml.so.550.90.07`.
const LIBRARY_NAME: &str = "libnvidia-ml.so";

/// Absent on WSL.
const CONTROL_NODE: &str = "dev/nvidiactl";

/// NVIDIA's cards.
pub(super) struct Nvidia {
    root: PathBuf,
    events: Option<Events>,
    open: Option<Open>,
}

struct Open {
    // Dropped first: its thread uses the library.
    listener: Option<Listener>,
    nvml: Arc<Nvml>,
    mapped: Option<Mapped>,
}

impl Nvidia {
    /// `events`: where to tell what the driver says on its own; `None`: nobody listens.
    pub(super) fn new(root: &Path, events: Option<Events>) -> Self {
        Self { root: root.to_owned(), events, open: None }
    }

    fn cards(&mut self) -> Result<Found, DriverState> {
        // Unloaded first: the loader would give back the old library for as long as it is loaded.
        drop(self.open.take_if(|open| open.mapped.as_ref().is_some_and(Mapped::is_replaced)));
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open { nvml: Arc::new(open(&self.root)?), mapped: Mapped::now(LIBRARY_NAME), listener: None },
        };
        let nvml = &open.nvml;
        if is_closed(OpenOptions::new().read(true).write(true).open(self.root.join(CONTROL_NODE))) {
            return Err(DriverState::NoPermission);
        }
        let count = nvml.device_count().map_err(|error| state_of(&error))?;
        let version = nvml.sys_driver_version().ok();
        let gpus: Vec<_> = (0..count).map(|index| card::read(nvml, index, version.as_deref())).collect();
        let empty = gpus.iter().filter(|gpu| gpu.mig_enabled && gpu.mig.is_empty() && gpu.health.is_usable());
        let notes = empty
            .map(|gpu| {
                let index = gpu.index;
                Note::warning(format!(
                    "GPU {index} is in MIG mode without instances, so nothing can run on it: create some (nvidia-smi mig -cgi ... -C) or turn the mode off (nvidia-smi -i {index} -mig 0)"
                ))
            })
            .collect();
        if !gpus.is_empty() {
            self.listen(&mut open, &gpus);
            self.open = Some(open);
        }
        Ok(Found { driver: DriverState::Ready { name: "nvidia".into(), version }, gpus, notes })
    }

    /// Hears the cards that are well; those that come back are heard again.
    fn listen(&self, open: &mut Open, gpus: &[Gpu]) {
        let Some(events) = &self.events else { return };
        let well = gpus.iter().filter(|gpu| gpu.health.is_usable());
        let cards: Vec<String> = well.filter_map(|gpu| gpu.uuid.clone()).collect();
        if !open.listener.as_ref().is_some_and(|listener| listener.hears(&cards)) {
            open.listener = None;
            open.listener = Listener::start(open.nvml.clone(), cards, events.clone()).ok();
        }
    }

    /// Cards without a driver are worth a word: the commonest first-day fault.
    fn absent(&self, driver: DriverState) -> Found {
        let missing = matches!(driver, DriverState::NoLibrary | DriverState::NoKernelModule);
        let notes = match if missing { pci::nvidia_cards(&self.root) } else { 0 } {
            0 => Vec::new(),
            count => vec![Note::warning(format!(
                "{count} NVIDIA {} on the PCI bus, but the driver is not available here: install it and reboot, or start this container with the GPUs",
                if count == 1 { "card is" } else { "cards are" }
            ))],
        };
        Found { driver, gpus: Vec::new(), notes }
    }
}

impl GpuProbe for Nvidia {
    fn name(&self) -> &'static str {
        "nvidia"
    }

    fn readings(&mut self) -> Vec<Reading> {
        // Whether the library is still the right one is asked at each look.
        let Some(Open { nvml, .. }) = &self.open else { return Vec::new() };
        let count = nvml.device_count().unwrap_or(0);
        (0..count).filter_map(|index| card::reading(nvml, index)).collect()
    }

    fn look(&mut self) -> Found {
        self.cards().unwrap_or_else(|driver| self.absent(driver))
    }
}

/// Opens the first library that works; else the state most worth telling.
fn open(root: &Path) -> Result<Nvml, DriverState> {
    let mut worst = DriverState::NoLibrary;
    // A name without a slash goes through the loader's search path.
    for library in [PathBuf::from(LIBRARY), root.join(WSL_LIBRARY)] {
        let state = match Nvml::builder().lib_path(library.as_os_str()).init() {
            Ok(nvml) if nvml.lib().nvmlShutdown.is_ok() => return Ok(nvml),
            Ok(nvml) => {
                // Dropping it would call the missing function, which panics.
                std::mem::forget(nvml);
                DriverState::Failed { message: format!("{} has no nvmlShutdown", library.display()) }
            }
            Err(NvmlError::LibloadingError(error)) => not_loaded(&library, &error.to_string()),
            Err(error) => state_of(&error),
        };
        if state.weight() > worst.weight() {
            worst = state;
        }
    }
    Err(worst)
}

/// The loader names the file that it did not find: ours means "not here", another one means a broken installation.
fn not_loaded(library: &Path, error: &str) -> DriverState {
    let library = library.display();
    if error.contains(&format!("{library}: cannot open shared object file: No such file")) {
        DriverState::NoLibrary
    } else {
        DriverState::Failed { message: error.to_owned() }
    }
}

/// A container can lose its right to the device nodes while it runs. The library goes on with what it has open; a new program on
/// the GPU, the engine's next start, would fail.
fn is_closed(opened: io::Result<File>) -> bool {
    opened.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

fn state_of(error: &NvmlError) -> DriverState {
    match error {
        NvmlError::LibraryNotFound => DriverState::NoLibrary,
        NvmlError::DriverNotLoaded => DriverState::NoKernelModule,
        NvmlError::LibRmVersionMismatch => DriverState::VersionMismatch,
        NvmlError::NoPermission | NvmlError::OperatingSystem => DriverState::NoPermission,
        other => DriverState::Failed { message: other.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refused_device_node_counts_as_closed() {
        const EPERM: i32 = 1;
        assert!(is_closed(Err(io::Error::from_raw_os_error(EPERM))));
        assert!(!is_closed(File::open("/dev/null")));
        assert!(!is_closed(File::open("/nonexistent")), "WSL has none");
    }

    #[test]
    fn a_missing_library_is_not_a_broken_one() {
        let absent = "libnvidia-ml.so.1: cannot open shared object file: No such file or directory";
        assert_eq!(not_loaded(Path::new(LIBRARY), absent), DriverState::NoLibrary);
        for broken in [
            "libcuda.so.1: cannot open shared object file: No such file or directory",
            "/usr/lib/libnvidia-ml.so.1: file too short",
        ] {
            assert!(not_loaded(Path::new(LIBRARY), broken).is_fault(), "{broken}");
        }
    }
}
