//! Jobs that ran more than once, and why.
//! In: what engines ran, which job it was for, how it went with each job. Out: repeats by reason, and what has none.

use super::history::{Fault, Finding, History};
use super::plan::{Plan, Trouble};
use stand_ins::comfyui::Execution;
use std::collections::BTreeMap;

/// What the engines did.
#[derive(Default)]
pub struct Repeats {
    pub begun: u64,
    pub whole: u64,
    /// For jobs that nobody can name.
    pub unknown: u64,
    /// Reason to how many runs beyond a job's first.
    pub by_reason: BTreeMap<&'static str, u64>,
    /// Runs again, and interruptions, that nothing explains.
    pub findings: Vec<Finding>,
}

/// Reads them. `work` names the job behind each prompt, as far as no gap has swallowed it.
pub fn repeats(
    plan: &Plan,
    executions: &[Execution],
    work: &BTreeMap<String, String>,
    histories: &[History],
    gaps: u64,
) -> Repeats {
    let known: BTreeMap<&str, &History> = histories.iter().map(|history| (history.id.as_str(), history)).collect();
    let mut whole: BTreeMap<&str, u64> = BTreeMap::new();
    let mut repeats = Repeats { begun: executions.len() as u64, ..Repeats::default() };
    for execution in executions {
        let job = work.get(&execution.prompt_id).and_then(|id| known.get(id.as_str()));
        let Some(history) = job else {
            repeats.unknown += 1;
            if gaps > 0 {
                continue;
            }
            let why = format!("prompt {} belongs to no job", execution.prompt_id);
            repeats.findings.push(Finding { fault: Fault::Unexplained, id: String::new(), why });
            continue;
        };
        match execution.outcome {
            "success" => *whole.entry(&history.id).or_default() += 1,
            "interrupted" if !history.cancel_asked && reason(plan, history).is_none() => {
                let why = format!("was interrupted, and nobody cancelled it: {:?}", history.kinds);
                repeats.findings.push(Finding { fault: Fault::Unexplained, id: history.id.clone(), why });
            }
            _ => {}
        }
    }
    for (id, runs) in whole {
        repeats.whole += runs;
        let history = known[id];
        if runs < 2 {
            continue;
        }
        if let Some(reason) = reason(plan, history) {
            *repeats.by_reason.entry(reason).or_default() += runs - 1;
        } else {
            let why = format!("ran {runs} times, and nothing explains it: {:?}", history.kinds);
            repeats.findings.push(Finding { fault: Fault::Unexplained, id: id.to_owned(), why });
        }
    }
    repeats
}

/// Why a job may have run again. Who never lost its lease, was never handed back, and whose engine forgot nothing, has
/// no reason to.
fn reason(plan: &Plan, history: &History) -> Option<&'static str> {
    let told = |kind: &str| history.kinds.iter().any(|told| told == kind);
    if told("stalled") {
        Some("    its lease ran out")
    } else if told("retry_scheduled") || told("released") {
        Some("    it was handed back")
    } else if plan.has(Trouble::Engine) && told("reattached") {
        Some("    its engine forgot it, its agent took it up again")
    } else if plan.has(Trouble::Engine) {
        Some("    its engine forgot it")
    } else {
        None
    }
}
