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

/// Queue answers carry whole graphs, with pictures inside if people put them there; beyond this it is nonsense.
const BODY_MAX: usize = 256 << 20;

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
    base: Url,
    username: Option<String>,
    password: Option<SecretString>,
    api_key: Option<SecretString>,
}

impl Http {
    pub fn new(settings: &Settings) -> Result<Self, Failure> {
        // The client refuses to be built without a provider; a second installation is refused and does no harm.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .connect_timeout(settings.timing.connect)
            // A redirect would carry graphs and credentials to whoever is named there.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // Websockets are opened by upgrading an HTTP/1.1 request.
            .http1_only()
            .tcp_nodelay(true)
            .pool_idle_timeout(Duration::from_secs(15))
            .build()
            .map_err(|error| Failure::of_host(Reason::ConfigError, format!("cannot set up HTTP: {error}")))?;
        Ok(Self {
            client,
            base: settings.base_url.clone(),
            username: settings.username.clone(),
            password: settings.password.clone(),
            api_key: settings.api_key.clone(),
        })
    }

    /// A request with the credentials. Neither `Origin` nor `Sec-Fetch-*` goes out: loopback servers answer 403 to them.
    pub fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.client.request(method, url);
        match (&self.api_key, &self.username) {
            (Some(key), _) => request.bearer_auth(key.expose_secret()),
            (None, Some(name)) => {
                request.basic_auth(name, self.password.as_ref().map(secrecy::ExposeSecret::expose_secret))
            }
            (None, None) => request,
        }
    }

    pub async fn get(&self, path: &[&str], limit: Duration) -> Result<Answer, Trouble> {
        match read(self.request(Method::GET, path, &[]), limit).await {
            // A connection kept from before a restart breaks at its first use; only a fresh one tells of the server.
            Err(Trouble::Broken) => read(self.request(Method::GET, path, &[]), limit).await,
            answer => answer,
        }
    }

    pub async fn post(&self, path: &[&str], body: &Value, limit: Duration) -> Result<Answer, Trouble> {
        read(self.request(Method::POST, path, &[]).json(body), limit).await
    }
}

impl Http {
    /// JSON that was written beforehand.
    pub async fn post_bytes(&self, path: &[&str], body: Bytes, limit: Duration) -> Result<Answer, Trouble> {
        let request = self.request(Method::POST, path, &[]).header(header::CONTENT_TYPE, "application/json");
        read(request.body(body), limit).await
    }
}

async fn read(request: RequestBuilder, limit: Duration) -> Result<Answer, Trouble> {
    let whole = async {
        let response = request.send().await.map_err(Trouble::from)?;
        let (status, retry_after) = (response.status().as_u16(), retry_after(&response));
        let mut body = BytesMut::new();
        let mut parts = response.bytes_stream();
        while let Some(part) = parts.next().await {
            let part = part.map_err(Trouble::from)?;
            if body.len() + part.len() > BODY_MAX {
                return Err(Trouble::Nonsense);
            }
            body.extend_from_slice(&part);
        }
        Ok(Answer { status, retry_after, body: body.freeze() })
    };
    timeout(limit, whole).await.unwrap_or(Err(Trouble::Silent))
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
                    "ComfyUI refuses connections ({doing}); it has ended or is restarting: start it and look at its log"
                ),
            ),
            Self::Unreachable => Failure::of_host(
                Reason::ConnectionFailed,
                format!("ComfyUI cannot be reached ({doing}); check name, route and certificate of its address"),
            ),
            Self::Silent => {
                Failure::of_host(Reason::NetworkTimeout, format!("ComfyUI gave no answer in time ({doing})"))
            }
            Self::Broken => {
                Failure::of_host(Reason::ConnectionFailed, format!("the connection to ComfyUI broke ({doing})"))
            }
            Self::Nonsense => Failure::of_host(
                Reason::InvalidResponseFormat,
                format!("the answer is not ComfyUI's ({doing}); is the address that of a ComfyUI server?"),
            ),
            Self::Status { status, retry_after } => Failure { retry_after: *retry_after, ..of_status(*status, doing) },
        }
    }
}

fn of_status(status: u16, doing: &str) -> Failure {
    let said = format!("ComfyUI answered {status} ({doing})");
    match StatusCode::from_u16(status).unwrap_or_default() {
        StatusCode::UNAUTHORIZED => {
            Failure::of_host(Reason::InvalidApiKey, format!("{said}; check the credentials of this engine"))
        }
        StatusCode::FORBIDDEN => Failure::of_host(
            Reason::InsufficientPermissions,
            format!("{said}; check the credentials, and that nothing between rewrites the Host header"),
        ),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            Failure::of_host(Reason::InvalidResponseFormat, format!("{said}; is the address that of a ComfyUI server?"))
        }
        StatusCode::PAYLOAD_TOO_LARGE => Failure::new(
            Reason::InvalidPayload,
            format!("{said}: the workflow is larger than the server accepts (--max-upload-size)"),
        ),
        StatusCode::TOO_MANY_REQUESTS => Failure::of_host(Reason::RequestsPerMinute, said),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Failure::of_host(Reason::ServiceUnavailable, said)
        }
        // The server's own 500 may well be caused by the graph: charged to the job, so that it cannot go round for ever.
        status if status.is_server_error() => Failure::new(Reason::ServiceUnavailable, said),
        _ => Failure::new(Reason::InvalidResponseFormat, said),
    }
}
