//! An engine as a TOML file describes it.
//! In: the text, and the secrets that it may refer to. Out: the definition, or every fault with its line and column.

use super::faults::{Fault, Faults};
use super::table::{At, Table, json};
use super::template::{Secrets, Template, Text};
use crate::failure::{FailureType, Reason};
use crate::process::Payloads;
use reqwest::Method;
use reqwest::header::HeaderName;
use std::collections::BTreeMap;
use std::time::Duration;
use toml::de::DeTable;
use url::Url;

/// A checked definition.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The services that it offers.
    pub services: Vec<String>,
    /// Base addresses, without a `/` at the end; one, or one for each GPU.
    pub urls: Vec<Url>,
    /// Whether each address belongs to a GPU.
    pub gpu: bool,
    /// Jobs at once.
    pub concurrency: usize,
    /// Payloads for the conformance suite.
    pub conformance: Option<Payloads>,
    /// Worth knowing, but no fault.
    pub warnings: Vec<Fault>,
    pub(super) headers: Vec<(HeaderName, Text)>,
    pub(super) health: Option<Call>,
    pub(super) submit: Call,
    pub(super) id: Option<String>,
    pub(super) idempotency: Option<HeaderName>,
    pub(super) poll: Option<Poll>,
    pub(super) cancel: Option<Call>,
    pub(super) result: Option<Call>,
    pub(super) data: Option<String>,
    pub(super) outputs: Vec<Output>,
    pub(super) failure: Explain,
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub method: Method,
    pub path: Text,
    pub body: Option<Template>,
    pub timeout: Duration,
}

/// How a run is followed.
#[derive(Debug, Clone)]
pub(super) struct Poll {
    pub call: Call,
    pub interval: Duration,
    pub state: String,
    pub done: Vec<String>,
    pub failed: Vec<String>,
    pub progress: Option<String>,
    pub progress_max: f64,
    pub message: Option<String>,
}

/// Where an answer says why something failed.
#[derive(Debug, Clone, Default)]
pub(super) struct Explain {
    pub message: Option<String>,
    pub code: Option<String>,
    pub reasons: BTreeMap<String, Reason>,
}

/// Where a file of the result is.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub at: String,
    pub form: Form,
    pub name: Option<String>,
    pub kind: String,
    pub media_type: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Url,
    Base64,
    Text,
    Body,
}

impl Definition {
    /// Reads and checks a whole file.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the text.
    pub fn read(text: &str, secrets: &Secrets) -> Result<Self, Vec<Fault>> {
        let faults = Faults::new(text);
        let (parsed, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            faults.add(error.span().map_or(0, |span| span.start), error.message());
        }
        if !errors.is_empty() {
            return Err(faults.into_list());
        }
        let warned = Faults::new(text);
        let root = Table::new("", 0, parsed.get_ref(), &faults);
        let found = Reading { secrets, faults: &faults, warned: &warned }.definition(root);
        let list = faults.into_list();
        match found {
            Some(definition) if list.is_empty() => Ok(Self { warnings: warned.into_list(), ..definition }),
            _ => Err(list),
        }
    }

    /// Whether the server chooses the id of a run.
    pub(super) fn server_names_runs(&self) -> bool {
        self.id.is_some()
    }
}

struct Reading<'r> {
    secrets: &'r Secrets,
    faults: &'r Faults<'r>,
    warned: &'r Faults<'r>,
}

impl Reading<'_> {
    fn definition(&self, root: Table<'_, '_>) -> Option<Definition> {
        let services = root.texts("services");
        if services.is_empty() {
            root.missing("services", "the names that jobs ask for, such as [\"upscale\"]");
        }
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
        Some(Definition {
            services: services.into_iter().map(|service| service.value).collect(),
            urls: urls.into_iter().map(|url| url.value).collect(),
            gpu,
            concurrency: usize::try_from(concurrency.unwrap_or(1)).unwrap_or(1),
            conformance,
            warnings: Vec::new(),
            headers,
            health,
            submit: submit?,
            id,
            idempotency,
            poll,
            cancel,
            result,
            data,
            outputs,
            failure,
        })
    }

    fn urls(&self, root: &Table<'_, '_>) -> Vec<At<Url>> {
        let texts = root.texts("url");
        if texts.is_empty() && root.get("url").is_none() {
            root.missing("url", "where the engine answers, such as \"http://127.0.0.1:9000\"");
        }
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

    fn header(&self, name: &At<String>) -> Option<HeaderName> {
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

    fn call(&self, table: &Table<'_, '_>, method: Method, seconds: u64) -> Option<Call> {
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
        Some(Call { method, path: text, body, timeout })
    }

    /// A JSON Pointer (RFC 6901).
    fn pointer(&self, table: &Table<'_, '_>, name: &'static str) -> Option<String> {
        let text = table.text(name)?;
        if !text.value.is_empty() && !text.value.starts_with('/') {
            table.fault(text.offset, format!("`{name}` is a JSON Pointer and begins with `/`, such as \"/status\""));
            return None;
        }
        Some(text.value)
    }

    fn poll(&self, table: Table<'_, '_>) -> Option<Poll> {
        let call = self.call(&table, Method::GET, 10);
        let interval = table.whole("interval_ms", 10..=600_000).unwrap_or(1000);
        let state = self.pointer(&table, "state");
        if state.is_none() && table.get("state").is_none() {
            table.missing("state", "where the answer says how the run is, such as \"/status\"");
        }
        let (done, failed) = (table.texts("done"), table.texts("failed"));
        if done.is_empty() {
            table.missing("done", "the words of `state` that mean a good end, such as [\"completed\"]");
        }
        if failed.is_empty() {
            table.missing("failed", "the words of `state` that mean a failure, such as [\"failed\", \"cancelled\"]");
        }
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

    fn output(&self, table: Table<'_, '_>) -> Option<Output> {
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
            form: form?,
        };
        table.end();
        Some(output)
    }

    fn explain(&self, table: Table<'_, '_>) -> Explain {
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

fn conformance(table: Table<'_, '_>) -> Option<Payloads> {
    let payload = |name| match table.get(name) {
        Some(value) => Some(json(value)),
        None => {
            table.missing(name, "a payload for the conformance suite");
            None
        }
    };
    let (ok, slow, failing) = (payload("ok"), payload("slow"), payload("failing"));
    let kind = table.text("failure_type");
    if table.get("failure_type").is_none() {
        table.missing("failure_type", "how `failing` fails");
    }
    if let Some(kind) = kind.as_ref().filter(|kind| FailureType::from_word(&kind.value).is_none()) {
        table.fault(kind.offset, format!("{:?} is no failure type", kind.value));
    }
    table.end();
    Some(Payloads { ok: ok?, slow: slow?, failing: failing?, failure_type: kind?.value })
}
