//! Typed access to resolved values by name, for the steps that fill the structs.
//! In: the resolved values. Out: typed values, and which names were asked for (a test holds that against the table).

use super::report::{Origin, Report};
use super::resolve::Resolved;
use super::value::Value;
use secrecy::SecretString;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use url::Url;

/// A value that is missing because it is wrong reads as empty: its fault is in the report already, and the struct is thrown away.
pub(super) struct Reader<'a> {
    values: &'a BTreeMap<&'static str, Resolved>,
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(values: &'a BTreeMap<&'static str, Resolved>) -> Self {
        Self { values, asked: RefCell::default() }
    }

    /// The names that were asked for.
    pub(super) fn asked(self) -> BTreeSet<&'static str> {
        self.asked.into_inner()
    }

    pub(super) fn value(&self, name: &'static str) -> Option<&'a Value> {
        self.asked.borrow_mut().insert(name);
        self.values.get(name).and_then(|resolved| resolved.value.as_ref())
    }

    /// Whether somebody set it: a default doesn't count.
    pub(super) fn stated(&self, name: &'static str) -> bool {
        self.origin(name) != Origin::Default
    }

    pub(super) fn origin(&self, name: &'static str) -> Origin {
        self.values.get(name).map_or(Origin::Default, |resolved| resolved.origin.clone())
    }

    /// The text as it may be shown; empty when there is none.
    pub(super) fn shown(&self, name: &'static str) -> &'a str {
        self.values.get(name).and_then(|resolved| resolved.shown.as_deref()).unwrap_or_default()
    }

    /// A fault that concerns this variable together with another.
    pub(super) fn fault(&self, name: &'static str, message: impl Into<String>, report: &mut Report) {
        report.fault(&self.origin(name), name, message);
    }

    pub(super) fn text(&self, name: &'static str) -> Option<String> {
        match self.value(name)? {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    pub(super) fn secret(&self, name: &'static str) -> Option<SecretString> {
        self.text(name).map(SecretString::from)
    }

    pub(super) fn boolean(&self, name: &'static str) -> bool {
        matches!(self.value(name), Some(Value::Boolean(true)))
    }

    pub(super) fn bytes(&self, name: &'static str) -> Option<u64> {
        match self.value(name)? {
            Value::Whole(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn count(&self, name: &'static str) -> Option<u32> {
        self.bytes(name).and_then(|number| u32::try_from(number).ok())
    }

    pub(super) fn decimal(&self, name: &'static str) -> Option<f64> {
        match self.value(name)? {
            Value::Decimal(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn span(&self, name: &'static str) -> Duration {
        match self.value(name) {
            Some(Value::Span(span)) => *span,
            _ => Duration::ZERO,
        }
    }

    pub(super) fn list(&self, name: &'static str) -> Vec<String> {
        match self.value(name) {
            Some(Value::List(items)) => items.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn indexes(&self, name: &'static str) -> Option<Vec<u32>> {
        match self.value(name)? {
            Value::Indexes(items) => Some(items.clone()),
            _ => None,
        }
    }

    pub(super) fn urls(&self, name: &'static str) -> Vec<Url> {
        match self.value(name) {
            Some(Value::Urls(urls)) => urls.clone(),
            _ => Vec::new(),
        }
    }
}
