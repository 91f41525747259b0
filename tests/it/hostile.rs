//! A table of hostile jobs, all in one queue before one running agent, and good jobs behind them that complete.

mod engine;
mod fields;
mod identities;
mod payloads;
mod requirements;
mod row;
mod simulated;
mod submissions;

use super::support::{Agent, PATIENCE, Queue, RedisServer, cli};
use row::{Expect, Put, Row};
use std::collections::BTreeSet;

/// Stands in contexts alone: whoever finds it elsewhere has found a leak.
const SECRET: &str = "s3cr3t-that-must-not-show";

fn table() -> Vec<Row> {
    let parts = [payloads::rows(), identities::rows(), requirements::rows(), fields::rows()];
    let more = [simulated::rows(), engine::rows(), submissions::rows()];
    parts.into_iter().chain(more).flatten().collect()
}

#[tokio::test]
async fn every_hostile_job_gets_its_answer_and_the_good_jobs_behind_them_complete() {
    let rows = table();
    let names: BTreeSet<&str> = rows.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), rows.len(), "each kind once");
    assert!(rows.len() >= 60, "{} kinds", rows.len());
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let good = serde_json::json!({"type": "simulation", "payload": {"steps": 1, "step_ms": 1}, "priority": 1});
    queue.submit(with_id(&good, "taken")).await;
    let mut wrong = Vec::new();
    for row in &rows {
        match &row.put {
            Put::Hand(job) => write(&server, job).await,
            Put::Submit(file, words) => wrong.extend(refusal(&server, row, file, words).await),
        }
    }
    queue.submit(with_id(&good, "good")).await;

    let engine = engine::serve().await;
    let env = [
        ("SERVICES", "comfyui,simulation"),
        ("COMFYUI_URL", engine.as_str()),
        ("CONCURRENT_JOBS", "4"),
        ("RETRY_BACKOFF_MS", "0"),
        ("MAX_PAYLOAD_BYTES", "200000"),
    ];
    let mut agent = Agent::spawn(&server, "hostile", &env);
    let unsettled = settle(&server, &queue, &rows).await;
    wrong.extend(unsettled);
    wrong.extend(leftovers(&server, &queue, &rows).await);

    // Agent and queue are as good as new.
    let after = queue.submit(with_id(&good, "after")).await;
    queue.reaches(&after, "completed").await;
    agent.signal("TERM");
    assert_eq!(agent.ended().await, Some(0));
    let log = agent.log();
    wrong.extend(["panicked", SECRET, "\u{1b}", "refused; its lease"].iter().filter(|word| log.contains(**word)).map(
        |word| {
            let line = log.lines().find(|line| line.contains(*word)).unwrap_or_default();
            format!("the log holds {word:?}: {line:?}")
        },
    ));
    assert!(wrong.is_empty(), "{} of {} kinds:\n{}\nlog:\n{log}", wrong.len(), rows.len(), wrong.join("\n"));
}

fn with_id(job: &serde_json::Value, id: &str) -> serde_json::Value {
    let mut job = job.clone();
    job["id"] = id.into();
    job
}

async fn write(server: &RedisServer, job: &row::Hand) {
    let mut pipe = redis::pipe();
    for words in &job.before {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(word);
        }
        pipe.add_command(command);
    }
    if let Some(fields) = &job.fields {
        let key = [b"job:", job.id.as_slice()].concat();
        let command = pipe.cmd("HSET").arg(key);
        for (name, value) in fields {
            command.arg(name).arg(value);
        }
    }
    pipe.cmd("ZADD").arg("jobs:pending").arg(job.score).arg(&job.id);
    pipe.exec_async(&mut server.con.clone()).await.expect("Redis takes anything");
}

async fn refusal(server: &RedisServer, row: &Row, file: &[u8], words: &[&str]) -> Option<String> {
    let Expect::Refused(code, says) = &row.expect else { panic!("{}: submissions are refused", row.name) };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("job.json");
    std::fs::write(&path, file).expect("a file");
    let output = cli(server, &[&["submit", path.to_str().expect("UTF-8")], words].concat()).await;
    let said = String::from_utf8_lossy(&output.stderr);
    let right = output.status.code() == Some(*code) && said.contains(says) && output.stdout.is_empty();
    (!right).then(|| format!("{}: exit {:?}, {said:?}, stdout {} bytes", row.name, output.status, output.stdout.len()))
}

/// Waits until every row and the good jobs have their answers; says which have not in time.
async fn settle(server: &RedisServer, queue: &Queue, rows: &[Row]) -> Vec<String> {
    let give_up = std::time::Instant::now() + 2 * PATIENCE;
    let mut pulse = tokio::time::interval(std::time::Duration::from_millis(50));
    loop {
        pulse.tick().await;
        let mut wrong = Vec::new();
        for id in ["good", "taken"] {
            let status = queue.field(id, "status").await;
            wrong.extend((status != "completed").then(|| format!("the good job {id} is {status}")));
        }
        for row in rows {
            if let Put::Hand(job) = &row.put
                && let Err(found) = look(server, &job.id, &row.expect).await
            {
                wrong.push(format!("{}: expected {:?}, found {found}", row.name, row.expect));
            }
        }
        if wrong.is_empty() || std::time::Instant::now() > give_up {
            return wrong;
        }
    }
}

async fn look(server: &RedisServer, id: &[u8], expect: &Expect) -> Result<(), String> {
    let mut con = server.con.clone();
    let key = [b"job:", id].concat();
    let waits: Option<f64> =
        redis::cmd("ZSCORE").arg("jobs:pending").arg(id).query_async(&mut con).await.expect("Redis answers");
    let names = ["status", "failure_type", "failure_reason", "error", "claim"];
    let fields: Result<Vec<Option<Vec<u8>>>, _> = redis::cmd("HMGET").arg(&key).arg(&names).query_async(&mut con).await;
    let fields = fields.unwrap_or_default();
    let text = |at: usize| {
        fields.get(at).cloned().flatten().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    };
    let found = format!("waiting: {}, {:?}", waits.is_some(), (text(0), text(1), text(2), text(3)));
    let right = match expect {
        Expect::Refused(..) => true,
        Expect::Completes => waits.is_none() && text(0) == "completed",
        Expect::Failed(kind, reason, says) => {
            let clean = !text(3).chars().any(char::is_control);
            waits.is_none()
                && (text(0), text(1), text(2)) == ("failed".into(), (*kind).into(), (*reason).into())
                && text(3).contains(says)
                && clean
        }
        // Never claimed: whatever stands there is what its writer left.
        Expect::Leaves => waits.is_none() && text(4).is_empty() | (text(0) != "completed"),
        Expect::Waits => waits.is_some() && text(1).is_empty(),
    };
    if right { Ok(()) } else { Err(found) }
}

/// What waits for ever can be cancelled; then nothing is left of anything but ended jobs and their events.
async fn leftovers(server: &RedisServer, queue: &Queue, rows: &[Row]) -> Vec<String> {
    let mut wrong = Vec::new();
    for row in rows {
        let Put::Hand(job) = &row.put else { continue };
        let id = String::from_utf8_lossy(&job.id).into_owned();
        match &row.expect {
            Expect::Waits => {
                let output = cli(server, &["cancel", &id]).await;
                wrong.extend((output.status.code() != Some(0)).then(|| format!("{}: not cancelled", row.name)));
            }
            Expect::Failed(..) | Expect::Completes if id != "event-log-that-is-a-text" => {
                let ends = queue.events(&id).await.iter().filter(|event| event.terminal().is_some()).count();
                wrong.extend((ends != 1).then(|| format!("{}: {ends} ends in its log", row.name)));
            }
            _ => {}
        }
    }
    for key in ["jobs:pending", "jobs:delayed", "jobs:leases", "jobs:heads"] {
        let left: Vec<Vec<u8>> = server.run(&["ZRANGE", key, "0", "-1"]).await;
        wrong.extend((!left.is_empty()).then(|| {
            let left: Vec<String> = left.iter().map(|id| id.escape_ascii().to_string()).collect();
            format!("left in {key}: {}", left.join(", "))
        }));
    }
    let active: Vec<String> = server.run(&["KEYS", "jobs:active:*"]).await;
    wrong.extend((!active.is_empty()).then(|| format!("still held: {active:?}")));
    let shown: [(&[&str], i32, &str); 6] = [
        (&["jobs", "--limit=500"], 0, "error-with-terminal-escapes"),
        (&["jobs", "show", "error-with-terminal-escapes"], 0, "error-with-terminal-escapes"),
        (&["watch", "error-with-terminal-escapes"], 1, "failed: "),
        (&["watch", "created-at-bytes-that-are-not-UTF-8"], 0, "completed"),
        (&["watch", "event-log-that-is-a-text"], 0, "completed"),
        (&["workers"], 0, "hostile-3"),
    ];
    for (words, code, says) in shown {
        let output = cli(server, words).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let shown = output.status.code() == Some(code) && text.contains(says);
        wrong.extend(
            (!shown).then(|| format!("{words:?}: {:?} {}", output.status, String::from_utf8_lossy(&output.stderr))),
        );
        let control = text.chars().find(|c| c.is_control() && *c != '\n');
        wrong.extend(control.map(|c| format!("{words:?} shows {c:?}")));
    }
    let logs: Vec<String> = server.run(&["KEYS", "job:events:*"]).await;
    for log in logs.iter().filter(|log| *log != "job:events:event-log-that-is-a-text") {
        let entries: redis::Value = server.run(&["XRANGE", log, "-", "+"]).await;
        wrong.extend(format!("{entries:?}").contains(SECRET).then(|| format!("{log} holds the secret")));
    }
    let escaped = std::path::Path::new("/tmp/escaped.png").exists();
    wrong.extend(escaped.then(|| "a file was written outside the output folder".to_owned()));
    wrong
}

#[tokio::test]
async fn garbage_on_channels_and_in_control_keys_disturbs_nobody() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let _: () = server.run(&["SET", "worker:steady:control", "not a hash"]).await;
    let agent = Agent::start(&server, "steady", &[("MACHINE_ID", "m"), ("HEARTBEAT_INTERVAL_SECONDS", "0.1")]).await;
    let job = || serde_json::json!({"type": "simulation", "payload": {"steps": 1, "step_ms": 1}});
    queue.reaches(&queue.submit(job()).await, "completed").await;
    let garbage: [&[u8]; 8] = [
        b"",
        b"\xff\xfe",
        b"[[[[",
        b"null",
        br#"{"job_id": 5, "class": [], "definition": {}}"#,
        br#"{"job_id": "a:b\u0000\u001b[2J", "class": "", "definition": "{"}"#,
        br#"{"job_id": "", "class": "0123456789abcdef", "definition": "{\"service\":\"simulation\"}"}"#,
        br#"{"status": {"workers": {"x": 5}}, "timestamp": 1e999}"#,
    ];
    for channel in ["job_submitted", "cancel_job", "jobs:classes:born", "machine:status:m"] {
        for message in garbage {
            let heard: u64 =
                redis::cmd("PUBLISH").arg(channel).arg(message).query_async(&mut server.con.clone()).await.unwrap();
            assert!(heard > 0, "nobody listens to {channel}");
        }
    }
    let _: () = server.run(&["RPUSH", "jobs:wake:worker:steady", "garbage", "more"]).await;
    queue.reaches(&queue.submit(job()).await, "completed").await;
    let log = agent.log();
    assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
}
