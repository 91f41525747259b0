//! The heartbeat of one slot: its whole record, again and again, and at once when what it offers changes.
//! In: the slot. Out: registered or superseded, and what is wanted of it heard, as Redis says.

use crate::hardware::{Gpu, GpuSample, Inventory};
use crate::queue::announce;
use crate::queue::heartbeat::{Beaten, Presence};
use crate::queue::link::unless;
use crate::runner::slot::Slot;
use crate::telemetry::{Notice, tell};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The heartbeat key lives for two missed beats.
const MISSED: u32 = 2;
const PAUSE: Duration = Duration::from_millis(500);

/// Beats for one slot.
pub struct Heartbeat {
    slot: Arc<Slot>,
    presence: Presence,
    interval: Duration,
    hardware: watch::Receiver<Arc<Inventory>>,
}

impl Heartbeat {
    /// A heartbeat at this interval. `hardware` is the latest look.
    pub fn new(slot: Arc<Slot>, interval: Duration, hardware: watch::Receiver<Arc<Inventory>>) -> Self {
        let ttl = (interval * MISSED).as_secs().max(5);
        Self { presence: Presence::new(&slot.worker, ttl), slot, interval, hardware }
    }

    /// Beats until told to stop, then deregisters. `superseded` is called once a newer process has the id.
    pub async fn keep(&self, beat: impl Fn(), stop: CancellationToken, superseded: impl Fn()) {
        let slot = &self.slot;
        let (mut offers, mut wanted) = (slot.capabilities.subscribe(), slot.control.watch());
        loop {
            beat();
            offers.mark_unchanged();
            wanted.mark_unchanged();
            let pause = match self.beat_once().await {
                Ok(Beaten::Registered { first }) => {
                    slot.beaten.store(announce::now_ms(), Ordering::Relaxed);
                    if first {
                        let instance = self.presence.instance();
                        slot.instance.send_replace(instance.clone());
                        tell(Notice::Registered { worker: &slot.worker, instance: &instance });
                        let hello = slot.announced().connected();
                        let _ = announce::publish(&slot.shared.link, &slot.shared.space, &hello).await;
                    }
                    self.interval
                }
                Ok(Beaten::Superseded { by }) => {
                    tell(Notice::Superseded { worker: &slot.worker, by: &by });
                    superseded();
                    return;
                }
                Err(_) => PAUSE,
            };
            // Loops are expected to come round at least every minute.
            let pause = pause.min(Duration::from_secs(30));
            tokio::select! {
                () = slot.shared.shutdown.drain.cancelled() => break,
                () = stop.cancelled() => return,
                _ = offers.changed() => {}
                _ = wanted.changed() => {}
                () = slot.beat_now.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        // Draining: still alive for as long as jobs run, no longer by name once the agent says goodbye.
        while unless(&stop, tokio::time::sleep(self.interval.min(Duration::from_secs(30)))).await.is_some() {
            beat();
            let _ = self.beat_once().await;
        }
        let _ = self.presence.leave(&slot.shared.link, &slot.shared.space).await;
    }

    /// This worker's GPU now: free memory, load, temperature, and why it may not work if it may not. Without the other programs
    /// on it: that is not the queue's business.
    fn gpu(&self) -> Option<Value> {
        let fence = self.slot.fence.as_ref()?;
        let inventory = self.hardware.borrow();
        let mut gpu = inventory
            .gpus
            .iter()
            .find(|gpu| gpu.index == fence.gpu)
            .map_or_else(|| GpuSample::from(&Gpu::missing(fence.gpu, &inventory.gpu_driver)), GpuSample::from);
        gpu.metrics.processes = None;
        let mut value = json!(gpu);
        if let Some(fenced) = fence.fenced() {
            value["fence"] = json!(*fenced);
        }
        Some(value)
    }

    async fn beat_once(&self) -> redis::RedisResult<Beaten> {
        let slot = &self.slot;
        let capabilities = slot.capabilities.borrow().clone();
        let job = slot.job();
        let fields = [
            ("worker_id", slot.worker.clone()),
            ("machine_id", slot.shared.machine.clone()),
            ("capabilities", capabilities.to_reference_json().to_string()),
            ("status", status(slot).to_owned()),
            ("desired", slot.control.desired().word().to_owned()),
            ("current_job_id", job.unwrap_or_default()),
            ("no_place_in", slot.no_place_in().unwrap_or_default()),
            ("gpu", self.gpu().map(|gpu| gpu.to_string()).unwrap_or_default()),
            ("version", slot.shared.version.clone()),
            ("lease_ms", slot.shared.limits.lease.as_millis().to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value));
        let needed: Vec<String> = capabilities.needed_job_fields().into_iter().collect();
        self.presence.beat(&slot.shared.link, &slot.shared.space, &slot.control, &needed, &fields).await
    }
}

fn status(slot: &Slot) -> &'static str {
    if slot.shared.shutdown.drain.is_cancelled() { "stopping" } else { slot.standing() }
}

/// Tells the reference's readers that a worker leaves.
pub async fn leave(slot: &Slot) {
    let goodbye = slot.announced().disconnected();
    let _ = announce::publish(&slot.shared.link, &slot.shared.space, &goodbye).await;
}
