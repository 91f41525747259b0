//! Finds out what this machine has: GPUs and their state, CPU, memory, disk.
//! In: the kernel's files, the vendor's library, declared values. Out: an [`Inventory`], and a [`Sample`] of what changes.
//!
//! What a machine has also changes while it runs: what the driver says on its own comes as a [`GpuEvent`], and [`Fitness`] makes
//! of both whether a card may work.
//!
//! ```text
//! nvidia ─┐ each on a thread of its own, each with a deadline
//! sysfs ──┼─> baseline (cards seen before stay listed) ─> declared (overrides, each with a note) ─> Inventory ─> report
//! host ───┘                                                                                          └─> Sample
//! ```

mod allocation;
mod baseline;
mod card;
mod deadline;
mod declared;
mod fault;
mod fitness;
mod host;
mod inventory;
mod library;
mod listener;
mod nominal;
mod nvidia;
mod pci;
mod report;
mod sample;
mod sampler;
mod scripted;
mod state;
mod sysfs;
mod xid;

pub use allocation::check as check_allocation;
pub use declared::apply as apply_declared;
pub use fault::Fault;
pub use fitness::{Checked, Fitness, Step};
pub use host::{Disk, Host};
pub use inventory::{
    Ecc, Gpu, GpuProcess, Inventory, Metrics, MigInstance, Note, Severity, Source, Throttled, Unit, Vendor,
};
pub use listener::{Events, GpuEvent, Said};
pub use nominal::{memory_gb, mig_memory_gb, ram_gb};
pub use report::{json, text};
pub use sample::{GpuSample, Sample};
pub use sampler::{Sampler, Settings};
pub use scripted::{ScriptError, from_file, simulated};
pub use state::{DriverState, GpuHealth};
pub use xid::{Course, XIDS, Xid, xid};

use std::path::Path;

/// Answers one question, "which GPUs of this kind are here and how are they?". It may block; it never fails: what went wrong is
/// in the answer.
pub trait GpuProbe: Send + 'static {
    /// For thread names and notes.
    fn name(&self) -> &'static str;
    /// Looks now. Called again and again on one thread, so it may keep a library open between calls.
    fn look(&mut self) -> Found;

    /// What changes from second to second, for as little effort as possible.
    fn readings(&mut self) -> Vec<Reading> {
        self.look().gpus.into_iter().filter_map(Reading::of).collect()
    }
}

/// A probe's answer. Indexes count from 0 within the probe.
#[derive(Debug, Clone)]
pub struct Found {
    /// The state of the driver that this probe asks.
    pub driver: DriverState,
    /// The cards, faulty ones among them.
    pub gpus: Vec<Gpu>,
    /// What a person should know.
    pub notes: Vec<Note>,
}

/// How a card is at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The driver's lasting id of the card, or its place on the bus.
    pub name: String,
    /// What it told; what is not told from second to second is absent.
    pub metrics: Metrics,
}

impl Reading {
    /// Of a card that can be told from others and tells anything.
    fn of(gpu: Gpu) -> Option<Self> {
        let name = gpu.uuid.or(gpu.pci_bus_id)?;
        gpu.health.is_usable().then_some(Self { name, metrics: gpu.metrics })
    }

    /// Whether this is that card.
    pub fn is_of(&self, gpu: &Gpu) -> bool {
        gpu.uuid.as_ref().or(gpu.pci_bus_id.as_ref()) == Some(&self.name)
    }
}

/// The probes, in the order in which their cards are numbered: NVIDIA's keep the index that `nvidia-smi` shows.
fn probes(root: &Path, events: Option<Events>) -> Vec<Box<dyn GpuProbe>> {
    vec![Box::new(nvidia::Nvidia::new(root, events)), Box::new(sysfs::Sysfs::new(root))]
}
