//! What an OpenAI connector is told: where the server is, who we are, what it serves, and how patient to be.
//! In: values from the agent's configuration. Out: checked settings; keys never show in debug output.

use crate::address;
use crate::failure::Failure;
use secrecy::SecretString;
use std::time::Duration;
use url::Url;

/// The services of the reference that this connector answers: texts first, then vectors, responses and pictures.
pub const SERVICES: &[&str] = &[
    "openai_text",
    "chat_completion",
    "text_generation",
    "ollama",
    "embeddings",
    "openai",
    "openai_responses",
    "openai_image",
    "openai_img2img",
];

/// One server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the server's own questions go: the address without `/v1`.
    pub root: Url,
    /// Where the API is: ends with `/v1`.
    pub api: Url,
    /// Sent as a bearer token.
    pub api_key: Option<SecretString>,
    /// The services that it serves; if there are none, those of [`SERVICES`] that such a server has routes for.
    pub services: Vec<String>,
    /// Models that it is said to have; the first is used where a job names none.
    pub models: Vec<String>,
    /// Requests at once.
    pub concurrency: usize,
    /// Intervals and limits.
    pub timing: Timing,
}

impl Settings {
    /// A server without a key, all services, usual patience. `/v1` at the end of the address may be left out.
    ///
    /// # Errors
    /// `system_error/config_error` if the address cannot be used.
    pub fn at(base_url: &str) -> Result<Self, Failure> {
        let mut root = address::checked(base_url, "the address of the OpenAI API", "http://127.0.0.1:8000")?;
        let path = root.path().trim_end_matches('/').trim_end_matches("/v1").to_owned();
        root.set_path(&path);
        let mut api = root.clone();
        api.set_path(&format!("{path}/v1"));
        Ok(Self {
            root,
            api,
            api_key: None,
            services: Vec::new(),
            models: Vec::new(),
            concurrency: 1,
            timing: Timing::default(),
        })
    }
}

/// Intervals and limits; most of them matter only when something is slow, silent or gone.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Opening a connection.
    pub connect: Duration,
    /// Silence on the wire after which the kernel asks whether the server's machine is still there.
    pub keepalive: Duration,
    /// A small question.
    pub request: Duration,
    /// Each question of a probe.
    pub probe: Duration,
    /// Until the first piece of an answer: the model may have to be loaded and the prompt to be read.
    pub first: Duration,
    /// Between two pieces of a stream.
    pub idle: Duration,
    /// Behind a text that its server has called finished: how many tokens it took, and the end of the stream.
    pub last: Duration,
    /// An answer that comes whole: pictures, vectors, texts that are not streamed.
    pub whole: Duration,
    /// Time between two looks at a response in the background.
    pub poll: Duration,
    /// How long a response in the background may take.
    pub background: Duration,
    /// How long the server may give no answer about it.
    pub unreachable: Duration,
    /// How long to wait for cancelled work to stop.
    pub stop: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            keepalive: Duration::from_secs(30),
            request: Duration::from_secs(10),
            probe: Duration::from_secs(3),
            first: Duration::from_secs(300),
            idle: Duration::from_secs(120),
            last: Duration::from_secs(10),
            whole: Duration::from_secs(600),
            poll: Duration::from_secs(2),
            background: Duration::from_secs(3600),
            unreachable: Duration::from_secs(60),
            stop: Duration::from_secs(10),
        }
    }
}
