//! Which names are known, and what is said about those that do nothing.
//! In: the names of each layer. Out: faults for unknown names of file and flags, warnings for retired ones and near misses.

use super::address_parts::ADDRESSES;
use super::former::{Former, RESERVED, RETIRED};
use super::nearest::nearest;
use super::report::{Origin, Report};
use super::source::{Entry, Layer, Sources};
use super::table::VARIABLES;
use secrecy::SecretString;
use std::collections::BTreeMap;

/// Names that a machine's environment may hold anyway and that look like one of ours.
const FOREIGN: [&str; 2] = ["CPU_COUNT", "LOGLEVEL"];
/// A longer name than this is no slip of the finger, and would drown the report.
const NAME_SHOWN: usize = 64;
/// Where more names than this are unknown, it is the wrong file, and comparing them all takes seconds.
const HINTS: usize = 200;
/// Names with this beginning are free: engines that are files refer to them.
pub(super) const OF_ENGINES: &str = "CONNECTOR_";
/// Names that act on the process and its libraries, so an env file read by the program comes too late for them.
const OF_THE_PROCESS: [&str; 10] = [
    "PATH",
    "HOME",
    "LANG",
    "TZ",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
];

/// Every name that sets something: variables, their aliases, and the parts of addresses.
pub(super) fn working() -> impl Iterator<Item = &'static str> {
    let variables = VARIABLES.iter().map(|variable| variable.name);
    let aliases = VARIABLES.iter().flat_map(|variable| variable.aliases.iter().map(|alias| alias.name));
    let parts = ADDRESSES.iter().flat_map(|address| [address.host, address.port, address.secure]).flatten().copied();
    variables.chain(aliases).chain(parts)
}

fn reason(formers: &'static [Former], name: &str) -> Option<&'static str> {
    formers.iter().find(|former| former.names.contains(&name)).map(|former| former.reason)
}

/// Looks at every name of every layer.
pub(super) fn check(layers: &[Layer; 3], report: &mut Report) {
    let mut hints = HINTS;
    for layer in layers {
        let mut reserved: Vec<(&'static str, Vec<(&str, &Origin)>)> = Vec::new();
        for (name, entry) in layer {
            if working().any(|known| known == name) || name.starts_with(OF_ENGINES) {
                continue;
            }
            if let Some(reason) = reason(RETIRED, name) {
                report.warn(&entry.origin, name, format!("retired, does nothing: {reason}"));
            } else if let Some(reason) = reason(RESERVED, name) {
                match reserved.iter_mut().find(|(known, _)| *known == reason) {
                    Some((_, names)) => names.push((name, &entry.origin)),
                    None => reserved.push((reason, vec![(name, &entry.origin)])),
                }
            } else if entry.origin == Origin::Environment {
                near_miss(name, report);
            } else {
                let shown: String = name.chars().take(NAME_SHOWN).collect();
                let message = if hints > 0 { unknown(name) } else { "unknown name".into() };
                hints = hints.saturating_sub(1);
                report.fault(&entry.origin, &shown, message);
            }
        }
        for (reason, mut names) in reserved {
            names.sort_by_key(|(_, origin)| match origin {
                Origin::File { line, .. } => *line,
                _ => None,
            });
            let listed: Vec<_> = names.iter().map(|(name, _)| *name).collect();
            report.warn(names[0].1, &listed.join(", "), reason);
        }
    }
}

/// The variables that engines may refer to.
pub(super) fn of_engines(layers: &[Layer; 3]) -> BTreeMap<String, SecretString> {
    let of = |(name, entry): (&String, &Entry)| (name.clone(), SecretString::from(entry.text.clone()));
    // The earlier layer beats the later.
    layers.iter().rev().flatten().filter(|(name, _)| name.starts_with(OF_ENGINES)).map(of).collect()
}

/// What programs need to find their libraries, caches and places: no addresses and no credentials.
const FOR_ENGINES: [&str; 20] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "PYTHONUNBUFFERED",
    "XDG_CACHE_HOME",
    "HF_HOME",
    "TORCH_HOME",
    "OMP_NUM_THREADS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CUDA_HOME",
    "CUDA_VISIBLE_DEVICES",
];

/// The part of the environment that an engine's own process may see.
pub(super) fn for_engines(sources: &Sources) -> Vec<(String, String)> {
    let may = |name: &str| FOR_ENGINES.contains(&name) || name.starts_with("LC_") || name.starts_with("NVIDIA_");
    sources.env.iter().filter(|(name, _)| may(name)).cloned().collect()
}

fn unknown(name: &str) -> String {
    if OF_THE_PROCESS.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        return "unknown name; it acts on the process itself, so set it in the environment".into();
    }
    let formers = RETIRED.iter().chain(RESERVED);
    let known = working().chain(formers.flat_map(|former| former.names).copied());
    let near = nearest(name, known, (name.len() / 3).max(2));
    // People forget the unit at the end and the WORKER_ in front.
    let longer = || working().filter(|known| part_of(name, known)).min_by_key(|known| known.len());
    match near.or_else(longer) {
        Some(meant) => format!("unknown name; did you mean {meant}?"),
        None => "unknown name".into(),
    }
}

fn part_of(name: &str, known: &str) -> bool {
    let name = name.to_ascii_uppercase();
    known.strip_prefix(&name).is_some_and(|rest| rest.starts_with('_'))
        || known.strip_suffix(&name).is_some_and(|rest| rest.ends_with('_'))
}

/// The environment holds many names that are no business of ours: only a slip of the finger is worth a word.
fn near_miss(name: &str, report: &mut Report) {
    if FOREIGN.contains(&name) {
        return;
    }
    let limit = if name.len() < 14 { 1 } else { 2 };
    // One word is too common: SERVICE, WORKER and REGIONS belong to anybody.
    let ours = working().filter(|known| known.contains('_'));
    if let Some(meant) = nearest(name, ours, limit) {
        let message = format!("unknown name, ignored; did you mean {meant}?");
        report.warn(&Origin::Environment, name, message);
    }
}
