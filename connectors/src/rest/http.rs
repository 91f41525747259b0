//! Calls to one server, as its definition describes them.
//! In: a call and what fills it. Out: an answer of limited size, or the trouble by what it says about the server.

use super::definition::{Call, Explain};
use super::template::{Fill, Text};
use crate::failure::{Failure, Reason};
pub(super) use crate::http::{Answer, Body, Trouble, content_type};
use crate::http::{Engine, Policy, client, head, read};
use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Response};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::borrow::Cow;
use std::time::Duration;
use url::{Origin, Url};

/// Longest answer: as long as a line of an executable.
pub(super) const ANSWER_MAX: usize = 16 << 20;
/// Longest answer to a poll that files are taken out of. There is one every second, so large ones are for [result].
pub(super) const POLLED_MAX: usize = 64 << 20;
/// Longest answer that is asked for once and may hold pictures as base64.
pub(super) const RESULT_MAX: usize = 256 << 20;
/// What is shorter would be found in ordinary words.
const SHORTEST_SECRET: usize = 6;
const CONNECT: Duration = Duration::from_secs(5);
/// A download on which nothing moves for this long is dead.
pub(super) const STALLED: Duration = Duration::from_secs(60);

/// How this engine is spoken of; statuses are explained by the definition, see [`of_status`].
const ENGINE: &Engine = &Engine {
    name: "the engine",
    forbidden: "check the credentials in [headers]",
    too_large: "the request is larger than the engine accepts",
};

/// Why a call has no answer.
#[derive(Debug, Clone)]
pub(super) enum Unanswered {
    /// It was made, or could not be.
    Wire(Trouble),
    /// The answer has more bytes than this.
    TooLarge(usize),
    /// The request cannot be made of this job.
    Job(Failure),
}

impl From<Trouble> for Unanswered {
    fn from(trouble: Trouble) -> Self {
        Self::Wire(trouble)
    }
}

pub(super) struct Http {
    client: Client,
    base: Url,
    secrets: Vec<SecretString>,
}

impl Http {
    /// `secrets`: no answer is taken with them in it.
    pub fn new(base: &Url, secrets: Vec<SecretString>) -> Result<Self, Failure> {
        let policy = Policy { connect: CONNECT, keepalive: None, reuse: true, answer_max: RESULT_MAX };
        Ok(Self { client: client(&policy)?, base: base.clone(), secrets })
    }

    /// One call, within the time that its definition allows.
    pub async fn call(
        &self,
        call: &Call,
        headers: &[(HeaderName, Text)],
        more: Option<(&HeaderName, &str)>,
        fill: &Fill<'_>,
    ) -> Result<Answer, Unanswered> {
        let url = self.address(&call.path, fill)?;
        let mut request = self.client.request(call.method.clone(), url).headers(filled(headers, fill)?);
        if let Some((name, value)) = more
            && let Ok(value) = HeaderValue::try_from(value)
        {
            request = request.header(name, value);
        }
        if let Some(body) = &call.body {
            request = request.json(&body.render(fill).map_err(Unanswered::Job)?.unwrap_or_default());
        }
        let answer = read(request, call.timeout, call.most).await.map_err(|trouble| match trouble {
            Trouble::TooLarge => Unanswered::TooLarge(call.most),
            other => other.into(),
        })?;
        Ok(Answer { body: self.without_secrets(answer.body), ..answer })
    }

    /// Servers repeat what they were sent in what they say of it, and that goes to whoever owns the job.
    fn without_secrets(&self, body: Bytes) -> Bytes {
        let Ok(mut text) = std::str::from_utf8(&body).map(Cow::Borrowed) else { return body };
        for secret in &self.secrets {
            let secret = secret.expose_secret();
            if secret.len() >= SHORTEST_SECRET && text.contains(secret) {
                text = Cow::Owned(text.replace(secret, "…"));
            }
        }
        match text {
            Cow::Borrowed(_) => body,
            Cow::Owned(text) => text.into(),
        }
    }

    /// The beginning of a download: from this server with the definition's headers, from `others` without any.
    pub async fn download(
        &self,
        place: &str,
        others: &[Url],
        headers: &[(HeaderName, Text)],
        fill: &Fill<'_>,
    ) -> Result<(Response, String), Unanswered> {
        let wrong = |said: &str| Unanswered::Job(Failure::new(Reason::InvalidResponseFormat, said));
        let base = format!("{}/", self.base.as_str().trim_end_matches('/'));
        let url = Url::parse(&base).and_then(|base| base.join(place)).map_err(|_| wrong("an output has no address"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("the engine names an output at an address with credentials; such are not fetched"));
        }
        let is_own = url.origin() == self.base.origin();
        if !is_own && !others.iter().any(|other| other.origin() == url.origin()) {
            return Err(Unanswered::Job(elsewhere(&url)));
        }
        let name = url.path_segments().and_then(|mut path| path.next_back().map(str::to_owned)).unwrap_or_default();
        let request = self.client.request(Method::GET, url);
        // The credentials are this server's, and nobody else's.
        let request = if is_own { request.headers(filled(headers, fill)?) } else { request };
        Ok((head(request, STALLED).await?, name))
    }

    fn address(&self, path: &Text, fill: &Fill<'_>) -> Result<Url, Unanswered> {
        let path = path.text(fill, segment).map_err(Unanswered::Job)?;
        let base = self.base.as_str().trim_end_matches('/');
        let outside = || {
            let said = "the payload leads to an address outside of the engine's";
            Unanswered::Job(Failure::new(Reason::InvalidPayload, said))
        };
        // What was written is what is asked for: nothing in it may climb.
        let climbs = path.split(['/', '?', '#']).any(|part| matches!(part, "." | ".."));
        let url = Url::parse(&format!("{base}{path}")).ok().filter(|_| !climbs).ok_or_else(outside)?;
        if url.origin() == self.base.origin() { Ok(url) } else { Err(outside()) }
    }
}

/// Nothing is wrong with the engine's health, and asking again gets the same answer until the definition is mended.
fn elsewhere(url: &Url) -> Failure {
    let said = match url.origin() {
        origin @ Origin::Tuple(..) => {
            let origin = origin.ascii_serialization();
            format!(
                "the engine names an output on another server, {origin}; if files may be fetched from there, its \
                 definition says so: from = [\"{origin}\"] in [[outputs]]"
            )
        }
        Origin::Opaque(_) => {
            format!("the engine names an output by a `{}:` address; only http(s) is fetched", url.scheme())
        }
    };
    Failure::new(Reason::ConfigError, said)
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

fn filled(headers: &[(HeaderName, Text)], fill: &Fill<'_>) -> Result<HeaderMap, Unanswered> {
    let mut map = HeaderMap::new();
    for (name, text) in headers {
        let text = text.text(fill, str::to_owned).map_err(Unanswered::Job)?;
        let Ok(mut value) = HeaderValue::try_from(text) else {
            let said = format!("the value of the header {name} holds what no header may hold");
            return Err(Unanswered::Job(Failure::new(Reason::InvalidPayload, said)));
        };
        value.set_sensitive(true);
        map.insert(name, value);
    }
    Ok(map)
}

impl Unanswered {
    /// The failure of a run that this ended while we were `doing` something.
    pub fn failure(self, doing: &str) -> Failure {
        match self {
            Self::TooLarge(most) => Failure::new(
                Reason::InvalidResponseFormat,
                format!("the engine's answer is larger than {} MiB ({doing}); use `as = \"url\"`", most >> 20),
            ),
            Self::Wire(trouble) => trouble.failure(ENGINE, doing),
            Self::Job(failure) => failure,
        }
    }
}

/// What a status that is no success stands for; the engine's own words, if the definition says where they are.
pub(super) fn of_status(answer: &Answer, explain: &Explain, doing: &str) -> Failure {
    let said = format!("the engine answered {} ({doing})", answer.status);
    let body: Value = answer.json().unwrap_or_default();
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
        Some(reason) => {
            // Its words say what it is; that its status blames this machine remains true.
            let named = Failure::as_named(reason, failure.message);
            Failure { hosts_fault: named.hosts_fault || failure.hosts_fault, ..named }
        }
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
