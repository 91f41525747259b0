//! What the numbers say after real jobs, and when the agent says that it lives and can work.

use super::{agent, get};
use crate::agent::{endless, quick};
use crate::support::{Queue, RedisServer, cli, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The samples by name and labels, as they stand in the text; panics where the text breaks the format.
pub async fn numbers(at: SocketAddr) -> BTreeMap<String, f64> {
    let answer = get(at, "/metrics").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.headers["content-type"].starts_with("application/openmetrics-text; version=1.0.0"));
    let text = answer.body.strip_suffix("# EOF\n").expect("the end is marked");
    let (mut samples, mut kinds) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            if let (Some("TYPE"), Some(name), Some(kind)) = (words.next(), words.next(), words.next()) {
                assert_eq!(kinds.insert(name.to_owned(), kind.to_owned()), None, "{name} twice");
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let name = series.split('{').next().unwrap();
        let of = |suffix: &str, kind: &str| {
            name.strip_suffix(suffix).is_some_and(|name| kinds.get(name).is_some_and(|known| known == kind))
        };
        let is_histogram = ["_bucket", "_sum", "_count"].iter().any(|suffix| of(suffix, "histogram"));
        assert!(of("_total", "counter") || of("", "gauge") || is_histogram, "{line}");
        assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{series} twice");
    }
    samples
}

fn failing(failure: &str, more: Value) -> Value {
    let mut payload = json!({"steps": 1, "step_ms": 1, "outputs": 0, "fail_at_step": 0, "failure": failure});
    payload.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    json!({"type": "simulation", "max_retries": 2, "payload": payload})
}

#[tokio::test]
async fn jobs_are_counted_by_how_they_end() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let (agent, at) = agent(&server, "w", &[("RETRY_BACKOFF_MS", "10")]).await;
    let mut picture = quick();
    picture["payload"]["outputs"] = json!(2);
    let good = queue.submit(picture).await;
    queue.reaches(&good, "completed").await;
    let again = queue.submit(failing("network_error", json!({"fail_attempts": 1}))).await;
    queue.reaches(&again, "completed").await;
    let hopeless = queue.submit(failing("generation_refusal", json!({}))).await;
    queue.reaches(&hopeless, "failed").await;
    let cancelled = queue.submit(endless()).await;
    queue.reaches(&cancelled, "in_progress").await;
    let at_work = numbers(at).await;
    assert_eq!(at_work["gpu_worker_slots{state=\"busy\"}"], 1.0);
    assert_eq!(cli(&server, &["cancel", &cancelled]).await.status.code(), Some(0));
    queue.reaches(&cancelled, "cancelled").await;

    // The hash tells the end a moment before the agent hears that it was taken.
    let cancels = "gpu_worker_jobs_cancelled_total{service=\"simulation\"}";
    until("the last end is counted", || async { numbers(at).await.get(cancels).copied().filter(|n| *n == 1.0) }).await;
    let now = numbers(at).await;
    let of_failed = |kind: &str, reason: &str, end: &str| {
        format!(
            "gpu_worker_jobs_failed_total{{service=\"simulation\",type=\"{kind}\",reason=\"{reason}\",end=\"{end}\"}}"
        )
    };
    let hash = queue.job(&hopeless).await;
    let refused = of_failed(&hash["failure_type"], &hash["failure_reason"], "final");
    let expected = [
        ("gpu_worker_jobs_claimed_total", 5.0),
        ("gpu_worker_jobs_completed_total{service=\"simulation\"}", 2.0),
        (&of_failed("network_error", "connection_failed", "retried"), 1.0),
        (&refused, 1.0),
        ("gpu_worker_outputs_total{service=\"simulation\"}", 2.0),
        ("gpu_worker_job_duration_seconds_count{service=\"simulation\",end=\"completed\"}", 2.0),
        ("gpu_worker_job_duration_seconds_count{service=\"simulation\",end=\"failed\"}", 1.0),
        ("gpu_worker_job_duration_seconds_count{service=\"simulation\",end=\"retried\"}", 1.0),
        ("gpu_worker_job_duration_seconds_count{service=\"simulation\",end=\"cancelled\"}", 1.0),
        ("gpu_worker_job_start_delay_seconds_count{service=\"simulation\"}", 5.0),
        ("gpu_worker_slots{state=\"busy\"}", 0.0),
        ("gpu_worker_slots{state=\"idle\"}", 1.0),
        ("gpu_worker_engine_healthy{engine=\"simulation\"}", 1.0),
        ("gpu_worker_engine_left_out{engine=\"simulation\",part=\"engine\"}", 0.0),
        ("gpu_worker_redis_up", 1.0),
        ("gpu_worker_redis_outages_total", 0.0),
        ("gpu_worker_draining", 0.0),
    ];
    for (series, value) in expected {
        assert_eq!(now.get(series), Some(&value), "{series}; log:\n{}", agent.log());
    }
    assert!(now["gpu_worker_output_bytes_total{service=\"simulation\"}"] > 0.0);
    for series in
        ["redis_round_trip_seconds", "process_cpu_seconds_total", "process_resident_memory_bytes", "uptime_seconds"]
    {
        assert!(now[&format!("gpu_worker_{series}")] > 0.0, "{series}");
    }
    assert!(now.contains_key("gpu_worker_loop_last_tick_seconds{loop=\"leases\"}"));
    assert!(now.contains_key(&format!("gpu_worker_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))));
    assert!(now.keys().all(|series| !series.contains(&good)), "no ids");
    assert!(now["gpu_worker_process_open_fds"] > 3.0);
}

#[tokio::test]
async fn a_dead_redis_makes_the_agent_unready_but_not_dead_and_its_outage_is_measured() {
    let mut server = RedisServer::start_durable().await;
    let (agent, at) = agent(&server, "w", &[]).await;
    let ready = || async {
        let answer = get(at, "/readyz").await;
        (answer.status, serde_json::from_str::<Value>(&answer.body).unwrap())
    };
    until("it is ready", || async { (ready().await == (200, json!({"ready": true, "reasons": []}))).then_some(()) })
        .await;
    server.kill();
    let told = until("it notices", || async { Some(ready().await).filter(|(status, _)| *status == 503) }).await;
    assert_eq!((&told.1["ready"], &told.1["reasons"][0]["code"]), (&json!(false), &json!("redis")));
    let healthy = get(at, "/healthz").await;
    assert_eq!((healthy.status, healthy.body.as_str()), (200, r#"{"alive":true,"hanging_loops":[]}"#));
    let away = numbers(at).await;
    assert_eq!((away["gpu_worker_redis_up"], away["gpu_worker_redis_outages_total"]), (0.0, 1.0));
    server.revive().await;
    until("it is ready again", || async { (ready().await.0 == 200).then_some(()) }).await;
    let back = numbers(at).await;
    assert_eq!((back["gpu_worker_redis_up"], back["gpu_worker_redis_away_seconds"]), (1.0, 0.0), "{}", agent.log());
    assert!(back["gpu_worker_redis_outage_seconds_total"] > 0.0);
}

#[tokio::test]
async fn without_a_healthy_engine_the_agent_is_not_ready_and_says_why() {
    let server = RedisServer::start().await;
    let env = [("SERVICES", "comfyui"), ("COMFYUI_URL", "http://127.0.0.1:1")];
    let (_agent, at) = agent(&server, "w", &env).await;
    let told = until("Redis is no reason any more", || async {
        let answer = get(at, "/readyz").await;
        let told: Value = serde_json::from_str(&answer.body).unwrap();
        (answer.status == 503 && told["reasons"].as_array()?.len() == 1).then_some(told)
    })
    .await;
    assert_eq!(told["reasons"][0]["code"], "engines");
    assert!(told["reasons"][0]["message"].as_str().unwrap().starts_with("comfyui: "), "{told}");
    assert_eq!(numbers(at).await["gpu_worker_engine_healthy{engine=\"comfyui\"}"], 0.0);
}

#[tokio::test]
async fn a_gpu_is_told_with_what_it_tells() {
    let server = RedisServer::start().await;
    let env = [("GPU_COUNT", "1"), ("GPU_MEMORY_GB", "24"), ("GPU_MODEL", "RTX \"4090\"\\")];
    let (_agent, at) = agent(&server, "w", &env).await;
    let now = numbers(at).await;
    assert_eq!((now["gpu_worker_gpu_usable{gpu=\"0\"}"], now["gpu_worker_gpu_fenced{gpu=\"0\"}"]), (1.0, 0.0));
    let info = now.keys().find(|series| series.starts_with("gpu_worker_gpu_info{gpu=\"0\"")).unwrap();
    assert!(info.contains(r#"name="RTX \"4090\"\\""#), "{info}");
    assert!(!now.keys().any(|series| series.contains("utilisation")), "a declared card tells no reading");
}

#[tokio::test]
async fn an_agent_that_drains_is_alive_but_takes_no_jobs_and_says_so() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let (mut agent, at) = agent(&server, "w", &[]).await;
    let id = queue.submit(endless()).await;
    queue.reaches(&id, "in_progress").await;
    agent.signal("TERM");
    let told = until("it is not ready any more", || async {
        Some(get(at, "/readyz").await).filter(|answer| answer.status == 503)
    })
    .await;
    assert!(told.body.contains(r#""code":"draining""#), "{}", told.body);
    assert_eq!(get(at, "/healthz").await.status, 200);
    assert_eq!(numbers(at).await["gpu_worker_draining"], 1.0);
    agent.signal("TERM");
    assert_eq!(agent.ended().await, Some(0), "{}", agent.log());
}
