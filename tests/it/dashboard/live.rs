//! What a page sees while jobs run, fail and end, and while Redis is away.

use super::stream::{Stream, json};
use super::{agent, get};
use crate::support::{Agent, Queue, RedisServer, until};
use serde_json::{Value, json};
use stand_ins::comfyui::{Options, StandIn};

fn drawing(steps: u64, step_ms: u64) -> Value {
    json!({"type": "simulation", "payload": {
        "steps": steps, "step_ms": step_ms, "outputs": 1, "width": 32, "height": 32, "prompt": "a secret garden",
    }})
}

/// The job at work in the first slot, if it is this one.
fn job<'a>(slots: &'a Value, id: &str) -> Option<&'a Value> {
    Some(&slots[0]["job"]).filter(|job| job["id"] == id)
}

#[tokio::test]
async fn a_job_is_seen_moving_and_ending_and_stays_in_the_history_with_its_picture() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let (_agent, at) = agent(&server, "w", &[]).await;
    let mut page = Stream::open(at).await;
    let first = page.next().await.unwrap();
    assert_eq!(first.name, "snapshot");
    assert_eq!((&first.data["read_only"], &first.data["worker"]["ids"]), (&json!(false), &json!(["w"])));
    assert_eq!((&first.data["slots"][0]["state"], &first.data["slots"][0]["job"]), (&json!("idle"), &Value::Null));
    assert!(first.data["log"].as_array().unwrap().iter().any(|line| line["text"] == "gpu-worker started"));
    let id = queue.submit(drawing(30, 60)).await;
    let mut last = 0.0;
    for _ in 0..3 {
        // Each look is at another event, and each tells more than the one before.
        last = page
            .section("slots", "more progress", |slots| {
                let told = job(slots, &id)?["progress"].as_f64()?;
                (told > last && slots[0]["state"] == "running").then_some(told)
            })
            .await;
    }
    assert!(last < 100.0);
    let end = page.find("the end", |event| (event.name == "job").then(|| event.data.clone())).await;
    assert_eq!((&end["id"], &end["state"], &end["worker"]), (&json!(id), &json!("completed"), &json!("w")));
    assert_eq!((&end["service"], &end["attempt"], &end["failure"]), (&json!("simulation"), &json!(1), &Value::Null));
    assert!(end["duration_ms"].as_u64().unwrap() >= 1800, "{end}");
    let output = &end["outputs"][0];
    assert_eq!((&output["media_type"], &output["kind"]), (&json!("image/png"), &json!("images")));
    let picture = get(at, output["thumb"].as_str().unwrap()).await;
    assert_eq!((picture.status, picture.headers["content-type"].as_str()), (200, "image/png"));
    assert_eq!(picture.headers["x-content-type-options"], "nosniff");
    assert_eq!(picture.headers["content-length"], output["bytes"].to_string());
    assert!(picture.body.contains("PNG"));
    page.section("slots", "the slot is idle again", |slots| (slots[0]["state"] == "idle").then_some(())).await;
    page.section("stats", "it is counted", |stats| (stats["completed"] == 1).then_some(())).await;

    let again = json(at, "/api/snapshot").await;
    assert_eq!(again["jobs"]["history"][0], end, "whoever comes later sees the same");
    assert_eq!((&again["stats"]["success_rate"], &again["stats"]["p50_ms"]), (&json!(1.0), &end["duration_ms"]));
    assert!(
        again["log"].as_array().unwrap().iter().any(|line| line["text"] == "completed" && line["fields"]["job"] == id)
    );

    let metrics = get(at, "/metrics").await.body;
    for sample in [
        "gpu_worker_jobs_success_ratio 1.0",
        "gpu_worker_job_duration_quantile_seconds{service=\"\",percentile=\"50\"} ",
        "gpu_worker_job_duration_quantile_seconds{service=\"simulation\",percentile=\"95\"} ",
        "gpu_worker_queue_waiting 0.0",
        "gpu_worker_engine_runs{engine=\"simulation\"} 0.0",
        "gpu_worker_heartbeat_timestamp_seconds 1",
        "gpu_worker_host_memory_total_bytes ",
        "gpu_worker_output_disk_free_bytes ",
    ] {
        assert!(metrics.contains(&format!("\n{sample}")), "{sample} is not in\n{metrics}");
    }
    assert!(!metrics.contains("gpu_worker_job_progress_ratio{"), "nothing runs");

    let id = queue.submit(drawing(30, 60)).await;
    let left = |slots: &Value| job(slots, &id)?["eta_ms"].as_u64();
    assert!(page.section("slots", "a guess at what is left", left).await > 0);
}

#[tokio::test]
async fn a_job_that_fails_tells_why_and_what_to_do() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let (_agent, at) = agent(&server, "w", &[("RETRY_BACKOFF_MS", "10")]).await;
    let mut page = Stream::open(at).await;
    let failing = |failure: &str, more: Value| {
        let mut payload = json!({"steps": 1, "step_ms": 1, "outputs": 0, "fail_at_step": 0, "failure": failure});
        payload.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        json!({"type": "simulation", "max_retries": 3, "payload": payload})
    };
    let ended = |event: &super::stream::Event| (event.name == "job").then(|| event.data.clone());
    let id = queue.submit(failing("generation_refusal", json!({}))).await;
    let refused = page.find("the refusal", ended).await;
    let hash = queue.reaches(&id, "failed").await;
    let failure = &refused["failure"];
    assert_eq!(
        (&refused["state"], &failure["final"], &failure["retry_at"]),
        (&json!("failed"), &json!(true), &Value::Null)
    );
    assert_eq!((&failure["type"], &failure["reason"]), (&json!(hash["failure_type"]), &json!(hash["failure_reason"])));
    assert!(failure["message"].as_str().unwrap().contains("as asked"), "{failure}");
    assert!(failure["remedy"].as_str().unwrap().len() > 5, "{failure}");

    queue.submit(failing("network_error", json!({"fail_attempts": 1}))).await;
    let retried = page.find("an attempt that fails", ended).await;
    assert_eq!(retried["failure"]["final"], false);
    assert!(retried["failure"]["retry_at"].as_i64().unwrap() >= retried["ended"].as_i64().unwrap());
    let second = page.find("the attempt after it", ended).await;
    assert_eq!((&second["state"], &second["attempt"]), (&json!("completed"), &json!(2)));
    let stats = json(at, "/api/stats").await;
    let counted: Vec<&Value> = ["completed", "failed", "retried", "totalJobsFailed"].map(|name| &stats[name]).into();
    assert_eq!(counted, [&json!(1), &json!(1), &json!(1), &json!(1)], "{stats}");
    assert_eq!(stats["by_reason"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn redis_that_goes_and_comes_back_is_shown() {
    let mut server = RedisServer::start_durable().await;
    let (_agent, at) = agent(&server, "w", &[]).await;
    let mut page = Stream::open(at).await;
    let worker = |up: bool| move |worker: &Value| (worker["redis"]["connected"] == up).then(|| worker.clone());
    let idle = |worker: &Value| (worker["state"] == "idle").then(|| worker.clone());
    let before = page.section("worker", "all is well", idle).await;
    assert_eq!(before["redis"]["connected"], true);
    assert_eq!(before["redis"]["address"], server.url.trim_start_matches("redis://").trim_end_matches('/'));
    assert!(before["heartbeat"].as_i64().unwrap() >= before["started"].as_i64().unwrap());
    page.section("worker", "how far Redis is", |worker| worker["redis"]["round_trip_ms"].as_f64()).await;
    server.kill();
    let away = page.section("worker", "Redis is away", worker(false)).await;
    assert_eq!(away["state"], "redis_away");
    assert!(away["sentence"].as_str().unwrap().contains("Redis cannot be reached"), "{away}");
    assert!(away["redis"]["since"].as_i64().unwrap() >= before["redis"]["since"].as_i64().unwrap());
    assert_eq!(get(at, "/api/snapshot").await.status, 200);
    server.revive().await;
    page.section("worker", "Redis is back", worker(true)).await;
    page.section("worker", "and the worker idle", |worker| (worker["state"] == "idle").then_some(())).await;
}

#[tokio::test]
async fn what_waits_is_shown_with_why_it_does_not_run_here() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let env = [("GPU_COUNT", "1"), ("GPU_MEMORY_GB", "24"), ("MAX_CONCURRENT_JOBS", "1")];
    let (_agent, at) = agent(&server, "w", &env).await;
    let waiting = json!({"type": "simulation", "priority": 70, "requirements": {"hardware": {"gpu_memory_gb": 80}},
                         "payload": {"steps": 1}});
    queue.submit(waiting.clone()).await;
    queue.submit(waiting).await;
    queue.submit(json!({"type": "upscaling", "payload": {}})).await;
    let mut page = Stream::open(at).await;
    let section = page
        .section("queue", "all three", |queue| (queue["waiting"] == 3 && queue["read"].is_i64()).then(|| queue.clone()))
        .await;
    let [large, other] = &section["classes"].as_array().unwrap()[..] else { panic!("{section}") };
    assert_eq!(
        (&large["service"], &large["count"], &large["priority_best"]),
        (&json!("simulation"), &json!(2), &json!(70))
    );
    assert_eq!(large["needs"], json!(["80 GB of GPU memory"]));
    assert!(large["oldest"].as_i64().unwrap() > 1_600_000_000_000);
    let misfit = &large["misfits"][0];
    assert_eq!((&misfit["worker"], &misfit["codes"]), (&json!("w"), &json!(["gpu_memory"])));
    let reason = misfit["reasons"][0].as_str().unwrap();
    assert!(reason.contains("80") && reason.contains("24"), "{reason}");
    assert_eq!((&other["service"], &other["misfits"][0]["codes"]), (&json!("upscaling"), &json!(["service"])));
    assert_eq!((&section["fitting"], &section["delayed"], &section["unindexed"]), (&json!(0), &json!(0), &json!(0)));
}

#[tokio::test]
async fn neither_secrets_nor_payloads_are_shown() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let env = [
        ("COMFYUI_URL", "http://127.0.0.1:1"),
        ("COMFYUI_PASSWORD", "engine-secret-1"),
        ("SERVICES", "simulation,comfyui"),
        ("LOG_LEVEL", "debug"),
    ];
    let (_agent, at) = agent(&server, "w", &env).await;
    let mut page = Stream::open(at).await;
    let mut asked = drawing(5, 100);
    asked["ctx"] = json!({"workflow_context": {"note": "context-secret-2"}, "previews": false});
    let id = queue.submit(asked).await;
    page.section("slots", "it runs", |slots| job(slots, &id).map(|_| ())).await;
    page.find("its end", |event| (event.name == "job").then_some(())).await;
    let mut all = String::from_utf8(page.seen.clone()).unwrap();
    for path in [
        "/api/snapshot",
        "/api/status",
        "/api/capabilities",
        "/api/jobs/current",
        "/api/jobs/history",
        "/api/stats",
        "/api/connectors",
        "/api/system",
        "/api/gpus",
        "/metrics",
        "/readyz",
    ] {
        all += &get(at, path).await.body;
    }
    assert!(all.contains(&id));
    for hidden in ["engine-secret-1", "context-secret-2", "secret garden"] {
        assert!(!all.contains(hidden), "{hidden}");
    }
}

#[tokio::test]
async fn the_stream_ends_with_the_agent() {
    let server = RedisServer::start().await;
    let (mut agent, at) = agent(&server, "w", &[]).await;
    let mut page = Stream::open(at).await;
    page.next().await.unwrap();
    agent.signal("TERM");
    while page.next().await.is_some() {}
    assert_eq!(agent.ended().await, Some(0), "{}", agent.log());
}

#[tokio::test]
async fn a_gpu_has_its_readings_and_its_chart_and_a_hot_one_says_so() {
    let driver = crate::fencing::bench::Driver::new("one");
    let path = |name: &str| driver.path().join(name).display().to_string();
    let server = RedisServer::start().await;
    let (library, scenario) = (driver.path().display().to_string(), path("scenario"));
    let engine = StandIn::start(Options::default()).await.unwrap();
    let url = engine.url();
    let env = [
        ("SERVICES", "comfyui"),
        ("COMFYUI_URL", url.as_str()),
        ("LD_LIBRARY_PATH", library.as_str()),
        ("GPU_WORKER_FAKE_NVML", scenario.as_str()),
        // The hardware is looked at as often.
        ("HEARTBEAT_INTERVAL_SECONDS", "0.2"),
    ];
    let (_agent, at): (Agent, _) = agent(&server, "w", &env).await;
    until("there are points without anybody looking at the stream", || async {
        let gpus = json(at, "/api/gpus").await;
        (gpus["series"]["gpus"][0]["utilisation"].as_array()?.len() > 1).then_some(())
    })
    .await;
    let mut page = Stream::open(at).await;
    let first = page.next().await.unwrap().data;
    let (gpu, chart) = (&first["gpus"][0], &first["series"]["gpus"][0]);
    for (name, value) in [
        ("name", json!("NVIDIA GeForce RTX 4090")),
        ("vendor", json!("nvidia")),
        ("health", json!("ok")),
        ("utilisation", json!(37)),
        ("temperature_c", json!(41)),
        ("temperature_limit_c", json!(88)),
        ("power_w", json!(22.5)),
        ("power_limit_w", json!(450.0)),
        ("clock_mhz", json!(2520)),
        ("clock_max_mhz", json!(3105)),
        ("fan_percent", json!(30)),
        ("throttled", Value::Null),
    ] {
        assert_eq!(gpu[name], value, "{name}: {gpu}");
    }
    assert_eq!(gpu["memory"]["total_bytes"], json!(24_564_u64 << 20));
    assert_eq!(gpu["memory"]["used_bytes"], json!(1400_u64 << 20));
    assert_eq!(gpu["memory"]["job_bytes"], Value::Null, "whose process that is, nobody knows");
    // The stand-in engine lives in this process.
    driver.runs(std::process::id());
    page.section("gpus", "what the engine holds", |gpus| {
        let memory = &gpus[0]["memory"];
        (memory["job_bytes"] == 1000_u64 << 20 && memory["other_bytes"] == 400_u64 << 20).then_some(())
    })
    .await;
    assert_eq!(chart["temperature_c"].as_array().unwrap().last(), Some(&json!(41)));
    let metrics = get(at, "/metrics").await.body;
    for sample in [
        "gpu_worker_gpu_clock_hertz{gpu=\"0\"} 2520000000",
        "gpu_worker_gpu_power_limit_watts{gpu=\"0\"} 450",
        "gpu_worker_gpu_temperature_limit_celsius{gpu=\"0\"} 88",
        "gpu_worker_gpu_fan_ratio{gpu=\"0\"} 0.3",
        "gpu_worker_gpu_memory_used_by_engines_bytes{gpu=\"0\"} 1048576000",
        "gpu_worker_gpu_throttled{gpu=\"0\",why=\"thermal\"} 0",
    ] {
        assert!(metrics.contains(&format!("\n{sample}")), "{sample} is not in\n{metrics}");
    }
    driver.becomes("hot");
    page.section("gpus", "it is too hot", |gpus| (gpus[0]["throttled"] == "thermal").then_some(())).await;
    let point = page
        .find("a point that shows it", |event| {
            (event.name == "point" && event.data["gpus"][0]["clock_mhz"] == 900).then(|| event.data.clone())
        })
        .await;
    assert_eq!(point["gpus"][0]["utilisation"], json!(37.0));
    driver.becomes("not-supported");
    let gap = page
        .find("a card that tells nothing", |event| {
            (event.name == "point" && event.data["gpus"][0]["utilisation"].is_null()).then(|| event.data.clone())
        })
        .await;
    assert_eq!((&gap["gpus"][0]["memory_bytes"], &gap["gpus"][0]["power_w"]), (&Value::Null, &Value::Null));
}
