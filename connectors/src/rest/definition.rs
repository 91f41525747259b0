//! An engine as a TOML file describes it.
//! In: the text, and the secrets that it may refer to. Out: the definition, or every fault with its line and column.
//! `reading` goes through the file as a whole, `sections` through one table of it each.

use super::faults::{Fault, Faults};
use super::reading::Reading;
use super::table::Table;
use super::template::{Secrets, Template, Text};
use crate::failure::Reason;
use crate::process::Payloads;
use reqwest::Method;
use reqwest::header::HeaderName;
use secrecy::SecretString;
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
    pub(super) free: Option<Call>,
    pub(super) result: Option<Call>,
    pub(super) data: Option<String>,
    pub(super) outputs: Vec<Output>,
    pub(super) failure: Explain,
    /// What the text refers to: an answer that repeats it is told without.
    pub(super) secrets: Vec<SecretString>,
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub method: Method,
    pub path: Text,
    pub body: Option<Template>,
    pub timeout: Duration,
    /// The longest answer.
    pub most: usize,
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
    /// Other servers that files may be fetched from.
    pub from: Vec<Url>,
    /// Whether a run may end without it.
    pub optional: bool,
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
            Some(definition) if list.is_empty() => {
                let named = secrets.iter().filter(|(name, _)| text.contains(&format!("env:{name}")));
                let secrets = named.map(|(_, secret)| secret.clone()).collect();
                Ok(Self { warnings: warned.into_list(), secrets, ..definition })
            }
            _ => Err(list),
        }
    }

    /// Whether the server chooses the id of a run.
    pub(super) fn server_names_runs(&self) -> bool {
        self.id.is_some()
    }
}
