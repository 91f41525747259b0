//! The machine around the GPUs, and the agent's own process.
//! In: the kernel's files, the last look at the hardware. Out: the section `system`; shares are of the time since the look before.

use crate::dashboard::view::system::System;
use crate::dashboard::view::tenths;
use crate::hardware::{DriverState, Inventory};
use crate::telemetry::metrics::Process;
use std::time::{Duration, Instant};

/// Shares of a shorter time are noise.
const SHORTEST: Duration = Duration::from_millis(900);

/// What was counted at the look before.
#[derive(Debug, Default)]
pub(super) struct Load {
    before: Option<Counted>,
    cpu_percent: Option<f64>,
    agent_cpu_percent: Option<f64>,
}

/// One look at the kernel's files.
pub(super) struct Look {
    /// The agent.
    pub process: Process,
    /// Share of all cores that is busy.
    pub cpu_percent: Option<f64>,
    /// Of 1, 5 and 15 minutes.
    pub load: Option<[f64; 3]>,
}

#[derive(Debug, Clone, Copy)]
struct Counted {
    at: Instant,
    agent: Duration,
    /// Busy and all ticks of all cores.
    ticks: Option<(u64, u64)>,
}

impl Load {
    /// What the kernel's files tell now, each read once.
    pub fn look(&mut self) -> Look {
        let process = Process::read();
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        self.count(Counted { at: Instant::now(), agent: process.cpu, ticks: ticks(&stat) });
        let load = load(&std::fs::read_to_string("/proc/loadavg").unwrap_or_default());
        Look { process, cpu_percent: self.cpu_percent, load }
    }

    /// The section.
    pub fn system(&mut self, inventory: &Inventory) -> System {
        let Look { process, load, .. } = self.look();
        let host = &inventory.host;
        let (total, available) = (host.ram_total_bytes, host.ram_available_bytes);
        System {
            cpu_percent: self.cpu_percent,
            cpu_cores: Some(host.cpu_cores).filter(|cores| *cores > 0),
            load,
            memory_total_bytes: total,
            memory_used_bytes: total.zip(available).map(|(total, available)| total.saturating_sub(available)),
            disk_total_bytes: host.disk.as_ref().map(|disk| disk.total_bytes),
            disk_free_bytes: host.disk.as_ref().map(|disk| disk.free_bytes),
            agent_rss_bytes: process.resident_bytes,
            agent_cpu_percent: self.agent_cpu_percent,
            host: host.name.clone(),
            os: host.os.clone(),
            kernel: host.kernel.clone(),
            gpu_driver: (inventory.gpu_driver != DriverState::NotAsked).then(|| inventory.gpu_driver.explain()),
            pid: std::process::id(),
        }
    }

    fn count(&mut self, now: Counted) {
        let Some(before) = self.before else {
            self.before = Some(now);
            return;
        };
        let passed = now.at.saturating_duration_since(before.at);
        if passed < SHORTEST {
            return;
        }
        let share = |part: f64, whole: f64| (whole > 0.0).then(|| tenths((part / whole * 100.0).max(0.0)));
        self.agent_cpu_percent = share(now.agent.saturating_sub(before.agent).as_secs_f64(), passed.as_secs_f64());
        self.cpu_percent = now.ticks.zip(before.ticks).and_then(|(now, before)| {
            share(now.0.saturating_sub(before.0) as f64, now.1.saturating_sub(before.1) as f64)
        });
        self.before = Some(now);
    }
}

/// The first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal; what guests used is in user.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let counts: Vec<u64> = line.split_whitespace().take(8).map_while(|count| count.parse().ok()).collect();
    let all: u64 = counts.iter().sum();
    let idle = counts.get(3)? + counts.get(4).copied().unwrap_or(0);
    Some((all - idle, all))
}

fn load(text: &str) -> Option<[f64; 3]> {
    let mut numbers = text.split(' ').map_while(|number| number.parse().ok());
    Some([numbers.next()?, numbers.next()?, numbers.next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        assert_eq!(ticks("cpu  10 1 5 70 4 1 1 0 99 99\ncpu0 1 2"), Some((18, 92)));
        assert_eq!((ticks(""), ticks("cpu  1 2"), ticks("intr 5")), (None, None, None));
        assert_eq!(load("0.10 1.25 3.00 1/99 7"), Some([0.1, 1.25, 3.0]));
        assert_eq!(load("0.10 x"), None);
    }

    #[test]
    fn shares_are_of_the_time_since_the_look_before() {
        let mut load = Load::default();
        let at = Instant::now();
        let counted = |ms: u64, agent: u64, ticks| Counted {
            at: at + Duration::from_millis(ms),
            agent: Duration::from_millis(agent),
            ticks: Some(ticks),
        };
        load.count(counted(0, 0, (0, 0)));
        assert_eq!((load.cpu_percent, load.agent_cpu_percent), (None, None));
        load.count(counted(2000, 100, (50, 400)));
        assert_eq!((load.cpu_percent, load.agent_cpu_percent), (Some(12.5), Some(5.0)));
        load.count(counted(2100, 5000, (400, 400)));
        assert_eq!(load.agent_cpu_percent, Some(5.0), "too short to tell");
    }
}
