//! The real program as a child process: agents and commands.

use super::{RedisServer, until};
use std::process::{Child, Command, Output, Stdio};

/// A command of the program, with nothing of the caller's environment but what is given.
pub fn command(server_url: &str, folder: &std::path::Path, env: &[(&str, &str)]) -> Command {
    // Whatever becomes of the test, nothing of it goes on running.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_gpu-worker")]);
    command.env_clear().envs(std::env::vars().filter(|(name, _)| name == "PATH" || name.starts_with("LLVM_")));
    command.env("HOME", folder).env("HUB_REDIS_URL", server_url).env("WORKER_DASHBOARD_ENABLED", "false");
    command.envs(env.iter().copied()).current_dir(folder);
    command
}

/// Runs a command of the program to its end.
pub async fn cli(server: &RedisServer, words: &[&str]) -> Output {
    cli_at(&server.url, &[], words).await
}

/// Runs a command of the program to its end, with this address of Redis.
pub async fn cli_at(redis_url: &str, env: &[(&str, &str)], words: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = tokio::process::Command::from(command(redis_url, folder.path(), env));
    command.args(words).stdin(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(super::PATIENCE, command.output()).await.expect("the command ends").expect("the command runs")
}

/// An agent as its own process.
pub struct Agent {
    pub worker: String,
    pub folder: tempfile::TempDir,
    pub child: Child,
}

impl Agent {
    /// Starts an agent with the simulated engine, and waits until it is registered.
    pub async fn start(server: &RedisServer, worker: &str, env: &[(&str, &str)]) -> Self {
        let agent = Self::spawn(server, worker, env);
        agent.registered(server, worker).await;
        agent
    }

    /// Starts an agent without waiting.
    pub fn spawn(server: &RedisServer, worker: &str, env: &[(&str, &str)]) -> Self {
        Self::spawn_at(&server.url, worker, env)
    }

    /// Starts an agent for a Redis that may not be there.
    pub fn spawn_at(redis_url: &str, worker: &str, env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log file");
        let outputs = folder.path().join("outputs");
        let mut command = command(redis_url, folder.path(), &[("SERVICES", "simulation"), ("WORKER_ID", worker)]);
        command.env("OUTPUT_DIR", outputs).env("LOG_FORMAT", "json");
        command.envs(env.iter().copied()).arg("run").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("the agent starts");
        Self { worker: worker.to_owned(), folder, child }
    }

    /// Waits until this worker id is registered.
    pub async fn registered(&self, server: &RedisServer, worker: &str) {
        let key = format!("worker:{worker}:heartbeat");
        until(&format!("{worker} is registered; log:\n{}", self.log()), || async {
            let there: bool = server.run(&["EXISTS", &key]).await;
            there.then_some(())
        })
        .await;
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Waits until it has logged this.
    pub async fn logged(&self, text: &str) {
        until(&format!("{} logs {text:?}", self.worker), || async { self.log().contains(text).then_some(()) }).await;
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.expect("kill").success());
    }

    /// Waits for its end; answers its exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        let log = self.folder.path().join("log");
        let child = std::cell::RefCell::new(&mut self.child);
        let what = format!("the agent {} ends, see {}", self.worker, log.display());
        until(&what, || async { child.borrow_mut().try_wait().expect("a child").map(|s| s.code()) }).await
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
