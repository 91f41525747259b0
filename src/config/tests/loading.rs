//! Precedence, derived values, and the one report.
//! In: sources. Out: nothing.

use super::{file, load_env, pairs, shown};
use crate::config::{Sources, load};
use std::time::Duration;

#[test]
fn flags_beat_environment_beats_file_beats_default() {
    let (_folder, path) = file("WORKER_ID=file\nMACHINE_ID=file\nREGION=file\n");
    let sources = Sources {
        flags: pairs(&[("WORKER_ID", "flag")]),
        env: pairs(&[("WORKER_ID", "env"), ("MACHINE_ID", "env")]),
        env_file: Some(path.clone()),
        ..Sources::default()
    };
    let loaded = load(&sources).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(shown(&loaded, "WORKER_ID"), (Some("flag".into()), "flag".into()));
    assert_eq!(shown(&loaded, "MACHINE_ID"), (Some("env".into()), "environment".into()));
    assert_eq!(shown(&loaded, "REGION"), (Some("file".into()), format!("{}:3", path.display())));
    assert_eq!(shown(&loaded, "LEASE_SECONDS"), (Some("30".into()), "default".into()));
    assert_eq!(shown(&loaded, "WORKER_COUNTRY"), (None, "default".into()));
}

#[test]
fn an_empty_value_counts_as_none() {
    let (_folder, path) = file("WORKER_ID=file\nREGION=\n");
    let sources =
        Sources { env: pairs(&[("WORKER_ID", ""), ("REGION", " ")]), env_file: Some(path), ..Sources::default() };
    let config = load(&sources).unwrap().config;
    assert_eq!(config.identity.worker_id, "file");
    assert_eq!(config.traits.region, None);
}

#[test]
fn one_report_lists_every_fault() {
    let (_folder, path) = file(concat!(
        "export WORKER_ID=a\n",
        "COMFYUI_ULR=http://x\n",
        "LEASE_SECONDS=soon\n",
        "nonsense\n",
        "COMFYUI_GPUS=0,1\n",
        "SERVICES=comfyiu\n",
        "NODE_ENV=production\n",
        "WORKER_DESCRIPTION='open\n",
    ));
    let sources = Sources {
        flags: pairs(&[("NO_SUCH", "1")]),
        env: pairs(&[("MAX_STALLS", "many"), ("COMFYUI_PORT", "0")]),
        env_file: Some(path),
        ..Sources::default()
    };
    let report = load(&sources).unwrap_err();
    let text = report.to_string();
    for expected in [
        "the configuration has 10 faults",
        "worker.env:1: `export`",
        "worker.env:2: COMFYUI_ULR: unknown name; did you mean COMFYUI_URL?",
        "worker.env:3: LEASE_SECONDS: must be a number of seconds",
        "worker.env:4: no `=`",
        "worker.env:5: COMFYUI_GPUS: has 2 entries",
        "worker.env:6: SERVICES: no engine is called `comfyiu`; did you mean comfyui?",
        "worker.env:8: a quote opens here",
        "environment: MAX_STALLS: must be a whole number",
        "environment: COMFYUI_PORT: must be a port",
        "flag: NO_SUCH: unknown name",
        "warning: ",
    ] {
        assert!(text.contains(expected), "missing {expected:?} in:\n{text}");
    }
}

#[test]
fn a_fault_of_a_beaten_source_is_told_too() {
    let (_folder, path) = file("LEASE_SECONDS=soon\n");
    let sources = Sources { env: pairs(&[("LEASE_SECONDS", "30")]), env_file: Some(path), ..Sources::default() };
    assert_eq!(load(&sources).unwrap_err().faults.len(), 1);
}

#[test]
fn derived_names_are_safe_for_the_queue() {
    for (host, id) in
        [("a.b.c", "a-b-c"), ("fe80::1", "fe80--1"), ("gpu1", "gpu1"), ("", "gpu-worker"), ("a b\n", "a-b")]
    {
        let config = load(&Sources { host_name: host.into(), ..Sources::default() }).unwrap().config;
        assert_eq!(config.identity.worker_id, id);
        assert_eq!(config.identity.machine_id, id);
    }
}

#[test]
fn times_come_through_every_name() {
    let config = load_env(&[("JOB_POLL_INTERVAL_SECONDS", "0.25")]).unwrap().config;
    assert_eq!(config.jobs.poll_interval, Duration::from_millis(250));
    let config = load_env(&[("WORKER_HEARTBEAT_INTERVAL_MS", "250")]).unwrap().config;
    assert_eq!(config.jobs.heartbeat_interval, Duration::from_millis(250));
}
