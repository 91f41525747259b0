//! Why a question has no usable answer, and the failure that a run has of it.
//! In: the client's errors, and how the engine is called. Out: the trouble as a type; the failure in words. Neither holds
//! an address, a header or a body, any of which may hold a secret.

use crate::failure::{Failure, Reason};
use reqwest::StatusCode;
use std::error::Error;
use std::io;
use std::time::Duration;

/// What went wrong.
#[derive(Debug, Clone)]
pub(crate) enum Trouble {
    /// Nobody listens there, so nobody works there.
    Refused,
    /// No way there: an unknown name, no route, a certificate that does not hold.
    Unreachable,
    /// No answer in time; the server may be busy, frozen or out of reach.
    Silent,
    /// The connection ended before the answer did.
    Broken,
    /// An answer with a status that was not expected.
    Status { status: u16, retry_after: Option<Duration> },
    /// The answer is larger than an answer may be.
    TooLarge,
    /// An answer that is not what this route gives.
    Nonsense,
}

/// How an engine is spoken of.
#[derive(Debug)]
pub(crate) struct Engine {
    /// Such as `ComfyUI`.
    pub name: &'static str,
    /// Where to look after a 403.
    pub forbidden: &'static str,
    /// What a 413 means.
    pub too_large: &'static str,
}

impl From<reqwest::Error> for Trouble {
    fn from(error: reqwest::Error) -> Self {
        match () {
            () if error.is_timeout() => Self::Silent,
            () if refused(&error) => Self::Refused,
            () if error.is_connect() => Self::Unreachable,
            () => Self::Broken,
        }
    }
}

fn refused(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(at) = cause {
        if at.downcast_ref::<io::Error>().is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused) {
            return error.is_connect();
        }
        cause = at.source();
    }
    false
}

impl Trouble {
    /// The failure of a run that this trouble ended while we were `doing` something.
    pub fn failure(&self, of: &Engine, doing: &str) -> Failure {
        let name = of.name;
        match self {
            Self::Refused => Failure::of_host(
                Reason::ServiceDown,
                format!(
                    "{name} refuses connections ({doing}); it has ended or is restarting: start it and look at its log"
                ),
            ),
            Self::Unreachable => Failure::of_host(
                Reason::ConnectionFailed,
                format!("{name} cannot be reached ({doing}); check name, route and certificate of its address"),
            ),
            Self::Silent => {
                Failure::of_host(Reason::NetworkTimeout, format!("{name} gave no answer in time ({doing})"))
            }
            Self::Broken => {
                Failure::of_host(Reason::ConnectionFailed, format!("the connection to {name} broke ({doing})"))
            }
            Self::Nonsense | Self::TooLarge => Failure::of_host(
                Reason::InvalidResponseFormat,
                format!("the answer is not one that {name} gives ({doing}); is the address that of {name}?"),
            ),
            Self::Status { status, retry_after } => {
                Failure { retry_after: *retry_after, ..of_status(*status, of, doing) }
            }
        }
    }
}

fn of_status(status: u16, of: &Engine, doing: &str) -> Failure {
    let name = of.name;
    let said = format!("{name} answered {status} ({doing})");
    match StatusCode::from_u16(status).unwrap_or_default() {
        StatusCode::UNAUTHORIZED => {
            Failure::of_host(Reason::InvalidApiKey, format!("{said}; check the credentials of this engine"))
        }
        StatusCode::FORBIDDEN => Failure::of_host(Reason::InsufficientPermissions, format!("{said}; {}", of.forbidden)),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            Failure::of_host(Reason::InvalidResponseFormat, format!("{said}; is the address that of {name}?"))
        }
        StatusCode::PAYLOAD_TOO_LARGE => Failure::new(Reason::InvalidPayload, format!("{said}: {}", of.too_large)),
        StatusCode::TOO_MANY_REQUESTS => Failure::of_host(Reason::RequestsPerMinute, said),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Failure::of_host(Reason::ServiceUnavailable, said)
        }
        // The server's own 500 may well be caused by the job: charged to it, so that it cannot go round for ever.
        status if status.is_server_error() => Failure::new(Reason::ServiceUnavailable, said),
        _ => Failure::new(Reason::InvalidResponseFormat, said),
    }
}
