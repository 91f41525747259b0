//! Names that are known but do nothing here: retired ones, and ones that wait for a later release.
//! In: nothing. Out: `RETIRED` and `RESERVED`, each with the reason that the warning gives.

/// Names that are accepted and ignored, for one reason.
#[derive(Debug)]
pub struct Former {
    /// Stands in the warning and in the documentation.
    pub reason: &'static str,
    /// The names.
    pub names: &'static [&'static str],
}

/// Names of the reference and its forerunners that have nothing to set here.
pub static RETIRED: &[Former] = &[
    Former {
        reason: "the agent speaks to Redis alone, set HUB_REDIS_URL",
        names: &[
            "HUB_WS_URL",
            "HUB_AUTH_TOKEN",
            "WORKER_REDIS_API_HOST",
            "WORKER_REDIS_API_PORT",
            "WORKER_REDIS_WS_URL",
            "WORKER_WEBSOCKET_AUTH_TOKEN",
            "WEBSOCKET_AUTH_TOKEN",
            "WORKER_USE_SSL",
        ],
    },
    Former {
        reason: "use OUTPUT_STORE, such as az://container",
        names: &["CLOUD_STORAGE_PROVIDER", "CLOUD_STORAGE_CONTAINER"],
    },
    Former {
        reason: "the agent reconnects for as long as it runs, with growing pauses",
        names: &["RECONNECT_INTERVAL_SECONDS", "MAX_RECONNECT_ATTEMPTS"],
    },
    Former {
        reason: "a connector follows its job at the engine itself; JOB_TIMEOUT_MINUTES limits a job",
        names: &[
            "WEBSOCKET_INACTIVITY_TIMEOUT_MS",
            "COMFYUI_HEARTBEAT_MS",
            "COMFYUI_RECONNECT_DELAY_MS",
            "COMFYUI_MAX_RECONNECT",
            "COMFYUI_TIMEOUT_SECONDS",
            "WORKER_COMFYUI_REMOTE_TIMEOUT_SECONDS",
            "WORKER_COMFYUI_TIMEOUT_SECONDS",
            "WORKER_COMFYUI_WORKFLOW_TIMEOUT_SECONDS",
            "SERVICE_TIMEOUT_SECONDS",
            "SERVICE_HEALTH_TIMEOUT_SECONDS",
        ],
    },
    Former {
        reason: "the queue retries failed jobs, see RETRY_BACKOFF_MS",
        names: &[
            "COMFYUI_RETRY_ATTEMPTS",
            "COMFYUI_RETRY_DELAY_SECONDS",
            "SERVICE_RETRY_ATTEMPTS",
            "SERVICE_RETRY_DELAY_SECONDS",
        ],
    },
    Former {
        reason: "use CONCURRENT_JOBS",
        names: &[
            "COMFYUI_MAX_CONCURRENT_JOBS",
            "WORKER_COMFYUI_REMOTE_MAX_CONCURRENT_JOBS",
            "SIMULATION_MAX_CONCURRENT_JOBS",
            "SERVICE_MAX_CONCURRENT_JOBS",
        ],
    },
    Former { reason: "each engine has an address of its own, such as COMFYUI_URL", names: &["SERVICE_BASE_URL"] },
    Former { reason: "use HEALTH_CHECK_INTERVAL_SECONDS", names: &["SERVICE_HEALTH_CHECK_INTERVAL"] },
    Former {
        reason: "outputs are stored as the engine made them",
        names: &["WORKER_COMFYUI_IMAGE_FORMAT", "WORKER_COMFYUI_IMAGE_QUALITY", "WORKER_COMFYUI_SAVE_WORKFLOW"],
    },
    Former {
        reason: "the simulation is built in, and each job says how it is to run",
        names: &[
            "WORKER_SIMULATION_PROCESSING_TIME",
            "WORKER_SIMULATION_STEPS",
            "WORKER_SIMULATION_FAILURE_RATE",
            "WORKER_SIMULATION_PROGRESS_INTERVAL_MS",
            "WORKER_SIMULATION_HEALTH_CHECK_FAILURE_RATE",
            "SIMULATION_WEBSOCKET_URL",
        ],
    },
    Former {
        reason: "each job says how long, how warm and how large what it asks for is to be",
        names: &[
            "OPENAI_MAX_TOKENS",
            "OPENAI_TEMPERATURE",
            "OPENAI_IMAGE_MODEL",
            "OPENAI_IMG2IMG_MODEL",
            "OPENAI_IMAGE_SIZE",
            "OPENAI_IMAGE_QUALITY",
        ],
    },
    Former {
        reason: "the agent decides by itself when to try again; JOB_TIMEOUT_MINUTES bounds a job",
        names: &[
            "OPENAI_TIMEOUT_SECONDS",
            "OPENAI_RETRY_ATTEMPTS",
            "OPENAI_RETRY_DELAY_SECONDS",
            "OLLAMA_TIMEOUT_SECONDS",
            "OLLAMA_RETRY_ATTEMPTS",
            "OLLAMA_RETRY_DELAY_SECONDS",
            "OLLAMA_REQUEST_TIMEOUT_MS",
        ],
    },
    Former { reason: "use HEALTH_CHECK_INTERVAL_SECONDS", names: &["OPENAI_HEALTH_CHECK_INTERVAL"] },
    Former {
        reason: "use OPENAI_CONCURRENCY",
        names: &[
            "OPENAI_IMAGE_MAX_CONCURRENT_JOBS",
            "OPENAI_IMG2IMG_MAX_CONCURRENT_JOBS",
            "OPENAI_RESPONSES_MAX_CONCURRENT_JOBS",
            "OLLAMA_MAX_CONCURRENT_JOBS",
        ],
    },
    Former {
        reason: "Ollama speaks the OpenAI API: use OPENAI_URL, such as http://127.0.0.1:11434, and OPENAI_MODELS",
        names: &["OLLAMA_HOST", "OLLAMA_PORT", "OLLAMA_DEFAULT_MODEL"],
    },
    Former { reason: "use LOG_LEVEL", names: &["OPENAI_DEBUG", "OPENAI_DEBUG_VERBOSE", "OPENAI_LOG_LEVEL"] },
    Former { reason: "use SERVICES=simulation", names: &["MOCK_MODE"] },
    Former { reason: "the program tells its own version", names: &["VERSION"] },
    Former { reason: "the program tells why it stops", names: &["SHUTDOWN_REASON"] },
    Former { reason: "the log goes to standard error, where systemd keeps it", names: &["LOG_TO_FILE", "LOG_DIR"] },
    Former { reason: "there is one program for every environment", names: &["NODE_ENV", "WORKER_BUNDLE_MODE"] },
];

/// Names of parts that come in a later release.
pub static RESERVED: &[Former] = &[
    Former {
        reason: "gemini: no connector for it in this release",
        names: &["GEMINI_API_KEY", "GEMINI_NANO_BANANA_URL"],
    },
    Former {
        reason: "rest: an engine that speaks HTTP is a TOML file of CONNECTORS_DIR, see connectors/README.md",
        names: &[
            "WORKER_REST_SYNC_BASE_URL",
            "WORKER_REST_SYNC_TIMEOUT_SECONDS",
            "WORKER_REST_SYNC_RETRY_ATTEMPTS",
            "WORKER_REST_SYNC_RETRY_DELAY_SECONDS",
            "WORKER_REST_SYNC_MAX_CONCURRENT_JOBS",
            "WORKER_REST_SYNC_METHOD",
            "WORKER_REST_SYNC_RESPONSE_FORMAT",
            "WORKER_REST_SYNC_HEALTH_URL",
            "WORKER_REST_ASYNC_BASE_URL",
            "WORKER_REST_ASYNC_TIMEOUT_SECONDS",
            "WORKER_REST_ASYNC_RETRY_ATTEMPTS",
            "WORKER_REST_ASYNC_RETRY_DELAY_SECONDS",
            "WORKER_REST_ASYNC_MAX_CONCURRENT_JOBS",
            "WORKER_REST_ASYNC_METHOD",
            "WORKER_REST_ASYNC_RESPONSE_FORMAT",
            "WORKER_REST_ASYNC_HEALTH_URL",
            "WORKER_REST_ASYNC_POLLING_INTERVAL_MS",
            "WORKER_REST_ASYNC_COMPLETION_ENDPOINT",
            "WORKER_REST_ASYNC_STATUS_FIELD",
            "WORKER_REST_ASYNC_RESULT_FIELD",
        ],
    },
    Former {
        reason: "websocket: no connector for it in this release",
        names: &[
            "WORKER_WEBSOCKET_BASE_URL",
            "WORKER_WEBSOCKET_URL",
            "WORKER_WEBSOCKET_TIMEOUT_SECONDS",
            "WORKER_WEBSOCKET_HEARTBEAT_INTERVAL_MS",
            "WORKER_WEBSOCKET_RECONNECT_DELAY_MS",
            "WORKER_WEBSOCKET_MAX_RECONNECT_ATTEMPTS",
            "WORKER_WEBSOCKET_PROTOCOL",
        ],
    },
    Former { reason: "OpenTelemetry: no exporter for it in this release", names: &["OTEL_COLLECTOR_ENDPOINT"] },
];
