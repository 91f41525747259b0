//! Between the agent and an engine process: nothing of the engine outlives the agent, and nothing of it grows without end.
//! In: a program and limits. Out: the program's exit code, once neither it nor anything that it started is left.
//!
//! ```text
//!   agent ─starts─▶ guard (own group, adopts orphans) ─starts─▶ itself with --exec ─becomes─▶ the program
//!                     │ SIGTERM, or the agent dies: SIGTERM to the program's group, 3 s later SIGKILL to all
//!                     └ the program ends: SIGKILL to what it left behind
//! ```
//!
//! Only an unprivileged process of our own can do this without unsafe code: the death signal and the limits are set by
//! the process itself before it becomes the program.

use rustix::process::{
    self, Pid, Resource, Rlimit, Signal, WaitOptions, kill_process, kill_process_group, set_child_subreaper,
    set_parent_process_death_signal,
};
use std::ffi::OsString;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long a program may take to end by itself after SIGTERM.
const GRACE: Duration = Duration::from_secs(3);
/// The code that shells give for a program that cannot be started.
const CANNOT_START: u8 = 127;
/// Between two looks for the dead: some programs start a thousand a second.
const BURIALS: Duration = Duration::from_millis(100);
/// Killed processes vanish at once unless a driver holds them.
const SWEEPS: u32 = 200;

/// What to guard.
#[derive(Debug)]
pub struct Args {
    exec: bool,
    parent: i32,
    memory: u64,
    program: OsString,
}

impl Args {
    /// Reads `[--exec] PARENT MEMORY PROGRAM`: the process that it answers to, the bytes each process may take (0: any
    /// number), and what to run. `None` if it is anything else.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut arguments = arguments.into_iter().peekable();
        let exec = arguments.next_if(|first| first == "--exec").is_some();
        let parent = arguments.next()?.to_str()?.parse().ok()?;
        let memory = arguments.next()?.to_str()?.parse().ok()?;
        let program = arguments.next()?;
        arguments.next().is_none().then_some(Self { exec, parent, memory, program })
    }
}

/// Guards until the end.
pub async fn run(args: Args) -> u8 {
    if args.exec {
        return become_program(&args);
    }
    let _ = set_child_subreaper(Some(process::getpid()));
    let _ = set_parent_process_death_signal(Some(Signal::TERM));
    let Ok(mut told) = signal(SignalKind::terminate()) else { return CANNOT_START };
    if !answers_to(args.parent) {
        return CANNOT_START;
    }
    let mut command = tokio::process::Command::new("/proc/self/exe");
    // The way back to this function is the same as the one that led here: the words before our own arguments.
    let own = 3;
    let words: Vec<OsString> = std::env::args_os().collect();
    command.args(words.get(1..words.len().saturating_sub(own)).unwrap_or_default());
    command.arg("--exec").arg(process::getpid().as_raw_nonzero().to_string());
    command.arg(args.memory.to_string()).arg(&args.program).process_group(0);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return CANNOT_START;
        }
    };
    let_go_of_pipes();
    let group = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    let mut ended = tokio::select! {
        ended = child.wait() => Some(ended),
        _ = told.recv() => None,
        () = bury_orphans(group) => None,
    };
    if ended.is_none() {
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::TERM);
        }
        ended = tokio::time::timeout(GRACE, child.wait()).await.ok();
    }
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let ended = match ended {
        Some(ended) => ended,
        None => child.wait().await,
    };
    sweep().await;
    match ended {
        Ok(status) => status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or_else(|| {
            let signal = status.signal().and_then(|signal| u8::try_from(signal).ok());
            signal.map_or(CANNOT_START, |signal| signal.saturating_add(128))
        }),
        Err(_) => CANNOT_START,
    }
}

/// The program's pipes are the program's: held open here, its closing them would not be seen.
fn let_go_of_pipes() {
    if let Ok(nothing) = std::fs::File::options().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&nothing);
        let _ = rustix::stdio::dup2_stdout(&nothing);
    }
}

/// Whoever started us may have died before the death signal was set.
fn answers_to(parent: i32) -> bool {
    process::getppid().is_some_and(|pid| pid.as_raw_nonzero().get() == parent)
}

fn become_program(args: &Args) -> u8 {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    if !answers_to(args.parent) {
        return CANNOT_START;
    }
    if args.memory > 0 {
        // Private writable memory. RLIMIT_AS would count the address space that GPU drivers reserve by the terabyte.
        let limit = Rlimit { current: Some(args.memory), maximum: Some(args.memory) };
        if let Err(error) = process::setrlimit(Resource::Data, limit) {
            eprintln!("cannot limit memory: {error}");
            return CANNOT_START;
        }
    }
    be_first_to_go();
    let error = std::process::Command::new(&args.program).exec();
    eprintln!("cannot start: {error}; is it executable, with an interpreter that exists in its first line (#!)?");
    CANNOT_START
}

/// The agent is spared when memory runs out (`OOMScoreAdjust=` of its unit), and what it starts inherits that.
fn be_first_to_go() {
    const SCORE: &str = "/proc/self/oom_score_adj";
    let inherited = std::fs::read_to_string(SCORE).ok().and_then(|score| score.trim().parse::<i32>().ok());
    if inherited.is_some_and(|score| score < 0) {
        let _ = std::fs::write(SCORE, "0");
    }
}

/// Orphans of the program's are ours: those that end are buried at once, or its limit of processes is used up by dead ones.
async fn bury_orphans(program: Option<Pid>) {
    let Ok(mut ended) = signal(SignalKind::child()) else { return std::future::pending().await };
    while ended.recv().await.is_some() {
        for orphan in children().into_iter().filter(|child| Some(*child) != program) {
            let _ = process::waitpid(Some(orphan), WaitOptions::NOHANG);
        }
        tokio::time::sleep(BURIALS).await;
    }
    std::future::pending::<()>().await;
}

/// Kills and buries what is left; grandchildren come to us when their parents die, so it is done in rounds.
async fn sweep() {
    for _ in 0..SWEEPS {
        for child in children() {
            let _ = kill_process(child, Signal::KILL);
        }
        loop {
            match process::wait(WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn children() -> Vec<Pid> {
    let me = process::getpid().as_raw_nonzero().get();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| parent_of(*pid) == Some(me)).filter_map(Pid::from_raw).collect()
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, parentheses too.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
