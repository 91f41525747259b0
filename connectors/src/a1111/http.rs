//! HTTP to one server: addresses, credentials, deadlines, and what can go wrong, as a type.
//! In: a path and a body. Out: an answer of limited size, or the trouble by what it says about the server.

use super::settings::Settings;
use crate::failure::{Failure, Reason};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::error::Error;
use std::io;
use std::time::Duration;
use tokio::time::timeout;
use url::Url;

/// The largest answer that is read whole; the longest of a real server lists options, models or scripts.
const BODY_MAX: usize = 16 << 20;

/// Why a question has no usable answer.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
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
    /// An answer that is not what this route gives.
    Nonsense,
}

/// An answer that has been read to its end.
pub(super) struct Answer {
    pub status: u16,
    pub retry_after: Option<Duration>,
    pub body: Bytes,
}

impl Answer {
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Trouble> {
        serde_json::from_slice(&self.body).map_err(|_| Trouble::Nonsense)
    }

    pub fn success(self) -> Result<Self, Trouble> {
        match self.status {
            200..=299 => Ok(self),
            status => Err(Trouble::Status { status, retry_after: self.retry_after }),
        }
    }
}

pub(super) struct Http {
    client: Client,
    /// Never uses a connection twice: one that the server has closed meanwhile would leave in doubt whether work arrived.
    fresh: Client,
    base: Url,
    username: Option<String>,
    password: Option<SecretString>,
}

impl Http {
    pub fn new(settings: &Settings) -> Result<Self, Failure> {
        // The client refuses to be built without a provider; a second installation is refused and does no harm.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = |idle| {
            Client::builder()
                .connect_timeout(settings.timing.connect)
                // A redirect would carry prompts and credentials to whoever is named there.
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .http1_only()
                .tcp_nodelay(true)
                // There is no traffic during a run; a peer that vanished without a word is noticed by this alone.
                .tcp_keepalive(settings.timing.keepalive)
                // The server keeps idle connections for 30 s.
                .pool_idle_timeout(Duration::from_secs(15))
                .pool_max_idle_per_host(idle)
                .build()
                .map_err(|error| Failure::of_host(Reason::ConfigError, format!("cannot set up HTTP: {error}")))
        };
        Ok(Self {
            client: client(4)?,
            fresh: client(0)?,
            base: settings.base_url.clone(),
            username: settings.username.clone(),
            password: settings.password.clone(),
        })
    }

    fn request(&self, client: &Client, method: Method, path: &str) -> RequestBuilder {
        let mut url = self.base.clone();
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/'));
        }
        url.set_query(query);
        let request = client.request(method, url);
        match &self.username {
            Some(name) => request.basic_auth(name, self.password.as_ref().map(ExposeSecret::expose_secret)),
            None => request,
        }
    }

    pub async fn get(&self, path: &str, limit: Duration) -> Result<Answer, Trouble> {
        let ask = || read(self.request(&self.client, Method::GET, path), limit);
        match ask().await {
            // A connection kept from before a restart breaks at its first use; only a fresh one tells of the server.
            Err(Trouble::Broken) => ask().await,
            answer => answer,
        }
    }

    pub async fn post(&self, path: &str, body: &Value, limit: Duration) -> Result<Answer, Trouble> {
        read(self.request(&self.fresh, Method::POST, path).json(body), limit).await
    }

    /// Hands work over and waits for the head of the answer, which comes when the work is done, however long that is.
    pub async fn hand_over(&self, path: &str, body: &Value) -> Result<Response, Trouble> {
        Ok(self.request(&self.fresh, Method::POST, path).json(body).send().await?)
    }
}

async fn read(request: RequestBuilder, limit: Duration) -> Result<Answer, Trouble> {
    let whole = async { whole(request.send().await?).await };
    timeout(limit, whole).await.unwrap_or(Err(Trouble::Silent))
}

/// Reads an answer to its end.
pub(super) async fn whole(response: Response) -> Result<Answer, Trouble> {
    let (status, retry_after) = (response.status().as_u16(), retry_after(&response));
    let mut body = BytesMut::new();
    let mut parts = response.bytes_stream();
    while let Some(part) = parts.next().await {
        let part = part?;
        if body.len() + part.len() > BODY_MAX {
            return Err(Trouble::Nonsense);
        }
        body.extend_from_slice(&part);
    }
    Ok(Answer { status, retry_after, body: body.freeze() })
}

/// The seconds form alone: the date form needs a clock that agrees with the server's.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
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
    pub fn failure(&self, doing: &str) -> Failure {
        match self {
            Self::Refused => Failure::of_host(
                Reason::ServiceDown,
                format!(
                    "AUTOMATIC1111 refuses connections ({doing}); it has ended or is restarting: start it and look at its log"
                ),
            ),
            Self::Unreachable => Failure::of_host(
                Reason::ConnectionFailed,
                format!("AUTOMATIC1111 cannot be reached ({doing}); check name, route and certificate of its address"),
            ),
            Self::Silent => {
                Failure::of_host(Reason::NetworkTimeout, format!("AUTOMATIC1111 gave no answer in time ({doing})"))
            }
            Self::Broken => {
                Failure::of_host(Reason::ConnectionFailed, format!("the connection to AUTOMATIC1111 broke ({doing})"))
            }
            Self::Nonsense => Failure::of_host(
                Reason::InvalidResponseFormat,
                format!("the answer is not AUTOMATIC1111's ({doing}); is the address that of a AUTOMATIC1111 server?"),
            ),
            Self::Status { status, retry_after } => Failure { retry_after: *retry_after, ..of_status(*status, doing) },
        }
    }
}

fn of_status(status: u16, doing: &str) -> Failure {
    let said = format!("AUTOMATIC1111 answered {status} ({doing})");
    match StatusCode::from_u16(status).unwrap_or_default() {
        StatusCode::UNAUTHORIZED => {
            Failure::of_host(Reason::InvalidApiKey, format!("{said}; check the credentials of this engine"))
        }
        StatusCode::FORBIDDEN => {
            Failure::of_host(Reason::InsufficientPermissions, format!("{said}; check the credentials of this engine"))
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Failure::of_host(
            Reason::InvalidResponseFormat,
            format!("{said}; is the address that of a AUTOMATIC1111 server?"),
        ),
        StatusCode::PAYLOAD_TOO_LARGE => Failure::new(
            Reason::InvalidPayload,
            format!("{said}: the request is larger than what stands before the server accepts"),
        ),
        StatusCode::TOO_MANY_REQUESTS => Failure::of_host(Reason::RequestsPerMinute, said),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Failure::of_host(Reason::ServiceUnavailable, said)
        }
        // The server's own 500 may well be caused by the request: charged to the job, so that it cannot go round for ever.
        status if status.is_server_error() => Failure::new(Reason::ServiceUnavailable, said),
        _ => Failure::new(Reason::InvalidResponseFormat, said),
    }
}
