//! What a storm showed.
//! In: findings and counts. Out: a table, and whether all is well.

use super::history::{FAULTS, Fault, Finding};
use super::record::{Entry, Summary, Wrong};
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

pub struct Report {
    pub figures: Vec<(&'static str, u64)>,
    pub findings: Vec<Finding>,
    pub own_ends: u64,
    pub took: Duration,
    /// What each agent logged.
    #[allow(dead_code, reason = "the tests read it, `make chaos` keeps the files")]
    pub logs: Vec<String>,
    /// Where the agents' logs are, if anything is wrong.
    pub kept: Option<std::path::PathBuf>,
}

/// So many findings are told in full.
const SHOWN: usize = 20;

impl Report {
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty() && self.own_ends == 0
    }

    /// One of its figures, by name; 0 if it is not there.
    #[allow(dead_code, reason = "the tests ask for it, `make chaos` prints all")]
    pub fn figure(&self, name: &str) -> u64 {
        self.figures.iter().find(|(known, _)| *known == name).map_or(0, |(_, figure)| *figure)
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

impl Report {
    /// Writes the recorded steps of each job with a finding beside the logs.
    pub fn write_record(&self, entries: &[Entry], summary: &Summary, folder: &Path) {
        let ids: BTreeSet<&str> = self.findings.iter().map(|finding| finding.id.as_str()).take(SHOWN).collect();
        for id in ids.into_iter().filter(|id| !id.is_empty()) {
            let mut text = String::new();
            for (at, entry) in entries.iter().enumerate() {
                match entry {
                    Entry::Step(step) if step.commands.iter().flatten().any(|word| word.contains(id)) => {
                        let by = if step.script { "script" } else { "others" };
                        text += &format!("{at} {} {by} {:?}\n", step.at_us, step.spoken);
                        for words in step.commands.iter().filter(|words| words.iter().any(|word| word.contains(id))) {
                            text += &format!("    {}\n", words.join(" "));
                        }
                    }
                    Entry::Seen(picture) | Entry::End(picture) => {
                        text += &format!("{at} seen {:?}\n", picture.jobs.get(id));
                    }
                    Entry::Step(_) => {}
                }
                for breach in summary.breaches.iter().filter(|breach| breach.at == at && breach.id == id) {
                    text += &format!("    ^ {:?}: {}\n", breach.wrong, breach.why);
                }
            }
            std::fs::write(folder.join(format!("record-{id}")), text).expect("the record is written");
        }
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
            writeln!(f, "  logs, outputs and records are kept in {}", folder.display())?;
        }
        let broken: BTreeSet<Fault> = self
            .findings
            .iter()
            .map(|finding| finding.fault)
            .filter(|fault| matches!(fault, Fault::Broken(_)))
            .collect();
        let two_live = self.count(Fault::Broken(Wrong::TwoLive));
        for fault in &broken {
            writeln!(f, "  {fault:?}: {} jobs", self.count(*fault))?;
        }
        let all = self.findings.iter().filter(|finding| matches!(finding.fault, Fault::Broken(_))).count();
        writeln!(f, "in the record of all writes: two live tokens {two_live}, all that the promise forbids {all}")?;
        let names = ["lost", "ended twice", "accepted twice", "stuck", "failed", "unexplained"];
        let verdict: Vec<String> =
            names.iter().zip(FAULTS).map(|(name, fault)| format!("{name} {}", self.count(fault))).collect();
        write!(f, "{}; took {:.1} s", verdict.join(", "), self.took.as_secs_f64())
    }
}
