//! Engine processes that end while they work, and what their jobs are charged.
//! In: programs that crash. Out: attempts, charges, ends.

use super::Engines;
use crate::support::{Queue, RedisServer};
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
