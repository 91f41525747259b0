//! What a storm showed.
//! In: findings and counts. Out: a table, and whether all is well.

use super::history::{FAULTS, Fault, Finding};
use std::fmt;
use std::time::Duration;

pub struct Report {
    pub figures: Vec<(&'static str, u64)>,
    pub findings: Vec<Finding>,
    pub own_ends: u64,
    pub took: Duration,
    /// Where the agents' logs are, if anything is wrong.
    pub kept: Option<std::path::PathBuf>,
}

/// So many findings are told in full.
const SHOWN: usize = 20;

impl Report {
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty() && self.own_ends == 0
    }

    /// In how many ways that has happened; a job counts once.
    fn count(&self, fault: Fault) -> usize {
        let mut ids: Vec<&str> =
            self.findings.iter().filter(|finding| finding.fault == fault).map(|finding| finding.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.len()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.figures {
            writeln!(f, "  {name:<44} {value:>8}")?;
        }
        for finding in self.findings.iter().take(SHOWN) {
            writeln!(f, "  {:?}: {} {}", finding.fault, finding.id, finding.why)?;
        }
        if self.findings.len() > SHOWN {
            writeln!(f, "  and {} more", self.findings.len() - SHOWN)?;
        }
        if let Some(folder) = &self.kept {
            writeln!(f, "  logs and outputs are kept in {}", folder.display())?;
        }
        let names = ["lost", "ended twice", "accepted twice", "stuck", "failed"];
        let verdict: Vec<String> =
            names.iter().zip(FAULTS).map(|(name, fault)| format!("{name} {}", self.count(fault))).collect();
        write!(f, "{}; took {:.1} s", verdict.join(", "), self.took.as_secs_f64())
    }
}
