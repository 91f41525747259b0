//! What is looked at when somebody asks: how slots, engines, GPUs, Redis, loops and the process are now.
//! In: `Observed`, put together by the agent. Out: gauges; and whether the agent lives.

use super::process::Process;
use super::readiness::{EngineSeen, Readiness};
use super::{Kind, Metric, Metrics, TABLE};
use std::collections::BTreeMap;
use std::time::Duration;

/// Kinds of what is left out of an engine's offer.
const PARTS: [&str; 5] = ["engine", "runs", "model", "memory", "class"];

/// How the agent is now.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Whether it can take jobs.
    pub readiness: Readiness,
    /// The GPUs.
    pub gpus: Vec<GpuSeen>,
    /// The loops.
    pub loops: Vec<LoopSeen>,
    /// The agent's process.
    pub process: Process,
    /// What else is shown, as it is.
    pub gauges: Gauges,
}

/// Numbers: of what, labels in the order of the table, the value.
#[derive(Debug, Clone, Default)]
pub struct Gauges(Vec<(Metric, Vec<String>, f64)>);

impl Gauges {
    /// Adds one, if it is known.
    pub fn tell(&mut self, metric: Metric, labels: &[&str], value: impl Into<Option<f64>>) {
        let value = value.into().map(|value| (metric, labels.iter().map(|label| (*label).to_owned()).collect(), value));
        self.0.extend(value);
    }

    /// Adds one for each word of which one is so: 1 for that, 0 for the others.
    pub fn tell_which(&mut self, metric: Metric, words: &[&str], is: &str) {
        words.iter().for_each(|word| self.tell(metric, &[word], flag(*word == is)));
    }
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

impl Observed {
    /// Loops that do not come round, by name.
    pub fn hanging(&self) -> Vec<&str> {
        self.loops.iter().filter(|seen| seen.hangs).map(|seen| seen.name.as_str()).collect()
    }
}

impl Metrics {
    /// Takes it in.
    pub(super) fn look(&self, observed: &Observed) {
        for (at, row) in TABLE.iter().enumerate() {
            // What is counted elsewhere is added up; this is not.
            if matches!(row.kind, Kind::Gauge) || at == Metric::ProcessCpu as usize {
                self.clear(at);
            }
        }
        let Observed { readiness, .. } = observed;
        for desired in ["running", "paused", "draining"] {
            let count = readiness.desired.iter().filter(|slot| **slot == desired).count();
            self.note(Metric::SlotsDesired, &[desired], count as f64);
        }
        for state in ["idle", "busy", "paused", "drained", "fenced", "no_store", "waiting_for_engine", "engine_full"] {
            let count = readiness.slots.iter().filter(|slot| **slot == state).count();
            self.note(Metric::Slots, &[state], count as f64);
        }
        self.note(Metric::Draining, &[], flag(readiness.draining));
        for (metric, labels, value) in &observed.gauges.0 {
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            self.note(*metric, &labels, *value);
        }
        readiness.engines.iter().for_each(|engine| self.look_at_engine(engine));
        observed.gpus.iter().for_each(|gpu| self.look_at_gpu(gpu));
        self.note(Metric::RedisUp, &[], flag(readiness.redis.is_up));
        self.note(Metric::RedisAway, &[], readiness.redis.away.map_or(0.0, |away| away.as_secs_f64()));
        if let Some(round_trip) = readiness.redis.round_trip {
            self.note(Metric::RedisRoundTrip, &[], round_trip.as_secs_f64());
        }
        let mut oldest: BTreeMap<&str, (f64, bool)> = BTreeMap::new();
        for seen in &observed.loops {
            let (age, hangs) = oldest.entry(&seen.name).or_default();
            (*age, *hangs) = (age.max(seen.age.as_secs_f64()), *hangs || seen.hangs);
        }
        for (name, (age, hangs)) in oldest {
            self.note(Metric::LoopAge, &[name], age);
            self.note(Metric::LoopHanging, &[name], flag(hangs));
        }
        self.look_at_process(&observed.process);
    }

    fn look_at_engine(&self, engine: &EngineSeen) {
        let label = engine.label.as_str();
        self.note(Metric::EngineHealthy, &[label], flag(engine.is_healthy));
        self.begin(&[Metric::EngineFaults, Metric::PartsLeftOut], label);
        if let Some(queue) = engine.queue {
            self.note(Metric::EngineQueue, &[label], queue as f64);
        }
        for part in PARTS {
            let count = |of: &[&str]| of.iter().filter(|left_out| **left_out == part).count() as f64;
            self.note(Metric::EngineLeftOut, &[label, part], count(&engine.left_out));
            self.note(Metric::EngineOnTrial, &[label, part], count(&engine.on_trial));
        }
    }

    fn look_at_gpu(&self, gpu: &GpuSeen) {
        let index = gpu.index.to_string();
        let of = [index.as_str()];
        self.begin(&[Metric::GpuFences], &index);
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

    fn look_at_process(&self, process: &Process) {
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
