//! What was found while loading: faults, which stop the program, and warnings, which don't.
//! In: findings from every step of loading. Out: one report that lists them all. Holds no secret: whoever adds a finding masks its values.

use std::fmt;
use std::path::PathBuf;

/// Where a value or a fault comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// The environment of the process.
    Environment,
    /// An env file.
    File {
        /// As it was named.
        path: PathBuf,
        /// Counted from 1; `None` for the file as a whole.
        line: Option<usize>,
    },
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag => out.write_str("flag"),
            Origin::Environment => out.write_str("environment"),
            Origin::File { path, line: Some(line) } => write!(out, "{}:{line}", path.display()),
            Origin::File { path, line: None } => write!(out, "{}", path.display()),
            Origin::Default => out.write_str("default"),
        }
    }
}

/// One thing that was found: a fault or a warning, by the list in which it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub origin: Origin,
    /// The name as it was written; `None` when the finding is not about one name.
    pub name: Option<String>,
    /// What, for people; without secrets.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(out, "{}: {name}: {}", self.origin, self.message),
            None => write!(out, "{}: {}", self.origin, self.message),
        }
    }
}

/// Why the configuration was refused: at least one fault, and the warnings beside.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Each must be mended.
    pub faults: Vec<Finding>,
    /// Worth knowing.
    pub warnings: Vec<Finding>,
}

impl Report {
    pub(super) fn fault(&mut self, origin: &Origin, name: &str, message: impl Into<String>) {
        self.faults.push(Finding { origin: origin.clone(), name: Some(name.into()), message: message.into() });
    }

    pub(super) fn warn(&mut self, origin: &Origin, name: &str, message: impl Into<String>) {
        self.warnings.push(Finding { origin: origin.clone(), name: Some(name.into()), message: message.into() });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.len() {
            1 => writeln!(out, "the configuration has a fault:")?,
            count => writeln!(out, "the configuration has {count} faults:")?,
        }
        for fault in &self.faults {
            writeln!(out, "  {fault}")?;
        }
        for warning in &self.warnings {
            writeln!(out, "  warning: {warning}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}
