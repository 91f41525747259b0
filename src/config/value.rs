//! Text to typed value, by the kind that the table gives.
//! In: a kind and a text. Out: the value, or what the text must be (without quoting it: the caller knows whether it may be shown).

use super::allowed_host::AllowedHost;
use super::redis_address::RedisAddress;
use super::variable::Kind;
use std::time::Duration;
use url::Url;

const KIB: u64 = 1024;
const SIZE_LIMIT: u64 = KIB * KIB * KIB;
const ID_LENGTH: usize = 128;

/// A checked value. Has no `Debug`: it may be a secret.
#[derive(Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Whole(u64),
    Decimal(f64),
    Boolean(bool),
    Span(Duration),
    List(Vec<String>),
    Indexes(Vec<u32>),
    Urls(Vec<Url>),
}

/// Checks one text. The error completes the sentence "NAME …".
pub(super) fn parse(kind: &Kind, text: &str) -> Result<Value, String> {
    if text.chars().any(char::is_control) {
        return Err("must have no control characters and no line breaks".into());
    }
    if text.contains('\u{fffd}') {
        return Err("must be UTF-8".into());
    }
    let trimmed = text.trim();
    let value = match kind {
        Kind::Text => Some(Value::Text(text.into())),
        Kind::Path => Some(Value::Text(trimmed.into())),
        Kind::WorkerId => id(trimmed, &['.', ':', '|']).map(Value::Text),
        Kind::MachineId => id(trimmed, &[':']).map(Value::Text),
        Kind::Boolean => boolean(trimmed).map(Value::Boolean),
        Kind::Whole(min, max) => whole(trimmed).filter(|number| (min..=max).contains(&number)).map(Value::Whole),
        Kind::Decimal(min, max) => decimal(trimmed, *min, *max).map(Value::Decimal),
        Kind::Span(unit, min, max) => decimal(trimmed, *min, *max)
            .map(|number| Value::Span(Duration::from_micros((number * unit.seconds() * 1e6).round() as u64))),
        Kind::Size => size(trimmed).filter(|bytes| (KIB..=SIZE_LIMIT).contains(bytes)).map(Value::Whole),
        Kind::Choice(choices) => choices
            .iter()
            .find(|(spelled, _)| spelled.eq_ignore_ascii_case(trimmed))
            .map(|(_, meaning)| Value::Text((*meaning).into())),
        // An empty list of allowed customers would let everybody in.
        Kind::List => list(trimmed).filter(|items| !items.is_empty()).map(Value::List),
        Kind::Services => services(trimmed).map(Value::List),
        Kind::Indexes => {
            list(trimmed).and_then(|items| items.iter().map(|item| item.parse().ok()).collect()).map(Value::Indexes)
        }
        Kind::Hosts => list(trimmed)
            .filter(|items| !items.is_empty() && items.iter().all(|item| AllowedHost::parse(item).is_some()))
            .map(Value::List),
        Kind::RedisUrl => {
            return redis_url(trimmed).map(|()| Value::Text(trimmed.trim_end_matches('/').into()));
        }
        Kind::EngineUrls | Kind::ApiUrls => return engine_urls(kind, trimmed).map(Value::Urls),
        Kind::StoreUrl => store_url(trimmed).map(|url| Value::Urls(vec![url])),
        Kind::HttpUrl => http_url(trimmed).map(|url| Value::Urls(vec![url])),
    };
    value.ok_or_else(|| format!("must be {}", kind.expected()))
}

fn id(text: &str, forbidden: &[char]) -> Option<String> {
    let good = !text.is_empty()
        && text.chars().count() <= ID_LENGTH
        && !text.chars().any(|letter| letter.is_whitespace() || forbidden.contains(&letter));
    good.then(|| text.into())
}

/// The words that systemd and people use for yes and no.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn whole(text: &str) -> Option<u64> {
    // `u64::from_str` takes a plus sign, which nobody means.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A number without sign, exponent, `inf` and `nan`, which `f64::from_str` would take.
pub(super) fn plain_number(text: &str) -> Option<f64> {
    text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.').then(|| text.parse().ok()).flatten()
}

fn decimal(text: &str, min: f64, max: f64) -> Option<f64> {
    plain_number(text).filter(|number| (min..=max).contains(number))
}

fn size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1000 * 1000,
        "gb" => 1000 * 1000 * 1000,
        "kib" => KIB,
        "mib" => KIB * KIB,
        "gib" => KIB * KIB * KIB,
        _ => return None,
    };
    whole(number)?.checked_mul(factor)
}

/// Items of a comma list or a JSON array; empty items are dropped, as people leave commas at the end.
pub(super) fn list(text: &str) -> Option<Vec<String>> {
    if !text.starts_with('[') {
        return Some(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Into::into).collect());
    }
    let items: Vec<serde_json::Value> = serde_json::from_str(text).ok()?;
    let item = |item| match item {
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    items.into_iter().map(item).collect()
}

/// Engine names in small letters, each once. The counts of the reference are dropped: slots come from the GPUs.
fn services(text: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for item in list(text)? {
        let name = match item.split_once(':') {
            Some((name, count)) if whole(count.trim()).is_some() => name,
            Some(_) => return None,
            None => &item,
        };
        let name = name.trim().to_ascii_lowercase();
        if name.is_empty() {
            return None;
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    (!names.is_empty()).then_some(names)
}

fn redis_url(text: &str) -> Result<(), String> {
    let expected = || format!("must be {}", Kind::RedisUrl.expected());
    RedisAddress::parse(text).map(drop).map_err(|why| if why.is_empty() { expected() } else { why })
}

fn store_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain = url.query().is_none() && url.fragment().is_none() && url.port().is_none() && is_without_user(&url);
    let host = url.host_str().unwrap_or_default();
    let whole = match url.scheme() {
        "file" => host.is_empty() && url.to_file_path().is_ok(),
        "s3" | "gs" | "az" => !host.is_empty(),
        _ => false,
    };
    (plain && whole).then_some(url)
}

fn http_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let plain = url.query().is_none() && url.fragment().is_none() && is_without_user(&url);
    (plain && url.host_str().is_some_and(|host| !host.is_empty())).then_some(url)
}

fn is_without_user(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none()
}

/// Addresses; connectors put their own paths behind.
fn engine_urls(kind: &Kind, text: &str) -> Result<Vec<Url>, String> {
    let mut urls = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let url = Url::parse(item).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(url) = url.filter(|url| url.host_str().is_some_and(|host| !host.is_empty())) else {
            let hint = if item.contains("://") { "" } else { " (http:// or https:// is missing in front)" };
            return Err(format!("must be {}{hint}", kind.expected()));
        };
        let is_api = matches!(kind, Kind::ApiUrls);
        if is_api && (!url.username().is_empty() || url.password().is_some()) {
            return Err("must hold no credentials; a key has a variable of its own".into());
        }
        if !is_api && !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err("must end behind host and port, without path or query".into());
        }
        if url.port() == Some(0) {
            return Err("must have a port from 1 to 65535".into());
        }
        urls.push(url);
    }
    if urls.is_empty() {
        return Err(format!("must be {}", kind.expected()));
    }
    Ok(urls)
}
