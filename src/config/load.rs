//! Loading, start to end: read, name, resolve, fill, or else one report of every fault.
//! In: `Sources`. Out: `Loaded`, or a `Report`.
//!
//! No configuration library: figment's providers would have to be written here anyway (values must stay text, so that a
//! worker id `12345` is one), and its error is the first fault, where a person wants all of them with their lines.

use super::reader::Reader;
use super::report::{Finding, Origin, Report};
use super::settings::Config;
use super::source::{self, Sources};
use super::table::VARIABLES;
use super::variable::{Group, Preset};
use super::{build, names, resolve};

/// A configuration without faults.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The typed values.
    pub config: Config,
    /// Worth telling, once.
    pub warnings: Vec<Finding>,
    /// Every variable of the table in its order, with its value and where that comes from.
    pub origins: Vec<Effective>,
}

/// One variable's value as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The variable.
    pub name: &'static str,
    /// Its group.
    pub group: Group,
    /// Masked where it is a secret; `None` when it is not set.
    pub value: Option<String>,
    /// Where it comes from.
    pub origin: Origin,
}

/// Reads and checks everything.
///
/// # Errors
/// The report lists every fault: unreadable file, wrong grammar, unknown names, wrong values, contradictions.
pub fn load(sources: &Sources) -> Result<Loaded, Report> {
    read(sources).map(|(loaded, _)| loaded)
}

/// `load`, and the names that were asked for on the way.
pub(super) fn read(sources: &Sources) -> Result<(Loaded, std::collections::BTreeSet<&'static str>), Report> {
    let mut report = Report::default();
    let layers = source::layers(sources, &mut report);
    names::check(&layers, &mut report);
    let resolved = resolve::resolve(&layers, &mut report);
    let reader = Reader::new(&resolved);
    let (mut config, mut derived) = build::config(&reader, sources, &mut report);
    config.engines.files.secrets = names::of_engines(&layers);
    config.engines.files.inherited = names::for_engines(sources);
    let asked = reader.asked();
    if !report.faults.is_empty() {
        // In the order of the file, then of the environment.
        report.faults.sort_by_key(|fault| match &fault.origin {
            Origin::File { line, .. } => (0, line.unwrap_or(0)),
            Origin::Environment => (1, 0),
            Origin::Flag | Origin::Default => (2, 0),
        });
        return Err(report);
    }
    let effective = VARIABLES.iter().map(|variable| {
        let found = &resolved[variable.name];
        let derives = found.origin == Origin::Default;
        let value = match derived.remove(variable.name) {
            Some(text) if derives || matches!(variable.preset, Preset::Is(_)) => text,
            _ => found.shown.clone(),
        };
        Effective { name: variable.name, group: variable.group, value, origin: found.origin.clone() }
    });
    let origins = effective.collect();
    Ok((Loaded { config, warnings: report.warnings, origins }, asked))
}
