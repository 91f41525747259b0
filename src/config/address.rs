//! A URL from host, port and encryption, which the reference gives under names of their own.
//! In: the layers and one address of the table. Out: the URL with the names it was made of, in the layer of its strongest part.

use super::address_parts::Address;
use super::report::{Origin, Report};
use super::source::{Entry, Layer};
use super::value::boolean;
use url::Url;

/// A URL made of parts.
pub(super) struct Composed {
    /// The names it was made of.
    pub name: String,
    pub text: String,
    pub origin: Origin,
    /// Index of the layer it belongs to.
    pub layer: usize,
}

#[derive(Clone, Copy)]
struct Part<'a> {
    layer: usize,
    name: &'static str,
    entry: &'a Entry,
}

/// Parts that nobody gave are taken from `base`, a URL given otherwise, so that they can't contradict it.
/// `stated` says whether the whole URL is given somewhere.
pub(super) fn compose(
    address: &Address,
    base: Option<&Url>,
    stated: bool,
    layers: &[Layer; 3],
    report: &mut Report,
) -> Option<Composed> {
    let host = part(address.host, layers, report);
    let port = part(address.port, layers, report);
    let secure = part(address.secure, layers, report);
    if let (None, None, Some(secure), true) = (host, port, secure, stated) {
        report.warn(&secure.entry.origin, secure.name, format!("does nothing beside {}", address.target));
        return None;
    }
    let given: Vec<Part<'_>> = [host, port, secure].into_iter().flatten().collect();
    let strongest = *given.iter().min_by_key(|part| part.layer)?;

    // All three are looked at before giving up, so that one report lists every fault.
    let scheme = scheme(secure, base, report);
    let host = host_name(host, base, address, report);
    let port = port_number(port, base, address, report);
    Some(Composed {
        name: given.iter().map(|part| part.name).collect::<Vec<_>>().join("+"),
        text: format!("{}://{}:{}", scheme?, host?, port?),
        origin: strongest.entry.origin.clone(),
        layer: strongest.layer,
    })
}

fn scheme(secure: Option<Part<'_>>, base: Option<&Url>, report: &mut Report) -> Option<String> {
    let Some(Part { name, entry, .. }) = secure else {
        return Some(base.map_or("http", Url::scheme).into());
    };
    match boolean(&entry.text) {
        Some(true) => Some("https".into()),
        Some(false) => Some("http".into()),
        None => {
            report.fault(&entry.origin, name, "must be true or false");
            None
        }
    }
}

fn host_name(host: Option<Part<'_>>, base: Option<&Url>, address: &Address, report: &mut Report) -> Option<String> {
    let Some(Part { name, entry, .. }) = host else {
        return Some(base.and_then(Url::host_str).unwrap_or("127.0.0.1").into());
    };
    let text = entry.text.trim();
    let bracketed = text.starts_with('[') && text.ends_with(']');
    if text.contains(['/', '@', ',', '?', '#']) || (text.contains(':') && !bracketed) {
        let message = format!("must be a host name alone; for a whole address use {}", address.target);
        report.fault(&entry.origin, name, message);
        return None;
    }
    Some(text.into())
}

fn port_number(port: Option<Part<'_>>, base: Option<&Url>, address: &Address, report: &mut Report) -> Option<u16> {
    let Some(Part { name, entry, .. }) = port else {
        return Some(base.and_then(Url::port_or_known_default).unwrap_or(address.default_port));
    };
    match entry.text.trim().parse::<u16>() {
        Ok(number) if number > 0 => Some(number),
        _ => {
            report.fault(&entry.origin, name, "must be a port, a whole number from 1 to 65535");
            None
        }
    }
}

/// The strongest layer's word on one part; two names of one layer must agree.
fn part<'a>(names: &'static [&'static str], layers: &'a [Layer; 3], report: &mut Report) -> Option<Part<'a>> {
    for (index, layer) in layers.iter().enumerate() {
        let mut said = names.iter().filter_map(|name| {
            let entry = layer.get(*name).filter(|entry| !entry.text.trim().is_empty())?;
            // Container links put NAME_PORT=tcp://address:port into the environment of their neighbours.
            let linked = entry.origin == Origin::Environment && entry.text.starts_with("tcp://");
            (!linked).then_some((*name, entry))
        });
        let Some((name, entry)) = said.next() else {
            continue;
        };
        for (other, second) in said {
            if second.text.trim() != entry.text.trim() {
                report.fault(&second.origin, other, format!("contradicts {name} ({}); keep one", entry.origin));
            }
        }
        return Some(Part { layer: index, name, entry });
    }
    None
}
