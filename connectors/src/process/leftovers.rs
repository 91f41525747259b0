//! Programs that an engine has started for a run: found below its guard, and ended where they say whose they are.
//! In: the guard, a run's id, the time of the run. Out: what of it is still there; what had to be ended, in words.
//!
//! A program says whose it is by the run's id in its arguments (the path of the run's folder holds it) or in GPU_WORKER_RUN,
//! or by standing in that folder where it has left the engine. All others may be helpers that the engine keeps.

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The variable that says for which run a program was started.
const VARIABLE: &str = "GPU_WORKER_RUN";
/// What is killed vanishes at once unless a driver holds it, and may have started more before.
const LONGEST: Duration = Duration::from_secs(1);
/// Whoever says nothing of itself for longer has nothing to say.
const LONGEST_DOUBT: Duration = Duration::from_millis(200);
/// Between two looks; longer where a look takes longer, as among thousands of processes.
const PAUSE: Duration = Duration::from_millis(5);

/// A program that runs below an engine.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pid: i32,
    name: String,
    parent: i32,
    session: i32,
    /// In ticks since the machine's start.
    pub began: u64,
    /// Whether the engine has let go of it: an orphan, or in a session of its own.
    pub is_detached: bool,
}

/// Without its arguments, which may hold prompts.
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` (process {})", self.name, self.pid)
    }
}

/// The present in ticks since the machine's start, as the beginnings of processes are told.
pub(super) fn now() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let ticks = rustix::param::clock_ticks_per_second();
    let (seconds, nanos) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
    seconds * ticks + nanos * ticks / 1_000_000_000
}

/// All that the engine under this guard has started, at whatever remove.
pub(super) fn below(guard: Pid) -> Vec<Program> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let mut all: HashMap<i32, Vec<Program>> = HashMap::new();
    for program in pids.filter_map(Program::look) {
        all.entry(program.parent).or_default().push(program);
    }
    let guard = guard.as_raw_nonzero().get();
    let mut children = all.remove(&guard).unwrap_or_default();
    // The guard has started nothing but the engine; what else is its child was adopted.
    children.sort_by_key(|child| (child.began, child.pid));
    let Some(engine) = (!children.is_empty()).then(|| children.remove(0)) else { return Vec::new() };
    let mut found: Vec<Program> = children;
    found.extend(all.remove(&engine.pid).unwrap_or_default());
    let mut at = 0;
    while let Some(pid) = found.get(at).map(|program| program.pid) {
        found.extend(all.remove(&pid).unwrap_or_default());
        at += 1;
    }
    for program in &mut found {
        program.is_detached = program.parent == guard || program.session != engine.session;
    }
    found
}

/// Ends what bears the id of this run, and all below it. Answers what that was.
pub(super) fn end(guard: Pid, run: &str) -> Vec<String> {
    let mut ended = Vec::new();
    let began = Instant::now();
    loop {
        let round = Instant::now();
        let all = below(guard);
        let bearing: Vec<Option<bool>> = all.iter().map(|program| program.bears(run)).collect();
        let mut of_run: Vec<&Program> =
            all.iter().zip(&bearing).filter(|(_, bears)| **bears == Some(true)).map(|(program, _)| program).collect();
        // An orphan that dies bears no sign of its parent's.
        let all_gone = ended.iter().all(|program: &Program| program.again().is_none());
        if of_run.is_empty() && all_gone && (began.elapsed() >= LONGEST_DOUBT || bearing.iter().all(Option::is_some)) {
            break;
        }
        let mut at = 0;
        while let Some(parent) = of_run.get(at).map(|program| program.pid) {
            let children = all.iter().filter(|program| program.parent == parent);
            let is_known = |child: &Program| of_run.iter().any(|known| known.pid == child.pid);
            let new: Vec<&Program> = children.filter(|child| !is_known(child)).collect();
            of_run.extend(new);
            at += 1;
        }
        for program in of_run {
            program.kill();
            if !ended.iter().any(|known: &Program| known.pid == program.pid) {
                ended.push(program.clone());
            }
        }
        if began.elapsed() >= LONGEST {
            break;
        }
        std::thread::sleep(round.elapsed().max(PAUSE));
    }
    ended.iter().map(ToString::to_string).collect()
}

impl Program {
    /// `None` if there is no such process, or nothing but its exit code is left of it.
    fn look(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything, parentheses too.
        let (front, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        if matches!(*fields.first()?, "Z" | "X") {
            return None;
        }
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let of = |at: usize| fields.get(at)?.parse::<i32>().ok();
        Some(Self {
            pid,
            name: front.split_once('(')?.1.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
            parent: of(1)?,
            session: of(3)?,
            began: number(19)?,
            is_detached: false,
        })
    }

    /// Whether it is still there.
    pub fn again(&self) -> Option<Self> {
        Self::look(self.pid).filter(|now| now.began == self.began)
    }

    /// How long its threads have used a processor, or waited for one: a busy machine makes nobody idle. Zero where the kernel
    /// keeps no such account.
    pub fn busy(&self) -> Duration {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten().flatten();
        let of = |thread: std::fs::DirEntry| {
            let account = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            Some(account.split_whitespace().take(2).filter_map(|nanos| nanos.parse::<u64>().ok()).sum::<u64>())
        };
        Duration::from_nanos(threads.filter_map(of).sum())
    }

    /// `None` while it becomes another program: for a moment it has neither arguments nor an environment.
    fn bears(&self, run: &str) -> Option<bool> {
        let holds = |text: &[u8]| text.windows(run.len()).any(|part| part == run.as_bytes());
        let is_marked =
            |text: &[u8]| text.split(|byte| *byte == 0).any(|one| one == format!("{VARIABLE}={run}").as_bytes());
        let read = |file: &str| std::fs::read(format!("/proc/{}/{file}", self.pid)).unwrap_or_default();
        let folder = || std::fs::read_link(format!("/proc/{}/cwd", self.pid)).unwrap_or_else(|_| PathBuf::new());
        let (arguments, environment) = (read("cmdline"), read("environ"));
        let bears = holds(&arguments)
            || is_marked(&environment)
            || self.is_detached && holds(folder().as_os_str().as_encoded_bytes());
        // The kernel shows arguments once there is an environment: with the same ones as before, it was given an empty one.
        let has_none = || read("cmdline") == arguments && read("environ").is_empty();
        (bears || !arguments.is_empty() && (!environment.is_empty() || has_none())).then_some(bears)
    }

    fn kill(&self) {
        let Some(pid) = Pid::from_raw(self.pid) else { return };
        // Its number may be another's by now: it is held while it is looked at once more.
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(held) if self.again().is_some() => drop(pidfd_send_signal(&held, Signal::KILL)),
            Err(rustix::io::Errno::NOSYS) if self.again().is_some() => drop(kill_process(pid, Signal::KILL)),
            _ => {}
        }
    }
}

#[cfg(test)]
#[path = "leftovers_tests.rs"]
mod tests;
