//! Outputs of an engine of one's own that are larger than is stored.
//! In: a sparse file. Out: the job's failure, at once; nothing on the disk.

use super::Engines;
use crate::support::{Queue, RedisServer};
use serde_json::json;

#[tokio::test]
async fn a_sparse_file_of_60_gib_is_refused_at_once_and_the_engine_goes_on() {
    let (server, engines) = (RedisServer::start().await, Engines::new());
    let queue = Queue::of(&server);
    let program = "#!/usr/bin/env python3\nfrom gpu_worker_connector import serve\n\ndef run(job):\n    \
        with open(job.output('film.mp4'), 'wb') as film:\n        film.truncate(job.get('gib', 0) << 30 or 1)\n\n\
        serve(run, services=['film'])\n";
    engines.write("film.py", program, 0o755);
    let agent = engines.agent(&server).await;
    let id = queue.submit(json!({ "service_required": "film", "payload": { "gib": 60 } })).await;
    let job = queue.reaches(&id, "failed").await;
    let seen = (job["failure_type"].as_str(), job["failure_reason"].as_str(), job["attempt"].as_str());
    assert_eq!(seen, ("validation_error", "unsupported_operation", "1"), "{}", agent.log());
    let said = &job["error"];
    assert!(said.contains("`film.mp4`") && said.contains("64424509440") && said.contains("52428800000"), "{said}");
    assert_eq!(
        std::fs::read_dir(agent.folder.path().join("outputs").join(&id).join("1")).map_or(0, Iterator::count),
        0
    );
    let small = queue.submit(json!({ "service_required": "film", "payload": {} })).await;
    queue.reaches(&small, "completed").await;
}
