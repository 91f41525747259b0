//! Hears what NVIDIA's driver says on its own: Xid errors and uncorrectable memory errors, the moment they happen.
//! In: an open library and its cards. Out: `GpuEvent`s, from a thread of its own, because waiting for them blocks.
//!
//! Some cards and drivers (WSL, some virtual GPUs) say nothing on their own; for them there is no thread.

use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, EventSet, Nvml};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// How long the thread waits in one go, and so how long it takes to end.
const SLICE: Duration = Duration::from_millis(500);
/// Before it is tried again after it broke off.
const REST: Duration = Duration::from_secs(10);
const STACK_BYTES: usize = 1 << 20;

/// Something that the driver said on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuEvent {
    /// Which card; `None` if it could not even tell that any more.
    pub uuid: Option<String>,
    /// What it said.
    pub said: Said,
}

/// What a driver says on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// An Xid error, by number.
    Xid(u64),
    /// A memory error that could not be corrected.
    UncorrectedMemoryError,
    /// Listening broke off: it is worth a look.
    Trouble,
}

/// Where events go.
pub type Events = UnboundedSender<GpuEvent>;

/// A thread that listens until this is dropped.
pub(super) struct Listener {
    cards: Vec<String>,
    /// Told to, or by itself because listening broke off.
    stop: Arc<AtomicBool>,
    began: Instant,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Listens to these cards.
    pub(super) fn start(nvml: Arc<Nvml>, cards: Vec<String>, events: Events) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, names) = (stop.clone(), cards.clone());
        let thread = thread::Builder::new().name("gpu-events".into()).stack_size(STACK_BYTES);
        let thread = thread.spawn(move || listen(&nvml, &names, &events, &told))?;
        Ok(Self { cards, stop, began: Instant::now(), thread: Some(thread) })
    }

    /// Whether it listens to exactly these cards, or has found that they say nothing. One that broke off counts for a while,
    /// too: a driver that refuses to be listened to must not be asked again and again.
    pub(super) fn hears(&self, cards: &[String]) -> bool {
        self.cards == cards && (!self.stop.load(Ordering::Relaxed) || self.began.elapsed() < REST)
    }
}

impl Drop for Listener {
    /// Waits for the thread: the library must not be unloaded under it, nor stay loaded because of it.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn listen(nvml: &Nvml, cards: &[String], events: &Events, stop: &AtomicBool) {
    let devices: Vec<_> = cards.iter().filter_map(|uuid| nvml.device_by_uuid(uuid.as_str()).ok()).collect();
    let Some(set) = registered(nvml, devices) else { return };
    while !stop.load(Ordering::Relaxed) && !events.is_closed() {
        let began = Instant::now();
        let (uuid, said) = match set.wait(SLICE.as_millis() as u32) {
            Ok(event) => {
                let said = match event.event_data {
                    Some(XidError::Value(number)) => Said::Xid(number),
                    Some(XidError::Unknown) => Said::Trouble,
                    None => Said::UncorrectedMemoryError,
                };
                (event.device.uuid().ok(), said)
            }
            Err(NvmlError::Timeout) => {
                // A driver that does not wait must not be asked in a circle.
                let early = SLICE.saturating_sub(began.elapsed());
                if early > SLICE / 2 {
                    thread::sleep(early);
                }
                continue;
            }
            Err(_) => (None, Said::Trouble),
        };
        let broken = uuid.is_none() && said == Said::Trouble;
        if events.send(GpuEvent { uuid, said }).is_err() || broken {
            stop.store(true, Ordering::Relaxed);
        }
    }
}

/// A set with all cards that take part. One that refuses takes the set with it, so the others begin anew without it.
fn registered<'nvml>(nvml: &'nvml Nvml, mut devices: Vec<Device<'nvml>>) -> Option<EventSet<'nvml>> {
    let wanted = EventTypes::CRITICAL_XID_ERROR | EventTypes::DOUBLE_BIT_ECC_ERROR;
    devices.retain(|device| device.supported_event_types().is_ok_and(|types| types.intersects(wanted)));
    'anew: while !devices.is_empty() {
        let mut set = nvml.create_event_set().ok()?;
        for (at, device) in devices.iter().enumerate() {
            let types = device.supported_event_types().unwrap_or(wanted) & wanted;
            set = match device.register_events(types, set) {
                Ok(set) => set,
                Err(_) => {
                    devices.remove(at);
                    continue 'anew;
                }
            };
        }
        return Some(set);
    }
    None
}
