//! The agent's configuration as typed values: what the rest of the program reads.
//! In: nothing. Out: the structs that `config` fills from flags, environment, env file and defaults.

use secrecy::SecretString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// Everything that can be configured, checked whole before anything is opened.
#[derive(Debug, Clone)]
pub struct Config {
    /// Redis and the shape of the queue in it.
    pub redis: Redis,
    /// Who this worker is.
    pub identity: Identity,
    /// Times and limits of a job's life.
    pub jobs: Jobs,
    /// Declared hardware: each value overrides what was detected.
    pub declared: DeclaredHardware,
    /// What the worker tells about itself for matching, beyond hardware and models.
    pub traits: WorkerTraits,
    /// The engines to drive.
    pub engines: Engines,
    /// What may be fetched for jobs.
    pub inputs: Inputs,
    /// The local dashboard.
    pub dashboard: Dashboard,
    /// Where state lives (journal, tokens).
    pub state_dir: PathBuf,
    /// Where outputs are stored unless in a bucket.
    pub output_dir: PathBuf,
    /// Where else outputs go.
    pub outputs: Outputs,
    /// Log level and format.
    pub log: Log,
}

/// Redis and the shape of the queue in it.
#[derive(Debug, Clone)]
pub struct Redis {
    /// What [`super::RedisAddress`] reads; may hold a password.
    pub url: SecretString,
    /// In front of every key and channel; empty is what the reference has.
    pub key_prefix: String,
    /// Publish what the reference's hub, monitor and webhooks listen for.
    pub reference_events: bool,
}

/// Who this worker is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// `WORKER_ID`, or the host name with `.` and `:` replaced. One slot has this id, several have `-0`, `-1` … behind it.
    pub worker_id: String,
    /// `MACHINE_ID`, or the host name with `.` and `:` replaced.
    pub machine_id: String,
    /// Whether to publish `machine:status:{machine}`.
    pub machine_status: MachineStatus,
    /// `WORKER_WORKFLOW_ID`: takes jobs of this workflow alone.
    pub workflow_id: Option<String>,
}

/// Whether to publish `machine:status:{machine}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MachineStatus {
    /// Yes, unless another publisher of this machine is heard.
    Auto,
    /// Yes.
    On,
    /// No.
    Off,
}

/// Times and limits of a job's life.
#[derive(Debug, Clone)]
pub struct Jobs {
    /// `CONCURRENT_JOBS`: slots for each GPU.
    pub concurrent: u32,
    /// `LEASE_SECONDS`.
    pub lease: Duration,
    /// `MAX_STALLS`: leases a job may lose before it is failed as `worker_lost`.
    pub max_stalls: u32,
    /// `RETRY_BACKOFF_MS`: first pause before a retry; doubles, capped at 60 s.
    pub retry_backoff: Duration,
    /// `POLL_INTERVAL_MS`: the safety net under the wake-up hints.
    pub poll_interval: Duration,
    /// `HEARTBEAT_INTERVAL_SECONDS` (30).
    pub heartbeat_interval: Duration,
    /// `DRAIN_SECONDS`: how long running jobs may go on after SIGTERM.
    pub drain: Duration,
    /// `JOB_TIMEOUT_MINUTES` (30): a job's run is stopped after this long, unless it asks for another limit.
    pub timeout: Duration,
    /// `STUCK_STEP_SECONDS` (300): patience with a step of which nothing is known; zero = for ever.
    pub stuck_step: Duration,
    /// `HEALTH_CHECK_INTERVAL_SECONDS` (60): pause between probes of a healthy engine.
    pub health_interval: Duration,
    /// `MAX_PAYLOAD_BYTES` (10 MB).
    pub max_payload_bytes: u64,
    /// `EVENTS_MAX`: progress events of one attempt.
    pub events_max: u32,
    /// `JOB_RETENTION_HOURS` (24): completed and cancelled jobs.
    pub retention: Duration,
    /// `FAILED_JOB_RETENTION_HOURS` (168).
    pub failed_retention: Duration,
}

/// What may be fetched for jobs.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// `MAX_INPUT_BYTES` (100 MiB).
    pub max_bytes: u64,
    /// `INPUT_TIMEOUT_SECONDS` (120): each input, from the first question to the last byte.
    pub timeout: Duration,
    /// `ALLOWED_INPUT_HOSTS`.
    pub allowed: Vec<super::AllowedHost>,
}

/// Declared hardware: each value overrides what was detected.
#[derive(Debug, Clone, Default)]
pub struct DeclaredHardware {
    /// `GPU_COUNT`; 0 = use no GPU even if there is one.
    pub gpu_count: Option<u32>,
    /// `GPU_MEMORY_GB`, of each GPU.
    pub gpu_memory_gb: Option<f64>,
    /// `GPU_MODEL`.
    pub gpu_model: Option<String>,
    /// `CPU_CORES`.
    pub cpu_cores: Option<u32>,
    /// `RAM_GB`.
    pub ram_gb: Option<f64>,
}

/// How strictly customers are kept apart on this worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// One customer's data never meets another's.
    Strict,
    /// Shared, with care.
    Loose,
    /// Not at all.
    None,
}

/// What the worker tells about itself for matching, beyond hardware and models.
#[derive(Debug, Clone)]
pub struct WorkerTraits {
    /// `CUSTOMER_ISOLATION`.
    pub isolation: Isolation,
    /// `ALLOWED_CUSTOMERS`; empty = everybody.
    pub allowed_customers: Vec<String>,
    /// `DENIED_CUSTOMERS`.
    pub denied_customers: Vec<String>,
    /// `MAX_CONCURRENT_CUSTOMERS`, advertised only.
    pub max_concurrent_customers: u32,
    /// `QUALITY_LEVELS`.
    pub quality_levels: Vec<String>,
    /// `MAX_PROCESSING_TIME_MINUTES`.
    pub max_processing_time_minutes: u32,
    /// `COMPONENTS`: components (named workflows) this worker offers; empty = any.
    pub components: Vec<String>,
    /// `REGION`.
    pub region: Option<String>,
    /// `WORKER_COUNTRY`.
    pub country: Option<String>,
    /// `COMPLIANCE_TAGS`.
    pub compliance: Vec<String>,
    /// `DATA_LOCALITY`.
    pub data_residency: Vec<String>,
    /// `COST_TIER`.
    pub cost_tier: Option<String>,
    /// `RATE_PER_HOUR`.
    pub rate_per_hour: Option<f64>,
    /// `WORKER_RATE_PER_JOB`.
    pub rate_per_job: Option<f64>,
    /// `WORKER_MINIMUM_CHARGE`.
    pub minimum_charge: Option<f64>,
    /// Declared models per service (`COMFYUI_MODELS`, `A1111_MODELS`), beside those that the engine lists.
    pub models: std::collections::BTreeMap<String, Vec<String>>,
    /// Custom capabilities under the names of the reference (`features`, `sla_tier`, `max_batch_size`,
    /// `debugging_enabled` …): texts, numbers, booleans, lists of texts.
    pub custom: serde_json::Map<String, serde_json::Value>,
}

/// The engines to drive.
#[derive(Debug, Clone, Default)]
pub struct Engines {
    /// ComfyUI servers, in order: the Nth belongs to the Nth GPU unless `gpus` says otherwise.
    pub comfyui: Option<HttpEngine>,
    /// AUTOMATIC1111 servers, likewise.
    pub a1111: Option<HttpEngine>,
    /// Servers of the OpenAI API.
    pub openai: Option<OpenAiEngine>,
    /// The built-in simulation.
    pub simulation: Option<SimulationEngine>,
    /// Engines that are files.
    pub files: EngineFiles,
}

/// Engines that are files of `CONNECTORS_DIR`.
#[derive(Debug, Clone, Default)]
pub struct EngineFiles {
    /// `CONNECTORS_DIR`.
    pub dir: Option<PathBuf>,
    /// `CONNECTORS_MEMORY_GB`, in bytes.
    pub memory: Option<u64>,
    /// Variables that begin with `CONNECTOR_`: what such engines may be given.
    pub secrets: std::collections::BTreeMap<String, SecretString>,
    /// What of the agent's own environment an executable may see.
    pub inherited: Vec<(String, String)>,
}

/// An engine reached over HTTP.
#[derive(Debug, Clone)]
pub struct HttpEngine {
    /// Base URLs without a path at the end.
    pub urls: Vec<Url>,
    /// `COMFYUI_GPUS`: the GPU index of each URL.
    pub gpus: Option<Vec<u32>>,
    /// Basic authentication.
    pub username: Option<String>,
    /// Basic authentication.
    pub password: Option<SecretString>,
    /// Sent as a bearer token.
    pub api_key: Option<SecretString>,
}

/// Servers of the OpenAI API.
#[derive(Debug, Clone)]
pub struct OpenAiEngine {
    /// Base URLs, with or without `/v1`.
    pub urls: Vec<Url>,
    /// `OPENAI_GPUS`: the GPU index of each URL; none: they are bound to no GPU.
    pub gpus: Option<Vec<u32>>,
    /// Sent as a bearer token.
    pub api_key: Option<SecretString>,
    /// `OPENAI_SERVICES`; empty: what the server has routes for.
    pub services: Vec<String>,
    /// `OPENAI_MODELS`.
    pub models: Vec<String>,
    /// `OPENAI_CONCURRENCY`: jobs at once on each.
    pub concurrency: Option<u32>,
}

/// The built-in simulation.
#[derive(Debug, Clone)]
pub struct SimulationEngine {
    /// `SIMULATION_SERVICES`: services beside `simulation` that it answers.
    pub services: Vec<String>,
}

/// Where outputs go, beside the local folder.
#[derive(Debug, Clone, Default)]
pub struct Outputs {
    /// `OUTPUT_STORE`; `None` = the local folder.
    pub bucket: Option<Bucket>,
    /// `OUTPUT_PUBLIC_URL`.
    pub public_url: Option<Url>,
    /// `OUTPUT_ENDPOINTS`: hosts, with or without port.
    pub endpoints: Vec<String>,
}

/// A bucket (Azure: a container) and the way into it.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Where in it outputs go, without slashes at its ends; may be empty.
    pub prefix: String,
    /// Whose it is.
    pub cloud: Cloud,
}

/// Whose bucket it is, and the credentials.
#[derive(Debug, Clone)]
pub enum Cloud {
    /// Amazon, or what speaks its language.
    S3 {
        /// `AWS_ENDPOINT_URL`; `None` = Amazon.
        endpoint: Option<Url>,
        /// `AWS_REGION`.
        region: String,
        /// `OUTPUT_PATH_STYLE`.
        path_style: bool,
        /// `AWS_ACCESS_KEY_ID`.
        key_id: String,
        /// `AWS_SECRET_ACCESS_KEY`.
        secret: SecretString,
        /// `AWS_SESSION_TOKEN`.
        token: Option<SecretString>,
    },
    /// Google.
    Google {
        /// `GOOGLE_APPLICATION_CREDENTIALS`, read: the key of a service account, as JSON.
        key: SecretString,
    },
    /// Azure.
    Azure {
        /// `AZURE_STORAGE_ACCOUNT`.
        account: String,
        /// `AZURE_STORAGE_KEY`.
        key: SecretString,
    },
}

/// The local dashboard.
#[derive(Debug, Clone)]
pub struct Dashboard {
    /// `WORKER_DASHBOARD_ENABLED`.
    pub enabled: bool,
    /// `WORKER_DASHBOARD_HOST`.
    pub host: IpAddr,
    /// `WORKER_DASHBOARD_PORT`; `None` = 1511 or the next free one up to 1599, 0 = any free one.
    pub port: Option<u16>,
    /// `WORKER_DASHBOARD_TOKEN`; there is one wherever `host` is not loopback.
    pub token: Option<SecretString>,
    /// `WORKER_DASHBOARD_ALLOWED_HOSTS`, in lower case.
    pub allowed_hosts: Vec<String>,
    /// `WORKER_DASHBOARD_READONLY`.
    pub read_only: bool,
}

/// Log level and format.
#[derive(Debug, Clone)]
pub struct Log {
    /// `LOG_LEVEL`.
    pub level: tracing::Level,
    /// `LOG_FORMAT`; `None` = human on a terminal, JSON elsewhere.
    pub json: Option<bool>,
}
