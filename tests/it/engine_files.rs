//! Engines of one's own, as their owner meets them: the guide's ten lines, the commands, the agent with CONNECTORS_DIR.
//! In: files written as the guide says. Out: jobs from queue to output; sentences about what is wrong.

mod blaming;
mod changing;
mod crashing;
mod large;
mod mistakes;
mod seats;

use crate::support::agent::command;
use crate::support::{Agent, Queue, RedisServer, until};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Output, Stdio};

const GUIDE: &str = include_str!("../../connectors/README.md");

/// A folder made by `connectors init`.
struct Engines {
    folder: tempfile::TempDir,
}

impl Engines {
    fn new() -> Self {
        let engines = Self { folder: tempfile::tempdir().unwrap() };
        assert!(engines.cli(&["init", "."], "").status.success());
        engines
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// The same in one step, as careful editors do it: nobody sees half a file.
    fn replace(&self, name: &str, text: &str, mode: u32) {
        self.write(".fresh", text, mode);
        std::fs::rename(self.path(".fresh"), self.path(name)).unwrap();
    }

    /// `gpu-worker connectors …` in the folder; no Redis is there.
    fn cli(&self, words: &[&str], input: &str) -> Output {
        let mut command = command("redis://127.0.0.1:1", self.folder.path(), &[("CONNECTORS_DIR", ".")]);
        command.arg("connectors").args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // One that does not read is fine: the pipe is closed by dropping it.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    async fn agent(&self, server: &RedisServer) -> Agent {
        self.agent_with(server, &[]).await
    }

    async fn agent_with(&self, server: &RedisServer, more: &[(&str, &str)]) -> Agent {
        self.agent_on(server, "box", more).await
    }

    /// An agent `box`, one of whose workers is this one.
    async fn agent_on(&self, server: &RedisServer, worker: &str, more: &[(&str, &str)]) -> Agent {
        let dir = self.folder.path().to_str().unwrap();
        let env = [&[("CONNECTORS_DIR", dir), ("HEALTH_CHECK_INTERVAL_SECONDS", "0.2")], more].concat();
        let agent = Agent::spawn(server, "box", &env);
        agent.registered(server, worker).await;
        agent
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

#[test]
fn the_ten_lines_of_the_guide_are_a_working_engine() {
    let code = GUIDE.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(code.lines().filter(|line| !line.trim().is_empty()).count() <= 10, "{code}");
    let engines = Engines::new();
    engines.write("mine.py", code, 0o755);
    for file in ["mine.py", "hello.py"] {
        let output = engines.cli(&["try", file, "-"], r#"{"name": "Ada"}"#);
        assert!(output.status.success(), "{}", said(&output));
        assert!(said(&output).contains("step 10 of 10"), "{}", said(&output));
    }
    let wrong = engines.cli(&["try", "mine.py", "-"], r#"{"seconds": 0}"#);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        said(&wrong).contains("validation_error/missing_required_field: the payload lacks `name`"),
        "{}",
        said(&wrong)
    );
}

#[test]
fn the_lines_of_bash_in_the_guide_are_a_working_engine() {
    let code = GUIDE.split("```bash\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(code.lines().count() <= 10, "{code}");
    let engines = Engines::new();
    engines.write("shout.sh", code, 0o755);
    let output = engines.cli(&["try", "shout.sh", "-"], r#"{"text": "hello"}"#);
    // A machine without jq: the engine says so, and nothing hangs.
    let has_jq = std::process::Command::new("jq").arg("--version").output().is_ok();
    assert_eq!(output.status.success(), has_jq, "{}", said(&output));
    if has_jq {
        let result = String::from_utf8(output.stdout).unwrap();
        let result: Value = serde_json::from_str(&result[result.find('{').unwrap()..]).unwrap();
        let url = url::Url::parse(result["outputs"][0]["url"].as_str().unwrap()).unwrap();
        assert_eq!(std::fs::read_to_string(url.to_file_path().unwrap()).unwrap(), "HELLO");
    }
}

#[test]
fn trying_an_engine_says_where_its_files_are_and_leaves_nothing_else_behind() {
    let engines = Engines::new();
    let names = |folder: &std::path::Path| {
        let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.retain(|name| name != "__pycache__");
        names.sort();
        names
    };
    let (before, temporary) = (names(engines.folder.path()), tempfile::tempdir().unwrap());
    let try_it = |payload: &str, more: &[&str]| {
        let mut command = command("redis://127.0.0.1:1", engines.folder.path(), &[]);
        command.env("TMPDIR", temporary.path()).args(["connectors", "try", "hello.py", "-"]).args(more);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(payload.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let place = |output: &Output| {
        let said = said(output);
        PathBuf::from(
            said.lines().find_map(|line| line.strip_prefix("its files are in ")).unwrap_or_else(|| panic!("{said}")),
        )
    };
    assert!(!try_it("[7]", &[]).status.success());
    assert_eq!(names(temporary.path()).len(), 0, "a failure leaves nothing");
    let folder = place(&try_it(r#"{"name": "Ada", "seconds": 0}"#, &[]));
    assert!(folder.join("hello.txt").exists() && folder.starts_with(temporary.path()), "{folder:?}");
    assert_eq!(names(engines.folder.path()), before, "nothing where the command was given");
    let folder = place(&try_it(r#"{"name": "Ada", "seconds": 0}"#, &["--outputs", "mine"]));
    assert!(folder.starts_with(engines.path("mine")), "{folder:?}");
}

#[test]
fn what_an_engine_prints_when_it_dies_is_shown() {
    let engines = Engines::new();
    let program = "#!/usr/bin/env python3\nfrom gpu_worker_connector import serve\nserve(not_there)\n";
    engines.write("wrong.py", program, 0o755);
    let output = engines.cli(&["check", "wrong.py"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("NameError: name 'not_there' is not defined"), "{}", said(&output));
}

#[test]
fn the_guides_definition_has_no_faults_and_a_wrong_one_is_told_with_line_and_column() {
    let engines = Engines::new();
    let toml = GUIDE.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    engines.write("draw.toml", &toml.replace("${env:CONNECTOR_DRAW_KEY}", "key"), 0o644);
    let good = engines.cli(&["check", "draw.toml"], "");
    assert!(good.status.success() && said(&good).contains("it offers draw"), "{}", said(&good));
    engines.write("draw.toml", toml, 0o644);
    let unset = engines.cli(&["check", "draw.toml"], "");
    assert!(said(&unset).contains("draw.toml:4:29: ") && said(&unset).contains("is not set"), "{}", said(&unset));
    engines.write("draw.toml", "services = [\"draw\"]\nurl = \"http://x\"\n[submit]\npath = 7\n", 0o644);
    let wrong = engines.cli(&["check", "draw.toml"], "");
    assert_eq!(wrong.status.code(), Some(64));
    assert!(said(&wrong).contains("draw.toml:4:8: `submit.path` must be a text, not integer"), "{}", said(&wrong));
}

#[test]
fn the_suite_runs_on_a_file_and_finds_one_that_does_not_conform() {
    let engines = Engines::new();
    let good = engines.cli(&["conformance", "hello.py"], "");
    assert!(good.status.success() && said(&good).contains("13 of 13"), "{}", said(&good));
    let hello = std::fs::read_to_string(engines.path("hello.py")).unwrap();
    // It gives each job the same text: nobody can say whether two were mixed up.
    let same = hello.replace("job {job.id}", "a job");
    engines.write("same.py", &same, 0o755);
    let open = engines.cli(&["conformance", "same.py"], "");
    assert!(
        open.status.success() && said(&open).contains("12 of 13 checks passed, 1 could not be judged"),
        "{}",
        said(&open)
    );
    assert!(said(&open).contains("not judged  two runs side by side do not mix"), "{}", said(&open));
    engines.write("bad.py", &hello.replace("\"validation_error\"", "\"timeout\""), 0o755);
    let bad = engines.cli(&["conformance", "bad.py"], "");
    assert_eq!(bad.status.code(), Some(1), "{}", said(&bad));
    assert!(said(&bad).contains("FAULT       a failure is typed"), "{}", said(&bad));
    let silent = hello.replace(", conformance={", ")\n{").replace("validation_error\"})", "validation_error\"}");
    engines.write("silent.py", &silent, 0o755);
    let none = engines.cli(&["conformance", "silent.py"], "");
    assert!(none.status.code() == Some(64) && said(&none).contains("payloads"), "{}", said(&none));
}

#[test]
fn the_list_says_what_is_there_and_what_is_wrong_with_the_rest() {
    let engines = Engines::new();
    engines.write("plain.py", "#!/usr/bin/env python3\n", 0o644);
    engines.write("open.py", "#!/usr/bin/env python3\n", 0o777);
    engines.write("comfyui.toml", "", 0o644);
    engines.write("two words.toml", "", 0o644);
    engines.write("hello.toml", "", 0o644);
    engines.write(".hidden", "#!/bin/sh\n", 0o755);
    engines.write("notes.txt", "text", 0o644);
    let list: Value = serde_json::from_slice(&engines.cli(&["list", "--json"], "").stdout).unwrap();
    let about = |name: &str| {
        let row = list.as_array().unwrap().iter().find(|row| row["name"] == name);
        row.map(|row| row["about"].as_str().unwrap().to_owned()).unwrap_or_default()
    };
    assert!(about("plain.py").contains("chmod +x"), "{list:#}");
    assert!(about("open.py").contains("everybody may write"), "{list:#}");
    assert!(about("comfyui.toml").contains("built-in"), "{list:#}");
    assert!(about("two words.toml").contains("rename"), "{list:#}");
    assert!(about("hello.toml").contains("same name"), "{list:#}");
    for name in [".hidden", "notes.txt", "gpu_worker_connector.py", "README.md"] {
        assert_eq!(about(name), "", "{list:#}");
    }
    let hello = list.as_array().unwrap().iter().find(|row| row["name"] == "hello").unwrap();
    assert_eq!((&hello["kind"], &hello["services"]), (&json!("process"), &json!(["hello"])));
}

#[tokio::test]
async fn a_job_goes_from_the_queue_through_the_python_example_to_its_output() {
    let server = RedisServer::start().await;
    let (engines, queue) = (Engines::new(), Queue::of(&server));
    let agent = engines.agent(&server).await;
    let id = queue.submit(json!({"service_required": "hello", "payload": {"name": "Ada", "seconds": 0}})).await;
    let job = queue.reaches(&id, "completed").await;
    let result: Value = serde_json::from_str(&job["result"]).unwrap();
    let url = url::Url::parse(result["outputs"][0]["url"].as_str().unwrap()).unwrap();
    let text = std::fs::read_to_string(url.to_file_path().unwrap()).unwrap();
    assert_eq!(text, format!("Hello Ada, this is job {id}.\n"));
    queue.ended_once(&id).await;
    let slow = queue.submit(json!({"service_required": "hello", "payload": {"name": "Ada", "seconds": 600}})).await;
    queue.reaches(&slow, "in_progress").await;
    let answer = crate::support::cli(&server, &["cancel", &slow]).await;
    assert!(answer.status.success() || answer.status.code() == Some(2), "{}", said(&answer));
    queue.reaches(&slow, "cancelled").await;
    drop(agent);
}

#[tokio::test]
async fn nothing_of_an_engine_outlives_a_killed_agent_and_the_next_one_runs_the_job_anew() {
    let server = RedisServer::start().await;
    let (engines, queue) = (Engines::new(), Queue::of(&server));
    let program = "#!/usr/bin/env python3\nimport os, subprocess\nfrom gpu_worker_connector import serve\n\
        def run(job):\n    if not os.path.exists('orphan'):\n\
        \x20       subprocess.run(['sh', '-c', 'setsid sleep 600 & echo $! > fresh; mv fresh orphan'])\n\
        \x20       open('fresh', 'w').write(str(os.getpid())); os.rename('fresh', 'me')\n        job.sleep(600)\n\
        serve(run, services=['lasting'])\n";
    engines.write("lasting.py", program, 0o755);
    let mut agent = engines.agent(&server).await;
    let id = queue.submit(json!({"service_required": "lasting", "payload": {}})).await;
    let pid =
        async |file: &'static str| until(file, || async { std::fs::read_to_string(engines.path(file)).ok() }).await;
    let (orphan, me) = (pid("orphan").await, pid("me").await);
    assert!(is_alive(&orphan) && is_alive(&me));
    agent.child.kill().unwrap();
    agent.child.wait().unwrap();
    until("the engine and what it started are gone", || async { (!is_alive(&orphan) && !is_alive(&me)).then_some(()) })
        .await;
    let _again = engines.agent(&server).await;
    queue.reaches(&id, "completed").await;
    queue.ended_once(&id).await;
}

#[tokio::test]
async fn the_log_tells_of_collisions_and_faults() {
    let server = RedisServer::start().await;
    let engines = Engines::new();
    let hello = std::fs::read_to_string(engines.path("hello.py")).unwrap();
    engines.write("late.py", &hello.replace("services=[\"hello\"]", "services=[\"hello\", \"late\"]"), 0o755);
    engines.write(
        "simulated.toml",
        "services = ['simulation']\nurl = 'http://127.0.0.1:1'\n[submit]\npath = '/'\n",
        0o644,
    );
    engines.write("wrong.toml", "services = ['wrong']\nurl = 'nowhere'\n", 0o644);
    let agent = engines.agent(&server).await;
    agent.logged("the service hello is hello's already: late does not offer it").await;
    agent.logged("the service simulation is simulation's already").await;
    agent.logged("other engines offer all of its services").await;
    agent.logged("2:7: must be like http").await;
}

#[tokio::test]
async fn an_engine_that_is_mended_after_the_start_is_taken_up() {
    let server = RedisServer::start().await;
    let (engines, queue) = (Engines::new(), Queue::of(&server));
    let hello = std::fs::read_to_string(engines.path("hello.py")).unwrap();
    engines.replace("hello.py", "#!/bin/sh\nexit 5\n", 0o755);
    let agent = engines.agent(&server).await;
    agent.logged("exit code 5").await;
    let id = queue.submit(json!({"service_required": "hello", "payload": {"name": "Ada", "seconds": 0}})).await;
    engines.replace("hello.py", &hello, 0o755);
    queue.reaches(&id, "completed").await;
}

#[tokio::test]
async fn a_run_may_be_silent_but_one_that_has_reported_must_go_on() {
    let engines = Engines::new();
    let code = "#!/usr/bin/env python3\nfrom gpu_worker_connector import serve\n\ndef run(job):\n    \
                if 'stage' in job.payload: job.progress(0.5, stage=job.payload['stage'])\n    \
                job.sleep(job.payload['seconds'])\n\nserve(run, services=['quiet'])\n";
    engines.write("quiet.py", code, 0o755);
    let server = RedisServer::start().await;
    let agent = engines.agent_with(&server, &[("STUCK_STEP_SECONDS", "0.5")]).await;
    let queue = Queue::of(&server);
    let quiet = |payload: Value| json!({ "service_required": "quiet", "payload": payload });
    for payload in [json!({ "seconds": 1.5 }), json!({ "seconds": 1.5, "stage": "silent" })] {
        let id = queue.submit(quiet(payload)).await;
        let job = queue.reaches(&id, "completed").await;
        assert_eq!(job["attempt"], "1", "{}", agent.log());
    }
    let id = queue.submit(quiet(json!({ "seconds": 600, "stage": null }))).await;
    until("it is stopped", || async {
        let reason = server.hget(&format!("job:{id}"), "failure_reason").await;
        reason.is_some_and(|reason| reason == "processing_timeout").then_some(())
    })
    .await;
}
