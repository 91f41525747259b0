//! Fills the typed configuration.
//! In: resolved values, host name and environment for what is derived. Out: `Config`, and the texts of derived values for `config show`.

use super::allowed_host::AllowedHost;
use super::reader::Reader;
use super::redis_address::{RedisAddress, hash_tag};
use super::report::Report;
use super::settings::*;
use super::source::Sources;
use super::{engines, outputs, traits};
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Texts that `config show` prints in place of the table's default: derived values, and `None` for settings without use here.
pub(super) type Derived = BTreeMap<&'static str, Option<String>>;

pub(super) fn config(reader: &Reader<'_>, sources: &Sources, report: &mut Report) -> (Config, Derived) {
    let mut derived = Derived::new();
    let identity = identity(reader, &sources.host_name, &mut derived);
    let state_dir = reader.text("STATE_DIR").map_or_else(|| state_dir(sources), PathBuf::from);
    let output_dir = reader.text("OUTPUT_DIR").map_or_else(|| state_dir.join("outputs"), PathBuf::from);
    let (outputs, folder) = outputs::outputs(reader, report);
    let output_dir = folder.unwrap_or(output_dir);
    let shown = |path: &Path| Some(path.display().to_string());
    derived.extend([("STATE_DIR", shown(&state_dir)), ("OUTPUT_DIR", shown(&output_dir))]);
    let config = Config {
        redis: redis(reader, report),
        identity,
        jobs: jobs(reader),
        declared: declared(reader),
        traits: traits::traits(reader),
        engines: engines::engines(reader, &mut derived, report),
        inputs: inputs(reader),
        dashboard: dashboard(reader, &mut derived),
        state_dir,
        output_dir,
        outputs,
        log: log(reader),
    };
    (config, derived)
}

fn redis(reader: &Reader<'_>, report: &mut Report) -> Redis {
    let redis = Redis {
        url: reader.secret("HUB_REDIS_URL").unwrap_or_default(),
        key_prefix: reader.text("REDIS_KEY_PREFIX").unwrap_or_default(),
        reference_events: reader.boolean("REFERENCE_EVENTS"),
    };
    let in_cluster = RedisAddress::parse(redis.url.expose_secret()).is_ok_and(|address| address.is_cluster());
    if in_cluster && hash_tag(&redis.key_prefix).is_none() {
        let why = "must hold a hash tag, such as {pool-a}:, because HUB_REDIS_URL leads to a Cluster: \
                   all keys of a queue must lie in one slot";
        reader.fault("REDIS_KEY_PREFIX", why, report);
    }
    redis
}

fn identity(reader: &Reader<'_>, host_name: &str, derived: &mut Derived) -> Identity {
    let host = id_of_host(host_name);
    derived.extend([("WORKER_ID", Some(host.clone())), ("MACHINE_ID", Some(host.clone()))]);
    Identity {
        worker_id: reader.text("WORKER_ID").unwrap_or_else(|| host.clone()),
        machine_id: reader.text("MACHINE_ID").unwrap_or(host),
        machine_status: match reader.text("MACHINE_STATUS").as_deref() {
            Some("on") => MachineStatus::On,
            Some("off") => MachineStatus::Off,
            _ => MachineStatus::Auto,
        },
        workflow_id: reader.text("WORKER_WORKFLOW_ID"),
    }
}

/// `.` and `:` end the id in the names of keys and in status messages.
fn id_of_host(host_name: &str) -> String {
    let foreign = |letter: char| matches!(letter, '.' | ':') || letter.is_whitespace() || letter.is_control();
    let id: String = host_name.trim().chars().map(|letter| if foreign(letter) { '-' } else { letter }).collect();
    if id.is_empty() { "gpu-worker".into() } else { id }
}

fn jobs(reader: &Reader<'_>) -> Jobs {
    Jobs {
        concurrent: reader.count("CONCURRENT_JOBS").unwrap_or_default(),
        lease: reader.span("LEASE_SECONDS"),
        max_stalls: reader.count("MAX_STALLS").unwrap_or_default(),
        retry_backoff: reader.span("RETRY_BACKOFF_MS"),
        poll_interval: reader.span("POLL_INTERVAL_MS"),
        heartbeat_interval: reader.span("HEARTBEAT_INTERVAL_SECONDS"),
        drain: reader.span("DRAIN_SECONDS"),
        timeout: reader.span("JOB_TIMEOUT_MINUTES"),
        stuck_step: reader.span("STUCK_STEP_SECONDS"),
        health_interval: reader.span("HEALTH_CHECK_INTERVAL_SECONDS"),
        max_payload_bytes: reader.bytes("MAX_PAYLOAD_BYTES").unwrap_or_default(),
        events_max: reader.count("EVENTS_MAX").unwrap_or_default(),
        retention: reader.span("JOB_RETENTION_HOURS"),
        failed_retention: reader.span("FAILED_JOB_RETENTION_HOURS"),
    }
}

fn inputs(reader: &Reader<'_>) -> Inputs {
    let allowed = reader.list("ALLOWED_INPUT_HOSTS");
    Inputs {
        max_bytes: reader.bytes("MAX_INPUT_BYTES").unwrap_or_default(),
        timeout: reader.span("INPUT_TIMEOUT_SECONDS"),
        allowed: allowed.iter().filter_map(|entry| AllowedHost::parse(entry)).collect(),
    }
}

fn declared(reader: &Reader<'_>) -> DeclaredHardware {
    DeclaredHardware {
        gpu_count: reader.count("GPU_COUNT"),
        gpu_memory_gb: reader.decimal("GPU_MEMORY_GB"),
        gpu_model: reader.text("GPU_MODEL"),
        cpu_cores: reader.count("CPU_CORES"),
        ram_gb: reader.decimal("RAM_GB"),
    }
}

fn dashboard(reader: &Reader<'_>, derived: &mut Derived) -> Dashboard {
    derived.insert("WORKER_DASHBOARD_PORT", Some("1511, or the next free port".into()));
    let port = reader.count("WORKER_DASHBOARD_PORT").and_then(|port| u16::try_from(port).ok());
    Dashboard { enabled: reader.boolean("WORKER_DASHBOARD_ENABLED"), port }
}

fn log(reader: &Reader<'_>) -> Log {
    Log {
        level: reader.text("LOG_LEVEL").and_then(|level| level.parse().ok()).unwrap_or(tracing::Level::INFO),
        json: match reader.text("LOG_FORMAT").as_deref() {
            Some("json") => Some(true),
            Some("human") => Some(false),
            _ => None,
        },
    }
}

/// Where the system keeps the state of a service or of a user. systemd may list several folders with `:` between.
fn state_dir(sources: &Sources) -> PathBuf {
    if let Some(given) = sources.env("STATE_DIRECTORY").and_then(|list| list.split(':').next()) {
        return given.into();
    }
    // The XDG specification: a relative path is to be ignored.
    let absolute = |name: &str| sources.env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    match absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state"))) {
        Some(folder) => folder.join("gpu-worker"),
        None => "gpu-worker-state".into(),
    }
}
