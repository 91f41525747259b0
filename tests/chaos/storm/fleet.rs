//! The agents of a storm, each with an engine that outlives it.
//! In: the order to kill one. Out: processes that die and come back; all gone when the fleet is.

use super::plan::{Dice, LEASE};
use crate::support::agent::command;
use stand_ins::comfyui::{Options, StandIn};
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// An agent that runs, or the time when it comes back.
enum Post {
    Runs(Child),
    Away(Instant),
}

pub struct Fleet {
    redis_url: String,
    root: PathBuf,
    posts: Vec<Post>,
    pub engines: Vec<StandIn>,
    pub kills: u64,
    /// Kills after which the agent stayed away for longer than its lease.
    pub long_absences: u64,
    /// Agents that ended without being killed.
    pub own_ends: u64,
}

impl Fleet {
    pub async fn start(redis_url: &str, root: &Path, agents: u64) -> Self {
        let (redis_url, root) = (redis_url.to_owned(), root.to_owned());
        let mut fleet =
            Self { redis_url, root, posts: vec![], engines: vec![], kills: 0, long_absences: 0, own_ends: 0 };
        for number in 0..agents as usize {
            let options = Options { step_time: Duration::from_millis(10), ..Options::default() };
            fleet.engines.push(StandIn::start(options).await.expect("an engine"));
            let child = fleet.spawn(number);
            fleet.posts.push(Post::Runs(child));
        }
        fleet
    }

    fn spawn(&self, number: usize) -> Child {
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
            ("REFERENCE_EVENTS", "false"),
            ("WORKER_DASHBOARD_ENABLED", "false"),
            ("LOG_FORMAT", "json"),
        ];
        let mut command = command(&self.redis_url, &folder, &env);
        command.env("OUTPUT_DIR", folder.join("outputs")).env("STATE_DIR", folder.join("state"));
        command.arg("run").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command.spawn().expect("the agent starts")
    }

    /// Kills one that runs. Most come back at once, one in ten after its lease has run out.
    pub fn kill_one(&mut self, dice: &mut Dice) {
        let running: Vec<usize> =
            (0..self.posts.len()).filter(|number| matches!(self.posts[*number], Post::Runs(_))).collect();
        let (pick, stays_away) = (dice.between(0, u64::MAX - 1), dice.between(1, 10) == 1);
        let share = dice.between(110, 250) as u32;
        if running.is_empty() {
            return;
        }
        let number = running[pick as usize % running.len()];
        let Post::Runs(child) = &mut self.posts[number] else { return };
        if child.try_wait().expect("a child").is_some() {
            return;
        }
        end(child);
        self.kills += 1;
        self.long_absences += u64::from(stays_away);
        let absence = if stays_away { LEASE * share / 100 } else { Duration::ZERO };
        self.posts[number] = Post::Away(Instant::now() + absence);
        self.tend();
    }

    /// Starts those whose time has come.
    pub fn tend(&mut self) {
        for number in 0..self.posts.len() {
            let due = match &mut self.posts[number] {
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

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for post in &mut self.posts {
            if let Post::Runs(child) = post {
                end(child);
            }
        }
    }
}
