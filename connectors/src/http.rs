//! HTTP to one engine: the client, credentials, deadlines, and answers of limited size or streamed.
//! In: a base address, credentials and a policy; then paths and bodies. Out: an [`Answer`], a [`Body`], or the [`Trouble`].
//!
//! What an engine's own folder adds are its words for failures ([`Engine`]) and its limits ([`Policy`]).

mod names;
mod trouble;

use crate::failure::{Failure, Reason};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use reqwest::header::{self, HeaderMap};
use reqwest::{Client, Method, RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
pub(crate) use trouble::{Engine, Trouble};
use url::Url;

/// Idle connections are closed before servers close them: 30 s is a usual patience of theirs.
const IDLE: Duration = Duration::from_secs(15);

/// How a client behaves towards its server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    /// For opening a connection.
    pub connect: Duration,
    /// Asks the kernel to look for a peer that vanished while nothing is sent.
    pub keepalive: Option<Duration>,
    /// Whether connections are used again; one that the server has closed meanwhile leaves in doubt whether work arrived.
    pub reuse: bool,
    /// The longest answer that is read whole.
    pub answer_max: usize,
}

/// Who we are to the server.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    Open,
    Basic { username: String, password: Option<SecretString> },
    Bearer(SecretString),
}

impl Access {
    /// Basic authentication where there is a user's name.
    pub fn basic(username: Option<&str>, password: Option<&SecretString>) -> Self {
        username.map_or(Self::Open, |name| Self::Basic { username: name.to_owned(), password: password.cloned() })
    }
}

/// A client as every engine gets it.
///
/// # Errors
/// `system_error/config_error` if there is no TLS to be had.
pub(crate) fn client(policy: &Policy) -> Result<Client, Failure> {
    // The client refuses to be built without a provider; a second installation is refused and does no harm.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .connect_timeout(policy.connect)
        .dns_resolver(Arc::new(names::Names))
        // A redirect would carry payloads and credentials to whoever is named there.
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        // Websockets are opened by upgrading an HTTP/1.1 request, and a connection is one run's.
        .http1_only()
        .tcp_nodelay(true)
        .tcp_keepalive(policy.keepalive)
        .pool_idle_timeout(IDLE);
    let builder = if policy.reuse { builder } else { builder.pool_max_idle_per_host(0) };
    builder.build().map_err(|error| Failure::of_host(Reason::ConfigError, format!("cannot set up HTTP: {error}")))
}

/// One server.
pub(crate) struct Http {
    client: Client,
    base: Url,
    access: Access,
    answer_max: usize,
}

impl Http {
    pub fn new(base: &Url, access: Access, policy: &Policy) -> Result<Self, Failure> {
        Ok(Self { client: client(policy)?, base: base.clone(), access, answer_max: policy.answer_max })
    }

    /// A request with the credentials. Neither `Origin` nor `Sec-Fetch-*` goes out: some loopback servers answer 403 to them.
    pub fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.client.request(method, url);
        match &self.access {
            Access::Open => request,
            Access::Basic { username, password } => {
                request.basic_auth(username, password.as_ref().map(ExposeSecret::expose_secret))
            }
            Access::Bearer(key) => request.bearer_auth(key.expose_secret()),
        }
    }

    pub async fn get(&self, path: &[&str], limit: Duration) -> Result<Answer, Trouble> {
        self.get_where(path, &[], limit).await
    }

    pub async fn get_where(&self, path: &[&str], query: &[(&str, &str)], limit: Duration) -> Result<Answer, Trouble> {
        let ask = || read(self.request(Method::GET, path, query), limit, self.answer_max);
        match ask().await {
            // A connection kept from before a restart breaks at its first use; only a fresh one tells of the server.
            Err(Trouble::Broken) => ask().await,
            answer => answer,
        }
    }

    pub async fn post(&self, path: &[&str], body: &Value, limit: Duration) -> Result<Answer, Trouble> {
        read(self.request(Method::POST, path, &[]).json(body), limit, self.answer_max).await
    }

    /// JSON that was written beforehand.
    pub async fn post_bytes(&self, path: &[&str], body: Bytes, limit: Duration) -> Result<Answer, Trouble> {
        let request = self.request(Method::POST, path, &[]).header(header::CONTENT_TYPE, "application/json");
        read(request.body(body), limit, self.answer_max).await
    }

    /// Reads an answer to its end.
    pub async fn whole(&self, response: Response) -> Result<Answer, Trouble> {
        whole(response, self.answer_max).await
    }
}

/// An answer that has been read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub retry_after: Option<Duration>,
    pub content_type: Option<String>,
    pub body: Bytes,
}

impl Answer {
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Trouble> {
        serde_json::from_slice(&self.body).map_err(|_| Trouble::Nonsense)
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub fn success(self) -> Result<Self, Trouble> {
        if self.is_success() {
            return Ok(self);
        }
        Err(Trouble::Status { status: self.status, retry_after: self.retry_after })
    }
}

/// Sends, and reads the answer to its end, within the limit.
pub(crate) async fn read(request: RequestBuilder, limit: Duration, max: usize) -> Result<Answer, Trouble> {
    let answer = async { whole(request.send().await?, max).await };
    timeout(limit, answer).await.unwrap_or(Err(Trouble::Silent))
}

/// Reads an answer of at most so many bytes to its end.
pub(crate) async fn whole(response: Response, max: usize) -> Result<Answer, Trouble> {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let retry_after = retry_after(&headers);
    let content_type = content_type(&response);
    if response.content_length().is_some_and(|announced| announced > max as u64) {
        return Err(Trouble::TooLarge);
    }
    let mut body = BytesMut::new();
    let mut parts = response.bytes_stream();
    while let Some(part) = parts.next().await {
        let part = part?;
        if body.len() + part.len() > max {
            return Err(Trouble::TooLarge);
        }
        body.extend_from_slice(&part);
    }
    Ok(Answer { status, headers, retry_after, content_type, body: body.freeze() })
}

/// An answer that is taken as it comes.
pub(crate) struct Body {
    parts: BoxStream<'static, reqwest::Result<Bytes>>,
    stalled: Duration,
    announced: Option<u64>,
    read: u64,
}

impl Body {
    /// A part must come within `stalled` each time.
    pub fn of(response: Response, stalled: Duration) -> Self {
        let announced = response.content_length();
        Self { parts: response.bytes_stream().boxed(), stalled, announced, read: 0 }
    }

    /// How long it will be, if the server said so.
    pub fn announced(&self) -> Option<u64> {
        self.announced
    }

    /// The next part; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Trouble> {
        let part = timeout(self.stalled, self.parts.next()).await.map_err(|_| Trouble::Silent)?;
        let part = part.transpose()?;
        self.read += part.as_ref().map_or(0, |part| part.len() as u64);
        Ok(part)
    }

    /// Whether as much has come as was announced.
    pub fn is_complete(&self) -> bool {
        self.announced.is_none_or(|announced| announced == self.read)
    }
}

/// The head of an answer, within the limit; its body is for the caller to take.
pub(crate) async fn head(request: RequestBuilder, limit: Duration) -> Result<Response, Trouble> {
    Ok(timeout(limit, request.send()).await.map_err(|_| Trouble::Silent)??)
}

/// What the server says that its answer is.
pub(crate) fn content_type(response: &Response) -> Option<String> {
    response.headers().get(header::CONTENT_TYPE)?.to_str().ok().map(str::to_owned)
}

/// The seconds form alone: the date form needs a clock that agrees with the server's.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
