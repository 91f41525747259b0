//! A definition's file as a whole: what must be there, and what goes with what.
//! In: the root table. Out: the definition, if there is one; faults and warnings where they are.

use super::definition::{Definition, Form, Output, Poll};
use super::faults::Faults;
use super::http::{POLLED_MAX, RESULT_MAX};
use super::sections::conformance;
use super::table::{At, Table};
use super::template::{Secrets, Text};
use reqwest::Method;
use reqwest::header::HeaderName;
use toml::Spanned;
use toml::de::DeValue;
use url::Url;

pub(super) struct Reading<'r> {
    pub secrets: &'r Secrets,
    pub faults: &'r Faults<'r>,
    pub warned: &'r Faults<'r>,
}

impl Reading<'_> {
    pub fn definition(&self, root: Table<'_, '_>) -> Option<Definition> {
        let services = root.some_texts("services", "the names that jobs ask for, such as [\"upscale\"]");
        for odd in services.iter().filter(|service| !crate::process::is_service(&service.value)) {
            root.fault(odd.offset, "letters, digits, `_`, `-` and `.` make the name of a service");
        }
        let urls = self.urls(&root);
        let (gpu, concurrency) = (root.boolean("gpu").unwrap_or(false), root.whole("concurrency", 1..=64));
        if urls.len() > 1 && !gpu {
            root.fault(urls[1].offset, "several addresses need `gpu = true`: the first is for GPU 0, and so on");
        }
        let headers = root.table("headers").map(|table| self.headers(&table)).unwrap_or_default();
        let health = root.table("health").and_then(|table| {
            let call = self.call(&table, Method::GET, 5);
            table.end();
            call
        });
        let submitting = root.table("submit");
        if submitting.is_none() {
            root.missing("submit", "[submit] says how a job is handed over");
        }
        let (mut id, mut idempotency) = (None, None);
        let submit = submitting.and_then(|table| {
            let call = self.call(&table, Method::POST, 60);
            id = self.pointer(&table, "id");
            idempotency = match table.text("idempotency_header") {
                None => HeaderName::try_from("idempotency-key").ok(),
                Some(name) if name.value.is_empty() => None,
                Some(name) => self.header(&name),
            };
            table.end();
            call
        });
        let polling = root.get("poll").map(|value| value.span().start);
        let poll = root.table("poll").and_then(|table| self.poll(table));
        if poll.is_none()
            && polling.is_none()
            && let Some(at) = id.as_ref().and_then(|_| root.get("submit"))
        {
            root.fault(at.span().start, "`submit.id` has a meaning only with [poll]");
        }
        let cancel = root.table("cancel").and_then(|table| {
            let call = self.call(&table, Method::POST, 10);
            table.end();
            call
        });
        if let (Some(at), None) = (polling, &cancel) {
            self.warned.add(at, "there is no [cancel]: the engine goes on with jobs that nobody wants any more");
        }
        let free = root.table("free").and_then(|table| {
            let call = self.call(&table, Method::POST, 10);
            table.end();
            call
        });
        let result = root.table("result");
        let data = result.as_ref().and_then(|table| self.pointer(table, "data"));
        let result = result.and_then(|table| {
            let call = table.get("path").is_some().then(|| self.call(&table, Method::GET, 60)).flatten();
            table.get("method");
            table.get("timeout_seconds");
            table.end();
            call
        });
        let outputs: Vec<Output> = root.tables("outputs").into_iter().filter_map(|table| self.output(table)).collect();
        if outputs.is_empty() && data.is_none() && root.get("outputs").is_none_or(is_empty_list) {
            let why = "there are neither [[outputs]] nor `result.data`: jobs end well with nothing in their result";
            self.warned.add(root.offset(), why);
        }
        let failure = root.table("failure").map(|table| self.explain(table)).unwrap_or_default();
        let conformance = root.table("conformance").and_then(|table| conformance(table));
        // Without an id of the server's the engine is asked for ours; where neither stands in a path it cannot be found.
        let polled = poll.as_ref().map(|poll: &Poll| &poll.call);
        for call in [polled, cancel.as_ref(), result.as_ref()].into_iter().flatten() {
            if polled.is_some() && id.is_none() && call.path.needs_engine_id() {
                self.warned.add(
                    root.offset(),
                    "without `submit.id` the engine must take ${run_id} as the id of the run: ${engine_id} is the same",
                );
                break;
            }
        }
        root.end();
        let (mut submit, mut poll, mut result) = (submit?, poll, result);
        let holds_files = outputs.iter().any(|output| output.form != Form::Url);
        match (&mut poll, &mut result) {
            (_, Some(result)) => result.most = RESULT_MAX,
            (Some(poll), None) if holds_files => poll.call.most = POLLED_MAX,
            (Some(_), None) => {}
            (None, None) => submit.most = RESULT_MAX,
        }
        Some(Definition {
            services: services.into_iter().map(|service| service.value).collect(),
            urls: urls.into_iter().map(|url| url.value).collect(),
            gpu,
            concurrency: usize::try_from(concurrency.unwrap_or(1)).unwrap_or(1),
            conformance,
            warnings: Vec::new(),
            headers,
            health,
            submit,
            id,
            idempotency,
            poll,
            cancel,
            free,
            result,
            data,
            outputs,
            failure,
            secrets: Vec::new(),
        })
    }

    fn urls(&self, root: &Table<'_, '_>) -> Vec<At<Url>> {
        let texts = root.some_texts("url", "where the engine answers, such as \"http://127.0.0.1:9000\"");
        let of = |text: At<String>| {
            let plain = |url: &Url| {
                matches!(url.scheme(), "http" | "https")
                    && url.has_host()
                    && url.query().is_none()
                    && url.fragment().is_none()
            };
            match Url::parse(&text.value).ok().filter(plain) {
                Some(url) if !url.username().is_empty() || url.password().is_some() => {
                    root.fault(text.offset, "credentials belong into [headers], as ${env:CONNECTOR_…}");
                    None
                }
                Some(url) => Some(At { value: url, offset: text.offset }),
                None => {
                    root.fault(text.offset, "must be like http://127.0.0.1:9000 or https://host/base");
                    None
                }
            }
        };
        texts.into_iter().filter_map(of).collect()
    }

    pub fn header(&self, name: &At<String>) -> Option<HeaderName> {
        let found = HeaderName::try_from(name.value.as_str()).ok();
        if found.is_none() {
            self.faults.add(name.offset, "is no name of an HTTP header");
        }
        found
    }

    fn headers(&self, table: &Table<'_, '_>) -> Vec<(HeaderName, Text)> {
        let of = |(name, text): (At<String>, At<String>)| {
            Some((self.header(&name)?, Text::read(&text.value, text.offset, self.secrets, self.faults)))
        };
        table.free_texts().into_iter().filter_map(of).collect()
    }
}

fn is_empty_list(value: &Spanned<DeValue<'_>>) -> bool {
    value.get_ref().as_array().is_some_and(|items| items.is_empty())
}
