//! What the commands answer: exit codes, answers on stdout alone, everything else on stderr.

use super::super::support::{Agent, PATIENCE, Queue, RedisServer, agent, cli, free_port};
use super::quick;
use std::process::{Output, Stdio};

async fn offline(words: &[&str], files: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let command = agent::command(&format!("redis://127.0.0.1:{}/", free_port()), folder.path(), &[]);
    let mut command = tokio::process::Command::from(command);
    command.args(words).stdin(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(PATIENCE, command.output()).await.unwrap().unwrap()
}

/// An answer goes to stdout, a complaint to stderr, never both.
fn check(words: &[&str], output: &Output, code: i32, says: &str) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{words:?}\n{out}\n{err}");
    let (answer, other) = if code == 0 { (&out, &err) } else { (&err, &out) };
    assert!(answer.contains(says), "{words:?}: {answer:?} lacks {says:?}");
    assert!(other.is_empty(), "{words:?}: {other:?}");
}

#[tokio::test]
async fn commands_that_need_no_redis() {
    let job = [("job.json", r#"{"type":"simulation"}"#), ("bad.env", "SERVICES=simulation\nLEASE_SECONDZ=3\n")];
    let rows: &[(&[&str], i32, &str)] = &[
        (&["--help"], 0, "Usage: gpu-worker"),
        (&["--version"], 0, "gpu-worker 0."),
        (&["submit", "--help"], 0, "A job file"),
        (&["fly"], 64, "unrecognized subcommand"),
        (&["submit"], 64, "required"),
        (&["submit", "nowhere.json"], 64, "nowhere.json"),
        (&["jobs", "show"], 64, "required"),
        (&["watch", "a:b"], 64, "a job id is 1 to 128"),
        (&["cancel", "a b"], 64, "a job id is 1 to 128"),
        (&["jobs", "show", "a:b"], 64, "a job id is 1 to 128"),
        (&["explain", "a:b"], 64, "a job id is 1 to 128"),
        (&["--env-file", "nowhere.env", "config", "check"], 64, "nowhere.env"),
        (&["--env-file", "bad.env", "config", "check"], 64, "LEASE_SECONDS"),
        (&["--env-file", "bad.env", "workers"], 64, "LEASE_SECONDS"),
        (&["--env-file", "bad.env", "run"], 64, "LEASE_SECONDS"),
        (&["--set", "SERVICES=simulation", "config", "check"], 0, ""),
        (&["config", "show"], 0, "POLL_INTERVAL_MS"),
        (&["probe"], 0, "CPU"),
        (&["stand-in", "comfyui", "--port", "70000"], 64, "70000"),
        // And these do, which is said in so many words.
        (&["submit", "job.json"], 69, "Is it running?"),
        (&["watch", "some-job"], 69, "Is it running?"),
        (&["cancel", "some-job"], 69, "Is it running?"),
        (&["jobs"], 69, "Is it running?"),
        (&["jobs", "show", "some-job"], 69, "Is it running?"),
        (&["explain", "some-job"], 69, "Is it running?"),
        (&["workers"], 69, "Is it running?"),
    ];
    for (words, code, says) in rows {
        check(words, &offline(words, &job).await, *code, says);
    }
}

#[tokio::test]
async fn commands_on_a_queue() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let rows: &[(&[&str], i32, &str)] = &[
        (&["jobs"], 0, "no jobs"),
        (&["jobs", "--json"], 0, ""),
        (&["workers"], 0, "no workers are registered"),
        (&["watch", "nobody"], 1, "there is no job nobody"),
        (&["cancel", "nobody"], 1, "there is no job nobody"),
        (&["jobs", "show", "nobody"], 1, "there is no job nobody"),
        (&["jobs", "replay", "nobody"], 1, "there is no job nobody"),
    ];
    for (words, code, says) in rows {
        check(words, &cli(&server, words).await, *code, says);
    }
    let mut failing = quick();
    failing["payload"] = serde_json::json!({"fail_at_step": 0, "failure": "auth_error"});
    failing["id"] = "unlucky".into();
    queue.submit(failing).await;
    let mut waiting = quick();
    waiting["service_required"] = "teleport".into();
    waiting["id"] = "waiting".into();
    queue.submit(waiting).await;
    let _agent = Agent::start(&server, "w", &[]).await;
    let lucky = queue.submit(quick()).await;
    let rows: &[(&[&str], i32, &str)] = &[
        (&["watch", &lucky], 0, "completed"),
        (&["watch", &lucky, "--json"], 0, r#""type":"completion""#),
        (&["jobs", "show", &lucky], 0, "completion"),
        (&["jobs", "show", &lucky, "--json"], 0, r#""events":["#),
        (&["jobs", "replay", &lucky], 1, "is completed"),
        (&["jobs", "replay", "waiting"], 1, "is pending"),
        (&["cancel", &lucky], 1, ""),
        (&["workers"], 0, "simulation"),
        (&["workers", "--json"], 0, r#""id":"w""#),
        (&["jobs"], 0, "unlucky"),
    ];
    for (words, code, says) in rows {
        let output = cli(&server, words).await;
        if words[0] == "cancel" {
            assert_eq!(output.status.code(), Some(1));
            continue;
        }
        check(words, &output, *code, says);
    }
    // A failed job is an answer, and an exit code of its own.
    let output = cli(&server, &["watch", "unlucky"]).await;
    assert_eq!((output.status.code(), output.stderr.len()), (Some(1), 0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("failed: the simulation failed at step 0"));
    assert_eq!(cli(&server, &["jobs", "replay", "unlucky"]).await.status.code(), Some(0));
    assert_eq!(cli(&server, &["watch", "unlucky"]).await.status.code(), Some(1));
}

#[tokio::test]
async fn a_bad_configuration_binds_and_registers_nothing() {
    let server = RedisServer::start().await;
    let env = [("SERVICES", "simulation,teleport"), ("LEASE_SECONDS", "soon"), ("CONCURRENT_JOBS", "0")];
    let mut agent = Agent::spawn(&server, "wrong", &env);
    assert_eq!(agent.ended().await, Some(64));
    let log = agent.log();
    for name in ["SERVICES", "LEASE_SECONDS", "CONCURRENT_JOBS"] {
        assert!(log.contains(name), "every fault at once: {log}");
    }
    let keys: Vec<String> = server.run(&["KEYS", "*"]).await;
    assert!(keys.is_empty(), "{keys:?}");
}

#[tokio::test]
async fn an_agent_that_could_store_nothing_does_not_start() {
    let server = RedisServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    std::fs::write(&file, "in the way").unwrap();
    let mut agent = Agent::spawn(&server, "full", &[("OUTPUT_DIR", file.to_str().unwrap())]);
    assert_eq!(agent.ended().await, Some(64));
    assert!(agent.log().contains("OUTPUT_DIR"), "{}", agent.log());
    let keys: Vec<String> = server.run(&["KEYS", "*"]).await;
    assert!(keys.is_empty(), "{keys:?}");
}

#[tokio::test]
async fn an_agent_writes_to_stderr_alone() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let folder = tempfile::tempdir().unwrap();
    let mut command = agent::command(&server.url, folder.path(), &[("SERVICES", "simulation"), ("LOG_FORMAT", "json")]);
    command.env("WORKER_ID", "quiet").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
    queue.reaches(&queue.submit(quick()).await, "completed").await;
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").arg(&pid).status().unwrap().success());
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
    for line in String::from_utf8(output.stderr).unwrap().lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[tokio::test]
async fn a_gpu_of_which_only_the_number_is_declared_is_shown() {
    let server = RedisServer::start().await;
    let rows = [("one", "1", "unknown (memory unknown)"), ("without", "0", "none")];
    for (worker, count, shown) in rows {
        let _agent = Agent::start(&server, worker, &[("GPU_COUNT", count)]).await;
        let output = cli(&server, &["workers"]).await;
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find(|line| line.starts_with(worker)).unwrap();
        assert!(line.contains(shown), "{text}");
    }
}

#[tokio::test]
async fn whoever_watches_a_job_that_nobody_can_take_is_told_at_once_and_when_that_changes() {
    let server = RedisServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("job.json"), super::picture().to_string()).unwrap();
    let mut command = tokio::process::Command::from(agent::command(&server.url, folder.path(), &[]));
    command.args(["submit", "job.json", "--watch"]).stdin(Stdio::null()).kill_on_drop(true);
    let mut watching = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(watching.stderr.take().unwrap()));
    let mut says = async |text: &str| {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("a line").unwrap().expect("no end");
        assert!(line.contains("`comfyui`") && line.ends_with(text), "{line:?} lacks {text:?}");
    };
    says("no worker is there").await;
    let _other = Agent::start(&server, "other", &[]).await;
    says("offered are: simulation").await;
    let _: u64 = server.run(&["HSET", "worker:painter:control", "state", "paused"]).await;
    let engine = stand_ins::comfyui::StandIn::start(Default::default()).await.unwrap();
    let env = [("SERVICES", "comfyui"), ("COMFYUI_URL", &engine.url()), ("HEARTBEAT_INTERVAL_SECONDS", "0.2")];
    let _painter = Agent::start(&server, "painter", &env).await;
    says("is offered now").await;
    let _: u64 = server.run(&["HSET", "worker:painter:control", "state", "running"]).await;
    let ended = tokio::time::timeout(PATIENCE, watching.wait()).await.expect("it ends").unwrap();
    assert_eq!(ended.code(), Some(0));
}

/// Runs it with a standard output, and a standard error if `both`, that nobody reads any more.
async fn unread(server: &RedisServer, words: &[&str], both: bool) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::from(agent::command(&server.url, folder.path(), &[]));
    let gone = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    command.args(words).stdin(Stdio::null()).stdout(gone()).kill_on_drop(true);
    command.stderr(if both { Stdio::from(gone()) } else { Stdio::piped() });
    let child = command.spawn().unwrap();
    tokio::time::timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_reader_that_has_gone_is_no_reason_to_panic() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let _agent = Agent::start(&server, "w", &[]).await;
    let id = queue.submit(quick()).await;
    queue.reaches(&id, "completed").await;
    let waiting = queue.submit(serde_json::json!({"type": "nobody-serves-this"})).await;
    let rows: &[(&[&str], i32)] = &[
        (&["--help"], 0),
        (&["workers"], 0),
        (&["workers", "--json"], 0),
        (&["jobs"], 0),
        (&["jobs", "--json"], 0),
        (&["jobs", "show", &id], 0),
        (&["jobs", "show", &id, "--json"], 0),
        // How a job ends has not been seen.
        (&["watch", &waiting], 1),
        (&["config", "show"], 0),
        (&["config", "show", "--json"], 0),
        (&["probe"], 0),
        (&["connectors", "list"], 0),
        (&["pause", "w"], 0),
        (&["drain", "w"], 0),
        (&["cancel", &id], 1),
        (&["cancel", "unknown"], 1),
        (&["fly"], 64),
    ];
    for (words, code) in rows {
        let output = unread(&server, words, false).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(*code), "{words:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("roken pipe"), "{words:?}: {said}");
        assert_eq!(unread(&server, words, true).await.status.code(), Some(*code), "{words:?}, both");
    }
}

#[tokio::test]
async fn an_answer_that_could_not_be_written_is_no_success() {
    let server = RedisServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    for words in [&["workers"][..], &["jobs"], &["config", "show"]] {
        let mut command = tokio::process::Command::from(agent::command(&server.url, folder.path(), &[]));
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        command.args(words).stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).kill_on_drop(true);
        let ending = command.spawn().unwrap().wait_with_output();
        let output = tokio::time::timeout(PATIENCE, ending).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(said.contains("cannot be written") && !said.contains("panicked"), "{words:?}: {said}");
    }
}
