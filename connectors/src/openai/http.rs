//! HTTP to one server: addresses, the key, deadlines, and what can go wrong, as a type.
//! In: a route and a body. Out: the head of an answer, an answer of limited size, or the trouble by what it says about the server.

use super::settings::{Settings, Timing};
use crate::failure::{Failure, Reason};
use crate::http::{Policy, Trouble as Wire, client};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::time::Duration;
use tokio::time::timeout;
use url::Url;

/// The largest refusal, list or small answer that is read.
pub(super) const SMALL: usize = 8 << 20;
/// The largest whole answer: ten pictures in base64.
pub(super) const LARGE: usize = 128 << 20;

/// Why a question has no usable answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nobody listens there.
    Refused,
    /// No way there.
    Unreachable,
    /// Its name leads nowhere.
    UnknownName,
    /// Its certificate does not hold, or it does not speak TLS.
    Untrusted,
    /// No answer in time.
    Silent,
    /// The connection ended before the answer did.
    Broken,
    /// An answer that is not what this route gives.
    Nonsense,
    /// An answer that has no end.
    Endless,
}

/// An answer that has been read to its end.
pub(super) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Result<Value, Trouble> {
        serde_json::from_slice(&self.body).map_err(|_| Trouble::Nonsense)
    }

    /// What it says, if it went well.
    pub fn said(&self) -> Option<Value> {
        (200..300).contains(&self.status).then(|| self.json().ok()).flatten()
    }
}

/// Which of the server's two trees a path belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tree {
    /// The API, below `/v1`.
    Api,
    /// The server's own routes.
    Root,
}

pub(super) struct Http {
    client: Client,
    root: Url,
    api: Url,
    key: Option<SecretString>,
}

/// The key of one job, which is used and kept nowhere.
pub(super) type JobKey = Option<SecretString>;

impl Http {
    pub fn new(settings: &Settings) -> Result<Self, Failure> {
        let Timing { connect, keepalive, .. } = settings.timing;
        // A kept connection that the server has closed meanwhile would leave in doubt whether work arrived.
        let client = client(&Policy { connect, keepalive: Some(keepalive), reuse: false, answer_max: LARGE })?;
        let (root, api, key) = (settings.root.clone(), settings.api.clone(), settings.api_key.clone());
        Ok(Self { client, root, api, key })
    }

    /// The key itself, so that it can be kept out of what others wrote.
    pub fn key<'a>(&'a self, job: &'a JobKey) -> Option<&'a str> {
        job.as_ref().or(self.key.as_ref()).map(ExposeSecret::expose_secret)
    }

    /// Whether the server has a key from the configuration.
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    pub fn request(&self, method: Method, tree: Tree, path: &str, key: &JobKey) -> RequestBuilder {
        let mut url = match tree {
            Tree::Api => self.api.clone(),
            Tree::Root => self.root.clone(),
        };
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/'));
        }
        self.signed(self.client.request(method, url), key)
    }

    fn signed(&self, request: RequestBuilder, key: &JobKey) -> RequestBuilder {
        match self.key(key) {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// Whether this address is the server's own.
    pub fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.root.origin()
    }

    /// A file of the server's own.
    pub fn file(&self, url: Url, key: &JobKey) -> RequestBuilder {
        self.signed(self.client.get(url), key)
    }

    pub async fn get(&self, tree: Tree, path: &str, key: &JobKey, limit: Duration) -> Result<Answer, Trouble> {
        ask(self.request(Method::GET, tree, path, key), limit, SMALL).await
    }

    pub async fn post(
        &self,
        tree: Tree,
        path: &str,
        body: &Value,
        key: &JobKey,
        limit: Duration,
    ) -> Result<Answer, Trouble> {
        ask(self.request(Method::POST, tree, path, key).json(body), limit, SMALL).await
    }
}

async fn ask(request: RequestBuilder, limit: Duration, most: usize) -> Result<Answer, Trouble> {
    let whole = async { whole(request.send().await?, most).await };
    timeout(limit, whole).await.unwrap_or(Err(Trouble::Silent))
}

/// Reads an answer to its end.
pub(super) async fn whole(response: Response, most: usize) -> Result<Answer, Trouble> {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut body = BytesMut::new();
    let mut parts = response.bytes_stream();
    while let Some(part) = parts.next().await {
        let part = part?;
        if body.len() + part.len() > most {
            return Err(Trouble::Endless);
        }
        body.extend_from_slice(&part);
    }
    Ok(Answer { status, headers, body: body.freeze() })
}

impl From<reqwest::Error> for Trouble {
    fn from(error: reqwest::Error) -> Self {
        match error.into() {
            Wire::Refused => Self::Refused,
            Wire::Unreachable => Self::Unreachable,
            Wire::UnknownName => Self::UnknownName,
            Wire::Untrusted => Self::Untrusted,
            Wire::Silent => Self::Silent,
            Wire::TooLarge => Self::Endless,
            Wire::Nonsense => Self::Nonsense,
            Wire::Broken | Wire::Status { .. } => Self::Broken,
        }
    }
}

impl Trouble {
    /// The failure of a run that this trouble ended while we were `doing` something.
    pub fn failure(self, doing: &str) -> Failure {
        let host = |reason, what: &str| Failure::of_host(reason, format!("{what} ({doing})"));
        match self {
            Self::Refused => host(
                Reason::ServiceDown,
                "the server of the OpenAI API refuses connections; it has ended or is restarting: look at its log",
            ),
            Self::Unreachable => host(
                Reason::ConnectionFailed,
                "the server of the OpenAI API cannot be reached; check the address and the route there",
            ),
            Self::UnknownName => {
                host(Reason::DnsResolution, "the name of the server of the OpenAI API leads nowhere; check its address")
            }
            Self::Untrusted => host(
                Reason::SslCertificate,
                "the certificate of the server of the OpenAI API does not hold, or it does not speak TLS",
            ),
            Self::Silent => host(Reason::NetworkTimeout, "the server of the OpenAI API gave no answer in time"),
            Self::Broken => host(Reason::ConnectionFailed, "the connection to the server of the OpenAI API broke"),
            // Whether the server or this one request brought it about is not known: it is tried again.
            Self::Nonsense => Failure::new(
                Reason::InvalidResponseFormat,
                format!("the answer is not one of the OpenAI API ({doing})"),
            ),
            Self::Endless => Failure::new(
                Reason::InvalidResponseFormat,
                format!("the server's answer is longer than any that is expected ({doing})"),
            ),
        }
    }
}
