//! The machine around the GPUs, and the agent itself.
//! In: filled by the agent. Out: the section `system`.

use serde::Serialize;

/// The section.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct System {
    /// Share of all cores that is busy, 0 to 100; `None` at the first look.
    pub cpu_percent: Option<f64>,
    /// Cores that this agent may use.
    pub cpu_cores: Option<u32>,
    /// Of 1, 5 and 15 minutes.
    pub load: Option<[f64; 3]>,
    /// Main memory.
    pub memory_total_bytes: Option<u64>,
    /// Of it, what no program can have any more.
    pub memory_used_bytes: Option<u64>,
    /// The file system under OUTPUT_DIR.
    pub disk_total_bytes: Option<u64>,
    /// Free on it for this user.
    pub disk_free_bytes: Option<u64>,
    /// Main memory of the agent.
    pub agent_rss_bytes: Option<u64>,
    /// Of one core, 0 to 100 and more; `None` at the first look.
    pub agent_cpu_percent: Option<f64>,
    /// The machine's name.
    pub host: Option<String>,
    /// Its system.
    pub os: Option<String>,
    /// Its kernel.
    pub kernel: Option<String>,
    /// The GPU driver, in words.
    pub gpu_driver: Option<String>,
    /// The agent's process.
    pub pid: u32,
}
