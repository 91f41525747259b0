//! The tables of a definition: a call, how a run is followed, an output, how failures are told, payloads for the suite.
//! In: one table. Out: what it says; faults where they are.

use super::definition::{Call, Explain, Form, Output, Poll};
use super::http::ANSWER_MAX;
use super::reading::Reading;
use super::table::{At, Table, json};
use super::template::{Template, Text};
use crate::failure::{FailureType, Reason};
use crate::process::Payloads;
use reqwest::Method;
use std::collections::BTreeMap;
use std::time::Duration;
use url::Url;

impl Reading<'_> {
    pub fn call(&self, table: &Table<'_, '_>, method: Method, seconds: u64) -> Option<Call> {
        let method = match table.text("method") {
            None => method,
            Some(word) => match word.value.as_str() {
                "GET" => Method::GET,
                "POST" => Method::POST,
                "PUT" => Method::PUT,
                "PATCH" => Method::PATCH,
                "DELETE" => Method::DELETE,
                _ => {
                    table.fault(word.offset, "must be GET, POST, PUT, PATCH or DELETE");
                    method
                }
            },
        };
        let timeout = Duration::from_secs(table.whole("timeout_seconds", 1..=86_400).unwrap_or(seconds));
        let body = table.get("body").map(|body| Template::read(body, self.secrets, self.faults));
        let Some(path) = table.text("path") else {
            if table.get("path").is_none() {
                table.missing("path", "such as \"/v1/jobs\"");
            }
            return None;
        };
        let text = Text::read(&path.value, path.offset, self.secrets, self.faults);
        if !text.beginning().starts_with('/') {
            table.fault(path.offset, "a path begins with `/`; the address of the server is `url`");
        }
        Some(Call { method, path: text, body, timeout, most: ANSWER_MAX })
    }

    /// A JSON Pointer (RFC 6901).
    pub fn pointer(&self, table: &Table<'_, '_>, name: &'static str) -> Option<String> {
        let text = table.text(name)?;
        if !text.value.is_empty() && !text.value.starts_with('/') {
            table.fault(text.offset, format!("`{name}` is a JSON Pointer and begins with `/`, such as \"/status\""));
            return None;
        }
        Some(text.value)
    }

    pub fn poll(&self, table: Table<'_, '_>) -> Option<Poll> {
        let call = self.call(&table, Method::GET, 10);
        let interval = table.whole("interval_ms", 10..=600_000).unwrap_or(1000);
        let state = self.pointer(&table, "state");
        if state.is_none() && table.get("state").is_none() {
            table.missing("state", "where the answer says how the run is, such as \"/status\"");
        }
        let done = table.some_texts("done", "the words of `state` that mean a good end, such as [\"completed\"]");
        let why = "the words of `state` that mean a failure, such as [\"failed\", \"cancelled\"]";
        let failed = table.some_texts("failed", why);
        if let Some(both) = failed.iter().find(|word| done.iter().any(|other| other.value == word.value)) {
            table.fault(both.offset, format!("{:?} cannot mean both", both.value));
        }
        let words = |list: Vec<At<String>>| list.into_iter().map(|word| word.value).collect();
        let poll = Poll {
            interval: Duration::from_millis(interval),
            state: state.unwrap_or_default(),
            done: words(done),
            failed: words(failed),
            progress: self.pointer(&table, "progress"),
            progress_max: table.positive("progress_max").unwrap_or(1.0),
            message: self.pointer(&table, "message"),
            call: call?,
        };
        table.end();
        Some(poll)
    }

    pub fn output(&self, table: Table<'_, '_>) -> Option<Output> {
        let form = table.text("as").and_then(|word| {
            let form = match word.value.as_str() {
                "url" => Form::Url,
                "base64" => Form::Base64,
                "text" => Form::Text,
                "body" => Form::Body,
                _ => {
                    table.fault(word.offset, "must be url, base64, text, or body (the whole answer)");
                    return None;
                }
            };
            Some(form)
        });
        if table.get("as").is_none() {
            table.missing("as", "url, base64, text, or body (the whole answer)");
        }
        let at = self.pointer(&table, "at");
        if at.is_none() && form.is_some_and(|form| form != Form::Body) && table.get("at").is_none() {
            table.missing("at", "where in the answer it is, such as \"/images\"");
        }
        let text = |name| table.text(name).map(|text| text.value);
        let output = Output {
            at: at.unwrap_or_default(),
            name: text("name"),
            kind: text("kind").unwrap_or_else(|| "files".to_owned()),
            media_type: text("media_type"),
            from: self.origins(&table, form),
            optional: table.boolean("optional").unwrap_or(false),
            form: form?,
        };
        table.end();
        Some(output)
    }

    /// The other servers that an output may lie on.
    fn origins(&self, table: &Table<'_, '_>, form: Option<Form>) -> Vec<Url> {
        let texts = table.texts("from");
        if let Some(first) = texts.first().filter(|_| form.is_some_and(|form| form != Form::Url)) {
            table.fault(first.offset, "`outputs.from` has a meaning only with `as = \"url\"`");
        }
        let of = |text: At<String>| {
            let url = Url::parse(&text.value).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
            let plain = |url: &Url| {
                url.path() == "/" && url.as_str().trim_end_matches('/') == url.origin().ascii_serialization()
            };
            let found = url.filter(plain);
            if found.is_none() {
                table.fault(text.offset, "must be a server alone, such as \"https://files.example.org\"");
            }
            found
        };
        texts.into_iter().filter_map(of).collect()
    }

    pub fn explain(&self, table: Table<'_, '_>) -> Explain {
        let (message, code) = (self.pointer(&table, "message"), self.pointer(&table, "code"));
        let mut reasons = BTreeMap::new();
        for (word, reason) in table.table("reasons").map(|table| table.free_texts()).unwrap_or_default() {
            match Reason::from_word(&reason.value) {
                Some(found) => drop(reasons.insert(word.value, found)),
                None => table.fault(reason.offset, format!("{:?} is no reason of a failure", reason.value)),
            }
        }
        table.end();
        Explain { message, code, reasons }
    }
}

pub(super) fn conformance(table: Table<'_, '_>) -> Option<Payloads> {
    let payload = |name| match table.get(name) {
        Some(value) => Some(json(value)),
        None => {
            table.missing(name, "a payload for the conformance suite");
            None
        }
    };
    let (ok, slow, failing) = (payload("ok"), payload("slow"), payload("failing"));
    let other = table.get("other").map(json);
    let kind = table.text("failure_type");
    if table.get("failure_type").is_none() {
        table.missing("failure_type", "how `failing` fails");
    }
    if let Some(kind) = kind.as_ref().filter(|kind| FailureType::from_word(&kind.value).is_none()) {
        table.fault(kind.offset, format!("{:?} is no failure type", kind.value));
    }
    table.end();
    Some(Payloads { ok: ok?, other, slow: slow?, failing: failing?, failure_type: kind?.value })
}
