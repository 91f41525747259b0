//! What a row plays on: a Redis, an engine that outlives its agent, and agents that share one id and one set of folders.
//! In: which point is armed. Out: processes, and how they ended.

use super::super::support::agent::command;
use super::super::support::{Queue, RedisServer, until};
use failpoints::Point;
use stand_ins::comfyui::{Options, StandIn};
use std::cell::RefCell;
use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The agent that dies or freezes.
pub const WORKER: &str = "w1";

pub struct Stage {
    pub server: RefCell<RedisServer>,
    pub engine: StandIn,
    pub folder: tempfile::TempDir,
}

/// An agent as a process; gone when this is.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Stage {
    pub async fn set() -> Self {
        let options = Options { step_time: Duration::from_millis(60), ..Options::default() };
        let engine = StandIn::start(options).await.expect("an engine");
        let server = RefCell::new(RedisServer::start_durable().await);
        Self { server, engine, folder: tempfile::tempdir().expect("a folder") }
    }

    pub fn queue(&self) -> Queue {
        Queue::of(&self.server.borrow())
    }

    /// A command to the server.
    pub async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut con = self.server.borrow().con.clone();
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(word);
        }
        command.query_async(&mut con).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// How far the job is, in percent.
    pub async fn progress(&self, id: &str) -> f64 {
        self.ask::<Option<f64>>(&["HGET", &format!("job:{id}"), "progress"]).await.unwrap_or_default()
    }

    /// Redis goes, and comes back with what it had acknowledged.
    pub fn lose_redis(&self) {
        self.server.borrow_mut().kill();
    }

    #[expect(clippy::await_holding_refcell_ref, reason = "nobody else of this row runs meanwhile")]
    pub async fn redis_is_back(&self) {
        self.server.borrow_mut().revive().await;
    }

    /// Where this worker's outputs and unconfirmed ends lie.
    pub fn outputs(&self, worker: &str) -> PathBuf {
        self.folder.path().join(worker).join("outputs")
    }

    pub fn journal(&self, worker: &str) -> PathBuf {
        self.folder.path().join(worker).join("state").join("journal").join(worker)
    }

    /// Starts an agent on this engine, armed or not.
    pub fn spawn(&self, worker: &str, engine: &StandIn, failpoint: &str, env: &[(&str, &str)]) -> Process {
        let folder = self.folder.path().join(worker);
        fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("log");
        let log = OpenOptions::new().create(true).append(true).open(&path).expect("a log file");
        let url = self.server.borrow().url.clone();
        let mut command = command(&url, &folder, &[("SERVICES", "comfyui"), ("WORKER_ID", worker)]);
        command.env("COMFYUI_URL", engine.url()).env("GPU_COUNT", "0").env("WORKER_DASHBOARD_ENABLED", "false");
        command.env("OUTPUT_DIR", self.outputs(worker)).env("STATE_DIR", folder.join("state"));
        command.env("LOG_FORMAT", "json").envs(env.iter().copied());
        if !failpoint.is_empty() {
            command.env("GPU_WORKER_FAILPOINT", failpoint);
        }
        command.arg("run").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Process { child: command.spawn().expect("the agent starts"), log: path }
    }

    /// Waits until this worker is blocked for a token and hears what is said, or has come to its point.
    pub async fn is_idle(&self, worker: &str, agent: &Process) {
        let key = format!("worker:{worker}:heartbeat");
        until("the agent is idle", || async {
            if agent.is_halted() {
                return Some(());
            }
            let there: bool = self.ask(&["EXISTS", &key]).await;
            let clients: String = self.ask(&["CLIENT", "LIST"]).await;
            let (_, listeners): (String, u64) = self.ask(&["PUBSUB", "NUMSUB", "jobs:workers:started"]).await;
            let blocked = clients.lines().any(|line| line.contains(" flags=b ") && line.contains(" cmd=blpop "));
            (there && blocked && listeners > 0).then_some(())
        })
        .await;
    }

    /// Everything that the agents of this stage logged.
    pub fn log(&self) -> String {
        let folders = fs::read_dir(self.folder.path()).into_iter().flatten().flatten();
        folders
            .map(|folder| {
                let text = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
                format!("--- {}\n{text}", folder.file_name().display())
            })
            .collect()
    }
}

impl Process {
    /// Waits until it has died of being armed with this point.
    pub async fn died_at(&mut self, point: Point) {
        let told = format!("failpoint {}: kill", point.name());
        let child = RefCell::new(&mut self.child);
        let what = format!("{point:?} is reached");
        let ended = until(&what, || async { child.borrow_mut().try_wait().expect("a child") }).await;
        assert!(ended.code().is_none(), "it ended by itself: {ended}");
        assert!(fs::read_to_string(&self.log).unwrap_or_default().contains(&told), "it died, but not of {told:?}");
    }

    /// Waits until it stands still at this point.
    pub async fn froze_at(&self, point: Point) {
        let told = format!("failpoint {}: freeze", point.name());
        until(&format!("{point:?} is reached"), || async { (self.is_frozen() && self.said(&told)).then_some(()) })
            .await;
    }

    /// Whether it has written this.
    pub fn said(&self, text: &str) -> bool {
        fs::read_to_string(&self.log).unwrap_or_default().contains(text)
    }

    /// As the kernel tells it: `T` is stopped.
    fn state(&self) -> Option<char> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        stat.rsplit(')').next()?.trim_start().chars().next()
    }

    /// Stopped where it stands.
    pub fn is_frozen(&self) -> bool {
        self.state() == Some('T')
    }

    /// Dead (and not buried yet) or stopped.
    pub fn is_halted(&self) -> bool {
        matches!(self.state(), None | Some('T' | 'Z'))
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.expect("kill").success());
    }

    /// SIGKILL from outside.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
