//! Numbers of the page that nothing else measures, taken from where they are and not from the page's texts.
//! In: cards, workers, queue, engines, counts of ends, the machine. Out: gauges for the metrics.

use super::Observer;
use super::machine::Look;
use super::workers::{stage_word, standing};
use crate::dashboard::view::queue::{Class, Queue};
use crate::dashboard::view::{now_ms, stats};
use crate::hardware::{Gpu, Throttled};
use crate::runner::engine::Engine;
use crate::runner::slot::Slot;
use crate::telemetry::history;
use crate::telemetry::metrics::{self, Gauges, Metric, STATES, plain};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

/// Kinds of models of one engine; what further ones hold is counted as `other`.
const KINDS: usize = 50;

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

fn count(many: Option<impl TryInto<u32>>) -> Option<f64> {
    many.map(|many| many.try_into().map_or(f64::from(u32::MAX), f64::from))
}

fn epoch(at_ms: i64) -> f64 {
    at_ms as f64 / 1e3
}

impl Observer {
    /// All of them.
    pub(super) fn gauges(&self, machine: &Look) -> Gauges {
        let mut all = Gauges::default();
        let ((state, _), since) = self.state();
        all.tell_which(Metric::State, &STATES, state);
        all.tell(Metric::StateSince, &[], epoch(since));
        let beats = self.parts.slots.iter().map(|slot| slot.beaten.load(Ordering::Relaxed));
        all.tell(Metric::Heartbeat, &[], beats.min().filter(|beat| *beat > 0).map(epoch));
        self.parts.hardware.borrow().gpus.iter().for_each(|gpu| self.of_gpu(&mut all, gpu));
        self.parts.slots.iter().for_each(|slot| of_slot(&mut all, slot));
        self.with_queue(|queue| of_queue(&mut all, queue));
        self.engines().iter().for_each(|engine| of_engine(&mut all, engine));
        of_ends(&mut all);
        self.of_machine(&mut all, machine);
        all
    }

    fn of_gpu(&self, all: &mut Gauges, gpu: &Gpu) {
        let (index, now) = (gpu.index.to_string(), self.metrics(gpu));
        let of = [index.as_str()];
        let used = gpu.memory_total_bytes.zip(now.memory_free_bytes).map(|(total, free)| total.saturating_sub(free));
        let by_engines = used.zip(self.engines_hold(gpu)).map(|(used, held)| held.min(used) as f64);
        all.tell(Metric::GpuMemoryOfJobs, &of, by_engines);
        all.tell(Metric::GpuTemperatureLimit, &of, now.temperature_limit_c.map(f64::from));
        all.tell(Metric::GpuPowerLimit, &of, now.power_limit_w);
        all.tell(Metric::GpuClock, &of, now.clock_mhz.map(|mhz| f64::from(mhz) * 1e6));
        all.tell(Metric::GpuClockMax, &of, now.clock_max_mhz.map(|mhz| f64::from(mhz) * 1e6));
        all.tell(Metric::GpuFan, &of, now.fan_percent.map(|percent| f64::from(percent) / 100.0));
        all.tell(Metric::GpuEcc, &of, gpu.ecc.uncorrected.map(|errors| errors as f64));
        for why in ["thermal", "power"] {
            let is = now.clock_mhz.map(|_| flag(now.throttled.map(Throttled::word) == Some(why)));
            all.tell(Metric::GpuThrottled, &[&index, why], is);
        }
        for mig in &gpu.mig {
            let (instance, profile) = (mig.index.to_string(), mig.profile.as_deref().unwrap_or_default());
            let of = [index.as_str(), &instance, profile];
            let used =
                mig.memory_total_bytes.zip(mig.memory_free_bytes).map(|(total, free)| total.saturating_sub(free));
            all.tell(Metric::MigMemoryTotal, &of, mig.memory_total_bytes.map(|bytes| bytes as f64));
            all.tell(Metric::MigMemoryUsed, &of, used.map(|bytes| bytes as f64));
        }
    }

    fn of_machine(&self, all: &mut Gauges, machine: &Look) {
        let inventory = self.parts.hardware.borrow();
        let host = &inventory.host;
        let (total, available) = (host.ram_total_bytes, host.ram_available_bytes);
        all.tell(Metric::HostCpu, &[], machine.cpu_percent.map(|percent| percent / 100.0));
        all.tell(Metric::HostCores, &[], Some(f64::from(host.cpu_cores)).filter(|cores| *cores > 0.0));
        for (period, load) in ["1m", "5m", "15m"].into_iter().zip(machine.load.into_iter().flatten()) {
            all.tell(Metric::HostLoad, &[period], load);
        }
        let used = total.zip(available).map(|(total, available)| total.saturating_sub(available) as f64);
        all.tell(Metric::HostMemoryTotal, &[], total.map(|bytes| bytes as f64));
        all.tell(Metric::HostMemoryUsed, &[], used);
        all.tell(Metric::DiskTotal, &[], host.disk.as_ref().map(|disk| disk.total_bytes as f64));
        all.tell(Metric::DiskFree, &[], host.disk.as_ref().map(|disk| disk.free_bytes as f64));
    }
}

fn of_slot(all: &mut Gauges, slot: &Slot) {
    let (of, gpu) = ([slot.worker.as_str()], slot.gpu().map(|gpu| gpu.to_string()).unwrap_or_default());
    all.tell(Metric::SlotState, &[&slot.worker, &gpu, standing(slot)], 1.0);
    let Some((job, guess)) = slot.shared.board.of(&slot.worker) else { return };
    let progress = job.progress.clone().unwrap_or_default();
    let service = job.service.as_deref().map(|service| metrics::of_process().name(service)).unwrap_or_default();
    let engine = job.engine.as_deref().unwrap_or_default();
    all.tell(Metric::JobInfo, &[&slot.worker, &service, engine, stage_word(&progress.stage)], 1.0);
    all.tell(Metric::JobAttempt, &of, job.attempt as f64);
    all.tell(Metric::JobClaimed, &of, epoch(job.claimed));
    all.tell(Metric::JobStarted, &of, job.started.map(epoch));
    all.tell(Metric::JobProgress, &of, job.progress.is_some().then_some(progress.fraction));
    all.tell(Metric::JobStep, &of, progress.step.map(|(step, _)| step as f64));
    all.tell(Metric::JobSteps, &of, progress.step.map(|(_, steps)| steps as f64));
    all.tell(Metric::JobLeft, &of, guess.map(|guess| guess.left.as_secs_f64()));
    all.tell(Metric::JobLeftRuns, &of, count(guess.and_then(|guess| guess.runs)));
    let hold = slot.shared.holds.of_job(&job.job);
    all.tell(Metric::JobCancelling, &of, flag(hold.is_some_and(|hold| hold.why().is_some())));
}

fn of_queue(all: &mut Gauges, queue: &Queue) {
    all.tell(Metric::QueueWaiting, &[], queue.waiting.map(|jobs| jobs as f64));
    all.tell(Metric::QueueDelayed, &[], queue.delayed.map(|jobs| jobs as f64));
    all.tell(Metric::QueueUnindexed, &[], queue.unindexed.map(|jobs| jobs as f64));
    all.tell(Metric::QueueFitting, &[], queue.fitting.map(|jobs| jobs as f64));
    all.tell(Metric::QueueRead, &[], queue.read.map(epoch));
    all.tell(Metric::QueueTruncated, &[], queue.read.map(|_| flag(queue.truncated)));
    queue.classes.iter().for_each(|class| of_class(all, class));
}

/// At most 50 of them: their names need no bound of their own.
fn of_class(all: &mut Gauges, class: &Class) {
    let of = [plain(&class.id), class.service.as_deref().map_or("any", plain)];
    all.tell(Metric::ClassWaiting, &of, class.count as f64);
    let waited = class.oldest.map(|oldest| epoch(now_ms().saturating_sub(oldest).max(0)));
    all.tell(Metric::ClassOldest, &of, waited);
    all.tell(Metric::ClassPriority, &of, class.priority_best.map(|priority| priority as f64));
    all.tell(Metric::ClassFits, &of, count(Some(class.fits.len())));
    let mut by_code: BTreeMap<&str, u32> = BTreeMap::new();
    for misfit in &class.misfits {
        // A worker may lack two models: it is one worker all the same.
        for code in misfit.codes.iter().collect::<BTreeSet<_>>() {
            *by_code.entry(code).or_default() += 1;
        }
    }
    for (code, workers) in by_code {
        all.tell(Metric::ClassMisfits, &[of[0], of[1], code], f64::from(workers));
    }
}

fn of_engine(all: &mut Gauges, engine: &Engine) {
    let label = engine.label.as_str();
    let version = engine.probe_with(|probe| probe.version.clone()).unwrap_or_default();
    all.tell(Metric::EngineInfo, &[label, engine.connector.name(), &version], 1.0);
    all.tell(Metric::EngineProbed, &[label], engine.probed().map(epoch));
    all.tell(Metric::EngineRuns, &[label], count(Some(engine.runs())));
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    engine.probe_with(|probe| {
        for (kind, names) in &probe.models {
            let kind = if kinds.len() < KINDS { plain(kind) } else { "other" };
            *kinds.entry(kind.to_owned()).or_default() += names.len();
        }
    });
    for (kind, models) in kinds {
        all.tell(Metric::EngineModels, &[label, &kind], count(Some(models)));
    }
    for (part, (failures, until)) in super::engines::left_out_by_kind(engine) {
        all.tell(Metric::EngineFailures, &[label, part], f64::from(failures));
        all.tell(Metric::EngineLeftOutUntil, &[label, part], until.map(epoch));
    }
}

fn of_ends(all: &mut Gauges) {
    let stats = stats::section(&history::of_process().tally());
    all.tell(Metric::SuccessRatio, &[], stats.success_rate);
    all.tell(Metric::PerHour, &[], stats.per_hour);
    let seconds = |ms: Option<u64>| ms.map(|ms| ms as f64 / 1e3);
    all.tell(Metric::JobQuantile, &["", "50"], seconds(stats.p50_ms));
    all.tell(Metric::JobQuantile, &["", "95"], seconds(stats.p95_ms));
    for service in &stats.by_service {
        let name = metrics::of_process().name(&service.service);
        all.tell(Metric::JobQuantile, &[&name, "50"], seconds(service.p50_ms));
        all.tell(Metric::JobQuantile, &[&name, "95"], seconds(service.p95_ms));
    }
}
