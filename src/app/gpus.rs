//! Watches the GPUs: fences the one that may not work, has it checked when it looks well again, and lets it work again.
//! In: looks at the hardware, what drivers say on their own, runs that ask for a look. Out: fences, notices, the latest inventory.
//!
//! A card's states are drawn in `hardware::fitness`.

use super::check::check;
use crate::hardware::{Checked, Fitness, Gpu, GpuEvent, Inventory, Said, Sampler, Step, Xid, xid};
use crate::queue::announce::now_iso;
use crate::runner::fence::{Ask, Fence, Fenced};
use crate::telemetry::{Notice, tell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Longest time between two looks: what no driver tells on its own is noticed within it.
const PERIOD: Duration = Duration::from_secs(10);
/// The same while a GPU is fenced: its owner waits for it.
const PERIOD_FENCED: Duration = Duration::from_secs(2);

/// Everything that is known about the GPUs, and who is told.
pub struct Gpus {
    sampler: Sampler,
    latest: watch::Sender<Arc<Inventory>>,
    guarded: BTreeMap<u32, Guarded>,
    events: mpsc::UnboundedReceiver<GpuEvent>,
    asks: mpsc::UnboundedReceiver<Ask>,
    checks: JoinSet<(u32, Checked)>,
    /// An Xid of a card that could not even tell its name any more: the next look shows which one it was.
    unnamed: Option<&'static Xid>,
}

struct Guarded {
    fence: Arc<Fence>,
    fitness: Fitness,
}

impl Gpus {
    /// Guards these fences. `inventory` is the first look; its faults count at once.
    pub fn new(
        sampler: Sampler,
        inventory: Inventory,
        fences: impl IntoIterator<Item = Arc<Fence>>,
        events: mpsc::UnboundedReceiver<GpuEvent>,
        asks: mpsc::UnboundedReceiver<Ask>,
    ) -> Self {
        let guarded = fences.into_iter().map(|fence| (fence.gpu, Guarded { fence, fitness: Fitness::default() }));
        let mut gpus = Self {
            sampler,
            latest: watch::Sender::new(Arc::new(inventory.clone())),
            guarded: guarded.collect(),
            events,
            asks,
            checks: JoinSet::new(),
            unnamed: None,
        };
        gpus.take_in(inventory);
        gpus
    }

    /// The hardware as last seen.
    pub fn latest(&self) -> watch::Receiver<Arc<Inventory>> {
        self.latest.subscribe()
    }

    /// Watches until told to stop.
    pub async fn keep(mut self, longest_period: Duration, beat: impl Fn(), stop: CancellationToken) {
        let mut asked: Vec<Ask> = Vec::new();
        let mut looked = Instant::now();
        while !stop.is_cancelled() {
            beat();
            let any_fenced = self.guarded.values().any(|guarded| !guarded.fitness.is_fit());
            let period = longest_period.min(if any_fenced { PERIOD_FENCED } else { PERIOD });
            tokio::select! {
                () = stop.cancelled() => return,
                // By the clock, not after a while without news: a program can make a driver report without end.
                () = tokio::time::sleep(period.saturating_sub(looked.elapsed())), if asked.is_empty() => {}
                () = std::future::ready(()), if !asked.is_empty() => {}
                Some(ask) = self.asks.recv() => asked.push(ask),
                Some(Ok((gpu, outcome))) = self.checks.join_next() => {
                    self.checked(gpu, &outcome);
                    continue;
                }
                Some(event) = self.events.recv() => if !self.heard(&event) {
                    continue;
                }
            }
            let sampler = self.sampler.clone();
            let looking = sampler.inventory();
            tokio::pin!(looking);
            // Those who ask from here on are not served by a look that has begun before.
            let served = std::mem::take(&mut asked);
            let inventory = loop {
                tokio::select! {
                    inventory = &mut looking => break inventory,
                    () = stop.cancelled() => return,
                    Some(event) = self.events.recv() => {
                        self.heard(&event);
                    }
                    Some(ask) = self.asks.recv() => asked.push(ask),
                }
            };
            looked = Instant::now();
            self.take_in(inventory);
            for ask in served {
                let _ = ask.send(());
            }
        }
    }

    fn take_in(&mut self, inventory: Inventory) {
        let now = Instant::now();
        let inventory = Arc::new(inventory);
        self.latest.send_replace(inventory.clone());
        let unnamed = self.unnamed.take();
        let mut checks = Vec::new();
        for (index, guarded) in &mut self.guarded {
            let gone = || Gpu::missing(*index, &inventory.gpu_driver);
            let gpu = inventory.gpus.iter().find(|gpu| gpu.index == *index).cloned().unwrap_or_else(gone);
            let step = guarded.fitness.look(&gpu, &inventory.gpu_driver, now);
            let is_new = matches!(step, Some(Step::Fence(_)));
            if let Some(Step::Check) = step {
                checks.push(gpu);
            }
            guarded.follow(step);
            if let Some(row) = unnamed.filter(|_| is_new) {
                let step = guarded.fitness.xid(row, *index, now);
                guarded.follow(step);
            }
        }
        for gpu in checks {
            self.checks.spawn(async move { (gpu.index, check(&gpu).await) });
        }
    }

    /// What a driver says counts at once. Answers whether it is worth a look.
    fn heard(&mut self, event: &GpuEvent) -> bool {
        let row = match event.said {
            Said::Xid(number) => xid(number),
            Said::UncorrectedMemoryError | Said::Trouble => None,
        };
        let inventory = self.latest.borrow().clone();
        let is_it = |gpu: &&Gpu| {
            let names = gpu.mig.iter().map(|instance| &instance.uuid).chain([&gpu.uuid]);
            event.uuid.is_some() && names.into_iter().any(|name| *name == event.uuid)
        };
        let Some(index) = inventory.gpus.iter().find(is_it).map(|gpu| gpu.index) else {
            self.unnamed = row;
            return true;
        };
        let Some(guarded) = self.guarded.get_mut(&index) else { return false };
        let now = Instant::now();
        let step = match (event.said, row) {
            (Said::UncorrectedMemoryError, _) => guarded.fitness.memory_error(index, now),
            (Said::Xid(_), Some(row)) => guarded.fitness.xid(row, index, now),
            (Said::Xid(number), None) => {
                let what = format!("Xid {number}, of which nothing is known here");
                tell(Notice::GpuReports { gpu: index, what, remedy: "look it up in NVIDIA's list of Xid errors" });
                None
            }
            (Said::Trouble, _) => return true,
        };
        let is_new = matches!(step, Some(Step::Fence(_)));
        guarded.follow(step);
        is_new
    }

    fn checked(&mut self, gpu: u32, outcome: &Checked) {
        let Some(guarded) = self.guarded.get_mut(&gpu) else { return };
        let step = guarded.fitness.checked(outcome, Instant::now());
        match (step, outcome) {
            (Some(Step::Readmit(after)), outcome) => {
                let check = match outcome {
                    Checked::CannotTell(why) => format!("the driver answers for it; its memory was not tried: {why}"),
                    _ => "memory on it was taken, written, copied and read back".to_owned(),
                };
                tell(Notice::GpuBack { gpu, after, check: &check });
                guarded.fence.open();
            }
            (_, Checked::Failed(why)) => {
                tell(Notice::GpuCheckFailed { gpu, why });
                guarded.state("fenced");
            }
            _ => {}
        }
    }
}

impl Guarded {
    fn follow(&mut self, step: Option<Step>) {
        let gpu = self.fence.gpu;
        match step {
            Some(Step::Fence(fault)) => {
                tell(Notice::GpuFenced { gpu, reason: &fault.reason, remedy: &fault.remedy });
                let since = self.fence.fenced().map_or_else(now_iso, |before| before.since.clone());
                let (reason, remedy, hands_back) = (fault.reason, fault.remedy, fault.hands_back);
                self.fence.close(Fenced { reason, remedy, since, state: "fenced", hands_back });
            }
            Some(Step::Check) => self.state("checking"),
            Some(Step::Tell(row)) => {
                let what = format!("Xid {}: {}", row.number, row.words);
                tell(Notice::GpuReports { gpu, what, remedy: row.remedy });
            }
            // Only a check readmits.
            Some(Step::Readmit(_)) | None => {
                if !self.fitness.is_fit() {
                    self.state("fenced");
                }
            }
        }
    }

    fn state(&self, state: &'static str) {
        if let Some(fenced) = self.fence.fenced().filter(|fenced| fenced.state != state) {
            self.fence.close(Fenced { state, ..(*fenced).clone() });
        }
    }
}
