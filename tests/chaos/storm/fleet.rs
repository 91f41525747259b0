//! The agents of a storm, each with an engine that outlives it.
//! In: the order to kill or freeze one. Out: processes that die and come back; all gone when the fleet is.

use super::plan::{Dice, LEASE, Plan, Trouble};
use crate::support::agent::command;
use stand_ins::comfyui::{Options, StandIn};
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// How it is with one agent.
///
/// ```text
///   runs ──SIGKILL──▶ away ──started again──▶ runs
///   runs ──SIGSTOP──▶ frozen ──SIGCONT──▶ runs
/// ```
enum Post {
    Runs(Child),
    /// Until then.
    Frozen(Child, Instant),
    Away(Instant),
}

/// An hour, as libfaketime reads it: the first agent's clock is ahead, the second one's behind.
const CLOCKS: [&str; 2] = ["+3600s", "-3600s"];

pub struct Fleet {
    redis_url: String,
    root: PathBuf,
    posts: Vec<Post>,
    /// The library that shifts clocks, if they are to be shifted.
    faketime: Option<PathBuf>,
    reference_events: bool,
    /// Processes under a shifted clock; the library leaves two files behind for each that is killed.
    shifted: Vec<u32>,
    pub engines: Vec<StandIn>,
    pub kills: u64,
    pub freezes: u64,
    /// Kills after which the agent stayed away for longer than its lease.
    pub long_absences: u64,
    /// Agents that ended without being killed.
    pub own_ends: u64,
}

impl Fleet {
    pub async fn start(redis_url: &str, root: &Path, plan: &Plan) -> Self {
        let mut fleet = Self {
            redis_url: redis_url.to_owned(),
            root: root.to_owned(),
            posts: vec![],
            faketime: plan.has(Trouble::Clock).then(|| faketime().expect(NO_FAKETIME)),
            reference_events: plan.has(Trouble::Foreign),
            shifted: vec![],
            engines: vec![],
            kills: 0,
            freezes: 0,
            long_absences: 0,
            own_ends: 0,
        };
        for number in 0..plan.agents as usize {
            let options = Options { step_time: Duration::from_millis(10), ..Options::default() };
            fleet.engines.push(StandIn::start(options).await.expect("an engine"));
            let child = fleet.spawn(number);
            fleet.posts.push(Post::Runs(child));
        }
        fleet
    }

    fn spawn(&mut self, number: usize) -> Child {
        let folder = self.root.join(format!("storm-{number}"));
        std::fs::create_dir_all(&folder).expect("a folder");
        let log = OpenOptions::new().create(true).append(true).open(folder.join("log")).expect("a log file");
        let (worker, engine) = (format!("storm-{number}"), self.engines[number].url());
        let lease = LEASE.as_secs().to_string();
        let env = [
            ("SERVICES", "comfyui"),
            ("COMFYUI_URL", &engine),
            ("WORKER_ID", &worker),
            ("LEASE_SECONDS", &lease),
            ("MAX_STALLS", "10"),
            ("GPU_COUNT", "0"),
            ("REFERENCE_EVENTS", if self.reference_events { "true" } else { "false" }),
            ("WORKER_DASHBOARD_ENABLED", "false"),
            ("LOG_FORMAT", "json"),
        ];
        let mut command = command(&self.redis_url, &folder, &env);
        command.env("OUTPUT_DIR", folder.join("outputs")).env("STATE_DIR", folder.join("state"));
        if let (Some(library), Some(clock)) = (&self.faketime, CLOCKS.get(number)) {
            // Its clock alone: timers go on as they are.
            command.env("LD_PRELOAD", library).env("FAKETIME", clock).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        command.arg("run").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("the agent starts");
        if self.faketime.is_some() && number < CLOCKS.len() {
            self.shifted.push(child.id());
        }
        child
    }

    /// Kills one that runs. Most come back at once, one in ten after its lease has run out.
    pub fn kill_one(&mut self, dice: &mut Dice) {
        let (pick, stays_away) = (dice.between(0, u64::MAX - 1), dice.once_in(10));
        let share = dice.between(110, 250) as u32;
        let Some(number) = self.pick(pick) else { return };
        let Post::Runs(child) = &mut self.posts[number] else { return };
        end(child);
        self.kills += 1;
        self.long_absences += u64::from(stays_away);
        let absence = if stays_away { LEASE * share / 100 } else { Duration::ZERO };
        self.posts[number] = Post::Away(Instant::now() + absence);
        self.tend();
    }

    /// Freezes one that runs, for a third of a lease up to three leases. Somebody is left to notice: if nobody ticks, time
    /// stands still for the queue, and every holder gets one more lease.
    pub fn freeze_one(&mut self, dice: &mut Dice) {
        let (pick, share) = (dice.between(0, u64::MAX - 1), dice.between(30, 300) as u32);
        if self.posts.iter().filter(|post| matches!(post, Post::Runs(_))).count() < 2 {
            return;
        }
        let Some(number) = self.pick(pick) else { return };
        let until = Instant::now() + LEASE * share / 100;
        let post = std::mem::replace(&mut self.posts[number], Post::Away(until));
        if let Post::Runs(child) = post {
            signal(&child, "STOP");
            self.freezes += 1;
            self.posts[number] = Post::Frozen(child, until);
        }
    }

    /// One that runs, by a large number.
    fn pick(&mut self, number: u64) -> Option<usize> {
        let runs = |post: &mut Post| match post {
            Post::Runs(child) => child.try_wait().expect("a child").is_none(),
            Post::Frozen(..) | Post::Away(_) => false,
        };
        let running: Vec<usize> =
            self.posts.iter_mut().enumerate().filter_map(|(at, post)| runs(post).then_some(at)).collect();
        (!running.is_empty()).then(|| running[number as usize % running.len()])
    }

    /// The logs of the agents, in their order.
    pub fn logs(&self) -> Vec<String> {
        let log = |number| std::fs::read_to_string(self.root.join(format!("storm-{number}/log"))).unwrap_or_default();
        (0..self.posts.len()).map(log).collect()
    }

    /// Starts and wakes those whose time has come.
    pub fn tend(&mut self) {
        for number in 0..self.posts.len() {
            if matches!(&self.posts[number], Post::Frozen(_, until) if *until <= Instant::now())
                && let Post::Frozen(child, _) = std::mem::replace(&mut self.posts[number], Post::Away(Instant::now()))
            {
                signal(&child, "CONT");
                self.posts[number] = Post::Runs(child);
            }
            let due = match &mut self.posts[number] {
                Post::Frozen(..) => false,
                Post::Away(until) => *until <= Instant::now(),
                Post::Runs(child) => {
                    let ended = child.try_wait().expect("a child").is_some();
                    self.own_ends += u64::from(ended);
                    ended
                }
            };
            if due {
                self.posts[number] = Post::Runs(self.spawn(number));
            }
        }
    }
}

/// Where the library lies that shifts a process's clock.
pub fn faketime() -> Option<PathBuf> {
    let roots = ["/usr/lib", "/usr/lib64", "/usr/local/lib"];
    let folders = roots.iter().flat_map(std::fs::read_dir).flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let folders = folders.chain(roots.iter().map(PathBuf::from));
    folders.map(|folder| folder.join("faketime/libfaketime.so.1")).find(|library| library.exists())
}

/// What to do without it.
pub const NO_FAKETIME: &str = "libfaketime is missing: `scripts/deps` or `apt-get install libfaketime` installs it";

fn signal(child: &Child, name: &str) {
    let status = std::process::Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(status.expect("kill").success());
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for post in &mut self.posts {
            if let Post::Runs(child) | Post::Frozen(child, _) = post {
                end(child);
            }
        }
        for id in &self.shifted {
            for name in ["faketime_shm_", "sem.faketime_sem_"] {
                let _ = std::fs::remove_file(format!("/dev/shm/{name}{id}"));
            }
        }
    }
}
