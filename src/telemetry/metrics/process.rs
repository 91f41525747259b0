//! The agent as the kernel sees it.
//! In: /proc/self and the process's clock. Out: processor time, memory, descriptors, threads.

use std::time::Duration;

/// What the kernel counts of this process; `None`: /proc does not tell.
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// Of all threads.
    pub cpu: Duration,
    /// Main memory.
    pub resident_bytes: Option<u64>,
    /// Open descriptors.
    pub open_fds: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
}

impl Process {
    /// Reads it now.
    pub fn read() -> Self {
        let clock = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let of_status = |name: &str| {
            let text = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        };
        // One of them is the folder itself, open while it is read.
        let fds = std::fs::read_dir("/proc/self/fd").ok().map(|open| (open.count() as u64).saturating_sub(1));
        Self {
            cpu: Duration::new(clock.tv_sec.unsigned_abs(), clock.tv_nsec.unsigned_abs() as u32),
            resident_bytes: of_status("VmRSS").map(|kibibytes| kibibytes * 1024),
            open_fds: fds,
            threads: of_status("Threads"),
        }
    }
}
