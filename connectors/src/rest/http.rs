//! Calls to one server, as its definition describes them.
//! In: a call and what fills it. Out: an answer of limited size, or the trouble by what it says about the server.

use super::definition::{Call, Explain};
use super::template::{Fill, Text};
use crate::failure::{Failure, Reason};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Response};
use serde_json::Value;
use std::error::Error;
use std::io;
use std::time::Duration;
use tokio::time::timeout;
use url::Url;

/// Longest answer: pictures come as base64 in it.
const ANSWER_MAX: usize = 256 << 20;
const CONNECT: Duration = Duration::from_secs(5);
/// A download on which nothing moves for this long is dead.
pub(super) const STALLED: Duration = Duration::from_secs(60);

/// Why a call has no answer.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    /// Nobody listens there.
    Refused,
    /// No way there.
    Unreachable,
    /// No answer in time.
    Silent,
    /// The connection ended before the answer did.
    Broken,
    /// The answer is larger than an answer may be.
    TooLarge,
    /// The request cannot be made of this job.
    Job(Failure),
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub retry_after: Option<Duration>,
    pub content_type: Option<String>,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

pub(super) struct Http {
    client: Client,
    base: Url,
}

impl Http {
    pub fn new(base: &Url) -> Result<Self, Failure> {
        // The client refuses to be built without a provider; a second installation is refused and does no harm.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .connect_timeout(CONNECT)
            // A redirect would carry payloads and credentials to whoever is named there.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .http1_only()
            .tcp_nodelay(true)
            .pool_idle_timeout(Duration::from_secs(15))
            .build()
            .map_err(|error| Failure::of_host(Reason::ConfigError, format!("cannot set up HTTP: {error}")))?;
        Ok(Self { client, base: base.clone() })
    }

    /// One call, within the time that its definition allows.
    pub async fn call(
        &self,
        call: &Call,
        headers: &[(HeaderName, Text)],
        more: Option<(&HeaderName, &str)>,
        fill: &Fill<'_>,
    ) -> Result<Answer, Trouble> {
        let url = self.address(&call.path, fill)?;
        let mut request = self.client.request(call.method.clone(), url).headers(filled(headers, fill)?);
        if let Some((name, value)) = more
            && let Ok(value) = HeaderValue::try_from(value)
        {
            request = request.header(name, value);
        }
        if let Some(body) = &call.body {
            request = request.json(&body.render(fill).map_err(Trouble::Job)?.unwrap_or_default());
        }
        let whole = async { read(request.send().await?).await };
        timeout(call.timeout, whole).await.unwrap_or(Err(Trouble::Silent))
    }

    /// The beginning of a download from this server and no other.
    pub async fn download(
        &self,
        place: &str,
        headers: &[(HeaderName, Text)],
        fill: &Fill<'_>,
    ) -> Result<(Response, String), Trouble> {
        let wrong = |said: &str| Trouble::Job(Failure::of_host(Reason::InvalidResponseFormat, said));
        let base = format!("{}/", self.base.as_str().trim_end_matches('/'));
        let url = Url::parse(&base).and_then(|base| base.join(place)).map_err(|_| wrong("an output has no address"))?;
        let ours = url.origin() == self.base.origin() && url.username().is_empty() && url.password().is_none();
        if !ours {
            return Err(wrong("the engine names an output on another server; only its own are fetched"));
        }
        let name = url.path_segments().and_then(|mut path| path.next_back().map(str::to_owned)).unwrap_or_default();
        let request = self.client.request(Method::GET, url).headers(filled(headers, fill)?);
        let response = timeout(STALLED, request.send()).await.map_err(|_| Trouble::Silent)??;
        Ok((response, name))
    }

    fn address(&self, path: &Text, fill: &Fill<'_>) -> Result<Url, Trouble> {
        let path = path.text(fill, segment).map_err(Trouble::Job)?;
        let base = self.base.as_str().trim_end_matches('/');
        let outside = || {
            let said = "the payload leads to an address outside of the engine's";
            Trouble::Job(Failure::new(Reason::InvalidPayload, said))
        };
        // What was written is what is asked for: nothing in it may climb.
        let climbs = path.split(['/', '?', '#']).any(|part| matches!(part, "." | ".."));
        let url = Url::parse(&format!("{base}{path}")).ok().filter(|_| !climbs).ok_or_else(outside)?;
        if url.origin() == self.base.origin() { Ok(url) } else { Err(outside()) }
    }
}

/// One segment of a path, or one value of a query: nothing in it has a meaning of its own.
fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn filled(headers: &[(HeaderName, Text)], fill: &Fill<'_>) -> Result<HeaderMap, Trouble> {
    let mut map = HeaderMap::new();
    for (name, text) in headers {
        let text = text.text(fill, str::to_owned).map_err(Trouble::Job)?;
        let Ok(mut value) = HeaderValue::try_from(text) else {
            let said = format!("the value of the header {name} holds what no header may hold");
            return Err(Trouble::Job(Failure::new(Reason::InvalidPayload, said)));
        };
        value.set_sensitive(true);
        map.insert(name, value);
    }
    Ok(map)
}

async fn read(response: Response) -> Result<Answer, Trouble> {
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    // The seconds form alone: the date form needs a clock that agrees with the server's.
    let retry_after = header(header::RETRY_AFTER).and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let (status, content_type) = (response.status().as_u16(), header(header::CONTENT_TYPE));
    let mut body = BytesMut::new();
    let mut parts = response.bytes_stream();
    while let Some(part) = parts.next().await {
        let part = part?;
        if body.len() + part.len() > ANSWER_MAX {
            return Err(Trouble::TooLarge);
        }
        body.extend_from_slice(&part);
    }
    Ok(Answer { status, retry_after, content_type, body: body.freeze() })
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
    pub fn failure(self, doing: &str) -> Failure {
        let host = |reason, said: &str| Failure::of_host(reason, format!("{said} ({doing})"));
        match self {
            Self::Refused => host(Reason::ServiceDown, "the engine refuses connections; start it and look at its log"),
            Self::Unreachable => {
                host(Reason::ConnectionFailed, "the engine cannot be reached; check name, route and certificate")
            }
            Self::Silent => host(Reason::NetworkTimeout, "the engine gave no answer in time"),
            Self::Broken => host(Reason::ConnectionFailed, "the connection to the engine broke"),
            Self::TooLarge => Failure::new(
                Reason::InvalidResponseFormat,
                format!("the engine's answer is larger than {} MiB ({doing}); use `as = \"url\"`", ANSWER_MAX >> 20),
            ),
            Self::Job(failure) => failure,
        }
    }
}

/// What a status that is no success stands for; the engine's own words, if the definition says where they are.
pub(super) fn of_status(answer: &Answer, explain: &Explain, doing: &str) -> Failure {
    let said = format!("the engine answered {} ({doing})", answer.status);
    let body = answer.json().unwrap_or_default();
    let words = words(&body, explain);
    let with = |said: String| words.as_ref().map_or(said.clone(), |words| format!("{said}: {words}"));
    let failure = match answer.status {
        401 => Failure::of_host(Reason::InvalidApiKey, format!("{said}; check the credentials in [headers]")),
        402 | 403 => Failure::of_host(Reason::InsufficientPermissions, with(said)),
        404 | 405 => Failure::of_host(Reason::ConfigError, format!("{said}; check `url`, `path` and `method`")),
        408 | 504 => Failure::of_host(Reason::NetworkTimeout, said),
        429 => Failure::of_host(Reason::RequestsPerMinute, with(said)),
        502 | 503 => Failure::of_host(Reason::ServiceUnavailable, with(said)),
        507 => Failure::of_host(Reason::DiskSpaceFull, said),
        400 | 409..=428 | 431 | 451 => Failure::new(Reason::InvalidPayload, with(said)),
        300..=399 => Failure::of_host(Reason::ConfigError, format!("{said}; redirects are not followed")),
        // The server's own 500 may well be caused by the job: charged, so that it cannot go round for ever.
        500..=599 => Failure::new(Reason::ServiceUnavailable, with(said)),
        _ => Failure::new(Reason::InvalidResponseFormat, with(said)),
    };
    let named = match reason(&body, explain) {
        Some(reason) => Failure::as_named(reason, failure.message),
        None => failure,
    };
    Failure { retry_after: answer.retry_after, ..named }
}

/// What the engine says of a failure, cut to what people read.
pub(super) fn words(answer: &Value, explain: &Explain) -> Option<String> {
    let found = answer.pointer(explain.message.as_ref()?)?;
    let text = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
    Some(text.chars().take(500).collect()).filter(|text: &String| !text.trim().is_empty() && !found.is_null())
}

pub(super) fn reason(answer: &Value, explain: &Explain) -> Option<Reason> {
    let found = answer.pointer(explain.code.as_ref()?)?;
    let word = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
    explain.reasons.get(&word).copied().or_else(|| Reason::from_word(&word))
}
