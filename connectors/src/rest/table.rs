//! Reading a TOML table member by member, so that everything that is wrong is told at once.
//! In: a parsed table with the places of its values. Out: typed values; faults for the rest, unknown members too.

use super::faults::Faults;
use crate::nearest::nearest;
use serde_json::{Map, Number, Value};
use std::cell::RefCell;
use std::ops::RangeInclusive;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value with the offset at which it stands.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub value: T,
    pub offset: usize,
}

pub(super) struct Table<'a, 't> {
    name: String,
    offset: usize,
    table: &'a DeTable<'t>,
    faults: &'a Faults<'a>,
    known: RefCell<Vec<&'static str>>,
}

impl<'a, 't> Table<'a, 't> {
    pub fn new(name: &str, offset: usize, table: &'a DeTable<'t>, faults: &'a Faults<'a>) -> Self {
        Self { name: name.to_owned(), offset, table, faults, known: RefCell::default() }
    }

    /// The member, known from here on.
    pub fn get(&self, name: &'static str) -> Option<&'a Spanned<DeValue<'t>>> {
        if !self.known.borrow().contains(&name) {
            self.known.borrow_mut().push(name);
        }
        self.table.iter().find(|(key, _)| key.get_ref().as_ref() == name).map(|(_, value)| value)
    }

    pub fn fault(&self, offset: usize, message: impl Into<String>) {
        self.faults.add(offset, message);
    }

    fn path(&self, name: &str) -> String {
        if self.name.is_empty() { name.to_owned() } else { format!("{}.{name}", self.name) }
    }

    pub fn missing(&self, name: &str, why: &str) {
        self.fault(self.offset, format!("`{}` is missing: {why}", self.path(name)));
    }

    fn wrong<T>(&self, name: &str, value: &Spanned<DeValue<'_>>, expected: &str) -> Option<T> {
        let found = value.get_ref().type_str();
        self.fault(value.span().start, format!("`{}` must be {expected}, not {found}", self.path(name)));
        None
    }

    pub fn text(&self, name: &'static str) -> Option<At<String>> {
        let value = self.get(name)?;
        match value.get_ref().as_str() {
            Some(text) => Some(At { value: text.to_owned(), offset: value.span().start }),
            None => self.wrong(name, value, "a text"),
        }
    }

    pub fn boolean(&self, name: &'static str) -> Option<bool> {
        let value = self.get(name)?;
        value.get_ref().as_bool().or_else(|| self.wrong(name, value, "true or false"))
    }

    pub fn whole(&self, name: &'static str, allowed: RangeInclusive<u64>) -> Option<u64> {
        let value = self.get(name)?;
        let found = json(value).as_u64().filter(|number| allowed.contains(number));
        found.or_else(|| {
            let expected = format!("a whole number from {} to {}", allowed.start(), allowed.end());
            self.fault(value.span().start, format!("`{}` must be {expected}", self.path(name)));
            None
        })
    }

    pub fn positive(&self, name: &'static str) -> Option<f64> {
        let value = self.get(name)?;
        let found = json(value).as_f64().filter(|number| *number > 0.0);
        found.or_else(|| self.wrong(name, value, "a number above 0"))
    }

    /// One text, or a list of them.
    pub fn texts(&self, name: &'static str) -> Vec<At<String>> {
        let Some(value) = self.get(name) else { return Vec::new() };
        let one = |value: &Spanned<DeValue<'_>>| match value.get_ref().as_str() {
            Some(text) => Some(At { value: text.to_owned(), offset: value.span().start }),
            None => self.wrong(name, value, "a text or a list of texts"),
        };
        match value.get_ref() {
            DeValue::Array(items) => items.iter().filter_map(one).collect(),
            _ => one(value).into_iter().collect(),
        }
    }

    /// The same where there must be at least one.
    pub fn some_texts(&self, name: &'static str, why: &str) -> Vec<At<String>> {
        let is_empty = |value: &Spanned<DeValue<'_>>| value.get_ref().as_array().is_some_and(|items| items.is_empty());
        if self.get(name).is_none_or(is_empty) {
            self.missing(name, why);
        }
        self.texts(name)
    }

    /// A table below this one.
    pub fn table(&self, name: &'static str) -> Option<Table<'a, 't>> {
        let value = self.get(name)?;
        match value.get_ref().as_table() {
            Some(table) => Some(Table::new(&self.path(name), value.span().start, table, self.faults)),
            None => self.wrong(name, value, "a table"),
        }
    }

    /// A list of tables below this one.
    pub fn tables(&self, name: &'static str) -> Vec<Table<'a, 't>> {
        let Some(value) = self.get(name) else { return Vec::new() };
        let items = value.get_ref().as_array().map(|items| items.iter().collect::<Vec<_>>());
        let Some(items) = items.or_else(|| self.wrong(name, value, "a list of tables ([[…]])")) else {
            return Vec::new();
        };
        let of = |item: &&'a Spanned<DeValue<'t>>| {
            let table = item.get_ref().as_table().or_else(|| self.wrong(name, item, "a list of tables ([[…]])"))?;
            Some(Table::new(&self.path(name), item.span().start, table, self.faults))
        };
        items.iter().filter_map(of).collect()
    }

    /// Every member as a text: names are free.
    pub fn free_texts(&self) -> Vec<(At<String>, At<String>)> {
        let of = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
            let name: &std::borrow::Cow<'_, str> = key.get_ref();
            let text = value.get_ref().as_str().map(str::to_owned).or_else(|| self.wrong(name, value, "a text"))?;
            let name = At { value: name.to_string(), offset: key.span().start };
            Some((name, At { value: text, offset: value.span().start }))
        };
        self.table.iter().filter_map(of).collect()
    }

    /// Tells of members that nobody has asked for.
    pub fn end(self) {
        let known = self.known.borrow();
        for (key, _) in self.table {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                let meant = nearest(name, known.iter().copied(), (name.len() / 3).max(2));
                let meant = meant.map(|meant| format!("did you mean `{meant}`? ")).unwrap_or_default();
                let known = known.join(", ");
                self.fault(key.span().start, format!("`{}` is unknown; {meant}there are {known}", self.path(name)));
            }
        }
    }

    pub fn offset(&self) -> usize {
        self.offset
    }
}

/// The same value as JSON; dates become texts.
pub(super) fn json(value: &Spanned<DeValue<'_>>) -> Value {
    match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            i64::from_str_radix(&digits, number.radix()).map_or(Value::Null, Value::from)
        }
        DeValue::Float(number) => {
            let parsed = number.as_str().replace('_', "").parse::<f64>().ok();
            parsed.and_then(Number::from_f64).map_or(Value::Null, Value::Number)
        }
        DeValue::Boolean(truth) => Value::Bool(*truth),
        DeValue::Datetime(date) => Value::String(date.to_string()),
        DeValue::Array(items) => items.iter().map(json).collect(),
        DeValue::Table(table) => {
            table.iter().map(|(key, value)| (key.get_ref().to_string(), json(value))).collect::<Map<_, _>>().into()
        }
    }
}
