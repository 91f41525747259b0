//! One look at the processes: memory, file descriptors and threads of each agent, memory of Redis.
//! In: `/proc` and `INFO`. Out: numbers, and a line of the table.

use super::accounts::Accounts;
use crate::support::{Agent, RedisServer};
use std::time::Duration;

/// What a process holds.
#[derive(Clone, Copy)]
pub struct Held {
    pub kib: f64,
    pub descriptors: f64,
    pub threads: f64,
}

pub struct Sample {
    pub at: Duration,
    pub agents: Vec<Held>,
    pub redis_kib: f64,
    pub submitted: u64,
    pub done: u64,
}

impl Sample {
    pub async fn take(server: &RedisServer, agents: &[Agent], at: Duration, accounts: &Accounts) -> Self {
        let info: String = server.run(&["INFO", "memory"]).await;
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse::<f64>().ok());
        Self {
            at,
            agents: agents.iter().map(|agent| held(agent.child.id())).collect(),
            redis_kib: used.expect("Redis tells its memory") / 1024.0,
            submitted: accounts.submitted,
            done: accounts.done(),
        }
    }

    pub fn head(agents: &[Agent]) -> String {
        let one = agents.iter().map(|agent| format!("  {:>9}: KiB   fds  threads", agent.worker));
        format!("{:>7} {:>9} {:>9}{}  Redis KiB", "seconds", "submitted", "done", one.collect::<String>())
    }

    pub fn line(&self) -> String {
        let one = |held: &Held| format!("  {:>14.0} {:>5.0} {:>8.0}", held.kib, held.descriptors, held.threads);
        let agents: String = self.agents.iter().map(one).collect();
        let Self { at, redis_kib, submitted, done, .. } = self;
        format!("{:>7.0} {submitted:>9} {done:>9}{agents}  {redis_kib:>9.0}", at.as_secs_f64())
    }
}

fn held(process: u32) -> Held {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the agent runs");
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("/proc tells it");
        line.split_whitespace().next().and_then(|word| word.parse::<f64>().ok()).expect("a number")
    };
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).expect("its descriptors").count() as f64;
    Held { kib: of("VmRSS:"), descriptors, threads: of("Threads:") }
}
