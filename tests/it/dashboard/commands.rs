//! `pause`, `resume`, `drain`, `dashboard`: over the agent of this machine, and over Redis for others.

use super::browser::ask;
use super::controls::record_says;
use super::{address, agent, get};
use crate::agent::{endless, quick};
use crate::support::agent::command;
use crate::support::{Agent, PATIENCE, Queue, RedisServer, cli, cli_at, until};
use std::process::{Output, Stdio};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

/// A command that is typed beside this agent, as its user.
async fn beside(server: &RedisServer, agent: &Agent, env: &[(&str, &str)], words: &[&str]) -> Output {
    let home = [("HOME", agent.folder.path().to_str().unwrap()), ("WORKER_ID", &agent.worker)];
    cli_at(&server.url, &[&home[..], env].concat(), words).await
}

fn code_and_words(output: &Output) -> (Option<i32>, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (output.status.code(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
}

async fn said_by(server: &RedisServer, worker: &str) -> String {
    server.hget(&format!("worker:{worker}:control"), "by").await.unwrap_or_default()
}

#[tokio::test]
async fn the_agent_of_this_machine_is_told_by_its_dashboard() {
    let server = RedisServer::start().await;
    let (agent, _) = agent(&server, "w", &[]).await;
    let paused = beside(&server, &agent, &[], &["pause"]).await;
    assert_eq!(code_and_words(&paused), (Some(0), "this worker may claim no more jobs; nothing runs".to_owned()));
    record_says(&server, "w", "paused", "paused").await;
    assert!(said_by(&server, "w").await.starts_with("dashboard of "));
    let resumed = beside(&server, &agent, &[], &["resume", "w", "--json"]).await;
    let told = (Some(0), r#"{"message":"this worker may claim jobs again","ok":true}"#.to_owned());
    assert_eq!(code_and_words(&resumed), told);
    record_says(&server, "w", "idle", "running").await;
    // The only agent of this state folder is meant, under whatever id the command runs.
    let by_another_name = [("HOME", agent.folder.path().to_str().unwrap()), ("WORKER_ID", "other")];
    let drained = cli_at(&server.url, &by_another_name, &["drain", "w"]).await;
    assert_eq!(drained.status.code(), Some(0), "{drained:?}");
    record_says(&server, "w", "drained", "draining").await;
}

#[tokio::test]
async fn a_drain_waits_until_nothing_runs_any_more() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let (agent, _) = agent(&server, "w", &[]).await;
    let id = queue.submit(endless()).await;
    queue.reaches(&id, "in_progress").await;
    let at_once = beside(&server, &agent, &[], &["drain", "--no-wait"]).await;
    assert_eq!(at_once.status.code(), Some(0));
    let spawn = || {
        let env = [("WORKER_ID", "w")];
        let mut command = tokio::process::Command::from(command(&server.url, agent.folder.path(), &env));
        command.arg("drain").stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap()
    };
    // Somebody thinks otherwise meanwhile.
    let mut waiting = spawn();
    let mut lines = BufReader::new(waiting.stdout.take().unwrap()).lines();
    let is_told = async |lines: &mut tokio::io::Lines<BufReader<tokio::process::ChildStdout>>| {
        while let Ok(Some(line)) = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it tells") {
            if line == format!("w: {id} still runs") {
                return;
            }
        }
        panic!("it ended without a word on what still runs");
    };
    is_told(&mut lines).await;
    assert_eq!(beside(&server, &agent, &[], &["resume"]).await.status.code(), Some(0));
    let output = tokio::time::timeout(PATIENCE, waiting.wait_with_output()).await.unwrap().unwrap();
    let (code, words) = code_and_words(&output);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("w is to be running by now"), "{words}");

    let mut waiting = spawn();
    let mut lines = BufReader::new(waiting.stdout.take().unwrap()).lines();
    is_told(&mut lines).await;
    assert_eq!(cli(&server, &["cancel", &id]).await.status.code(), Some(0));
    let last = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
    assert_eq!(last.as_deref(), Some("drained: nothing runs any more"));
    assert_eq!(tokio::time::timeout(PATIENCE, waiting.wait()).await.unwrap().unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_drain_under_another_id_waits_for_the_agent_that_was_told() {
    let (server, elsewhere) = (RedisServer::start().await, RedisServer::start().await);
    let queue = Queue::of(&server);
    let (agent, _) = agent(&server, "w", &[]).await;
    let id = queue.submit(endless()).await;
    queue.reaches(&id, "in_progress").await;
    let env = [("WORKER_ID", "other")];
    let mut drain = tokio::process::Command::from(command(&server.url, agent.folder.path(), &env));
    let mut waiting = drain.arg("drain").stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(waiting.stdout.take().unwrap()).lines();
    let mut next = async || tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it tells").unwrap();
    assert_eq!(
        next().await.as_deref(),
        Some("this worker may claim no more jobs and drains: one job still runs, to its end")
    );
    assert_eq!(next().await, Some(format!("w: {id} still runs")));
    let home = [("HOME", agent.folder.path().to_str().unwrap()), env[0]];
    let (code, words) = code_and_words(&cli_at(&elsewhere.url, &home, &["drain"]).await);
    assert!(code == Some(1) && words.contains("this Redis knows no worker w"), "{words}");
    assert_eq!(cli(&server, &["cancel", &id]).await.status.code(), Some(0));
    assert_eq!(next().await.as_deref(), Some("drained: nothing runs any more"));
    assert_eq!(tokio::time::timeout(PATIENCE, waiting.wait()).await.unwrap().unwrap().code(), Some(0));
}

#[tokio::test]
async fn an_order_for_the_configured_worker_is_none_for_another_agent_that_is_alone_here() {
    let server = RedisServer::start().await;
    let (agent, _) = agent(&server, "w", &[]).await;
    let _meant = Agent::start(&server, "meant", &[]).await;
    let env = [("HOME", agent.folder.path().to_str().unwrap()), ("WORKER_ID", "meant")];
    let (code, words) = code_and_words(&cli_at(&server.url, &env, &["pause", "meant"]).await);
    assert_eq!(code, Some(0), "{words}");
    record_says(&server, "meant", "paused", "paused").await;
    let kept: bool = server.run(&["EXISTS", "worker:w:control"]).await;
    assert!(!kept, "nobody meant it");
}

#[tokio::test]
async fn workers_elsewhere_are_told_by_redis() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let pair = Agent::spawn(&server, "pair", &[("CONCURRENT_JOBS", "2"), ("MACHINE_ID", "box")]);
    pair.registered(&server, "pair-0").await;
    pair.registered(&server, "pair-1").await;
    let unknown = cli(&server, &["pause", "nobody"]).await;
    let (code, words) = code_and_words(&unknown);
    assert!(code == Some(1) && words.contains("there is no worker nobody"), "{words}");
    let kept: bool = server.run(&["EXISTS", "worker:nobody:control"]).await;
    assert!(!kept, "a slip of the pen leaves nothing");
    let (code, words) = code_and_words(&cli(&server, &["pause"]).await);
    assert!(code == Some(1) && words.contains("no agent runs here"), "{words}");

    let one = cli(&server, &["pause", "pair-1"]).await;
    assert_eq!(one.status.code(), Some(0), "{one:?}");
    assert!(said_by(&server, "pair-1").await.starts_with("gpu-worker pause on "));
    let id = queue.submit(quick()).await;
    assert_eq!(queue.reaches(&id, "completed").await["worker_id"], "pair-0");
    for (verb, whom, status, desired) in [
        ("pause", "pair", "paused", "paused"),
        ("resume", "box", "idle", "running"),
        ("drain", "box", "drained", "draining"),
        ("resume", "pair", "idle", "running"),
    ] {
        let output = cli(&server, &[verb, whom]).await;
        assert_eq!(output.status.code(), Some(0), "{verb} {whom}: {output:?}");
        record_says(&server, "pair-0", status, desired).await;
        record_says(&server, "pair-1", status, desired).await;
    }
    // No dashboard here, and the same id: it is meant.
    let own = [("WORKER_ID", "pair")];
    assert_eq!(code_and_words(&cli_at(&server.url, &own, &["drain"]).await).0, Some(0));
    record_says(&server, "pair-0", "drained", "draining").await;
    record_says(&server, "pair-1", "drained", "draining").await;
    let away = cli_at("redis://127.0.0.1:1/", &[], &["pause", "pair"]).await;
    assert_eq!(away.status.code(), Some(69), "{away:?}");
}

#[tokio::test]
async fn an_agent_that_only_shows_changes_nothing_for_its_own_commands_either() {
    let server = RedisServer::start().await;
    let (agent, at) = agent(&server, "w", &[("WORKER_DASHBOARD_READONLY", "true")]).await;
    for words in [&["pause"][..], &["pause", "w"], &["drain"]] {
        let (code, said) = code_and_words(&beside(&server, &agent, &[], words).await);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("only shows") && said.contains("WORKER_DASHBOARD_READONLY=false"), "{said}");
    }
    let kept: bool = server.run(&["EXISTS", "worker:w:control"]).await;
    assert!(!kept);
    assert_eq!(get(at, "/readyz").await.status, 200);
}

#[tokio::test]
async fn a_dead_agents_traces_lead_to_redis_or_to_a_plain_word() {
    let server = RedisServer::start().await;
    let (mut agent, _) = agent(&server, "w", &[]).await;
    agent.signal("KILL");
    agent.ended().await;
    let paused = beside(&server, &agent, &[], &["pause"]).await;
    assert_eq!(code_and_words(&paused).0, Some(0), "its record is still there: {paused:?}");
    assert!(said_by(&server, "w").await.starts_with("gpu-worker pause on "));
    let (code, said) = code_and_words(&beside(&server, &agent, &[], &["dashboard"]).await);
    assert!(code == Some(1) && said.contains("no agent with a dashboard runs here"), "{said}");
}

#[tokio::test]
async fn a_token_is_not_sent_to_whoever_sits_on_a_killed_agents_port() {
    let server = RedisServer::start().await;
    let token = ("WORKER_DASHBOARD_TOKEN", "0123456789abcdef0123");
    let (mut agent, at) = agent(&server, "w", &[token]).await;
    agent.signal("KILL");
    agent.ended().await;
    let thief = tokio::net::TcpListener::bind(at).await.unwrap();
    let heard = tokio::spawn(async move {
        let mut all = Vec::new();
        loop {
            let (mut guest, _) = thief.accept().await.unwrap();
            let mut asked = vec![0; 4096];
            let length = guest.read(&mut asked).await.unwrap_or_default();
            all.extend_from_slice(&asked[..length]);
            if asked.starts_with(b"the end") {
                return String::from_utf8_lossy(&all).into_owned();
            }
        }
    });
    assert_eq!(code_and_words(&beside(&server, &agent, &[token], &["pause"]).await).0, Some(0));
    assert!(said_by(&server, "w").await.starts_with("gpu-worker pause on "));
    beside(&server, &agent, &[token], &["top", "--once"]).await;
    tokio::net::TcpStream::connect(at).await.unwrap().write_all(b"the end").await.unwrap();
    let heard = tokio::time::timeout(PATIENCE, heard).await.unwrap().unwrap();
    assert!(!heard.to_lowercase().contains("authorization") && !heard.contains(token.1), "{heard}");
}

#[tokio::test]
async fn the_launch_link_opens_a_dashboard_that_has_a_token() {
    let server = RedisServer::start().await;
    let token = ("WORKER_DASHBOARD_TOKEN", "0123456789abcdef0123");
    let (agent, at) = agent(&server, "w", &[token]).await;
    let (code, said) = code_and_words(&beside(&server, &agent, &[], &["dashboard"]).await);
    assert!(code == Some(64) && said.contains("WORKER_DASHBOARD_TOKEN"), "{said}");
    assert!(said.contains(&format!("http://{at}/")), "where it is: {said}");
    let wrong = ("WORKER_DASHBOARD_TOKEN", "another-token-altogether");
    assert_eq!(code_and_words(&beside(&server, &agent, &[wrong], &["dashboard"]).await).0, Some(1));
    let printed = beside(&server, &agent, &[token], &["dashboard"]).await;
    assert_eq!(printed.status.code(), Some(0), "{printed:?}");
    let link = String::from_utf8(printed.stdout).unwrap().trim().to_owned();
    let path = link.strip_prefix(&format!("http://{at}")).expect("its URL").to_owned();
    assert!(!link.contains(token.1) && path.starts_with("/launch/"), "{link}");
    assert!(!get(at, &path).await.headers.contains_key("set-cookie"), "a look uses nothing up");
    let enter = format!("POST {path} HTTP/1.1\r\nHost: {at}\r\nOrigin: http://{at}\r\nConnection: close\r\n\r\n");
    let opened = ask(at, &enter).await;
    assert_eq!(opened.status, 200);
    let cookie = opened.headers["set-cookie"].split(';').next().unwrap().to_owned();
    assert_eq!(ask(at, &enter).await.status, 410);
    let with = format!("GET /readyz HTTP/1.1\r\nHost: {at}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n");
    assert_eq!(ask(at, with).await.status, 200);
    assert_eq!(get(at, "/readyz").await.status, 401);
    let log = agent.log();
    assert!(!log.contains(token.1) && !log.contains(&path), "{log}");
}

#[tokio::test]
async fn agents_of_one_machine_know_each_others_dashboards() {
    let server = RedisServer::start().await;
    let env = [("MACHINE_ID", "box")];
    let (mut one, one_at) = agent(&server, "one", &env).await;
    let (other, other_at) = agent(&server, "other", &env).await;
    let (_stranger, _) = agent(&server, "stranger", &[("MACHINE_ID", "elsewhere")]).await;
    let shown = async || -> std::collections::BTreeMap<String, String> {
        let all: std::collections::BTreeMap<String, String> = server.run(&["HGETALL", "machine:box:dashboards"]).await;
        let url = |text: String| {
            let entry: serde_json::Value = serde_json::from_str(&text).unwrap();
            entry["url"].as_str().unwrap().to_owned()
        };
        all.into_iter().map(|(worker, text)| (worker, url(text))).collect()
    };
    let both = [("one", one_at), ("other", other_at)].map(|(name, at)| (name.to_owned(), format!("http://{at}/")));
    until("both have said so", || async { (shown().await == both.clone().into()).then_some(()) }).await;
    one.signal("TERM");
    assert_eq!(one.ended().await, Some(0));
    assert_eq!(shown().await.into_keys().collect::<Vec<_>>(), ["other"]);
    drop(other);
}

#[tokio::test]
async fn two_agents_of_one_state_folder_have_a_token_each() {
    let server = RedisServer::start().await;
    let state = tempfile::tempdir().unwrap();
    let state_dir = ("STATE_DIR", state.path().to_str().unwrap());
    let env = [state_dir, ("WORKER_DASHBOARD_ENABLED", "true"), ("WORKER_DASHBOARD_PORT", "0")];
    let (one, other) = (Agent::start(&server, "one", &env).await, Agent::start(&server, "other", &env).await);
    address(&one).await;
    address(&other).await;
    let read = |name: &str| std::fs::read_to_string(state.path().join("dashboard").join(name)).ok();
    until("both have their files", || async {
        (read("one.url").is_some() && read("other.url").is_some()).then_some(())
    })
    .await;
    assert_ne!(read("one.token"), read("other.token"));
    let pause = async |worker: &str| cli_at(&server.url, &[state_dir, ("WORKER_ID", worker)], &["pause"]).await;
    let (code, said) = code_and_words(&pause("third").await);
    assert!(code == Some(64) && said.contains("WORKER_ID=one") && said.contains("WORKER_ID=other"), "{said}");
    let (one_at, other_at) = (address(&one).await, address(&other).await);
    assert!([one_at, other_at].iter().all(|at| said.contains(&format!("http://{at}/"))), "{said}");
    // The page of whichever is meant.
    let link = async |worker: &str| {
        let env = [state_dir, ("WORKER_ID", worker)];
        code_and_words(&cli_at(&server.url, &env, &["dashboard", "--json"]).await)
    };
    assert_eq!(link("third").await.0, Some(64));
    let (code, said) = link("other").await;
    assert!(code == Some(0) && said.contains(&format!("http://{other_at}/launch/")), "{said}");
    let by_name = cli_at(&server.url, &[state_dir, ("WORKER_ID", "third")], &["dashboard", "one"]).await;
    let (code, said) = code_and_words(&by_name);
    assert!(code == Some(0) && said.contains(&format!("http://{one_at}/launch/")), "{said}");
    // `top` begins with the one that is meant, wherever its port stands among the others.
    for (worker, first, second) in [("one", one_at, other_at), ("other", other_at, one_at)] {
        let env = [state_dir, ("WORKER_ID", worker), ("COLUMNS", "200")];
        let (_, shown) = code_and_words(&cli_at(&server.url, &env, &["top", "--once"]).await);
        let place = |at: std::net::SocketAddr| shown.find(&format!("http://{at}")).unwrap_or_else(|| panic!("{shown}"));
        assert!(place(first) < place(second), "{worker} is meant:\n{shown}");
    }
    assert_eq!(code_and_words(&pause("other").await).0, Some(0));
    record_says(&server, "other", "paused", "paused").await;
    record_says(&server, "one", "idle", "running").await;
}

#[tokio::test]
async fn orders_that_redis_does_not_hear_end_as_unreachable() {
    let mut server = RedisServer::start().await;
    let (agent, _) = agent(&server, "w", &[]).await;
    server.kill();
    for words in [&["pause"][..], &["resume"], &["drain"], &["drain", "--no-wait"]] {
        let (code, said) = code_and_words(&beside(&server, &agent, &[], words).await);
        assert_eq!(code, Some(69), "{words:?}: {said}");
        assert!(said.contains("Redis"), "{words:?}: {said}");
    }
}

#[tokio::test]
async fn a_redis_that_is_silent_is_named_before_it_counts_as_gone() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let (agent, at) = agent(&server, "w", &[]).await;
    let id = queue.submit(endless()).await;
    queue.reaches(&id, "in_progress").await;
    let worker = async || {
        let all: serde_json::Value = serde_json::from_str(&get(at, "/api/snapshot").await.body).unwrap();
        all["worker"].clone()
    };
    until("it is at work", || async { (worker().await["state"] == "working").then_some(()) }).await;
    server.signal("STOP");
    let told = until("it says that Redis is silent", || async {
        let worker = worker().await;
        let sentence = worker["sentence"].as_str()?.to_owned();
        sentence.contains("Redis has not answered for").then_some(worker)
    })
    .await;
    assert_eq!(told["state"], "redis_away", "{told}");
    assert_eq!(told["redis"]["connected"], false, "{told}");
    assert!(told["sentence"].as_str().unwrap().contains("one job goes on"), "{told}");
    agent.logged("Redis cannot be reached").await;
    server.signal("CONT");
    until("it is at work again", || async { (worker().await["state"] == "working").then_some(()) }).await;
}

#[tokio::test]
async fn top_says_of_a_locked_agent_what_to_do_and_uses_a_token_that_it_may_read() {
    let server = RedisServer::start().await;
    let token = ("WORKER_DASHBOARD_TOKEN", "0123456789abcdef0123");
    let (agent, at) = agent(&server, "w", &[token]).await;
    let (code, said) = code_and_words(&beside(&server, &agent, &[], &["top", "--once"]).await);
    assert!(code == Some(69) && said.contains("locked") && said.contains("--token-file"), "{said}");
    // What is told of other agents of this machine is another matter.
    let of_it = said.lines().find(|line| line.contains(&format!("http://{at}"))).unwrap_or_else(|| panic!("{said}"));
    assert!(!of_it.contains("no answer"), "{said}");
    let wrong = ("WORKER_DASHBOARD_TOKEN", "another-token-altogether");
    let (code, said) = code_and_words(&beside(&server, &agent, &[wrong], &["top", "--once"]).await);
    assert!(code == Some(69) && said.contains("another than the one given") && !said.contains(wrong.1), "{said}");
    // As the agent's user has it: in the file of its configuration.
    let env_file = agent.folder.path().join("env");
    std::fs::write(&env_file, format!("{}={}\n", token.0, token.1)).unwrap();
    let words = ["--env-file", env_file.to_str().unwrap(), "top", "--once"];
    // The code counts the other agents of this machine, too.
    let (_, said) = code_and_words(&beside(&server, &agent, &[], &words).await);
    assert!(said.contains("slot w"), "{said}");
}
