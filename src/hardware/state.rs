//! The states that a GPU driver and a single card can be in, each with words for a person and a remedy.
//! In: nothing. Out: `DriverState` and `GpuHealth`, which the probes fill.

use serde::{Deserialize, Serialize};

/// What the vendor's driver said. The first three are answers, not errors: there is no such GPU to use here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum DriverState {
    /// `GPU_COUNT=0`: nobody asked.
    NotAsked,
    /// No driver library on this machine.
    NoLibrary,
    /// The library is there, the kernel module is not loaded.
    NoKernelModule,
    /// It answers.
    Ready {
        /// `nvidia`, `amdgpu`, `simulated`.
        name: String,
        /// As the driver tells it.
        version: Option<String>,
    },
    /// Library and kernel module have different versions (`NVML_ERROR_LIB_RM_VERSION_MISMATCH`).
    VersionMismatch,
    /// The device nodes are closed to this process.
    NoPermission,
    /// A call has not come back within the deadline.
    NotAnswering {
        /// How long the caller waited, in milliseconds.
        waited_ms: u64,
    },
    /// Anything else, in the driver's words.
    Failed {
        /// The library's message.
        message: String,
    },
}

impl DriverState {
    /// Whether somebody has to do something about it.
    pub fn is_fault(&self) -> bool {
        !matches!(self, Self::NotAsked | Self::NoLibrary | Self::NoKernelModule | Self::Ready { .. })
    }

    /// What to tell when there are several drivers: a fault before a working one, that before none.
    pub(super) fn weight(&self) -> u8 {
        match self {
            Self::NotAsked | Self::NoLibrary => 0,
            Self::NoKernelModule => 1,
            Self::Ready { .. } => 2,
            _ => 3,
        }
    }

    /// One line for a person.
    pub fn explain(&self) -> String {
        match self {
            Self::NotAsked => "not asked".into(),
            Self::NoLibrary => "none found".into(),
            Self::NoKernelModule => "library found, but its kernel module is not loaded".into(),
            Self::Ready { name, version: Some(version) } => format!("{name} {version}"),
            Self::Ready { name, version: None } => name.clone(),
            Self::VersionMismatch => "the driver's library and its kernel module have different versions".into(),
            Self::NoPermission => "this process may not talk to the GPU driver".into(),
            Self::NotAnswering { waited_ms } => {
                format!("the driver has not answered within {:.1} s", *waited_ms as f64 / 1e3)
            }
            Self::Failed { message } => format!("the driver's library failed: {message}"),
        }
    }

    /// What to do about a fault.
    pub fn remedy(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotAsked | Self::NoLibrary | Self::NoKernelModule | Self::Ready { .. } => {
                return None;
            }
            Self::VersionMismatch => {
                "the driver was upgraded while loaded: reboot (or, with no process on the GPUs, unload and reload the nvidia modules)"
            }
            Self::NoPermission => {
                "let the process open /dev/nvidia*: start the container with the GPUs (docker: --gpus all), or restart it if it had them \
                 (`systemctl daemon-reload` on the host takes them away); in a systemd unit admit them \
                 (DeviceAllow=char-nvidia-frontend, char-nvidia, char-nvidia-uvm)"
            }
            Self::NotAnswering { .. } => {
                "see whether `nvidia-smi` hangs too; if so look for NVRM or Xid lines in the kernel log and reboot. If it is only slow at \
                 the start, enable nvidia-persistenced"
            }
            Self::Failed { .. } => {
                "run `nvidia-smi` and see what it says; in a container that had its GPUs before, restart the container \
                 (`systemctl daemon-reload` on the host takes them away)"
            }
        })
    }
}

/// What is known about one card's fitness to work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum GpuHealth {
    /// The driver answers for it.
    Healthy,
    /// Declared or simulated: nobody asked a driver.
    Unchecked,
    /// Fallen off the bus (`NVML_ERROR_GPU_IS_LOST`, Xid 79).
    Lost,
    /// Seen before, not listed by the driver any more.
    Missing,
    /// This card's device node is closed to this process.
    NoPermission,
    /// The driver wants a reset of the card.
    ResetRequired,
    /// The driver as a whole is at fault; see its state.
    DriverFault,
    /// Anything else, in the driver's words.
    Failed {
        /// The library's message.
        message: String,
    },
}

impl GpuHealth {
    /// Whether work may be given to the card.
    pub fn is_usable(&self) -> bool {
        matches!(self, Self::Healthy | Self::Unchecked)
    }

    /// A few words for a person.
    pub fn explain(&self) -> String {
        match self {
            Self::Healthy => "healthy".into(),
            Self::Unchecked => "not checked".into(),
            Self::Lost => "lost: fallen off the bus (Xid 79)".into(),
            Self::Missing => "missing: the driver does not list it any more".into(),
            Self::NoPermission => "no permission".into(),
            Self::ResetRequired => "needs a reset".into(),
            Self::DriverFault => "unavailable: the driver is at fault".into(),
            Self::Failed { message } => format!("failed: {message}"),
        }
    }

    /// What to do about a fault.
    pub fn remedy(&self) -> Option<&'static str> {
        Some(match self {
            Self::Healthy | Self::Unchecked | Self::DriverFault => return None,
            Self::Lost => "reboot; if it comes back, look at power, seating and temperature of the card",
            Self::Missing => "look for NVRM or Xid lines in the kernel log; in a container restart it; else reboot",
            Self::NoPermission => "give this card to the container or unit, or hide it with GPU_COUNT",
            Self::ResetRequired => "stop what runs on it, then `nvidia-smi --gpu-reset -i INDEX`, or reboot",
            Self::Failed { .. } => "run `nvidia-smi -q -i INDEX` and look for Xid lines in the kernel log",
        })
    }
}
