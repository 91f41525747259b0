//! Each number of the page beside the metric that carries it.
//! In: nothing. Out: `NUMBERS`, which docs/metrics.md shows; tests hold real pictures of agents against it.
//!
//! The page is made from `/api/snapshot` alone, so its numbers are the numbers (and yes-or-no values) of that: each has a row
//! here, by its path. `[]` is every entry of a list, `*` every key of a map.

use super::Metric::{self, *};
use Told::{By, Not};

/// A number of the page.
#[derive(Debug)]
pub struct Number {
    /// Where it stands in `/api/snapshot`.
    pub path: &'static str,
    /// Who tells it.
    pub told: Told,
}

/// Who tells a number.
#[derive(Debug)]
pub enum Told {
    /// These metrics; the words say how where that is not plain.
    By(&'static [Metric], &'static str),
    /// None, and why.
    Not(&'static str),
}

const IDENTITY: &str = "names something: a label where it is needed";
const CLOCK: &str = "the clock of the answer";
const RUN: &str = "all runs together; no label holds a job";
const KEPT: &str = "readings of the last minutes, which Prometheus keeps itself";

macro_rules! numbers {
    ($($path:literal $told:expr;)*) => {
        /// Every number of the page.
        pub static NUMBERS: &[Number] = &[$(Number { path: $path, told: $told }),*];
    };
}

numbers! {
    "now" Not(CLOCK);
    "read_only" Not("a setting");
    "worker.since" By(&[StateSince, State], "");
    "worker.started" By(&[Uptime], "since then");
    "worker.heartbeat" By(&[Heartbeat], "");
    "worker.redis.connected" By(&[RedisUp], "");
    "worker.redis.since" By(&[RedisAway], "while it is away, since then");
    "worker.redis.round_trip_ms" By(&[RedisRoundTrip], "");
    "slots[].gpu" By(&[SlotState], "its label `gpu`");
    "slots[].job.attempt" By(&[JobAttempt], "");
    "slots[].job.claimed" By(&[JobClaimed], "");
    "slots[].job.started" By(&[JobStarted], "");
    "slots[].job.progress" By(&[JobProgress], "");
    "slots[].job.step[]" By(&[JobStep, JobSteps], "");
    "slots[].job.eta_ms" By(&[JobLeft], "");
    "slots[].job.eta_from_runs" By(&[JobLeftRuns], "");
    "slots[].job.cancelling" By(&[JobCancelling], "");
    "gpus[].index" Not(IDENTITY);
    "gpus[].utilisation" By(&[GpuUtilisation], "");
    "gpus[].memory.total_bytes" By(&[GpuMemoryTotal], "");
    "gpus[].memory.used_bytes" By(&[GpuMemoryUsed], "");
    "gpus[].memory.job_bytes" By(&[GpuMemoryOfJobs], "");
    "gpus[].memory.other_bytes" By(&[GpuMemoryUsed, GpuMemoryOfJobs], "the first less the second");
    "gpus[].temperature_c" By(&[GpuTemperature], "");
    "gpus[].temperature_limit_c" By(&[GpuTemperatureLimit], "");
    "gpus[].power_w" By(&[GpuPower], "");
    "gpus[].power_limit_w" By(&[GpuPowerLimit], "");
    "gpus[].clock_mhz" By(&[GpuClock], "");
    "gpus[].clock_max_mhz" By(&[GpuClockMax], "");
    "gpus[].fan_percent" By(&[GpuFan], "");
    "gpus[].ecc_errors" By(&[GpuEcc], "");
    "gpus[].can_free" Not("what its engines are");
    "gpus[].mig[].index" Not(IDENTITY);
    "gpus[].mig[].memory.total_bytes" By(&[MigMemoryTotal], "");
    "gpus[].mig[].memory.used_bytes" By(&[MigMemoryUsed], "");
    "gpus[].mig[].memory.job_bytes" Not("no driver tells it of an instance");
    "gpus[].mig[].memory.other_bytes" Not("no driver tells it of an instance");
    "series.step_ms" Not(KEPT);
    "series.end" Not(KEPT);
    "series.gpus[].index" Not(IDENTITY);
    "series.gpus[].utilisation[]" By(&[GpuUtilisation], "over time; the page's share of busy GPUs is its mean of 15 minutes");
    "series.gpus[].memory_bytes[]" By(&[GpuMemoryUsed], "over time");
    "series.gpus[].memory_job_bytes[]" By(&[GpuMemoryOfJobs], "over time");
    "series.gpus[].temperature_c[]" By(&[GpuTemperature], "over time");
    "series.gpus[].power_w[]" By(&[GpuPower], "over time");
    "series.gpus[].clock_mhz[]" By(&[GpuClock], "over time");
    "queue.read" By(&[QueueRead], "");
    "queue.waiting" By(&[QueueWaiting], "");
    "queue.delayed" By(&[QueueDelayed], "");
    "queue.unindexed" By(&[QueueUnindexed], "");
    "queue.fitting" By(&[QueueFitting], "");
    "queue.truncated" By(&[QueueTruncated], "");
    "queue.classes[].count" By(&[ClassWaiting, ClassFits, ClassMisfits], "the others: what of it this box could run, and why not the rest");
    "queue.classes[].oldest" By(&[ClassOldest], "since then");
    "queue.classes[].priority_best" By(&[ClassPriority], "");
    "connectors[].healthy" By(&[EngineHealthy, EngineInfo], "");
    "connectors[].queue_remaining" By(&[EngineQueue], "");
    "connectors[].runs" By(&[EngineRuns], "");
    "connectors[].models.*" By(&[EngineModels], "");
    "connectors[].left_out[].until" By(&[EngineLeftOutUntil, EngineLeftOut, EngineOnTrial], "by kind of part");
    "connectors[].left_out[].failures" By(&[EngineFailures], "by kind of part");
    "connectors[].probed" By(&[EngineProbed], "");
    "jobs.kept" Not("a setting");
    "jobs.history[].number" Not(IDENTITY);
    "jobs.history[].can_retry" Not("whether an order would be taken");
    "jobs.history[].attempt" By(&[JobsClaimed], RUN);
    "jobs.history[].claimed" By(&[JobStartSeconds], RUN);
    "jobs.history[].ended" By(&[JobSeconds], RUN);
    "jobs.history[].duration_ms" By(&[JobSeconds], RUN);
    "jobs.history[].failure.retry_at" By(&[QueueDelayed], RUN);
    "jobs.history[].failure.final" By(&[JobsFailed], RUN);
    "jobs.history[].outputs[].bytes" By(&[OutputBytes], RUN);
    "jobs.history[].outputs_count" By(&[OutputsStored], RUN);
    "loops[].ticked" By(&[LoopAge], "since then");
    "loops[].hanging" By(&[LoopHanging], "");
    "stats.since" By(&[Uptime], "since then");
    "stats.completed" By(&[JobsCompleted], "");
    "stats.failed" By(&[JobsFailed], "`end=\"final\"`");
    "stats.retried" By(&[JobsFailed], "`end=\"retried\"`");
    "stats.cancelled" By(&[JobsCancelled], "");
    "stats.released" By(&[JobsReleased], "");
    "stats.lost" By(&[JobsLost], "");
    "stats.success_rate" By(&[SuccessRatio], "");
    "stats.completed_last_hour" By(&[JobsCompleted], "its increase in an hour");
    "stats.per_hour" By(&[PerHour], "");
    "stats.p50_ms" By(&[JobQuantile], "`percentile=\"50\"`, no service");
    "stats.p95_ms" By(&[JobQuantile], "`percentile=\"95\"`, no service");
    "stats.by_service[].completed" By(&[JobsCompleted], "");
    "stats.by_service[].failed" By(&[JobsFailed], "`end=\"final\"`");
    "stats.by_service[].retried" By(&[JobsFailed], "`end=\"retried\"`");
    "stats.by_service[].cancelled" By(&[JobsCancelled], "");
    "stats.by_service[].p50_ms" By(&[JobQuantile], "`percentile=\"50\"`");
    "stats.by_service[].p95_ms" By(&[JobQuantile], "`percentile=\"95\"`");
    "stats.by_reason[].count" By(&[JobsFailed], "by type and reason");
    "system.cpu_percent" By(&[HostCpu], "");
    "system.cpu_cores" By(&[HostCores], "");
    "system.load[]" By(&[HostLoad], "");
    "system.memory_total_bytes" By(&[HostMemoryTotal], "");
    "system.memory_used_bytes" By(&[HostMemoryUsed], "");
    "system.disk_total_bytes" By(&[DiskTotal], "");
    "system.disk_free_bytes" By(&[DiskFree], "");
    "system.agent_rss_bytes" By(&[ProcessMemory], "");
    "system.agent_cpu_percent" By(&[ProcessCpu], "its rate");
    "system.pid" Not(IDENTITY);
    "log[].at" Not("lines of the log");
}
