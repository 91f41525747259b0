//! HTTP to one server of the OpenAI API: its two trees of routes, the key, and how it is spoken of.
//! In: a route and a body. Out: the head of an answer, an answer of limited size, or the trouble.

use super::halves;
use super::settings::{Settings, Timing};
use crate::failure::{Failure, Reason};
use crate::http::{Answer, Engine, Policy, Trouble, client, read};
use reqwest::{Client, Method, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::time::Duration;
use url::Url;

/// The largest refusal, list or small answer that is read.
pub(super) const SMALL: usize = 8 << 20;
/// The largest whole answer: ten pictures in base64.
pub(super) const LARGE: usize = 128 << 20;

const ENGINE: &Engine = &Engine { name: "the server of the OpenAI API", forbidden: "", too_large: "" };

/// The failure of a run that this trouble ended while we were `doing` something.
pub(super) fn failure(trouble: &Trouble, doing: &str) -> Failure {
    let what = match trouble {
        Trouble::Nonsense => "the answer is not one of the OpenAI API",
        Trouble::TooLarge => "the server's answer is longer than any that is expected",
        trouble => return trouble.failure(ENGINE, doing),
    };
    // Whether the server or this one request brought it about is not known: it is tried again.
    Failure::new(Reason::InvalidResponseFormat, format!("{what} ({doing})"))
}

/// What an answer says.
pub(super) fn value(answer: &Answer) -> Result<Value, Trouble> {
    halves::whole(&answer.body)
}

/// What it says, if it went well.
pub(super) fn said(answer: &Answer) -> Option<Value> {
    answer.is_success().then(|| value(answer).ok()).flatten()
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
        read(self.request(Method::GET, tree, path, key), limit, SMALL).await
    }

    /// A response as it stands: once it is done it holds all that was made, pictures too.
    pub async fn response(&self, id: &str, key: &JobKey, limit: Duration) -> Result<Answer, Trouble> {
        read(self.request(Method::GET, Tree::Api, &format!("responses/{id}"), key), limit, LARGE).await
    }

    pub async fn post(
        &self,
        tree: Tree,
        path: &str,
        body: &Value,
        key: &JobKey,
        limit: Duration,
    ) -> Result<Answer, Trouble> {
        read(self.request(Method::POST, tree, path, key).json(body), limit, LARGE).await
    }
}
