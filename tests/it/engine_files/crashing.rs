//! Engine processes that end while they work, and what their jobs are charged.
//! In: programs that crash. Out: attempts, charges, ends.

use super::{Engines, is_alive};
use crate::support::{Queue, RedisServer, until};
use serde_json::json;

#[tokio::test]
async fn a_job_in_whose_run_its_engine_ends_is_tried_again_without_charge_but_not_for_ever() {
    let (server, engines) = (RedisServer::start().await, Engines::new());
    let queue = Queue::of(&server);
    // Two engines, so that the one need not rest for the other's crashes.
    for name in ["once", "always"] {
        let program = format!(
            "#!/usr/bin/env python3\nimport os\nfrom gpu_worker_connector import serve\n\ndef run(job):\n    \
             if '{name}' == 'always' or not os.path.exists('been'):\n        open('been', 'w').close()\n        \
             os._exit(9)\n\nserve(run, services=['{name}'])\n"
        );
        engines.write(&format!("{name}.py"), &program, 0o755);
    }
    let agent = engines.agent_with(&server, &[("RETRY_BACKOFF_MS", "1")]).await;
    // The engine, how its job ends, claims, charged attempts.
    for (name, status, claims, charged) in [("once", "completed", "2", "0"), ("always", "failed", "3", "2")] {
        let id = queue.submit(json!({ "service_required": name, "payload": {}, "max_retries": 2 })).await;
        let job = queue.reaches(&id, status).await;
        let seen = (job["attempt"].as_str(), job["retry_count"].as_str());
        assert_eq!(seen, (claims, charged), "{name}; log:\n{}", agent.log());
        queue.ended_once(&id).await;
    }
}

/// An engine that leaves its process id in `pid` when it has started.
const LASTING: &str = "#!/usr/bin/env python3\nimport os\nfrom gpu_worker_connector import serve\n\n\
    open('fresh', 'w').write(str(os.getpid()))\nos.rename('fresh', 'pid')\n\n\
    def run(job):\n    if job.get('die'): os._exit(9)\n\nserve(run, services=['lasting'])\n";

/// Waits until the engine runs under another number than this.
async fn started(engines: &Engines, before: &str) -> String {
    let path = engines.path("pid");
    let look = || async { std::fs::read_to_string(&path).ok().filter(|pid| pid != before && is_alive(pid)) };
    until("the engine has been started", look).await
}

#[tokio::test]
async fn an_engine_that_dies_at_rest_comes_back_after_the_pause_that_the_log_names_and_not_at_the_next_probe() {
    let (server, engines) = (RedisServer::start().await, Engines::new());
    engines.write("lasting.py", LASTING, 0o755);
    let agent = engines.agent_with(&server, &[("HEALTH_CHECK_INTERVAL_SECONDS", "3600")]).await;
    let mut pid = started(&engines, "").await;
    for deaths in 1..=2 {
        assert!(std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
        until("the log names the pause", || async {
            (agent.log().matches("engine process is gone").count() >= deaths).then_some(())
        })
        .await;
        pid = started(&engines, &pid).await;
    }
    agent.logged("engine is healthy").await;
    assert!(agent.log().contains("\"pause_ms\":2000"), "{}", agent.log());
}

#[tokio::test]
async fn an_engine_that_dies_at_work_twice_is_offered_again_after_the_pause_that_the_log_names() {
    let (server, engines) = (RedisServer::start().await, Engines::new());
    let queue = Queue::of(&server);
    engines.write("lasting.py", LASTING, 0o755);
    let more = [("HEALTH_CHECK_INTERVAL_SECONDS", "3600"), ("RETRY_BACKOFF_MS", "1")];
    let agent = engines.agent_with(&server, &more).await;
    let run = async |die: bool| {
        let job = json!({ "service_required": "lasting", "payload": { "die": die }, "max_retries": 1 });
        queue.submit(job).await
    };
    queue.reaches(&run(true).await, "failed").await;
    let pid = started(&engines, "").await;
    queue.reaches(&run(false).await, "completed").await;
    assert!(is_alive(&pid), "{}", agent.log());
}
