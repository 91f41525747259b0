//! Several ComfyUI servers on one machine: side by side, each on its GPU, each with a health of its own.

use crate::fencing::bench::Bench;
use serde_json::json;

#[tokio::test]
async fn two_servers_on_two_gpus_work_at_once_and_one_that_dies_takes_nobody_along() {
    let bench = Bench::ready(&[("HEALTH_CHECK_INTERVAL_SECONDS", "0.2"), ("RETRY_BACKOFF_MS", "1")]).await;
    let [well, hit] = bench.both_at_work().await;
    assert!(bench.engines.iter().all(|engine| engine.executions().len() == 1), "a job each");
    bench.engines[1].kill().await;
    bench.offers("m-1", json!([])).await;
    bench.offers("m-0", json!(["comfyui"])).await;
    assert_eq!(bench.queue.field(&well, "status").await, "in_progress", "it was not disturbed");
    bench.engines[0].step_by_hand(false);
    for id in [&well, &hit] {
        let job = bench.queue.reaches(id, "completed").await;
        assert_eq!((job["worker_id"].as_str(), job["retry_count"].as_str()), ("m-0", "0"), "{id}");
        bench.queue.ended_once(id).await;
    }
    // Back, and both work again.
    bench.engines[1].revive().await;
    bench.offers("m-1", json!(["comfyui"])).await;
}
