//! The registry by itself: names, bounds, and the page that lists the metrics.

use super::*;
use crate::telemetry::Notice;
use std::time::Duration;

fn failed<'a>(service: &'a str, reason: &'a str) -> Notice<'a> {
    Notice::Failed {
        worker: "w",
        job: "j",
        service,
        kind: "timeout",
        reason,
        message: "",
        remedy: "",
        retry_in: None,
        took: Duration::from_secs(1),
    }
}

#[test]
fn metrics_page_is_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let page = page::page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), page, "UPDATE_DOCS=1 cargo test --lib metrics_page");
}

#[test]
fn the_registry_holds_the_table_and_names_follow_the_rules() {
    let metrics = Metrics::default();
    // A metric with labels is shown once it has a series.
    for (row, kept) in TABLE.iter().zip(&metrics.kept) {
        let labels: Labels = row.labels.iter().map(|label| (*label, "x".to_owned())).collect();
        match kept {
            Kept::Counter(family) => drop(family.get_or_create(&labels)),
            Kept::Gauge(family) => drop(family.get_or_create(&labels)),
            Kept::Histogram(family) => drop(family.get_or_create(&labels)),
            Kept::OneCounter(_) | Kept::OneGauge(_) => {}
        }
    }
    let mut text = String::new();
    encode(&mut text, &metrics.registry).unwrap();
    for (at, row) in TABLE.iter().enumerate() {
        assert!(row.name.starts_with("gpu_worker_") && !row.name.ends_with("_total"), "{}", row.name);
        assert!(row.help.ends_with('.') && row.help.len() > 10, "{}", row.name);
        assert!(
            text.contains(&format!("# HELP {} {}\n", row.name, row.help)),
            "{} is not registered:\n{text}",
            row.name
        );
        assert!(!TABLE[..at].iter().any(|other| other.name == row.name), "{} twice", row.name);
        if let Kind::Histogram(bounds) = row.kind {
            assert!(row.name.ends_with("_seconds") && bounds.is_sorted(), "{}", row.name);
        }
        assert!(!row.labels.iter().any(|label| ["job", "id"].contains(label)), "{}", row.name);
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn names_that_jobs_bring_are_few_and_plain() {
    let metrics = Metrics::default();
    for n in 0..1000 {
        metrics.hear(&failed(&format!("service-{n}"), "job_timeout"));
    }
    for odd in ["a b", "x\"} 1\n", "ü", &"long".repeat(20)] {
        assert_eq!(metrics.name(odd), "other", "{odd:?}");
    }
    metrics.hear(&failed("", "job_timeout"));
    let text = metrics.render(&Observed::default());
    let of = |service: &str| {
        let sample = format!(
            "gpu_worker_jobs_failed_total{{service=\"{service}\",type=\"timeout\",reason=\"job_timeout\",end=\"final\"}} "
        );
        text.lines().find_map(|line| line.strip_prefix(&sample)?.parse::<f64>().ok())
    };
    assert_eq!((of("service-0"), of("service-49"), of("service-50")), (Some(1.0), Some(1.0), None));
    assert_eq!((of("other"), of("unknown")), (Some(950.0), Some(1.0)));
}

#[test]
fn a_name_with_quotes_or_line_ends_is_one_label_and_no_line_of_its_own() {
    let metrics = Metrics::default();
    let odd = "a\"} 1\nfake_total 7\\";
    let gpu = GpuSeen { name: odd.to_owned(), ..GpuSeen::default() };
    let engine = EngineSeen { label: odd.to_owned(), ..EngineSeen::default() };
    let readiness = Readiness { engines: vec![engine], ..Readiness::default() };
    let text = metrics.render(&Observed { gpus: vec![gpu], readiness, ..Observed::default() });
    let escaped = r#"a\"} 1\nfake_total 7\\"#;
    assert!(text.contains(&format!("gpu_worker_engine_healthy{{engine=\"{escaped}\"}} 0.0\n")), "{text}");
    assert!(text.contains(&format!("name=\"{escaped}\"")), "{text}");
    assert!(!text.lines().any(|line| line.starts_with("fake_total")), "{text}");
}

#[test]
fn the_page_names_every_reason_for_not_being_ready() {
    let seen = Readiness { draining: true, cannot_store: Some(String::new()), ..Readiness::default() };
    let codes: Vec<&str> = seen.obstacles().into_iter().map(|(code, _)| code).collect();
    assert_eq!(codes, ["draining", "redis", "engines", "outputs"]);
    let page = page::page();
    assert!(codes.iter().all(|code| page.contains(&format!("`{code}`"))), "{codes:?}");
}

#[test]
fn what_is_gone_at_the_next_look_has_no_series_and_what_only_rises_is_not_added_up() {
    let metrics = Metrics::default();
    let gpu = GpuSeen { index: 3, is_healthy: true, utilisation: Some(0.5), ..GpuSeen::default() };
    let seen = Observed { gpus: vec![gpu], ..Observed::default() };
    assert!(metrics.render(&seen).contains("gpu_worker_gpu_utilisation_ratio{gpu=\"3\"} 0.5\n"));
    let cpu = |text: &str| -> f64 {
        let sample = "gpu_worker_process_cpu_seconds_total ";
        text.lines().find_map(|line| line.strip_prefix(sample)).unwrap().parse().unwrap()
    };
    let look = || Observed { process: Process::read(), ..Observed::default() };
    let texts: Vec<String> = (0..50).map(|_| metrics.render(&look())).collect();
    let of_gone = texts[0].lines().filter(|line| line.contains("gpu=\"3\"")).collect::<Vec<_>>();
    assert_eq!(of_gone, ["gpu_worker_gpu_fences_total{gpu=\"3\"} 0.0"], "what was counted stays");
    let used = Process::read().cpu.as_secs_f64();
    assert!(cpu(&texts[0]) <= cpu(&texts[49]) && cpu(&texts[49]) <= used, "{} of {used}", cpu(&texts[49]));
}

#[test]
fn a_fenced_gpu_a_resting_engine_and_an_outage_are_seen() {
    let metrics = Metrics::default();
    let gpu = GpuSeen {
        index: 0,
        is_healthy: true,
        is_fenced: true,
        memory_total: Some(100),
        memory_free: Some(30),
        temperature: Some(71),
        power: Some(250.5),
        ..GpuSeen::default()
    };
    let left_out = vec!["model", "model", "memory"];
    let label = "comfyui[1]".to_owned();
    let engine = EngineSeen { label, queue: Some(4), left_out, on_trial: vec!["runs"], ..EngineSeen::default() };
    let beat = |age, hangs| LoopSeen { name: "heartbeat".to_owned(), age: Duration::from_secs(age), hangs };
    let away = Some(Duration::from_secs(7));
    let readiness = Readiness {
        slots: vec!["fenced", "busy", "busy"],
        engines: vec![engine],
        redis: RedisSeen { away, ..RedisSeen::default() },
        ..Readiness::default()
    };
    let seen = Observed {
        readiness,
        gpus: vec![gpu],
        loops: vec![beat(3, false), beat(99, true), beat(5, false)],
        ..Observed::default()
    };
    metrics.hear(&Notice::GpuFenced { gpu: 0, reason: "Xid 79", remedy: "" });
    metrics.hear(&Notice::RedisBack { after: Duration::from_millis(1500), at: "" });
    let text = metrics.render(&seen);
    for line in [
        "gpu_worker_slots{state=\"busy\"} 2.0",
        "gpu_worker_slots{state=\"fenced\"} 1.0",
        "gpu_worker_engine_healthy{engine=\"comfyui[1]\"} 0.0",
        "gpu_worker_engine_queue_length{engine=\"comfyui[1]\"} 4.0",
        "gpu_worker_engine_left_out{engine=\"comfyui[1]\",part=\"model\"} 2.0",
        "gpu_worker_engine_left_out{engine=\"comfyui[1]\",part=\"runs\"} 0.0",
        "gpu_worker_engine_on_trial{engine=\"comfyui[1]\",part=\"runs\"} 1.0",
        "gpu_worker_engine_outages_total{engine=\"comfyui[1]\"} 0.0",
        "gpu_worker_gpu_usable{gpu=\"0\"} 0.0",
        "gpu_worker_gpu_fenced{gpu=\"0\"} 1.0",
        "gpu_worker_gpu_fences_total{gpu=\"0\"} 1.0",
        "gpu_worker_gpu_memory_used_bytes{gpu=\"0\"} 70.0",
        "gpu_worker_gpu_temperature_celsius{gpu=\"0\"} 71.0",
        "gpu_worker_gpu_power_watts{gpu=\"0\"} 250.5",
        "gpu_worker_redis_up 0.0",
        "gpu_worker_redis_away_seconds 7.0",
        "gpu_worker_redis_outage_seconds_total 1.5",
        "gpu_worker_loop_last_tick_seconds{loop=\"heartbeat\"} 99.0",
        "gpu_worker_loop_hanging{loop=\"heartbeat\"} 1.0",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}:\n{text}");
    }
    assert_eq!(seen.hanging(), ["heartbeat"]);
    let codes: Vec<&str> = seen.readiness.obstacles().iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, ["redis", "engines"]);
}

#[test]
fn a_store_that_takes_nothing_is_why_an_agent_is_not_ready() {
    let engines = vec![EngineSeen { is_healthy: true, ..EngineSeen::default() }];
    let redis = RedisSeen { is_up: true, ..RedisSeen::default() };
    let well = Readiness { engines, redis, ..Readiness::default() };
    assert_eq!(well.obstacles(), []);
    let dead = Readiness { cannot_store: Some("s3://pictures is silent".to_owned()), ..well };
    assert_eq!(dead.obstacles(), [("outputs", "outputs cannot be stored: s3://pictures is silent".to_owned())]);
}

#[test]
fn what_nobody_knows_has_no_sample_and_no_sample_is_a_nan() {
    let metrics = Metrics::default();
    let queue = "gpu_worker_queue_waiting ";
    let mut gauges = Gauges::default();
    gauges.tell(Metric::QueueWaiting, &[], 3.0);
    gauges.tell(Metric::QueueDelayed, &[], None);
    let told = metrics.render(&Observed { gauges, ..Observed::default() });
    assert!(told.contains(&format!("\n{queue}3.0\n")) && !told.contains("gpu_worker_queue_delayed"), "{told}");
    let unknown = metrics.render(&Observed::default());
    assert!(!unknown.contains(queue) && !unknown.contains("NaN"), "{unknown}");
}

/// The rules that Prometheus's own linter has, where they are not those of the registry's test.
#[test]
fn names_have_base_units_and_labels_and_values_that_prometheus_has_no_other_use_for() {
    for row in TABLE {
        let words: Vec<&str> = row.name.split('_').collect();
        for unit in ["milliseconds", "ms", "minutes", "hours", "kilobytes", "mb", "gb", "mhz", "percent", "fahrenheit"]
        {
            assert!(!words.contains(&unit), "{} is not in a base unit", row.name);
        }
        let reserved = ["_count", "_sum", "_bucket", "_total", "_created"];
        assert!(!reserved.iter().any(|end| row.name.ends_with(end)), "{}", row.name);
        let is_snake = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        assert!(is_snake(row.name), "{}", row.name);
        for label in row.labels {
            let taken = ["le", "quantile", "instance", "job", "__name__"].contains(label);
            assert!(is_snake(label) && !taken, "{} has the label {label}", row.name);
        }
        assert!(!words.contains(&"ratio") || row.name.ends_with("_ratio"), "{}", row.name);
    }
    assert_eq!((plain("a-b_c.1"), plain("a\"} 1\nx"), plain(&"l".repeat(65))), ("a-b_c.1", "other", "other"));
}
