//! What a ComfyUI connector is told: where the server is, who we are, and how patient to be.
//! In: values from the agent's configuration. Out: checked settings; passwords and keys never show in debug output.

use crate::failure::{Failure, Reason};
use secrecy::SecretString;
use std::time::Duration;
use url::Url;

/// One ComfyUI server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Such as `http://127.0.0.1:8188`, with a path if a proxy serves it below one.
    pub base_url: Url,
    /// For HTTP basic authentication at a proxy; ComfyUI itself has none.
    pub username: Option<String>,
    /// Goes with `username`.
    pub password: Option<SecretString>,
    /// Sent as a bearer token; wins over user name and password.
    pub api_key: Option<SecretString>,
    /// The services that it serves.
    pub services: Vec<String>,
    /// Folders of `/models/{folder}` that a probe lists where the server does not say which it has.
    pub model_folders: Vec<String>,
    /// Intervals and limits.
    pub timing: Timing,
}

impl Settings {
    /// A server without login, usual folders, usual patience. User name and password in the URL are taken over.
    pub fn at(base_url: &str) -> Result<Self, Failure> {
        // The URL may hold a password: it is not repeated in the message.
        let wrong = |why: &str| {
            let what = format!("the ComfyUI address {why}; give one such as http://127.0.0.1:8188");
            Failure::of_host(Reason::ConfigError, what)
        };
        let mut base_url = Url::parse(base_url).map_err(|_| wrong("is not a URL"))?;
        if !matches!(base_url.scheme(), "http" | "https") || base_url.host_str().is_none() {
            return Err(wrong("must begin with http:// or https:// and name a host"));
        }
        let username = (!base_url.username().is_empty()).then(|| plain(base_url.username()));
        let password = base_url.password().map(|password| SecretString::from(plain(password)));
        let cleared = base_url.set_username("").and_then(|()| base_url.set_password(None));
        cleared.map_err(|()| wrong("cannot be read"))?;
        base_url.set_query(None);
        base_url.set_fragment(None);
        Ok(Self {
            base_url,
            username,
            password,
            api_key: None,
            services: vec![super::NAME.to_owned()],
            model_folders: MODEL_FOLDERS.iter().map(|folder| (*folder).to_owned()).collect(),
            timing: Timing::default(),
        })
    }
}

/// Folders that stock nodes load from.
const MODEL_FOLDERS: &[&str] = &[
    "checkpoints",
    "diffusion_models",
    "loras",
    "vae",
    "text_encoders",
    "controlnet",
    "clip_vision",
    "upscale_models",
    "embeddings",
];

/// Undoes the percent-encoding that URLs need in user names and passwords.
fn plain(encoded: &str) -> String {
    // Form decoding differs from URL decoding in `+` alone.
    let escaped = format!("v={}", encoded.replace('+', "%2B"));
    url::form_urlencoded::parse(escaped.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// Intervals and limits; all of them matter only when something is slow, silent or gone.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Opening a connection, and opening the websocket.
    pub connect: Duration,
    /// A small question (queue, history): the server stalls for up to a second after runs, longer while loading models.
    pub request: Duration,
    /// Each question of a probe.
    pub probe: Duration,
    /// `POST /prompt`, which validates the whole graph.
    pub submit: Duration,
    /// How long a submission under way may still take when the job is cancelled meanwhile.
    pub submit_grace: Duration,
    /// Silence about our prompt on the socket after which history is asked.
    pub silence: Duration,
    /// Time between questions when there is no socket, or only a second one.
    pub poll: Duration,
    /// Time between questions once the server has said that the run is over.
    pub settle_poll: Duration,
    /// How long `settle_poll` goes on before it is `poll` again.
    pub settle: Duration,
    /// Silence after which the queue is asked too; its answer carries whole graphs.
    pub locate: Duration,
    /// Time between two looks at a prompt that is in neither queue nor history.
    pub second_look: Duration,
    /// Time between pings; each must be answered before the next.
    pub ping: Duration,
    /// How long the server may refuse connections, or give answers that are of no use, before the run is given up
    /// (a restart forgets the run anyway).
    pub refused: Duration,
    /// How long the server may give no sign of life at all before the run is given up.
    pub unreachable: Duration,
    /// How long to wait for a cancelled prompt to stop.
    pub stop: Duration,
    /// Time between looks while waiting for it.
    pub stop_poll: Duration,
    /// How long to wait until memory that was asked back is free.
    pub free: Duration,
    /// Silence within a download after which it is given up.
    pub stalled_download: Duration,
    /// Age at which a probe lists the models anew.
    pub models_refresh: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(10),
            probe: Duration::from_secs(3),
            submit: Duration::from_secs(60),
            submit_grace: Duration::from_secs(2),
            silence: Duration::from_millis(1500),
            poll: Duration::from_secs(1),
            settle_poll: Duration::from_millis(50),
            settle: Duration::from_secs(5),
            locate: Duration::from_secs(10),
            second_look: Duration::from_millis(500),
            ping: Duration::from_secs(10),
            refused: Duration::from_secs(5),
            unreachable: Duration::from_secs(60),
            stop: Duration::from_secs(10),
            stop_poll: Duration::from_millis(50),
            free: Duration::from_secs(2),
            stalled_download: Duration::from_secs(30),
            models_refresh: Duration::from_secs(60),
        }
    }
}
