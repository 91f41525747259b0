//! What an AUTOMATIC1111 connector is told: where the server is, who we are, and how patient to be.
//! In: values from the agent's configuration. Out: checked settings; passwords never show in debug output.

use crate::address;
use crate::failure::Failure;
use secrecy::SecretString;
use std::time::Duration;
use url::Url;

/// One server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Such as `http://127.0.0.1:7860`.
    pub base_url: Url,
    /// For HTTP basic authentication (the server's `--api-auth`).
    pub username: Option<String>,
    /// Goes with `username`.
    pub password: Option<SecretString>,
    /// The services that it serves.
    pub services: Vec<String>,
    /// Intervals and limits.
    pub timing: Timing,
}

impl Settings {
    /// A server without login, usual patience.
    ///
    /// # Errors
    /// `system_error/config_error` if the address cannot be used.
    pub fn at(base_url: &str) -> Result<Self, Failure> {
        Ok(Self {
            base_url: address::checked(base_url, "the AUTOMATIC1111 address", "http://127.0.0.1:7860")?,
            username: None,
            password: None,
            services: vec![super::NAME.to_owned()],
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
    /// A small question: lists, options, progress, an interrupt.
    pub request: Duration,
    /// Each question of a probe.
    pub probe: Duration,
    /// Switching the checkpoint, which the server answers when the weights are loaded.
    pub load: Duration,
    /// Time between looks at the progress of a run.
    pub poll: Duration,
    /// How long a server that is at somebody else's work is waited for before a request joins its queue.
    pub idle_patience: Duration,
    /// How long a server may work on a request whose task id it does not know before it counts as one without task ids.
    pub unnamed_after: Duration,
    /// How long the server may give no answer to any question before the run is given up.
    pub unreachable: Duration,
    /// How long to wait for cancelled work to stop.
    pub stop: Duration,
    /// Time between looks while waiting for it.
    pub stop_poll: Duration,
    /// Time between two looks at a task that seems to be a failed one's leftover.
    pub second_look: Duration,
    /// Silence within an answer after which it is given up.
    pub stalled_answer: Duration,
    /// Age at which a probe lists the models anew.
    pub models_refresh: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            keepalive: Duration::from_secs(30),
            request: Duration::from_secs(10),
            probe: Duration::from_secs(3),
            load: Duration::from_secs(600),
            poll: Duration::from_secs(1),
            idle_patience: Duration::from_secs(60),
            unnamed_after: Duration::from_secs(2),
            unreachable: Duration::from_secs(120),
            stop: Duration::from_secs(15),
            stop_poll: Duration::from_millis(200),
            second_look: Duration::from_millis(500),
            stalled_answer: Duration::from_secs(60),
            models_refresh: Duration::from_secs(60),
        }
    }
}
