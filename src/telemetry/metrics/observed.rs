//! What is looked at when somebody asks: how slots, engines, GPUs, Redis, loops and the process are now.
//! In: `Observed`, put together by the agent. Out: gauges; and whether the agent lives and can work.

use super::process::Process;
use super::{Metric, Metrics};
use std::collections::BTreeMap;
use std::time::Duration;

/// How the agent is now.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// What each slot does: `idle`, `busy`, `paused`, `drained`, `fenced`.
    pub slots: Vec<&'static str>,
    /// What is wanted of each slot: `running`, `paused`, `draining`.
    pub desired: Vec<&'static str>,
    /// It was told to stop.
    pub draining: bool,
    /// The engines.
    pub engines: Vec<EngineSeen>,
    /// The GPUs.
    pub gpus: Vec<GpuSeen>,
    /// The way to Redis.
    pub redis: RedisSeen,
    /// The loops.
    pub loops: Vec<LoopSeen>,
    /// Why outputs cannot be stored, if they could not be when it was last tried.
    pub cannot_store: Option<String>,
    /// What else is shown, as it is.
    pub gauges: Vec<Gauge>,
}

/// A number.
#[derive(Debug, Clone)]
pub struct Gauge {
    /// Of what.
    pub metric: Metric,
    /// In the order of the table.
    pub labels: Vec<String>,
    /// The number.
    pub value: f64,
}

/// An engine.
#[derive(Debug, Clone, Default)]
pub struct EngineSeen {
    /// Connector name and address number.
    pub label: String,
    /// Its services are offered.
    pub is_healthy: bool,
    /// Why not, for people.
    pub why: String,
    /// In its own queue.
    pub queue: Option<u64>,
    /// Kinds of the parts that are not offered, one entry for each part.
    pub left_out: Vec<&'static str>,
}

/// A GPU; `None`: the card does not tell.
#[derive(Debug, Clone, Default)]
pub struct GpuSeen {
    /// Its number.
    pub index: u32,
    /// Model.
    pub name: String,
    /// The driver's lasting id.
    pub uuid: String,
    /// The driver's version.
    pub driver: String,
    /// The driver answers for it.
    pub is_healthy: bool,
    /// It may not work.
    pub is_fenced: bool,
    /// 0 to 1.
    pub utilisation: Option<f64>,
    /// Bytes.
    pub memory_total: Option<u64>,
    /// Bytes.
    pub memory_free: Option<u64>,
    /// Degrees Celsius.
    pub temperature: Option<u32>,
    /// Watts.
    pub power: Option<f64>,
}

/// The way to Redis.
#[derive(Debug, Clone, Default)]
pub struct RedisSeen {
    /// There is a connection that answers.
    pub is_up: bool,
    /// Since when not.
    pub away: Option<Duration>,
    /// Of the last small call.
    pub round_trip: Option<Duration>,
}

/// A long loop.
#[derive(Debug, Clone)]
pub struct LoopSeen {
    /// Its name.
    pub name: String,
    /// Since it last came round.
    pub age: Duration,
    /// Longer than it should be.
    pub hangs: bool,
}

/// What is looked at anew each time.
const LOOKED_AT: &[Metric] = &[
    Metric::Slots,
    Metric::SlotsDesired,
    Metric::EngineHealthy,
    Metric::EngineQueue,
    Metric::EngineLeftOut,
    Metric::GpuInfo,
    Metric::GpuUsable,
    Metric::GpuFenced,
    Metric::GpuUtilisation,
    Metric::GpuMemoryTotal,
    Metric::GpuMemoryUsed,
    Metric::GpuTemperature,
    Metric::GpuPower,
    Metric::GpuMemoryOfJobs,
    Metric::GpuTemperatureLimit,
    Metric::GpuPowerLimit,
    Metric::GpuClock,
    Metric::GpuClockMax,
    Metric::GpuFan,
    Metric::GpuThrottled,
    Metric::GpuEcc,
    Metric::MigMemoryTotal,
    Metric::MigMemoryUsed,
    Metric::JobProgress,
    Metric::JobLeft,
    Metric::JobQuantile,
    Metric::SuccessRatio,
    Metric::PerHour,
    Metric::QueueWaiting,
    Metric::QueueDelayed,
    Metric::QueueUnindexed,
    Metric::QueueFitting,
    Metric::EngineModels,
    Metric::EngineRuns,
    Metric::Heartbeat,
    Metric::HostCpu,
    Metric::HostLoad,
    Metric::HostMemoryTotal,
    Metric::HostMemoryUsed,
    Metric::DiskTotal,
    Metric::DiskFree,
    Metric::RedisRoundTrip,
    Metric::LoopAge,
    Metric::ProcessCpu,
    Metric::ProcessMemory,
    Metric::ProcessFds,
    Metric::ProcessThreads,
];

impl Observed {
    /// Loops that do not come round, by name.
    pub fn hanging(&self) -> Vec<&str> {
        self.loops.iter().filter(|seen| seen.hangs).map(|seen| seen.name.as_str()).collect()
    }

    /// Why the agent cannot take work, if it cannot: a word for programs, a sentence for people.
    pub fn obstacles(&self) -> Vec<(&'static str, String)> {
        let mut obstacles = Vec::new();
        if self.draining {
            obstacles.push(("draining", "the agent was told to stop and claims no more".to_owned()));
        }
        obstacles.extend(self.held_back());
        if !self.redis.is_up {
            let since = self.redis.away.map(|away| format!(", for {} s", away.as_secs())).unwrap_or_default();
            obstacles.push(("redis", format!("Redis cannot be reached{since}")));
        }
        if !self.engines.iter().any(|engine| engine.is_healthy) {
            let of_each = self.engines.iter().map(|engine| format!("{}: {}", engine.label, engine.why));
            let why = of_each.collect::<Vec<_>>().join("; ");
            obstacles.push(("engines", if why.is_empty() { "there is no engine".to_owned() } else { why }));
        }
        if let Some(why) = &self.cannot_store {
            obstacles.push(("outputs", format!("outputs cannot be stored: {why}")));
        }
        obstacles
    }

    /// Nothing is claimed because somebody wants it so. Where one slot may claim, jobs can be taken.
    fn held_back(&self) -> Option<(&'static str, String)> {
        if self.desired.is_empty() || self.desired.contains(&"running") {
            return None;
        }
        if self.desired.contains(&"paused") {
            return Some(("paused", "it is paused and claims no more; `gpu-worker resume` lets it go on".to_owned()));
        }
        let busy = self.slots.iter().filter(|slot| **slot == "busy").count();
        Some(match busy {
            0 => ("drained", "it is drained: nothing runs; `gpu-worker resume` lets it go on".to_owned()),
            _ => ("draining", format!("it claims no more and drains: {busy} running")),
        })
    }
}

impl Metrics {
    /// Takes it in.
    pub(super) fn look(&self, observed: &Observed) {
        LOOKED_AT.iter().for_each(|metric| self.clear(*metric));
        for desired in ["running", "paused", "draining"] {
            let count = observed.desired.iter().filter(|slot| **slot == desired).count();
            self.note(Metric::SlotsDesired, &[desired], count as f64);
        }
        for state in ["idle", "busy", "paused", "drained", "fenced"] {
            let count = observed.slots.iter().filter(|slot| **slot == state).count();
            self.note(Metric::Slots, &[state], count as f64);
        }
        self.note(Metric::Draining, &[], flag(observed.draining));
        for gauge in &observed.gauges {
            let labels: Vec<&str> = gauge.labels.iter().map(String::as_str).collect();
            self.note(gauge.metric, &labels, gauge.value);
        }
        observed.engines.iter().for_each(|engine| self.look_at_engine(engine));
        observed.gpus.iter().for_each(|gpu| self.look_at_gpu(gpu));
        self.note(Metric::RedisUp, &[], flag(observed.redis.is_up));
        self.note(Metric::RedisAway, &[], observed.redis.away.map_or(0.0, |away| away.as_secs_f64()));
        if let Some(round_trip) = observed.redis.round_trip {
            self.note(Metric::RedisRoundTrip, &[], round_trip.as_secs_f64());
        }
        let mut oldest: BTreeMap<&str, f64> = BTreeMap::new();
        for seen in &observed.loops {
            let age = oldest.entry(&seen.name).or_default();
            *age = age.max(seen.age.as_secs_f64());
        }
        oldest.iter().for_each(|(name, age)| self.note(Metric::LoopAge, &[name], *age));
        self.look_at_process();
    }

    fn look_at_engine(&self, engine: &EngineSeen) {
        let label = engine.label.as_str();
        self.note(Metric::EngineHealthy, &[label], flag(engine.is_healthy));
        if let Some(queue) = engine.queue {
            self.note(Metric::EngineQueue, &[label], queue as f64);
        }
        for part in ["engine", "runs", "model", "memory", "class"] {
            let count = engine.left_out.iter().filter(|left_out| **left_out == part).count();
            self.note(Metric::EngineLeftOut, &[label, part], count as f64);
        }
    }

    fn look_at_gpu(&self, gpu: &GpuSeen) {
        let index = gpu.index.to_string();
        let of = [index.as_str()];
        self.note(Metric::GpuInfo, &[&index, &gpu.name, &gpu.uuid, &gpu.driver], 1.0);
        self.note(Metric::GpuUsable, &of, flag(gpu.is_healthy && !gpu.is_fenced));
        self.note(Metric::GpuFenced, &of, flag(gpu.is_fenced));
        let used = gpu.memory_total.zip(gpu.memory_free).map(|(total, free)| total.saturating_sub(free) as f64);
        let readings = [
            (Metric::GpuUtilisation, gpu.utilisation),
            (Metric::GpuMemoryTotal, gpu.memory_total.map(|bytes| bytes as f64)),
            (Metric::GpuMemoryUsed, used),
            (Metric::GpuTemperature, gpu.temperature.map(f64::from)),
            (Metric::GpuPower, gpu.power),
        ];
        for (metric, value) in readings {
            if let Some(value) = value {
                self.note(metric, &of, value);
            }
        }
    }

    fn look_at_process(&self) {
        let process = Process::read();
        self.note(Metric::BuildInfo, &[env!("CARGO_PKG_VERSION")], 1.0);
        self.note(Metric::Uptime, &[], self.began.elapsed().as_secs_f64());
        self.note(Metric::ProcessCpu, &[], process.cpu.as_secs_f64());
        let readings = [
            (Metric::ProcessMemory, process.resident_bytes),
            (Metric::ProcessFds, process.open_fds),
            (Metric::ProcessThreads, process.threads),
        ];
        for (metric, value) in readings {
            if let Some(value) = value {
                self.note(metric, &[], value as f64);
            }
        }
    }
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}
