//! The table of variables: every setting once, with its other names, default, kind and one line of documentation.
//! In: nothing. Out: `VARIABLES`, from which loader, documentation, example and `config show` are made, and `ADDRESSES`.

use super::variable::Kind::*;
use super::variable::Mark::{Essential, Plain, Secret};
use super::variable::Preset::{Derived, Is, Unset};
use super::variable::Unit::{Hours, Milliseconds, Minutes, Seconds};
use super::variable::{Alias, Conversion, Group, Kind, Variable};

/// A URL given as host, port and encryption under names of their own.
#[derive(Debug)]
pub struct Address {
    /// The variable that it composes.
    pub target: &'static str,
    /// Names of the host.
    pub host: &'static [&'static str],
    /// Names of the port.
    pub port: &'static [&'static str],
    /// Names of the switch for https.
    pub secure: &'static [&'static str],
    /// Port when none is given.
    pub default_port: u16,
}

const LEVELS: Kind = Choice(&[
    ("error", "error"),
    ("warn", "warn"),
    ("warning", "warn"),
    ("info", "info"),
    ("debug", "debug"),
    ("trace", "trace"),
]);
const FORMATS: Kind = Choice(&[
    ("auto", "auto"),
    ("json", "json"),
    ("human", "human"),
    ("text", "human"),
    ("pretty", "human"),
    ("simple", "human"),
]);
const STATUSES: Kind = Choice(&[("auto", "auto"), ("on", "on"), ("off", "off")]);
const ISOLATIONS: Kind = Choice(&[("strict", "strict"), ("loose", "loose"), ("none", "none")]);
const HOST_NAME: &str = "the host name, with `.` and `:` replaced by `-`";

/// Rows read `NAME kind preset mark [aliases] documentation`, an alias `NAME conversion`.
macro_rules! table {
    ($($group:ident { $($name:ident ($kind:expr) ($preset:expr) $mark:ident [$($alias:ident $how:ident),*] $doc:literal)* })*) => {
        &[$($(Variable {
            name: stringify!($name),
            group: Group::$group,
            kind: $kind,
            preset: $preset,
            mark: $mark,
            aliases: &[$(Alias { name: stringify!($alias), conversion: Conversion::$how }),*],
            doc: $doc,
        },)*)*]
    };
}

/// Every variable that is used, in the order of the documentation.
pub static VARIABLES: &[Variable] = table! {
    Redis {
        HUB_REDIS_URL (RedisUrl) (Is("redis://127.0.0.1:6379")) Essential [REDIS_URL Same]
            "The Redis that holds the queue: a server, Sentinels that know it, or a Cluster; may hold a password: redis://:password@host:6379."
        REDIS_KEY_PREFIX (Text) (Unset) Plain []
            "Put in front of every key and channel; empty to share a queue with the reference; a Cluster needs one with a hash tag, such as {pool-a}:."
        REFERENCE_EVENTS (Boolean) (Is("true")) Plain []
            "Also publish what the reference's API, monitor and webhooks listen for."
    }
    Identity {
        WORKER_ID (WorkerId) (Derived(HOST_NAME)) Essential [WORKER_BASE_ID Same]
            "Name of this worker, unique on the queue; with several slots they are called NAME-0, NAME-1 and so on."
        MACHINE_ID (MachineId) (Derived(HOST_NAME)) Plain []
            "Name of this machine; workers with one name are shown as one machine."
        MACHINE_STATUS (STATUSES) (Is("auto")) Plain [UNIFIED_MACHINE_STATUS UnifiedStatus]
            "Whether to publish the machine's status: on, off, or auto (unless another publisher of this machine is heard)."
        WORKER_WORKFLOW_ID (Text) (Unset) Plain []
            "Take jobs of this workflow alone."
    }
    Engines {
        SERVICES (Services) (Derived("each engine whose address is set, or else comfyui")) Plain
            [WORKER_CONNECTORS Same, CONNECTORS Same, WORKERS Same]
            "Which engines to drive: comfyui, a1111, openai, simulation."
        COMFYUI_URL (EngineUrls) (Is("http://127.0.0.1:8188")) Essential [COMFYUI_WS_URL WebSocketUrl]
            "Where ComfyUI answers; several servers as a comma list, the first for GPU 0, the second for GPU 1 and so on."
        COMFYUI_GPUS (Indexes) (Unset) Plain []
            "Which GPU each address of COMFYUI_URL uses, such as 0,1; as many entries as addresses."
        COMFYUI_USERNAME (Text) (Unset) Plain [WORKER_COMFYUI_REMOTE_USERNAME Same, WORKER_COMFYUI_USERNAME Same]
            "User name, if ComfyUI asks for one (basic authentication)."
        COMFYUI_PASSWORD (Text) (Unset) Secret [WORKER_COMFYUI_REMOTE_PASSWORD Same, WORKER_COMFYUI_PASSWORD Same]
            "Password to COMFYUI_USERNAME."
        COMFYUI_API_KEY (Text) (Unset) Secret [WORKER_COMFYUI_REMOTE_API_KEY Same]
            "Sent to ComfyUI as a bearer token."
        COMFYUI_MODELS (List) (Unset) Plain []
            "Models to advertise beside those that ComfyUI lists."
        A1111_URL (EngineUrls) (Is("http://127.0.0.1:7860")) Plain []
            "Where AUTOMATIC1111 answers; several servers as a comma list."
        A1111_GPUS (Indexes) (Unset) Plain []
            "Which GPU each address of A1111_URL uses; as many entries as addresses."
        A1111_USERNAME (Text) (Unset) Plain [WORKER_A1111_USERNAME Same]
            "User name, if AUTOMATIC1111 asks for one (its --api-auth)."
        A1111_PASSWORD (Text) (Unset) Secret [WORKER_A1111_PASSWORD Same]
            "Password to A1111_USERNAME."
        A1111_MODELS (List) (Unset) Plain []
            "Models to advertise beside those that AUTOMATIC1111 lists."
        OPENAI_URL (ApiUrls) (Is("https://api.openai.com/v1")) Plain [OPENAI_BASE_URL Same]
            "Where an OpenAI API answers: the service, vLLM, llama.cpp, Ollama, LM Studio; several servers as a comma list; /v1 at the end may be left out."
        OPENAI_API_KEY (Text) (Unset) Secret []
            "Sent to OPENAI_URL as a bearer token; a job may bring its own."
        OPENAI_SERVICES (List) (Derived("those that the server has routes for")) Plain []
            "Services that OPENAI_URL answers, out of openai_text, chat_completion, text_generation, ollama, embeddings, openai, openai_responses, openai_image, openai_img2img, or names of your own."
        OPENAI_MODELS (List) (Unset) Plain [OPENAI_TEXT_MODEL Same]
            "Models to advertise beside those that OPENAI_URL lists; the first suitable one answers jobs that name none."
        OPENAI_CONCURRENCY (Whole(1, 64)) (Derived("CONCURRENT_JOBS")) Plain [OPENAI_TEXT_MAX_CONCURRENT_JOBS Same]
            "Jobs that run at once on each server of OPENAI_URL; they get slots of their own."
        OPENAI_GPUS (Indexes) (Unset) Plain []
            "Which GPU each server of OPENAI_URL uses, if it stands on this machine; as many entries as addresses. Without it no GPU is bound to them."
        CONNECTORS_DIR (Path) (Unset) Plain []
            "Folder with engines of your own: executables and TOML files, see connectors/README.md."
        CONNECTORS_MEMORY_GB (Decimal(0.1, 100_000.0)) (Unset) Plain []
            "Private memory that each process of an executable in CONNECTORS_DIR may take, in GB; without it there is no limit."
        SIMULATION_SERVICES (List) (Unset) Plain []
            "Services that the built-in simulation answers, beside `simulation`."
        HEALTH_CHECK_INTERVAL_SECONDS (Span(Seconds, 0.1, 86400.0)) (Is("60")) Plain
            [HEALTH_CHECK_INTERVAL_MS MillisecondsToSeconds]
            "Pause between two looks at a healthy engine, in seconds."
    }
    Jobs {
        CONCURRENT_JOBS (Whole(1, 64)) (Is("1")) Plain [WORKER_MAX_CONCURRENT_JOBS Same]
            "Jobs that run at once on each GPU."
        JOB_TIMEOUT_MINUTES (Span(Minutes, 0.001, 43200.0)) (Is("30")) Plain [WORKER_JOB_TIMEOUT_MINUTES Same]
            "A job is stopped after this many minutes, unless it asks for another limit."
        STUCK_STEP_SECONDS (Span(Seconds, 0.0, 86400.0)) (Is("300")) Plain []
            "A step that reports nothing new for this many seconds is stopped and the job tried elsewhere; known steps are given 20 times their usual time, at least a fifth of this. 0 = never."
        DRAIN_SECONDS (Span(Seconds, 0.0, 86400.0)) (Is("300")) Plain []
            "How long running jobs may go on after a stop is asked for, in seconds; then they go back to the queue unharmed."
        LEASE_SECONDS (Span(Seconds, 0.1, 3600.0)) (Is("30")) Plain []
            "A job whose worker is silent for this many seconds goes to another."
        MAX_STALLS (Whole(1, 100)) (Is("3")) Plain []
            "How many leases of a job may run out, and how many deaths of its agent may follow without progress between; the next fails it."
        RETRY_BACKOFF_MS (Span(Milliseconds, 0.0, 60000.0)) (Is("1000")) Plain []
            "First pause before a failed job is tried again, in milliseconds; doubles up to one minute."
        POLL_INTERVAL_MS (Span(Milliseconds, 10.0, 600000.0)) (Is("1000")) Plain
            [WORKER_POLL_INTERVAL_MS Same, JOB_POLL_INTERVAL_SECONDS SecondsToMilliseconds]
            "An idle worker asks for work at least this often, in milliseconds; new jobs wake it at once."
        HEARTBEAT_INTERVAL_SECONDS (Span(Seconds, 0.1, 3600.0)) (Is("30")) Plain
            [WORKER_HEARTBEAT_INTERVAL_MS MillisecondsToSeconds, WORKER_HEARTBEAT_INTERVAL Same]
            "How often the worker registers again, in seconds."
        MAX_PAYLOAD_BYTES (Size) (Is("10MiB")) Plain []
            "A job with a larger payload is refused; bytes, or with a unit (MB, MiB)."
        MAX_INPUT_BYTES (Size) (Is("100MiB")) Plain []
            "A job whose input (a picture to work on, say) is larger is refused; bytes, or with a unit (MB, MiB)."
        INPUT_TIMEOUT_SECONDS (Span(Seconds, 0.1, 86400.0)) (Is("120")) Plain []
            "How long fetching one input may take, in seconds."
        ALLOWED_INPUT_HOSTS (Hosts) (Unset) Plain []
            "Where inputs may be fetched from beside public addresses: host names (*.name: all below), addresses, networks such as 10.0.0.0/8; with :port that port alone."
        EVENTS_MAX (Whole(10, 1_000_000)) (Is("1000")) Plain []
            "Progress events that are kept of one attempt."
        JOB_RETENTION_HOURS (Span(Hours, 0.001, 87600.0)) (Is("24")) Plain []
            "Completed and cancelled jobs are forgotten after this many hours."
        FAILED_JOB_RETENTION_HOURS (Span(Hours, 0.001, 87600.0)) (Is("168")) Plain []
            "Failed jobs are forgotten after this many hours."
    }
    Hardware {
        GPU_COUNT (Whole(0, 64)) (Unset) Plain []
            "Number of GPUs; 0 uses none even if there is one."
        GPU_MEMORY_GB (Decimal(0.0, 10000.0)) (Unset) Plain [WORKER_GPU_MEMORY_GB Same]
            "Memory of each GPU, in GB."
        GPU_MODEL (Text) (Unset) Plain [WORKER_GPU_MODEL Same]
            "Model of the GPUs."
        GPU_COMPUTE_CAPABILITY (Text) (Unset) Plain []
            "CUDA compute capability, such as 8.9; jobs may ask for it as gpu_compute_capability."
        CPU_CORES (Whole(1, 65536)) (Unset) Plain []
            "Cores of the processor."
        CPU_THREADS (Whole(1, 65536)) (Unset) Plain []
            "Threads of the processor; jobs may ask for them as cpu_threads."
        RAM_GB (Decimal(0.0, 1_000_000.0)) (Unset) Plain [WORKER_RAM_GB Same]
            "Main memory, in GB."
        STORAGE_TYPE (Text) (Unset) Plain []
            "Kind of disk, such as nvme; jobs may ask for it as storage_type."
        STORAGE_GB (Decimal(0.0, 1_000_000_000.0)) (Unset) Plain []
            "Size of the disk, in GB; jobs may ask for it as storage_gb."
    }
    Customers {
        CUSTOMER_ISOLATION (ISOLATIONS) (Is("loose")) Plain [WORKER_CUSTOMER_ISOLATION Same]
            "How strictly customers are kept apart on this worker: strict, loose or none."
        ALLOWED_CUSTOMERS (List) (Unset) Plain []
            "Take jobs of these customers alone; empty means everybody."
        DENIED_CUSTOMERS (List) (Unset) Plain []
            "Never take jobs of these customers."
        MAX_CONCURRENT_CUSTOMERS (Whole(1, 1_000_000)) (Is("10")) Plain []
            "Advertised only: customers served at once."
    }
    Capabilities {
        QUALITY_LEVELS (List) (Is("fast,balanced,quality")) Plain []
            "Quality levels that this worker offers."
        MAX_PROCESSING_TIME_MINUTES (Whole(1, 525_600)) (Is("60")) Plain []
            "Advertised only: longest job, in minutes."
        COMPONENTS (List) (Unset) Plain []
            "Components (named workflows) that this worker offers; empty means any."
        REGION (Text) (Unset) Plain [WORKER_REGION Same]
            "Where the machine stands, such as eu-west."
        WORKER_COUNTRY (Text) (Unset) Plain []
            "Country in which the machine stands."
        COMPLIANCE_TAGS (List) (Unset) Plain [WORKER_COMPLIANCE Same]
            "Rules that the machine complies with, such as gdpr,hipaa."
        DATA_LOCALITY (List) (Unset) Plain [WORKER_DATA_RESIDENCY Same]
            "Where data may be kept."
        COST_TIER (Text) (Unset) Plain [WORKER_COST_TIER Same]
            "Price class, such as economy, standard or premium."
        RATE_PER_HOUR (Decimal(0.0, 1_000_000.0)) (Unset) Plain [WORKER_RATE_PER_HOUR Same]
            "Price of an hour; a job may set the most that it pays."
        WORKER_RATE_PER_JOB (Decimal(0.0, 1_000_000.0)) (Unset) Plain []
            "Price of a job."
        WORKER_MINIMUM_CHARGE (Decimal(0.0, 1_000_000.0)) (Unset) Plain []
            "Least price."
        WORKER_TYPE (Text) (Unset) Plain []
            "Advertised as worker_type."
        WORKER_DESCRIPTION (Text) (Unset) Plain []
            "Advertised as description, for people."
        WORKER_ASSET_TYPE (List) (Unset) Plain []
            "Advertised as asset_type."
        WORKER_MODELS (List) (Unset) Plain []
            "Advertised as available_models."
        WORKER_FEATURES (List) (Unset) Plain []
            "Advertised as features."
        WORKER_LIMITATIONS (List) (Unset) Plain []
            "Advertised as limitations."
        WORKER_PERFORMANCE_TIER (Text) (Unset) Plain []
            "Advertised as performance_tier."
        WORKER_SPECIALIZATION (Text) (Unset) Plain []
            "Advertised as specialization."
        WORKER_SLA_TIER (Text) (Unset) Plain []
            "Advertised as sla_tier."
        WORKER_AVAILABILITY (Text) (Unset) Plain []
            "Advertised as availability."
        WORKER_COMFYUI_VERSION (Text) (Unset) Plain []
            "Advertised as comfyui_version."
        WORKER_A1111_VERSION (Text) (Unset) Plain []
            "Advertised as a1111_version."
        WORKER_MAX_BATCH_SIZE (Whole(1, 1_000_000)) (Unset) Plain []
            "Advertised as max_batch_size."
        DEBUGGING_ENABLED (Boolean) (Unset) Plain []
            "Advertised as debugging_enabled."
        WORKER_EXPERIMENTAL_MODE (Boolean) (Unset) Plain []
            "Advertised as experimental_mode."
        DEVELOPMENT_MODE (Boolean) (Unset) Plain []
            "Advertised as development_mode."
        WORKER_MEMORY_CONSTRAINED (Boolean) (Unset) Plain []
            "Advertised as memory_constrained."
        WORKER_MULTI_SERVICE (Boolean) (Unset) Plain []
            "Advertised as multi_service."
    }
    Outputs {
        OUTPUT_DIR (Path) (Derived("the folder outputs in STATE_DIR")) Plain []
            "Folder in which outputs are stored."
        OUTPUT_STORE (StoreUrl) (Unset) Plain []
            "Where outputs are stored instead of OUTPUT_DIR: s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or file:///folder; see docs/outputs.md."
        OUTPUT_PUBLIC_URL (HttpUrl) (Unset) Plain [CLOUD_CDN_URL Same]
            "What stands in results in place of the store's own address, such as https://cdn.example.org: the place below the bucket or OUTPUT_DIR is put behind it."
        OUTPUT_ENDPOINTS (List) (Unset) Plain []
            "Hosts, each with its port if it is not the usual one, that a job's ctx.storage may name as its endpoint beside Amazon, Google and Azure."
        AWS_ACCESS_KEY_ID (Text) (Unset) Plain []
            "Key to an OUTPUT_STORE of s3://."
        AWS_SECRET_ACCESS_KEY (Text) (Unset) Secret []
            "Secret to AWS_ACCESS_KEY_ID."
        AWS_SESSION_TOKEN (Text) (Unset) Secret []
            "Token to AWS_ACCESS_KEY_ID, if it is a temporary one."
        AWS_REGION (Text) (Unset) Plain [AWS_DEFAULT_REGION Same]
            "Region of the bucket; without it us-east-1."
        AWS_ENDPOINT_URL (HttpUrl) (Unset) Plain []
            "Where an S3-compatible server answers, such as https://minio.example.org:9000; without it Amazon."
        OUTPUT_PATH_STYLE (Boolean) (Is("true")) Plain []
            "Whether an S3 bucket is named in the path; false = in front of the host name."
        GOOGLE_APPLICATION_CREDENTIALS (Path) (Unset) Plain []
            "File with the key of a service account, for an OUTPUT_STORE of gs://."
        AZURE_STORAGE_ACCOUNT (Text) (Unset) Plain []
            "Storage account of an OUTPUT_STORE of az://."
        AZURE_STORAGE_KEY (Text) (Unset) Secret []
            "Access key to AZURE_STORAGE_ACCOUNT."
    }
    Program {
        STATE_DIR (Path) (Derived("systemd's STATE_DIRECTORY, else gpu-worker in XDG_STATE_HOME or ~/.local/state")) Plain []
            "Folder for what must outlive a restart."
        LOG_LEVEL (LEVELS) (Is("info")) Plain []
            "Least weight of the lines that are logged: error, warn, info, debug or trace."
        LOG_FORMAT (FORMATS) (Is("auto")) Plain []
            "json, human, or auto (human on a terminal, json elsewhere)."
        WORKER_DASHBOARD_ENABLED (Boolean) (Is("true")) Plain []
            "Whether to answer on WORKER_DASHBOARD_PORT: the page, /metrics, /healthz and /readyz; false opens nothing."
        WORKER_DASHBOARD_HOST (Text) (Is("127.0.0.1")) Plain []
            "Address on which the dashboard answers, such as 0.0.0.0; anything but loopback needs WORKER_DASHBOARD_TOKEN."
        WORKER_DASHBOARD_PORT (Whole(0, 65535)) (Derived("1511, or the next free port up to 1599")) Plain []
            "Port of the dashboard; 0 = any free one. The log line `dashboard` has the URL."
        WORKER_DASHBOARD_TOKEN (Text) (Unset) Secret []
            "Whoever asks the dashboard must have it; at least 16 characters. Unset: reads need none, and orders one that the agent makes."
        WORKER_DASHBOARD_READONLY (Boolean) (Is("false")) Plain []
            "Whether the dashboard only shows: it takes no orders, whoever gives them."
        WORKER_DASHBOARD_ALLOWED_HOSTS (List) (Unset) Plain []
            "Names under which the dashboard may be asked beside its own addresses, such as gpu1.example.org or proxy.example.org:443."
    }
};

/// Every address that may be given in parts.
pub static ADDRESSES: &[Address] = &[
    Address {
        target: "COMFYUI_URL",
        host: &["COMFYUI_HOST"],
        port: &["COMFYUI_PORT", "COMFYUI_BASE_PORT"],
        secure: &["COMFYUI_SECURE"],
        default_port: 8188,
    },
    Address {
        target: "COMFYUI_URL",
        host: &["WORKER_COMFYUI_REMOTE_HOST"],
        port: &["WORKER_COMFYUI_REMOTE_PORT"],
        secure: &["WORKER_COMFYUI_REMOTE_SECURE"],
        default_port: 8188,
    },
    Address {
        target: "COMFYUI_URL",
        host: &["WORKER_COMFYUI_HOST"],
        port: &["WORKER_COMFYUI_PORT"],
        secure: &["WORKER_COMFYUI_USE_SSL"],
        default_port: 8188,
    },
    Address {
        target: "A1111_URL",
        host: &["A1111_HOST", "WORKER_A1111_HOST"],
        port: &["A1111_PORT", "A1111_BASE_PORT", "WORKER_A1111_PORT"],
        secure: &[],
        default_port: 7860,
    },
];
