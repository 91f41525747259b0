//! Values: each kind, its limits, its spellings.
//! In: one variable and its text. Out: nothing.

use super::load_env;
use crate::config::{Isolation, MachineStatus};
use std::time::Duration;

#[test]
fn wrong_values_are_refused_and_named() {
    let long = "x".repeat(129);
    let rows: &[(&str, &str, &str)] = &[
        ("WORKER_ID", "a.b", "without `.`, `:`"),
        ("WORKER_ID", "a:b", "without `.`, `:`"),
        ("WORKER_ID", "a b", "blanks"),
        ("WORKER_ID", &long, "128"),
        ("WORKER_ID", "a\u{7}b", "control characters"),
        ("WORKER_ID", "a\u{fffd}b", "UTF-8"),
        ("MACHINE_ID", "a:b", "without `:`"),
        ("MACHINE_STATUS", "maybe", "one of auto, on, off"),
        ("CONCURRENT_JOBS", "0", "a whole number from 1 to 64"),
        ("CONCURRENT_JOBS", "65", "not `65`"),
        ("CONCURRENT_JOBS", "-1", "whole number"),
        ("CONCURRENT_JOBS", "+1", "whole number"),
        ("CONCURRENT_JOBS", "1.5", "whole number"),
        ("CONCURRENT_JOBS", "99999999999999999999999", "whole number"),
        ("LEASE_SECONDS", "soon", "a number of seconds"),
        ("LEASE_SECONDS", "30s", "a number of seconds"),
        ("LEASE_SECONDS", "NaN", "a number of seconds"),
        ("LEASE_SECONDS", "inf", "a number of seconds"),
        ("LEASE_SECONDS", "1e9", "a number of seconds"),
        ("LEASE_SECONDS", "0", "a number of seconds"),
        ("LEASE_SECONDS", ".", "a number of seconds"),
        ("POLL_INTERVAL_MS", "1", "a number of milliseconds from 10"),
        ("RETRY_BACKOFF_MS", "60001", "to 60000"),
        ("MAX_PAYLOAD_BYTES", "10 parsecs", "a number of bytes"),
        ("MAX_PAYLOAD_BYTES", "10M", "a number of bytes"),
        ("MAX_PAYLOAD_BYTES", "MiB", "a number of bytes"),
        ("MAX_PAYLOAD_BYTES", "2GiB", "a number of bytes"),
        ("MAX_PAYLOAD_BYTES", "99999999999GiB", "a number of bytes"),
        ("REFERENCE_EVENTS", "maybe", "true or false"),
        ("CUSTOMER_ISOLATION", "hermetic", "one of strict, loose, none"),
        ("LOG_LEVEL", "loud", "one of error, warn, info, debug, trace"),
        ("LOG_FORMAT", "xml", "one of auto, json, human"),
        ("GPU_MEMORY_GB", "lots", "a number from 0"),
        ("ALLOWED_CUSTOMERS", "[\"a\"", "comma list or a JSON array"),
        ("ALLOWED_CUSTOMERS", "[{}]", "comma list or a JSON array"),
        ("COMFYUI_GPUS", "0,one", "GPU indexes"),
        ("COMFYUI_GPUS", "-1", "GPU indexes"),
        ("WORKER_DASHBOARD_PORT", "65536", "65535"),
        ("COMFYUI_URL", "127.0.0.1:8188", "http:// or https:// is missing in front"),
        ("COMFYUI_URL", "localhost:8188", "http:// or https:// is missing in front"),
        ("COMFYUI_URL", "ftp://host", "such as http"),
        ("COMFYUI_URL", "http://", "such as http"),
        ("COMFYUI_URL", "http://host:99999", "such as http"),
        ("COMFYUI_URL", "http://host:0", "port"),
        ("COMFYUI_URL", "http://host/prompt", "without path"),
        ("COMFYUI_URL", "http://host?x=1", "without path or query"),
        ("COMFYUI_URL", ",", "such as http"),
        ("HUB_REDIS_URL", "127.0.0.1:6379", "such as redis://"),
        ("HUB_REDIS_URL", "http://127.0.0.1:6379", "such as redis://"),
        ("HUB_REDIS_URL", "redis://", "must name a host"),
        ("HUB_REDIS_URL", "redis://host/zero", "number of a database"),
        ("HUB_REDIS_URL", "redis+unix://", "such as redis://"),
        ("ALLOWED_CUSTOMERS", ",", "comma list"),
        ("ALLOWED_CUSTOMERS", "[]", "comma list"),
    ];
    for (name, text, message) in rows {
        let report = load_env(&[(name, text)]).expect_err(&format!("{name}={text}"));
        assert_eq!(report.faults.len(), 1, "{report}");
        let fault = report.faults[0].to_string();
        assert!(fault.starts_with(&format!("environment: {name}: ")), "{fault}");
        assert!(fault.contains(message), "{fault}");
    }
}

#[test]
fn booleans_have_eight_spellings() {
    for (text, expected) in [
        ("true", true),
        ("1", true),
        ("yes", true),
        ("ON", true),
        ("False", false),
        ("0", false),
        ("no", false),
        ("off", false),
    ] {
        let loaded = load_env(&[("REFERENCE_EVENTS", text)]).unwrap();
        assert_eq!(loaded.config.redis.reference_events, expected, "{text}");
    }
}

#[test]
fn sizes_take_units() {
    for (text, bytes) in [
        ("10485760", 10_485_760),
        ("10MB", 10_000_000),
        ("10MiB", 10_485_760),
        ("10 mib", 10_485_760),
        ("64KiB", 65_536),
        ("64kb", 64_000),
        ("1GB", 1_000_000_000),
        ("2048B", 2048),
    ] {
        let loaded = load_env(&[("MAX_PAYLOAD_BYTES", text)]).unwrap();
        assert_eq!(loaded.config.jobs.max_payload_bytes, bytes, "{text}");
    }
}

#[test]
fn lists_are_comma_lists_or_json() {
    for text in ["a,b", " a , b ,", "[\"a\",\"b\"]", "[ \"a\", \"b\" ]"] {
        let loaded = load_env(&[("ALLOWED_CUSTOMERS", text)]).unwrap();
        assert_eq!(loaded.config.traits.allowed_customers, ["a", "b"], "{text}");
    }
    let loaded = load_env(&[("ALLOWED_CUSTOMERS", "[12, \"a,b\"]")]).unwrap();
    assert_eq!(loaded.config.traits.allowed_customers, ["12", "a,b"]);
}

#[test]
fn values_stay_text() {
    for id in ["12345", "1e3", "0x10", "true", "null", "007"] {
        let loaded = load_env(&[("WORKER_ID", id), ("GPU_MODEL", id)]).unwrap();
        assert_eq!(loaded.config.identity.worker_id, id);
        assert_eq!(loaded.config.declared.gpu_model.as_deref(), Some(id));
    }
}

#[test]
fn everything_typed_arrives() {
    let loaded = load_env(&[
        ("CONCURRENT_JOBS", "2"),
        ("LEASE_SECONDS", "1.5"),
        ("DRAIN_SECONDS", "0"),
        ("JOB_TIMEOUT_MINUTES", "2"),
        ("JOB_RETENTION_HOURS", "0.5"),
        ("GPU_COUNT", "0"),
        ("GPU_MEMORY_GB", "24"),
        ("RAM_GB", "62.7"),
        ("CUSTOMER_ISOLATION", "Strict"),
        ("MACHINE_STATUS", "on"),
        ("LOG_LEVEL", "warning"),
        ("LOG_FORMAT", "json"),
        ("COMFYUI_MODELS", "sdxl,flux"),
        ("WORKER_MAX_BATCH_SIZE", "4"),
        ("DEBUGGING_ENABLED", "yes"),
        ("WORKER_FEATURES", "x,y"),
        ("STORAGE_GB", "500"),
        ("WORKER_DASHBOARD_PORT", "1511"),
        ("STATE_DIR", "/srv/state"),
    ])
    .unwrap();
    let config = loaded.config;
    assert_eq!(loaded.warnings, []);
    assert_eq!(config.jobs.concurrent, 2);
    assert_eq!(config.jobs.lease, Duration::from_millis(1500));
    assert_eq!(config.jobs.drain, Duration::ZERO);
    assert_eq!(config.jobs.timeout, Duration::from_secs(120));
    assert_eq!(config.jobs.retention, Duration::from_secs(1800));
    assert_eq!(config.declared.gpu_count, Some(0));
    assert_eq!(config.declared.gpu_memory_gb, Some(24.0));
    assert_eq!(config.declared.ram_gb, Some(62.7));
    assert_eq!(config.traits.isolation, Isolation::Strict);
    assert_eq!(config.identity.machine_status, MachineStatus::On);
    assert_eq!(config.log.level, tracing::Level::WARN);
    assert_eq!(config.log.json, Some(true));
    assert_eq!(config.traits.models["comfyui"], ["sdxl", "flux"]);
    let custom = serde_json::json!({
        "max_batch_size": 4, "debugging_enabled": true, "features": ["x", "y"], "storage_gb": 500.0,
    });
    assert_eq!(serde_json::Value::from(config.traits.custom), custom);
    assert_eq!(config.dashboard.port, Some(1511));
    assert_eq!(config.state_dir.to_str(), Some("/srv/state"));
    assert_eq!(config.output_dir.to_str(), Some("/srv/state/outputs"));
}

#[test]
fn defaults_are_those_of_the_table() {
    let loaded = load_env(&[("HOME", "/home/me")]).unwrap();
    let config = loaded.config;
    assert_eq!(loaded.warnings, []);
    assert_eq!(config.identity.worker_id, "box-example-org");
    assert_eq!(config.identity.machine_id, "box-example-org");
    assert_eq!(config.identity.machine_status, MachineStatus::Auto);
    assert!(config.redis.reference_events);
    assert_eq!(config.redis.key_prefix, "");
    assert_eq!(config.jobs.concurrent, 1);
    assert_eq!(config.jobs.lease, Duration::from_secs(30));
    assert_eq!(config.jobs.max_stalls, 3);
    assert_eq!(config.jobs.retry_backoff, Duration::from_secs(1));
    assert_eq!(config.jobs.poll_interval, Duration::from_secs(1));
    assert_eq!(config.jobs.heartbeat_interval, Duration::from_secs(30));
    assert_eq!(config.jobs.drain, Duration::from_secs(300));
    assert_eq!(config.jobs.timeout, Duration::from_secs(1800));
    assert_eq!(config.jobs.health_interval, Duration::from_secs(60));
    assert_eq!(config.jobs.max_payload_bytes, 10 * 1024 * 1024);
    assert_eq!(config.jobs.events_max, 1000);
    assert_eq!(config.jobs.retention, Duration::from_secs(24 * 3600));
    assert_eq!(config.jobs.failed_retention, Duration::from_secs(168 * 3600));
    assert_eq!(config.traits.quality_levels, ["fast", "balanced", "quality"]);
    assert_eq!(config.log.json, None);
    assert_eq!(config.state_dir.to_str(), Some("/home/me/.local/state/gpu-worker"));
    assert_eq!(config.output_dir.to_str(), Some("/home/me/.local/state/gpu-worker/outputs"));
}

#[test]
fn state_goes_where_the_system_keeps_it() {
    for (env, expected) in [
        (&[("STATE_DIRECTORY", "/var/lib/gpu-worker:/x"), ("HOME", "/h")][..], "/var/lib/gpu-worker"),
        (&[("XDG_STATE_HOME", "/s"), ("HOME", "/h")], "/s/gpu-worker"),
        (&[("XDG_STATE_HOME", "relative"), ("HOME", "/h")], "/h/.local/state/gpu-worker"),
        (&[], "gpu-worker-state"),
    ] {
        assert_eq!(load_env(env).unwrap().config.state_dir.to_str(), Some(expected));
    }
}
