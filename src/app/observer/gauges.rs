//! Numbers of the page that nothing else measures.
//! In: cards, workers, queue, counts of ends, the machine. Out: gauges for the metrics.

use super::{Observer, locked, workers};
use crate::dashboard::Source;
use crate::dashboard::view::stats;
use crate::telemetry::history;
use crate::telemetry::metrics::{self, Gauge, Metric};

impl Observer {
    pub(super) fn gauges(&self) -> Vec<Gauge> {
        let mut all: Vec<Gauge> = Vec::new();
        let mut tell = |metric: Metric, labels: &[&str], value: Option<f64>| {
            all.extend(value.map(|value| Gauge {
                metric,
                labels: labels.iter().map(|label| (*label).to_owned()).collect(),
                value,
            }));
        };
        for gpu in self.cards() {
            let index = gpu.index.to_string();
            let of = [index.as_str()];
            tell(Metric::GpuMemoryOfJobs, &of, gpu.memory.job_bytes.map(|bytes| bytes as f64));
            tell(Metric::GpuTemperatureLimit, &of, gpu.temperature_limit_c.map(f64::from));
            tell(Metric::GpuPowerLimit, &of, gpu.power_limit_w);
            tell(Metric::GpuClock, &of, gpu.clock_mhz.map(|mhz| f64::from(mhz) * 1e6));
            tell(Metric::GpuClockMax, &of, gpu.clock_max_mhz.map(|mhz| f64::from(mhz) * 1e6));
            tell(Metric::GpuFan, &of, gpu.fan_percent.map(|percent| f64::from(percent) / 100.0));
            tell(Metric::GpuEcc, &of, gpu.ecc_errors.map(|errors| errors as f64));
            for why in ["thermal", "power"] {
                let is = gpu.clock_mhz.map(|_| f64::from(u8::from(gpu.throttled == Some(why))));
                tell(Metric::GpuThrottled, &[&index, why], is);
            }
            for mig in &gpu.mig {
                let (instance, profile) = (mig.index.to_string(), mig.name.as_deref().unwrap_or_default());
                let of = [index.as_str(), &instance, profile];
                tell(Metric::MigMemoryTotal, &of, mig.memory.total_bytes.map(|bytes| bytes as f64));
                tell(Metric::MigMemoryUsed, &of, mig.memory.used_bytes.map(|bytes| bytes as f64));
            }
        }
        for slot in &self.parts.slots {
            let job = workers::slot(slot).job;
            let of = [slot.worker.as_str()];
            tell(Metric::JobProgress, &of, job.as_ref().and_then(|job| job.progress).map(|percent| percent / 100.0));
            tell(Metric::JobLeft, &of, job.and_then(|job| job.eta_ms).map(|ms| ms as f64 / 1e3));
        }
        let queue = self.queue();
        let counts = self.queue.counts();
        tell(Metric::QueueWaiting, &[], counts.map(|(due, _)| due as f64));
        tell(Metric::QueueDelayed, &[], counts.map(|(_, delayed)| delayed as f64));
        tell(Metric::QueueUnindexed, &[], queue.unindexed.map(|count| count as f64));
        tell(Metric::QueueFitting, &[], queue.fitting.map(|count| count as f64));
        let stats = stats::section(&history::of_process().tally());
        tell(Metric::SuccessRatio, &[], stats.success_rate);
        tell(Metric::PerHour, &[], stats.per_hour);
        let seconds = |ms: Option<u64>| ms.map(|ms| ms as f64 / 1e3);
        tell(Metric::JobQuantile, &["", "0.5"], seconds(stats.p50_ms));
        tell(Metric::JobQuantile, &["", "0.95"], seconds(stats.p95_ms));
        for service in &stats.by_service {
            let name = metrics::of_process().name(&service.service);
            tell(Metric::JobQuantile, &[&name, "0.5"], seconds(service.p50_ms));
            tell(Metric::JobQuantile, &[&name, "0.95"], seconds(service.p95_ms));
        }
        let inventory = self.parts.hardware.borrow().clone();
        let system = locked(&self.load).system(&inventory);
        tell(Metric::HostCpu, &[], system.cpu_percent.map(|percent| percent / 100.0));
        for (period, load) in ["1m", "5m", "15m"].into_iter().zip(system.load.into_iter().flatten()) {
            tell(Metric::HostLoad, &[period], Some(load));
        }
        tell(Metric::HostMemoryTotal, &[], system.memory_total_bytes.map(|bytes| bytes as f64));
        tell(Metric::HostMemoryUsed, &[], system.memory_used_bytes.map(|bytes| bytes as f64));
        tell(Metric::DiskTotal, &[], system.disk_total_bytes.map(|bytes| bytes as f64));
        tell(Metric::DiskFree, &[], system.disk_free_bytes.map(|bytes| bytes as f64));
        for engine in self.connectors() {
            for (kind, count) in &engine.models {
                tell(Metric::EngineModels, &[&engine.label, kind], Some(*count as f64));
            }
            tell(Metric::EngineRuns, &[&engine.label], Some(engine.runs as f64));
        }
        let beat = self.worker().heartbeat;
        tell(Metric::Heartbeat, &[], beat.map(|at| at as f64 / 1e3));
        all
    }
}
