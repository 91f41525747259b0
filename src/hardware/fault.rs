//! Why a card may not work: what was found, what to do about it, and what has to happen before it may work again.
//! In: readings of a card and what its driver said. Out: `Fault`, in words for a person.

use super::xid::{Course, Xid};
use super::{DriverState, Gpu, GpuHealth};
use std::time::Duration;

/// A fault that passes by itself may pass for a moment only.
const BRIEF: Duration = Duration::from_secs(3);
/// After an error in memory without an Xid that says more.
const MEMORY: Duration = Duration::from_secs(600);

/// Why a card may not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What was found.
    pub reason: String,
    /// What a person should do.
    pub remedy: String,
    /// Whether the job on the card is taken from it at once. A fault of the driver as a whole, which programs that run
    /// already may not even notice, lets it finish.
    pub hands_back: bool,
    /// Pause before the check, the first time.
    pub(super) pause: Duration,
    /// The driver must have lost the card and found it again: time alone mends nothing.
    pub(super) needs_reset: bool,
}

impl Fault {
    /// What an Xid means for this card; `None` if it is not the card's fault.
    pub(super) fn of_xid(xid: &Xid, index: u32) -> Option<Self> {
        let (pause, needs_reset) = match xid.course {
            Course::Application => return None,
            Course::Pause(seconds) => (Duration::from_secs(seconds), false),
            Course::Reset => (BRIEF, true),
        };
        Some(Self {
            reason: format!("Xid {}: {}", xid.number, xid.words),
            remedy: addressed(xid.remedy, index),
            hands_back: xid.hands_back,
            pause,
            needs_reset,
        })
    }

    /// An error in memory that could not be corrected.
    pub(super) fn of_memory(errors: Option<u64>, index: u32) -> Self {
        let count = errors.map(|errors| format!(" ({errors} since the driver was loaded)")).unwrap_or_default();
        let remedy = "stop this agent and what runs on the card, then `nvidia-smi --gpu-reset -i INDEX`, or reboot; if it comes again \
                      have the card replaced";
        Self {
            reason: format!("uncorrectable memory error{count}"),
            remedy: addressed(remedy, index),
            hands_back: true,
            pause: MEMORY,
            needs_reset: false,
        }
    }

    /// What a reading says against the card.
    pub(super) fn in_reading(gpu: &Gpu, driver: &DriverState) -> Option<Self> {
        let fault = |reason: String, remedy: &str, hands_back| {
            let remedy = addressed(remedy, gpu.index);
            Some(Self { reason, remedy, hands_back, pause: BRIEF, needs_reset: false })
        };
        let remedy = gpu.health.remedy().or(driver.remedy()).unwrap_or("run `nvidia-smi` and see what it says");
        match &gpu.health {
            GpuHealth::Unchecked => None,
            GpuHealth::Healthy if gpu.ecc.repair_failed == Some(true) => fault(
                "its memory cannot be repaired any more (row remapping failed)".into(),
                "have the card replaced",
                true,
            ),
            GpuHealth::Healthy if gpu.ecc.retirement_pending == Some(true) => {
                let remedy =
                    "stop this agent and what runs on the card, then `nvidia-smi --gpu-reset -i INDEX`, or reboot";
                fault("bad memory pages are in use until the next reset".into(), remedy, false)
            }
            GpuHealth::Healthy => None,
            GpuHealth::Lost | GpuHealth::Missing | GpuHealth::ResetRequired => {
                fault(gpu.health.explain(), remedy, true)
            }
            GpuHealth::DriverFault => fault(driver.explain(), remedy, false),
            GpuHealth::NoPermission | GpuHealth::Failed { .. } => fault(gpu.health.explain(), remedy, false),
        }
    }
}

fn addressed(remedy: &str, index: u32) -> String {
    remedy.replace("INDEX", &index.to_string())
}
