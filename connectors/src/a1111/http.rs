//! HTTP to one AUTOMATIC1111 server: questions over kept connections, work over fresh ones.
//! In: the settings; paths and bodies. Out: answers, and what the server's troubles are called.

use super::settings::Settings;
use crate::failure::Failure;
use crate::http::{self, Access, Engine, Policy};
pub(super) use crate::http::{Answer, Body, Trouble};
use reqwest::{Method, Response};
use serde_json::Value;
use std::time::Duration;

/// The largest answer that is read whole; the longest of a real server lists options, models or scripts.
const ANSWER_MAX: usize = 16 << 20;

pub(super) const ENGINE: &Engine = &Engine {
    name: "AUTOMATIC1111",
    forbidden: "check the credentials of this engine",
    too_large: "the request is larger than what stands before the server accepts",
};

pub(super) struct Http {
    kept: http::Http,
    /// Never uses a connection twice, so that there is no doubt whether work arrived.
    fresh: http::Http,
}

impl Http {
    pub fn new(settings: &Settings) -> Result<Self, Failure> {
        let open = |reuse| {
            let access = Access::basic(settings.username.as_deref(), settings.password.as_ref());
            // There is no traffic during a run; a peer that vanished without a word is noticed by keepalive alone.
            let (connect, keepalive) = (settings.timing.connect, Some(settings.timing.keepalive));
            http::Http::new(&settings.base_url, access, &Policy { connect, keepalive, reuse, answer_max: ANSWER_MAX })
        };
        Ok(Self { kept: open(true)?, fresh: open(false)? })
    }

    pub async fn get(&self, path: &str, limit: Duration) -> Result<Answer, Trouble> {
        self.get_where(path, &[], limit).await
    }

    pub async fn get_where(&self, path: &str, query: &[(&str, &str)], limit: Duration) -> Result<Answer, Trouble> {
        self.kept.get_where(&segments(path), query, limit).await
    }

    pub async fn post(&self, path: &str, body: &Value, limit: Duration) -> Result<Answer, Trouble> {
        self.fresh.post(&segments(path), body, limit).await
    }

    /// Hands work over and waits for the head of the answer, which comes when the work is done, however long that is.
    pub async fn hand_over(&self, path: &str, body: &Value) -> Result<Response, Trouble> {
        Ok(self.fresh.request(Method::POST, &segments(path), &[]).json(body).send().await?)
    }

    pub async fn whole(&self, response: Response) -> Result<Answer, Trouble> {
        self.kept.whole(response).await
    }
}

fn segments(path: &str) -> Vec<&str> {
    path.split('/').collect()
}
