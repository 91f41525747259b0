//! What people do wrong when they write their first engine, and what they are told.
//! In: folders, files and programs that are not as the guide has them. Out: sentences that say what to do.

use super::{Engines, said};
use crate::support::agent::command;
use crate::support::{Agent, Queue, RedisServer};
use serde_json::json;

#[test]
fn a_program_that_prints_something_else_is_told_what_was_expected_without_waiting_for_more() {
    let engines = Engines::new();
    let hello = "Hello, I draw cats";
    for (name, rest, printed) in
        [("ends.sh", "", hello), ("waits.sh", "sleep 600\n", hello), ("echoes.sh", "", "{\"id\":1,")]
    {
        let code = if printed == hello { format!("echo '{hello}'\n{rest}") } else { "cat\n".to_owned() };
        engines.write(name, &format!("#!/bin/sh\n{code}"), 0o755);
        let output = engines.cli(&["check", name], "");
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        let last = said(&output).trim_end().rsplit('\n').next().unwrap().to_owned();
        assert!(last.contains(&format!("it printed `{printed}")) && last.contains("one line of JSON"), "{last}");
        assert!(!last.contains("next start") && !last.contains("within 60 s"), "{last}");
    }
}

#[tokio::test]
async fn a_definition_that_is_far_too_long_is_refused_unread() {
    let engines = Engines::new();
    let comment = format!("# {}\n", "x".repeat(2 << 20));
    engines.write("long.toml", &format!("services = ['a']\nurl = 'http://127.0.0.1:1'\n{comment}"), 0o644);
    let output = engines.cli(&["check", "long.toml"], "");
    assert_eq!(output.status.code(), Some(64), "{}", said(&output));
    assert!(said(&output).contains("a definition may have 1 MiB"), "{}", said(&output));
    let server = RedisServer::start().await;
    let agent = engines.agent(&server).await;
    agent.logged("a definition may have 1 MiB").await;
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_told_once_and_used_as_soon_as_it_is() {
    let engines = Engines::new();
    let place = |name: &str| engines.path(name).to_str().unwrap().to_owned();
    std::fs::create_dir(place("engines")).unwrap();
    let misspelt = place("engnies");
    let output = command("redis://127.0.0.1:1", engines.folder.path(), &[("CONNECTORS_DIR", &misspelt)])
        .args(["config", "check"])
        .output()
        .unwrap();
    let told = format!("CONNECTORS_DIR: there is no folder {misspelt}; did you mean {}?", place("engines"));
    assert!(said(&output).contains(&told), "{}", said(&output));
    let server = RedisServer::start().await;
    let env = [("CONNECTORS_DIR", &*misspelt), ("HEALTH_CHECK_INTERVAL_SECONDS", "0.2")];
    let agent = Agent::spawn(&server, "box", &env);
    agent.registered(&server, "box").await;
    agent.logged(&told).await;
    assert_eq!(agent.log().matches("engnies").count(), 1, "{}", agent.log());
    let queue = Queue::of(&server);
    let id = queue.submit(json!({"service_required": "hello", "payload": {"name": "Ada", "seconds": 0}})).await;
    std::fs::create_dir(&misspelt).unwrap();
    for name in ["gpu_worker_connector.py", "hello.py"] {
        std::fs::rename(place(name), format!("{misspelt}/{name}")).unwrap();
    }
    queue.reaches(&id, "completed").await;
    assert!(agent.log().contains("the folder can be read now"), "{}", agent.log());
}

#[tokio::test]
async fn a_reason_that_nobody_knows_is_told_with_the_one_that_was_probably_meant() {
    let (server, engines) = (RedisServer::start().await, Engines::new());
    let code = "#!/usr/bin/env python3\nfrom gpu_worker_connector import serve, Failed\n\ndef run(job):\n    \
                raise Failed('it is too much', 'invalid_paylaod')\n\nserve(run, services=['odd'])\n";
    engines.write("odd.py", code, 0o755);
    let agent = engines.agent(&server).await;
    Queue::of(&server).submit(json!({ "service_required": "odd", "payload": {} })).await;
    agent.logged("the reason `invalid_paylaod` is not known; did you mean `invalid_payload`?").await;
}
