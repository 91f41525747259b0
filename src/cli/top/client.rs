//! Speaks to one agent's dashboard: a snapshot, the stream, orders.
//! In: its address, a token if there is one. Out: JSON and sentences; neither token nor query stands in any of them.

use super::clean;
use super::order::Order;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, ETAG, HeaderValue, IF_NONE_MATCH};
use reqwest::{Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::time::Duration;
use url::Url;

/// How the news begins that an agent answers, and wants a token first.
pub(super) const LOCKED: &str = "it is locked by a token";

/// More than any picture.
const LONGEST: usize = 16 << 20;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// An answer, whole.
    pub answer: Duration,
    /// What became of an order: the agent asks Redis and engines first.
    pub order: Duration,
    /// The stream's first picture, before the agent is asked in turns.
    pub first: Duration,
    /// Without a sign of life on the stream; beats come twice a second.
    pub silence: Duration,
    /// Between two snapshots while the stream does not get through.
    pub poll: Duration,
    /// Before the next try.
    pub again: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let [first, poll, again] = [3, 2, 1].map(Duration::from_secs);
        let [answer, silence, order] = [10, 15, 30].map(Duration::from_secs);
        Self { answer, order, first, silence, poll, again }
    }
}

/// The way to one agent.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<SecretString>,
    pub patience: Patience,
}

impl Client {
    /// Nothing is sent yet. The token goes nowhere but to this address: redirects are not followed, proxies not asked.
    ///
    /// # Errors
    /// There is no TLS to be had, in words.
    pub fn new(base: Url, token: Option<SecretString>, patience: Patience) -> Result<Self, String> {
        let builder = reqwest::Client::builder()
            .connect_timeout(patience.answer)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .http1_only()
            .tcp_nodelay(true);
        let http = builder.build().map_err(|error| format!("cannot set up HTTP: {error}"))?;
        Ok(Self { http, base, token, patience })
    }

    /// The address, for people.
    pub fn shown(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    fn url(&self, parts: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(parts);
        }
        url
    }

    fn with_token(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }

    /// The picture, and by what it is known; `None`: it is still the one that is known by `etag`.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub async fn snapshot(&self, etag: Option<&HeaderValue>) -> Result<Option<(Value, Option<HeaderValue>)>, String> {
        let mut request = self.with_token(self.http.get(self.url(&["api", "snapshot"])));
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let answer = request.timeout(self.patience.answer).send().await.map_err(|error| reason(&error))?;
        if answer.status() == StatusCode::NOT_MODIFIED && etag.is_some() {
            return Ok(None);
        }
        let etag = answer.headers().get(ETAG).cloned();
        let answer = self.well(answer).await?;
        let value = serde_json::from_slice(&body(answer).await?).map_err(|_| "what answers is no agent".to_owned())?;
        Ok(Some((value, etag)))
    }

    /// The stream, opened.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub async fn stream(&self) -> Result<Response, String> {
        let request = self.with_token(self.http.get(self.url(&["api", "stream"]))).header(ACCEPT, "text/event-stream");
        let sent = tokio::time::timeout(self.patience.first, request.send()).await;
        let answer = sent.map_err(|_| "no answer".to_owned())?.map_err(|error| reason(&error))?;
        let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if answer.status().is_success() && !kind.starts_with("text/event-stream") {
            return Err("what answers is no stream".to_owned());
        }
        self.well(answer).await
    }

    /// Gives an order; answers what became of it.
    ///
    /// # Errors
    /// Why nothing was done, with what to do, in words.
    pub async fn order(&self, order: &Order) -> Result<String, String> {
        let path = order.path();
        let parts: Vec<&str> = ["api", "control"].into_iter().chain(path.iter().map(String::as_str)).collect();
        let request = self.with_token(self.http.post(self.url(&parts))).timeout(self.patience.order);
        let request = request.header(CONTENT_LENGTH, "0");
        let answer = self.well_taken(request.send().await.map_err(|error| reason(&error))?).await?;
        let told: Value = serde_json::from_slice(&body(answer).await?).unwrap_or_default();
        Ok(clean::text(told["message"].as_str().unwrap_or("done")))
    }

    /// An answer that is none of refusal.
    async fn well(&self, answer: Response) -> Result<Response, String> {
        match answer.status() {
            StatusCode::UNAUTHORIZED => Err(self.needs_token(LOCKED)),
            _ => well(answer).await,
        }
    }

    /// The same of an order: it needs a token also where looking does not.
    async fn well_taken(&self, answer: Response) -> Result<Response, String> {
        match answer.status() {
            StatusCode::UNAUTHORIZED => Err(self.needs_token("orders need its token")),
            _ => well(answer).await,
        }
    }

    fn needs_token(&self, why: &str) -> String {
        let given = if self.token.is_some() { ", which is another than the one given" } else { "" };
        let address = self.shown();
        format!(
            "{why}{given}: gpu-worker top {address} --token-file FILE, or WORKER_DASHBOARD_TOKEN in the environment, \
             or sudo gpu-worker top"
        )
    }
}

async fn well(answer: Response) -> Result<Response, String> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let told: Value = body(answer).await.ok().and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default();
    let mut words: Vec<String> =
        ["error", "remedy"].iter().filter_map(|name| told[*name].as_str()).map(clean::text).collect();
    if words.is_empty() {
        words.push(format!("the answer is {status}"));
    }
    Err(words.join(" - "))
}

async fn body(mut answer: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(|error| reason(&error))? {
        body.extend_from_slice(&part);
        if body.len() > LONGEST {
            return Err("the answer is too long for an agent's".to_owned());
        }
    }
    Ok(body)
}

/// The innermost cause: the outer ones name the address, which is shown anyway.
pub(super) fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    match cause.downcast_ref::<std::io::Error>() {
        Some(error) => error.kind().to_string(),
        None if cause.is::<reqwest::Error>() => "the connection broke off".to_owned(),
        None => clean::text(&cause.to_string()),
    }
}
