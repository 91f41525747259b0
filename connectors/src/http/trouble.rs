//! Why a question has no usable answer, and the failure that a run has of it.
//! In: the client's errors, and how the engine is called. Out: the trouble as a type; the failure in words. Neither holds
//! an address, a header or a body, any of which may hold a secret.

use super::names::UnknownName;
use crate::failure::{Failure, Reason};
use reqwest::StatusCode;
use std::error::Error;
use std::io;
use std::time::Duration;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nobody listens there, so nobody works there.
    Refused,
    /// No way there.
    Unreachable,
    /// Its name leads nowhere.
    UnknownName,
    /// Its certificate does not hold, or it does not speak TLS.
    Untrusted,
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
            () if error.is_connect() => match () {
                () if has::<io::Error>(&error, |io| io.kind() == io::ErrorKind::ConnectionRefused) => Self::Refused,
                () if has::<UnknownName>(&error, |_| true) => Self::UnknownName,
                () if has::<rustls::Error>(&error, |_| true) => Self::Untrusted,
                () => Self::Unreachable,
            },
            () => Self::Broken,
        }
    }
}

/// Whether one of its causes is of this type, and such.
fn has<E: Error + 'static>(error: &reqwest::Error, such: impl Fn(&E) -> bool) -> bool {
    let mut cause = error.source();
    while let Some(at) = cause {
        if at.downcast_ref::<E>().is_some_and(&such) {
            return true;
        }
        // What is packed into an error of the operating system's type is not among that one's causes.
        let packed = at.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = packed.map(|inner| inner as &(dyn Error + 'static)).or_else(|| at.source());
    }
    false
}

impl Trouble {
    /// Whether there is nobody to speak to: nothing has reached the server, and nothing will.
    pub fn is_no_way(&self) -> bool {
        matches!(self, Self::Refused | Self::Unreachable | Self::UnknownName | Self::Untrusted)
    }

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
                format!("{name} cannot be reached ({doing}); check host, port and the network between"),
            ),
            Self::UnknownName => Failure::of_host(
                Reason::DnsResolution,
                format!("the name of {name}'s host cannot be resolved ({doing}); check its address"),
            ),
            Self::Untrusted => Failure::of_host(
                Reason::SslCertificate,
                format!(
                    "{name} cannot be asked over TLS ({doing}): its certificate does not hold, or it does not speak it"
                ),
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

#[cfg(test)]
mod tests {
    use super::super::{Access, Http, Policy};
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const ENGINE: Engine = Engine { name: "the engine", forbidden: "", too_large: "" };

    /// A server that says this to whoever comes, whatever it was asked, and closes; answers its port.
    async fn saying(words: &'static [u8]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(words).await;
            }
        });
        port
    }

    #[tokio::test]
    async fn each_cause_on_the_wire_has_its_reason() {
        let plain = saying(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        let nonsense = saying(b"220 mail.example.org ESMTP\r\n").await;
        let cut = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await;
        let closing = saying(b"").await;
        let limited = saying(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n").await;
        // No label of a name has so many letters: nobody needs to be asked to know that there is no such host.
        let long = "x".repeat(64);
        let rows = [
            ("http://127.0.0.1:1".to_owned(), Reason::ServiceDown),
            (format!("http://{long}.example.org"), Reason::DnsResolution),
            (format!("https://127.0.0.1:{plain}"), Reason::SslCertificate),
            (format!("http://127.0.0.1:{nonsense}"), Reason::ConnectionFailed),
            (format!("http://127.0.0.1:{cut}"), Reason::ConnectionFailed),
            (format!("http://127.0.0.1:{closing}"), Reason::ConnectionFailed),
            (format!("http://127.0.0.1:{limited}"), Reason::RequestsPerMinute),
        ];
        let limit = Duration::from_secs(30);
        let policy = Policy { connect: limit, keepalive: None, reuse: false, answer_max: 1 << 20 };
        for (url, reason) in rows {
            let http = Http::new(&url.parse().unwrap(), Access::Open, &policy).unwrap();
            let trouble = match http.get(&["x"], limit).await {
                Ok(answer) => Trouble::Status { status: answer.status, retry_after: answer.retry_after },
                Err(trouble) => trouble,
            };
            let failure = trouble.failure(&ENGINE, "asking");
            assert_eq!((failure.reason, failure.hosts_fault), (reason, true), "{url}: {failure}");
            assert!(!failure.message.contains("127.0.0.1") && !failure.message.contains(&long), "{failure}");
            assert_eq!(failure.retry_after, (reason == Reason::RequestsPerMinute).then_some(Duration::from_secs(7)));
        }
    }
}
