//! An agent that has nothing to do, and how soon it does something.
//! In: an agent process without a GPU driver. Out: memory, share of a core, threads, milliseconds to the first claim.

use crate::stage::{NO_GPU, Stage, quick, see, settle};
use crate::support::Agent;
use crate::table::{Table, us};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const STARTS: usize = 30;
const WATCHED: Duration = Duration::from_secs(30);

pub async fn run(table: &mut Table) {
    let stage = Stage::set().await;
    let agent = Agent::start(&stage.server, "idle", &NO_GPU).await;
    stage.submit(quick()).await;
    stage.finished(1).await;
    settle(Duration::from_secs(3)).await;
    let info: String = stage.ask(redis::cmd("INFO").arg("server")).await;
    let server: u32 = info.lines().find_map(|line| line.strip_prefix("process_id:")?.parse().ok()).expect("a pid");
    let (agent_before, server_before, began) = (cpu(agent.child.id()), cpu(server), Instant::now());
    settle(WATCHED).await;
    let percent = |before: f64, after: f64| 100.0 * (after - before) / began.elapsed().as_secs_f64();
    let (agent_share, server_share) =
        (percent(agent_before, cpu(agent.child.id())), percent(server_before, cpu(server)));

    let bare = table.yardstick("redis-server, resident", "MB", &[status(server, "VmRSS") / 1000.0]);
    let seconds = WATCHED.as_secs() as usize;
    table.single("idle agent, resident", "MB", 1, status(agent.child.id(), "VmRSS") / 1000.0, Some(&bare));
    table.single("  of it its own (not the program file)", "MB", 1, status(agent.child.id(), "RssAnon") / 1000.0, None);
    table.single("  peak since its start", "MB", 1, status(agent.child.id(), "VmHWM") / 1000.0, Some(&bare));
    table.single("  threads", "threads", 1, status(agent.child.id(), "Threads"), None);
    let bare = table.yardstick("redis-server, share of a core", "%", &[server_share]);
    table.single("idle agent, share of a core", "%", seconds, agent_share, Some(&bare));
    drop(agent);

    let mut empty = Vec::new();
    for _ in 0..STARTS {
        let began = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpu-worker"));
        command.arg("--version").stdout(Stdio::null()).status().expect("the program runs");
        empty.push(us(began.elapsed()) / 1000.0);
    }
    let bare = table.yardstick("start and end of `gpu-worker --version`", "ms", &empty);
    let (mut claimed, mut started) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let stage = Stage::set().await;
        let mut reader = stage.connection().await;
        let id = stage.submit(quick()).await;
        let began = Instant::now();
        let _agent = Agent::spawn(&stage.server, "fresh", &NO_GPU);
        let seen = see(&mut reader, &stage.space, &id, ["assigned", "started"]).await;
        claimed.push(us(seen[0].duration_since(began)) / 1000.0);
        started.push(us(seen[1].duration_since(began)) / 1000.0);
    }
    table.spread("start of the process to its first claim", "ms", &claimed, Some(&bare));
    table.spread("start of the process to its first job's start", "ms", &started, Some(&bare));
}

/// A line of `/proc/{pid}/status`; kilobytes where it is a size.
pub(super) fn status(pid: u32, name: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(f64::NAN)
}

/// Seconds that a process has spent on a core, in user and kernel mode.
pub(super) fn cpu(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold spaces; after it, user time is the twelfth value and system time the next.
    let values: Vec<f64> = text
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().skip(11).take(2).filter_map(|word| word.parse().ok()).collect())
        .unwrap_or_default();
    values.iter().sum::<f64>() / 100.0
}
