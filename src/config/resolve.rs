//! Which value each variable has: aliases turned into their variable, the parts of addresses put together, precedence applied.
//! In: the three layers. Out: one checked value for each variable with the place it comes from; faults for values that are
//! wrong and for two names that say two things.

use super::address_parts::ADDRESSES;
use super::mask::quoted;
use super::report::{Origin, Report};
use super::source::Layer;
use super::table::VARIABLES;
use super::value::{self, Value};
use super::variable::{Conversion, Mark, Preset, Variable};
use super::{address, mask};
use std::collections::BTreeMap;
use url::Url;

/// What a variable is. No `Debug`: it may be a secret.
pub(super) struct Resolved {
    /// `None` when nothing is set and there is no default, or what is set is wrong.
    pub value: Option<Value>,
    /// As `config show` may print it.
    pub shown: Option<String>,
    pub origin: Origin,
}

/// One layer's word on a variable.
#[derive(Clone)]
pub(super) struct Statement {
    /// The name or names as written.
    pub name: String,
    pub text: String,
    pub origin: Origin,
    value: Option<Value>,
}

/// Every variable of the table.
pub(super) fn resolve(layers: &[Layer; 3], report: &mut Report) -> BTreeMap<&'static str, Resolved> {
    VARIABLES.iter().map(|variable| (variable.name, one(variable, layers, report))).collect()
}

fn one(variable: &'static Variable, layers: &[Layer; 3], report: &mut Report) -> Resolved {
    let mut statements: [Vec<Statement>; 3] = Default::default();
    for (said, layer) in statements.iter_mut().zip(layers) {
        let names = std::iter::once((variable.name, Conversion::Same))
            .chain(variable.aliases.iter().map(|alias| (alias.name, alias.conversion)));
        for (name, conversion) in names {
            // An empty value counts as none, as templates leave them behind.
            let Some(entry) = layer.get(name).filter(|entry| !entry.text.trim().is_empty()) else {
                continue;
            };
            match convert(conversion, &entry.text) {
                Ok(Some(text)) => said.push(state(variable, name, text, &entry.origin, report)),
                Ok(None) => {}
                Err(message) => {
                    let shown = quoted(variable, &entry.text);
                    report.fault(&entry.origin, name, format!("{message}, not `{shown}`"));
                }
            }
        }
    }
    let stated = statements.iter().flatten().next();
    let base = stated.and_then(|statement| match &statement.value {
        Some(Value::Urls(urls)) => urls.first().cloned(),
        _ => None,
    });
    let stated = stated.is_some();
    for composed in ADDRESSES.iter().filter(|address| address.target == variable.name) {
        if let Some(found) = address::compose(composed, base.as_ref(), stated, layers, report) {
            let statement = state(variable, &found.name, found.text, &found.origin, report);
            statements[found.layer].push(statement);
        }
    }
    statements.iter().for_each(|said| conflict(variable, said, report));
    choose(variable, &statements, report)
}

fn state(variable: &Variable, name: &str, text: String, origin: &Origin, report: &mut Report) -> Statement {
    // A blank may be a part of a password, and of nothing else.
    let text = if variable.mark == Mark::Secret { text } else { text.trim().into() };
    let parsed = value::parse(&variable.kind, &text);
    if let Err(message) = &parsed {
        let shown = quoted(variable, &text);
        let unit = if name == variable.name { String::new() } else { format!(" as {}", variable.name) };
        report.fault(origin, name, format!("{message}, not `{shown}`{unit}"));
    }
    Statement { name: name.into(), text, origin: origin.clone(), value: parsed.ok() }
}

fn conflict(variable: &Variable, said: &[Statement], report: &mut Report) {
    let Some(first) = said.first() else { return };
    for other in &said[1..] {
        if first.value.is_some() && other.value.is_some() && first.value != other.value {
            let message = format!(
                "contradicts {} ({}): both set {}, to `{}` and `{}`; keep one",
                first.name,
                first.origin,
                variable.name,
                quoted(variable, &other.text),
                quoted(variable, &first.text),
            );
            report.fault(&other.origin, &other.name, message);
        }
    }
}

fn choose(variable: &'static Variable, statements: &[Vec<Statement>; 3], report: &mut Report) -> Resolved {
    let mut said = statements.iter().flatten();
    let Some(chosen) = said.next() else {
        return preset(variable);
    };
    for beaten in said {
        let other_name = beaten.name != chosen.name && beaten.origin != chosen.origin;
        let across = std::mem::discriminant(&beaten.origin) != std::mem::discriminant(&chosen.origin);
        if other_name && across && chosen.origin != Origin::Flag && beaten.value != chosen.value {
            let message = format!("overrides {} ({})", beaten.name, beaten.origin);
            report.warn(&chosen.origin, &chosen.name, message);
        }
    }
    Resolved {
        value: chosen.value.clone(),
        shown: Some(mask::masked(variable, &chosen.text)),
        origin: chosen.origin.clone(),
    }
}

fn preset(variable: &'static Variable) -> Resolved {
    let text = match variable.preset {
        Preset::Is(text) => Some(text),
        Preset::Unset | Preset::Derived(_) => None,
    };
    Resolved {
        value: text.and_then(|text| value::parse(&variable.kind, text).ok()),
        shown: text.map(Into::into),
        origin: Origin::Default,
    }
}

/// An alias's text in its variable's unit; `None` when it says nothing.
fn convert(conversion: Conversion, text: &str) -> Result<Option<String>, String> {
    let scaled = |factor: fn(f64) -> f64| {
        let number = value::plain_number(text.trim()).ok_or("must be a number")?;
        // A thousandth of the smallest unit: 1.005 s is 1005 ms, whatever binary fractions make of it.
        Ok(Some(((factor(number) * 1e6).round() / 1e6).to_string()))
    };
    match conversion {
        Conversion::Same => Ok(Some(text.into())),
        Conversion::SecondsToMilliseconds => scaled(|number| number * 1000.0),
        Conversion::MillisecondsToSeconds => scaled(|number| number / 1000.0),
        Conversion::UnifiedStatus => match value::boolean(text) {
            Some(true) => Ok(Some("off".into())),
            Some(false) => Ok(None),
            None => Err("must be true or false".into()),
        },
        Conversion::WebSocketUrl => {
            let url = Url::parse(text.trim()).ok().and_then(http_of);
            url.map(|url| Some(url.to_string())).ok_or_else(|| "must be an address such as ws://host:8188/ws".into())
        }
    }
}

fn http_of(mut url: Url) -> Option<Url> {
    let scheme = match url.scheme() {
        "ws" => "http",
        "wss" => "https",
        _ => return None,
    };
    url.set_scheme(scheme).ok()?;
    url.set_query(None);
    if url.path() == "/ws" {
        url.set_path("");
    }
    Some(url)
}
