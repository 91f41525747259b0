//! `dev`: a queue of one's own that leaves nothing behind, however it ends.

use super::super::support::{PATIENCE, agent, until};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const QUICK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/simulation-job.json");
const WORKFLOW: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/comfyui-workflow.json");

struct Dev {
    folder: tempfile::TempDir,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Dev {
    fn spawn(words: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let temp = folder.path().join("temp");
        std::fs::create_dir(&temp).unwrap();
        // An address where nobody is: `dev` brings its own Redis.
        let mut command = agent::command("redis://127.0.0.1:1/", folder.path(), &[]);
        command.env("TMPDIR", &temp).arg("dev").args(words);
        let mut command = Command::from(command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { folder, child, lines }
    }

    /// Reads on to the first line that begins with this; answers the rest of that line.
    async fn says(&mut self, start: &str) -> String {
        let reading = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if let Some(rest) = line.strip_prefix(start) {
                    return rest.trim().to_owned();
                }
            }
            panic!("it ended without saying {start:?}");
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    async fn ended(&mut self) -> Option<i32> {
        tokio::time::timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap().code()
    }

    /// Processes that were started in its folder and still are there.
    fn processes(&self) -> Vec<String> {
        let folder = self.folder.path().to_str().unwrap().to_owned();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let at = |name: &str| std::fs::read_link(entry.path().join(name)).unwrap_or_default();
            let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).replace('\0', " ");
            if at("cwd").starts_with(&folder) || words.contains(&folder) {
                found.push(words);
            }
        }
        found
    }

    fn files(&self) -> Vec<std::path::PathBuf> {
        std::fs::read_dir(self.folder.path().join("temp")).unwrap().flatten().map(|entry| entry.path()).collect()
    }

    async fn left_nothing(&self) {
        until("no process is left", || async { self.processes().is_empty().then_some(()) }).await;
        assert!(self.files().is_empty(), "{:?}", self.files());
    }
}

#[tokio::test]
async fn the_demo_completes_shows_its_outputs_and_leaves_nothing() {
    let mut dev = Dev::spawn(&["--demo", WORKFLOW, "--outputs", "kept"]);
    assert!(dev.says("engine").await.contains("stand-in"));
    dev.says("completed").await;
    let shown = dev.says("  file://").await;
    assert!(shown.contains("image/png"), "{shown}");
    dev.says("What to try next").await;
    assert_eq!(dev.ended().await, Some(0));
    dev.left_nothing().await;
    let path = format!("/{}", shown.split_whitespace().next().unwrap().trim_start_matches('/'));
    assert!(std::fs::metadata(&path).unwrap().len() > 0, "{path}");
}

#[tokio::test]
async fn a_demo_that_fails_ends_with_1_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.json");
    std::fs::write(&file, r#"{"type":"simulation","payload":{"fail_at_step":0,"failure":"auth_error"}}"#).unwrap();
    let mut dev = Dev::spawn(&["--demo", file.to_str().unwrap()]);
    dev.says("failed: ").await;
    assert_eq!(dev.ended().await, Some(1));
    dev.left_nothing().await;
    let mut dev = Dev::spawn(&["--demo", "/nowhere/job.json"]);
    assert_eq!(dev.ended().await, Some(64));
    dev.left_nothing().await;
}

#[tokio::test]
async fn a_demo_that_is_told_to_stop_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.json");
    std::fs::write(&file, r#"{"type":"simulation","payload":{"hang_at_step":1}}"#).unwrap();
    let mut dev = Dev::spawn(&["--demo", file.to_str().unwrap()]);
    dev.says("started").await;
    dev.signal("TERM");
    assert_eq!(dev.ended().await, Some(2));
    dev.left_nothing().await;
}

#[tokio::test]
async fn a_queue_of_ones_own_serves_other_commands_until_it_is_told_to_stop() {
    let mut dev = Dev::spawn(&[]);
    let url = dev.says("redis").await;
    let mut submit = Command::from(agent::command(&url, dev.folder.path(), &[]));
    let output = submit.args(["submit", QUICK, "--watch"]).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, output).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    dev.signal("INT");
    assert_eq!(dev.ended().await, Some(0));
    dev.left_nothing().await;
}

#[tokio::test]
async fn a_killed_dev_takes_its_redis_with_it_and_the_next_one_clears_up() {
    let mut dev = Dev::spawn(&[]);
    dev.says("redis").await;
    assert!(dev.processes().iter().any(|words| words.contains("redis-server")), "{:?}", dev.processes());
    dev.signal("KILL");
    assert_eq!(dev.ended().await, None);
    until("no process is left", || async { dev.processes().is_empty().then_some(()) }).await;
    // Nobody can remove a folder after being killed; the next start does.
    let mut command = agent::command("redis://127.0.0.1:1/", dev.folder.path(), &[]);
    command.env("TMPDIR", dev.folder.path().join("temp")).args(["dev", "--demo", "/nowhere/job.json"]);
    let next = Command::from(command).kill_on_drop(true).output();
    assert_eq!(tokio::time::timeout(PATIENCE, next).await.unwrap().unwrap().status.code(), Some(64));
    dev.left_nothing().await;
}
