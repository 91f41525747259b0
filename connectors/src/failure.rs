//! Why a run failed, as types: the words are the ones that readers of the queue already know.
//! In: what an engine said or did. Out: a failure type and reason that the retry table and the events speak.

use std::fmt;
use std::time::Duration;

/// A failed run: what kind of failure, the finer reason, and a sentence for a person.
///
/// `message` is shown to users and stored in events, so it never holds prompts, paths of the server or secrets.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The finer reason; its type is [`Reason::kind`].
    pub reason: Reason,
    /// One or two sentences for the person who owns the job.
    pub message: String,
    /// How long the engine asked us to wait before another attempt (an HTTP `Retry-After`), if it did.
    pub retry_after: Option<Duration>,
    /// This box is at fault and not the job (a model it lacks, an engine that is down): another worker may well do
    /// it, and the attempt should not be charged to the job.
    pub hosts_fault: bool,
    /// The model file that is at fault: no job that loads it can work here, others can.
    pub model: Option<String>,
    /// The engine ended by itself while it worked on this job. Once may be chance; of a job that does so time and again
    /// it is not, whatever `hosts_fault` says.
    pub ended_engine: bool,
    /// The engine has done its work, and this box has no room for what it made: no fault of the engine.
    pub no_room: bool,
}

impl Failure {
    /// A failure of the job's own making, or one of which nothing better is known.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            retry_after: None,
            hosts_fault: false,
            model: None,
            ended_engine: false,
            no_room: false,
        }
    }

    /// The same, but this box is at fault.
    pub fn of_host(reason: Reason, message: impl Into<String>) -> Self {
        Self { hosts_fault: true, ..Self::new(reason, message) }
    }

    /// The engine has ended while it worked on the job.
    pub fn of_ended_engine(message: impl Into<String>) -> Self {
        Self { ended_engine: true, ..Self::of_host(Reason::ServiceDown, message) }
    }

    /// For a reason that an engine gave in so many words. Memory that ran out is this box's: another one may have more.
    pub fn as_named(reason: Reason, message: impl Into<String>) -> Self {
        let failure = Self::new(reason, message);
        Self { hosts_fault: failure.is_out_of_memory(), ..failure }
    }

    /// The same, with the model file that is at fault.
    pub fn about_model(self, model: Option<String>) -> Self {
        Self { model, ..self }
    }

    /// Whether memory ran out, of the GPU or of the machine.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self.reason, Reason::OutOfMemory | Reason::GpuMemoryFull)
    }

    /// The failure type, as written into events and attestations.
    pub fn kind(&self) -> FailureType {
        self.reason.kind()
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "each word documents itself")]
        pub enum $name { $($variant),+ }

        impl $name {
            /// Every value, in the order of the table.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }

            /// The value that this word stands for.
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == word)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.as_str()) }
        }
    };
}

words! {
    /// The ten failure types.
    FailureType {
        GenerationRefusal = "generation_refusal",
        ServiceError = "service_error",
        Timeout = "timeout",
        ValidationError = "validation_error",
        ResourceLimit = "resource_limit",
        AuthError = "auth_error",
        RateLimit = "rate_limit",
        NetworkError = "network_error",
        ResponseError = "response_error",
        SystemError = "system_error",
    }
}

words! {
    /// The reasons, grouped by type in this order.
    Reason {
        ViolenceDetected = "violence_detected",
        CopyrightBlocker = "copyright_blocker",
        NsfwContent = "nsfw_content",
        HateSpeech = "hate_speech",
        PersonalInfo = "personal_info",
        SafetyFilter = "safety_filter",
        PolicyViolation = "policy_violation",
        ServiceDown = "service_down",
        ServiceUnavailable = "service_unavailable",
        MaintenanceMode = "maintenance_mode",
        DegradedPerformance = "degraded_performance",
        JobTimeout = "job_timeout",
        NetworkTimeout = "network_timeout",
        ProcessingTimeout = "processing_timeout",
        QueueTimeout = "queue_timeout",
        InvalidPayload = "invalid_payload",
        MissingRequiredField = "missing_required_field",
        InvalidFormat = "invalid_format",
        UnsupportedOperation = "unsupported_operation",
        ModelNotFound = "model_not_found",
        ComponentError = "component_error",
        OutOfMemory = "out_of_memory",
        DiskSpaceFull = "disk_space_full",
        GpuMemoryFull = "gpu_memory_full",
        ConcurrentLimit = "concurrent_limit",
        InvalidApiKey = "invalid_api_key",
        ExpiredToken = "expired_token",
        InsufficientPermissions = "insufficient_permissions",
        AccountSuspended = "account_suspended",
        RequestsPerMinute = "requests_per_minute",
        TokensPerMinute = "tokens_per_minute",
        DailyQuotaExceeded = "daily_quota_exceeded",
        ConcurrentRequests = "concurrent_requests",
        ConnectionFailed = "connection_failed",
        DnsResolution = "dns_resolution",
        SslCertificate = "ssl_certificate",
        ProxyError = "proxy_error",
        InvalidResponseFormat = "invalid_response_format",
        UnexpectedContentType = "unexpected_content_type",
        CorruptedData = "corrupted_data",
        MissingExpectedData = "missing_expected_data",
        InternalError = "internal_error",
        ConfigError = "config_error",
        DependencyError = "dependency_error",
        GpuError = "gpu_error",
        UnknownError = "unknown_error",
    }
}

impl FailureType {
    /// The reason that stands for this type where nothing finer is known.
    pub const fn general(self) -> Reason {
        match self {
            Self::GenerationRefusal => Reason::PolicyViolation,
            Self::ServiceError => Reason::ServiceUnavailable,
            Self::Timeout => Reason::ProcessingTimeout,
            Self::ValidationError => Reason::InvalidPayload,
            Self::ResourceLimit => Reason::ConcurrentLimit,
            Self::AuthError => Reason::InsufficientPermissions,
            Self::RateLimit => Reason::RequestsPerMinute,
            Self::NetworkError => Reason::ConnectionFailed,
            Self::ResponseError => Reason::InvalidResponseFormat,
            Self::SystemError => Reason::UnknownError,
        }
    }
}

impl Reason {
    /// The failure type that this reason belongs to.
    pub const fn kind(self) -> FailureType {
        use Reason::*;
        match self {
            ViolenceDetected | CopyrightBlocker | NsfwContent | HateSpeech | PersonalInfo | SafetyFilter
            | PolicyViolation => FailureType::GenerationRefusal,
            ServiceDown | ServiceUnavailable | MaintenanceMode | DegradedPerformance => FailureType::ServiceError,
            JobTimeout | NetworkTimeout | ProcessingTimeout | QueueTimeout => FailureType::Timeout,
            InvalidPayload | MissingRequiredField | InvalidFormat | UnsupportedOperation | ModelNotFound
            | ComponentError => FailureType::ValidationError,
            OutOfMemory | DiskSpaceFull | GpuMemoryFull | ConcurrentLimit => FailureType::ResourceLimit,
            InvalidApiKey | ExpiredToken | InsufficientPermissions | AccountSuspended => FailureType::AuthError,
            RequestsPerMinute | TokensPerMinute | DailyQuotaExceeded | ConcurrentRequests => FailureType::RateLimit,
            ConnectionFailed | DnsResolution | SslCertificate | ProxyError => FailureType::NetworkError,
            InvalidResponseFormat | UnexpectedContentType | CorruptedData | MissingExpectedData => {
                FailureType::ResponseError
            }
            InternalError | ConfigError | DependencyError | GpuError | UnknownError => FailureType::SystemError,
        }
    }
}
