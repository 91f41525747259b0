//! The checker: what is wrong with what became of the jobs.
//! In: collected histories and what is left in the indexes. Out: faults; nothing is read from anywhere.

use super::record::Wrong;
use std::collections::BTreeMap;

/// What is known of one job at the end.
#[derive(Clone, Default)]
pub struct History {
    pub id: String,
    /// Empty if there is no hash.
    pub status: String,
    /// The field `final`: state, token, life.
    pub end: String,
    pub failure_type: String,
    /// The kinds of its events, in order.
    pub kinds: Vec<String>,
    /// The engine's ids for the work, as its events tell them.
    pub prompts: Vec<String>,
    /// Outputs that its result tells of.
    pub outputs: usize,
    /// Of these, the ones that are not on disk.
    pub missing: Vec<String>,
    /// Somebody wanted it cancelled: either end is good then.
    pub cancel_asked: bool,
}

/// An id that an index still holds.
#[derive(Clone)]
pub struct Leftover {
    pub key: String,
    pub id: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// No hash, or an end that nobody was told of, or a result without its files.
    Lost,
    /// More than one last event, or events behind it.
    EndedTwice,
    /// More than one result.
    AcceptedTwice,
    /// Not ended, given up, or still in an index.
    Stuck,
    /// Ended as something else than completed, though nothing was wrong with it.
    Failed,
    /// It ran again or was interrupted, and nothing that went wrong explains it.
    Unexplained,
    /// The record of all writes shows what the promise forbids.
    Broken(Wrong),
}

pub const FAULTS: [Fault; 6] =
    [Fault::Lost, Fault::EndedTwice, Fault::AcceptedTwice, Fault::Stuck, Fault::Failed, Fault::Unexplained];

/// A fault, with its reason.
pub struct Finding {
    pub fault: Fault,
    pub id: String,
    pub why: String,
}

fn is_last(kind: &str) -> bool {
    matches!(kind, "completion" | "failure" | "cancellation")
}

/// Everything that is wrong, each job's faults once.
pub fn check(submitted: &[String], histories: &[History], leftovers: &[Leftover]) -> Vec<Finding> {
    let known: BTreeMap<&str, &History> = histories.iter().map(|history| (history.id.as_str(), history)).collect();
    let nothing = History::default();
    let mut findings = Vec::new();
    for id in submitted {
        let history = known.get(id.as_str()).copied().unwrap_or(&nothing);
        let wrong = faults_of(history);
        findings.extend(wrong.into_iter().map(|(fault, why)| Finding { fault, id: id.clone(), why }));
    }
    for Leftover { key, id } in leftovers {
        findings.push(Finding { fault: Fault::Stuck, id: id.clone(), why: format!("is still in {key}") });
    }
    findings
}

fn faults_of(history: &History) -> Vec<(Fault, String)> {
    let History { status, end, failure_type, kinds, outputs, missing, cancel_asked, .. } = history;
    if status.is_empty() {
        return vec![(Fault::Lost, "has no hash".to_owned())];
    }
    let mut wrong = Vec::new();
    let ends = kinds.iter().filter(|kind| is_last(kind)).count();
    let results = kinds.iter().filter(|kind| *kind == "completion").count();
    if results > 1 {
        wrong.push((Fault::AcceptedTwice, format!("{results} results: {kinds:?}")));
    }
    if ends > 1 {
        wrong.push((Fault::EndedTwice, format!("{ends} last events: {kinds:?}")));
    } else if ends == 1 && !kinds.last().is_some_and(|kind| is_last(kind)) {
        wrong.push((Fault::EndedTwice, format!("events behind its last: {kinds:?}")));
    }
    match status.as_str() {
        "completed" => {
            let mut parts = end.split(' ');
            let (state, token) = (parts.next().unwrap_or_default(), parts.next());
            // The reference's workers keep results elsewhere.
            let ours = token != Some("-");
            let lost = if results == 0 {
                Some(format!("completed without an event: {kinds:?}"))
            } else if state != "completed" {
                Some(format!("completed, and `final` is {end:?}"))
            } else if ours && (*outputs == 0 || !missing.is_empty()) {
                Some(format!("{outputs} outputs, of which these are missing: {missing:?}"))
            } else {
                None
            };
            wrong.extend(lost.map(|why| (Fault::Lost, why)));
        }
        "cancelled" if *cancel_asked => {
            let last = kinds.last().map(String::as_str);
            if last != Some("cancellation") || !end.starts_with("cancelled ") || *outputs > 0 {
                wrong.push((Fault::Lost, format!("cancelled, with {outputs} outputs, `final` {end:?}: {kinds:?}")));
            }
        }
        "failed" if failure_type == "worker_lost" => {
            wrong.push((Fault::Stuck, format!("given up as worker_lost: {kinds:?}")));
        }
        "failed" | "cancelled" => wrong.push((Fault::Failed, format!("{status} as {failure_type:?}: {kinds:?}"))),
        _ => wrong.push((Fault::Stuck, format!("is {status}: {kinds:?}"))),
    }
    wrong
}
