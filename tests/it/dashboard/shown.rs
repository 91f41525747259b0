//! What a page is given and what `/metrics` tells, of one agent at one time.
//! In: two cards, two engines, jobs that ended well and badly, run and wait. Out: the same numbers in both.

use super::numbers::numbers;
use super::stream::json as ask;
use super::{address, agent};
use crate::agent::{endless_picture, picture};
use crate::fencing::bench::{Bench, Driver};
use crate::support::{Queue, RedisServer, until};
use gpu_worker::telemetry::metrics::{Kind, NUMBERS, TABLE, Told};
use serde_json::{Value, json};
use stand_ins::comfyui::{Options, StandIn};
use std::collections::BTreeMap;

/// Numbers by where they stand, without zeros, "no" and what is not known.
fn told(value: &Value, path: &str, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Bool(true) => drop(found.insert(path.to_owned(), value.clone())),
        Value::Number(number) if number.as_f64() != Some(0.0) => drop(found.insert(path.to_owned(), value.clone())),
        Value::Array(entries) => entries.iter().for_each(|entry| told(entry, &format!("{path}[]"), found)),
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            let name = if path == "connectors[].models" { "*" } else { name };
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            told(value, &path, found);
        }),
        _ => {}
    }
}

/// Which metrics of the list have no sample, though the page is given a number that they carry.
fn unheard(snapshot: &Value, samples: &BTreeMap<String, f64>) -> Vec<String> {
    let mut found = BTreeMap::new();
    told(snapshot, "", &mut found);
    let mut unheard = Vec::new();
    for (path, value) in found {
        match NUMBERS.iter().find(|number| number.path == path).map(|number| &number.told) {
            None => unheard.push(format!("{path} is not listed")),
            Some(Told::Not(_)) => {}
            Some(Told::By(metrics, _)) => {
                let rows = metrics.iter().map(|metric| &TABLE[*metric as usize]);
                let silent = rows.map(|row| match row.kind {
                    Kind::Histogram(_) => format!("{}_count", row.name),
                    _ => row.sample(),
                });
                let has = |name: &String| samples.keys().any(|series| series.split('{').next() == Some(name));
                unheard.extend(silent.filter(|name| !has(name)).map(|name| format!("{path} is {value}, no {name}")));
            }
        }
    }
    unheard
}

/// Pairs of what both tell: the series, its value, that of the page.
fn pairs<'a>(page: &'a Value, samples: &BTreeMap<String, f64>) -> Vec<(String, Option<f64>, Option<f64>)> {
    let mut pairs = Vec::new();
    let mut pair = |series: String, value: &'a Value, scale: f64| {
        let value = value.as_f64().or(value.as_bool().map(|is| f64::from(u8::from(is)))).map(|value| value * scale);
        pairs.push((format!("gpu_worker_{series}"), samples.get(&format!("gpu_worker_{series}")).copied(), value));
    };
    for gpu in page["gpus"].as_array().unwrap() {
        let of = format!("{{gpu=\"{}\"}}", gpu["index"]);
        let rows = [
            ("utilisation_ratio", &gpu["utilisation"], 0.01),
            ("memory_total_bytes", &gpu["memory"]["total_bytes"], 1.0),
            ("memory_used_bytes", &gpu["memory"]["used_bytes"], 1.0),
            ("memory_used_by_engines_bytes", &gpu["memory"]["job_bytes"], 1.0),
            ("temperature_celsius", &gpu["temperature_c"], 1.0),
            ("temperature_limit_celsius", &gpu["temperature_limit_c"], 1.0),
            ("power_watts", &gpu["power_w"], 1.0),
            ("power_limit_watts", &gpu["power_limit_w"], 1.0),
            ("clock_hertz", &gpu["clock_mhz"], 1e6),
            ("clock_max_hertz", &gpu["clock_max_mhz"], 1e6),
            ("fan_ratio", &gpu["fan_percent"], 0.01),
            ("memory_errors", &gpu["ecc_errors"], 1.0),
        ];
        rows.into_iter().for_each(|(name, value, scale)| pair(format!("gpu_{name}{of}"), value, scale));
    }
    for slot in page["slots"].as_array().unwrap() {
        let of = format!("{{worker={}}}", slot["id"]);
        let job = &slot["job"];
        let rows = [
            ("attempt", &job["attempt"], 1.0),
            ("claimed_timestamp_seconds", &job["claimed"], 1e-3),
            ("started_timestamp_seconds", &job["started"], 1e-3),
            ("progress_ratio", &job["progress"], 0.01),
            ("step", &job["step"][0], 1.0),
            ("steps", &job["step"][1], 1.0),
            ("cancelling", &job["cancelling"], 1.0),
            ("left_learned_runs", &job["eta_from_runs"], 1.0),
        ];
        rows.into_iter().for_each(|(name, value, scale)| pair(format!("job_{name}{of}"), value, scale));
    }
    for engine in page["connectors"].as_array().unwrap() {
        let of = format!("{{engine={}}}", engine["label"]);
        pair(format!("engine_runs{of}"), &engine["runs"], 1.0);
        pair(format!("engine_queue_length{of}"), &engine["queue_remaining"], 1.0);
        pair(format!("engine_healthy{of}"), &engine["healthy"], 1.0);
        pair(format!("engine_probed_timestamp_seconds{of}"), &engine["probed"], 1e-3);
        for (kind, count) in engine["models"].as_object().unwrap() {
            pair(format!("engine_models{{engine={},kind=\"{kind}\"}}", engine["label"]), count, 1.0);
        }
    }
    for class in page["queue"]["classes"].as_array().unwrap() {
        let of = format!("{{class={},service={}}}", class["id"], class["service"]);
        pair(format!("queue_class_waiting{of}"), &class["count"], 1.0);
        pair(format!("queue_class_priority{of}"), &class["priority_best"], 1.0);
    }
    let rows = [
        ("queue_waiting", &page["queue"]["waiting"], 1.0),
        ("queue_delayed", &page["queue"]["delayed"], 1.0),
        ("queue_unindexed", &page["queue"]["unindexed"], 1.0),
        ("queue_fitting", &page["queue"]["fitting"], 1.0),
        ("queue_classes_truncated", &page["queue"]["truncated"], 1.0),
        ("redis_up", &page["worker"]["redis"]["connected"], 1.0),
        ("state_since_timestamp_seconds", &page["worker"]["since"], 1e-3),
        ("jobs_success_ratio", &page["stats"]["success_rate"], 1.0),
        ("host_cpu_cores", &page["system"]["cpu_cores"], 1.0),
        ("output_disk_total_bytes", &page["system"]["disk_total_bytes"], 1.0),
        ("host_memory_total_bytes", &page["system"]["memory_total_bytes"], 1.0),
        ("jobs_completed_total{service=\"comfyui\"}", &page["stats"]["completed"], 1.0),
        ("job_duration_quantile_seconds{service=\"\",percentile=\"50\"}", &page["stats"]["p50_ms"], 1e-3),
    ];
    rows.into_iter().for_each(|(name, value, scale)| pair(name.to_owned(), value, scale));
    pairs
}

#[tokio::test]
async fn each_number_of_a_real_picture_is_in_the_metrics_and_is_the_same_there() {
    let driver = Driver::new("two");
    driver.counts(1, 3);
    let env = [("WORKER_DASHBOARD_ENABLED", "true"), ("WORKER_DASHBOARD_PORT", "0")];
    let bench = Bench::over(driver, &env).await;
    bench.driver.runs(bench.agent.child.id());
    bench.both_offer().await;
    let at = address(&bench.agent).await;
    bench.go_on();
    let good = bench.queue.submit(picture()).await;
    bench.queue.reaches(&good, "completed").await;
    let bad = bench.queue.submit(json!({"type": "comfyui", "payload": {"workflow": {}}})).await;
    bench.queue.reaches(&bad, "failed").await;
    bench.engines.iter().for_each(|engine| engine.step_by_hand(true));
    for id in [bench.queue.submit(endless_picture()).await, bench.queue.submit(endless_picture()).await] {
        bench.queue.reaches(&id, "in_progress").await;
    }
    let mut large = picture();
    large["requirements"] = json!({"hardware": {"gpu_memory_gb": 9000}});
    for job in [picture(), picture(), large] {
        bench.queue.submit(job).await;
    }
    // Both are asked one after the other, and some numbers move.
    let last = std::cell::RefCell::new(Vec::new());
    let compared = async {
        loop {
            let (page, samples) = (ask(at, "/api/snapshot").await, numbers(at).await);
            let pairs = pairs(&page, &samples);
            let is_near = |one: f64, other: f64| (one - other).abs() <= 1e-3 * other.abs().max(1.0);
            let differ = pairs.iter().filter(|(_, metric, page)| match (metric, page) {
                (Some(metric), Some(page)) => !is_near(*metric, *page),
                (metric, page) => metric.is_some() != page.is_some(),
            });
            let mut missing: Vec<String> = differ.map(|pair| format!("{pair:?}")).collect();
            missing.extend(unheard(&page, &samples));
            for known in ["gpu_memory_used_by_engines_bytes{gpu=\"0\"}", "job_step{worker=\"m-1\"}", "queue_fitting"] {
                if !samples.contains_key(&format!("gpu_worker_{known}")) {
                    missing.push(format!("{known} is not known yet"));
                }
            }
            if missing.is_empty() && page["queue"]["waiting"] == 3 {
                return samples;
            }
            if !page["slots"].as_array().unwrap().iter().all(|slot| slot["job"]["step"].is_array()) {
                bench.engines.iter().for_each(|engine| engine.allow_steps(1));
            }
            *last.borrow_mut() = missing;
        }
    };
    let samples = tokio::time::timeout(crate::support::PATIENCE, compared).await;
    let samples = samples.unwrap_or_else(|_| panic!("{:#?}; log:\n{}", last.borrow(), bench.agent.log()));
    let of_info = |start: &str| samples.keys().find(|series| series.starts_with(start)).cloned().unwrap_or_default();
    assert!(
        of_info("gpu_worker_job_info{worker=\"m-0\"").contains("service=\"comfyui\",engine=\"comfyui["),
        "{samples:#?}"
    );
    assert_eq!(samples["gpu_worker_slot_state{worker=\"m-0\",gpu=\"0\",state=\"busy\"}"], 1.0);
    assert_eq!(samples["gpu_worker_gpu_memory_errors{gpu=\"1\"}"], 3.0);
    assert_eq!(
        (samples["gpu_worker_state{state=\"working\"}"], samples["gpu_worker_state{state=\"idle\"}"]),
        (1.0, 0.0)
    );
}

#[tokio::test]
async fn what_is_left_out_of_an_engine_is_told_with_how_often_it_failed_and_until_when() {
    let names = ["broken.safetensors", "v1-5-pruned-emaonly.safetensors"];
    let models = BTreeMap::from([("checkpoints".to_owned(), names.map(str::to_owned).to_vec())]);
    let (server, engine) = (RedisServer::start().await, StandIn::start(Options { models, ..Options::default() }).await);
    let url = engine.as_ref().unwrap().url();
    let (_agent, at) = agent(&server, "w", &[("SERVICES", "comfyui"), ("COMFYUI_URL", &url)]).await;
    let mut job = picture();
    let nodes = job["payload"]["workflow"].as_object_mut().unwrap();
    let loader = nodes.values_mut().find(|node| node["inputs"]["ckpt_name"].is_string()).unwrap();
    loader["inputs"]["ckpt_name"] = "broken.safetensors".into();
    Queue::of(&server).submit(job).await;
    let of = |name: &str| format!("gpu_worker_engine_{name}{{engine=\"comfyui\",part=\"model\"}}");
    // After a pause it is on trial, fails again and is left out for longer: both must speak of the same pause.
    let samples = until("both tell that it is left out", || async {
        let (page, samples) = (ask(at, "/api/snapshot").await, numbers(at).await);
        let part = &page["connectors"][0]["left_out"][0];
        let until_then = samples.get(&of("left_out_until_timestamp_seconds"))?;
        let is_same = part["state"] == "open"
            && samples[&of("left_out")] == 1.0
            && samples[&of("part_failures")] == part["failures"].as_f64()?
            && (until_then - part["until"].as_f64()? / 1e3).abs() <= 1.0
            && unheard(&page, &samples).is_empty();
        is_same.then_some(samples)
    })
    .await;
    assert_eq!((samples[&of("on_trial")], samples["gpu_worker_engine_healthy{engine=\"comfyui\"}"]), (0.0, 1.0));
    assert!(samples["gpu_worker_engine_parts_left_out_total{engine=\"comfyui\"}"] >= 1.0);
}
