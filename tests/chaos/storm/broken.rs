//! The checker, checked: a sound history passes, and each broken one is caught as what it is.
//! In: nothing. Out: what was missed.

use super::history::{Fault, History, Leftover, check};
use super::plan::{Plan, troubles};
use super::repeats::repeats;
use stand_ins::comfyui::Execution;

/// Its name, what the checker is given, and what it must find.
type Case<'a> = (&'a str, Vec<History>, Vec<Leftover>, &'a [Fault]);

fn sound() -> History {
    let kinds = ["job_submitted", "assigned", "started", "reattached", "progress", "completion"];
    History {
        id: "a".to_owned(),
        status: "completed".to_owned(),
        end: "completed w|1 1".to_owned(),
        kinds: kinds.map(str::to_owned).to_vec(),
        outputs: 1,
        ..History::default()
    }
}

fn broken(how: impl FnOnce(&mut History)) -> Vec<History> {
    let mut history = sound();
    how(&mut history);
    vec![history]
}

/// Feeds it histories whose faults are known.
pub fn check_the_checker() -> Result<(), String> {
    let left = |key: &str| vec![Leftover { key: key.to_owned(), id: "a".to_owned() }];
    let with = |kind: &str| broken(|history| history.kinds.push(kind.to_owned()));
    let status = |status: &str, failure: &str| {
        broken(|history| {
            history.status = status.to_owned();
            history.failure_type = failure.to_owned();
            history.kinds.pop();
        })
    };
    let cancelled = |asked: bool, outputs: usize| {
        broken(|history| {
            history.status = "cancelled".to_owned();
            history.end = "cancelled w|1 1".to_owned();
            history.kinds.pop();
            history.kinds.push("cancellation".to_owned());
            (history.cancel_asked, history.outputs) = (asked, outputs);
        })
    };
    let theirs = broken(|history| (history.end, history.outputs) = ("completed - 1".to_owned(), 0));
    let both = {
        let mut both = cancelled(true, 0);
        both[0].kinds.insert(4, "completion".to_owned());
        both
    };
    let cases: [Case<'_>; 21] = [
        ("sound", vec![sound()], vec![], &[]),
        ("no history", vec![], vec![], &[Fault::Lost]),
        ("no hash", broken(|history| history.status.clear()), vec![], &[Fault::Lost]),
        ("no event", status("completed", ""), vec![], &[Fault::Lost]),
        ("no final", broken(|history| history.end.clear()), vec![], &[Fault::Lost]),
        ("another final", broken(|history| history.end = "failed w|1 1".to_owned()), vec![], &[Fault::Lost]),
        ("no outputs", broken(|history| history.outputs = 0), vec![], &[Fault::Lost]),
        ("a lost output", broken(|history| history.missing.push("x".to_owned())), vec![], &[Fault::Lost]),
        ("two results", with("completion"), vec![], &[Fault::AcceptedTwice, Fault::EndedTwice]),
        ("failed after its end", with("failure"), vec![], &[Fault::EndedTwice]),
        ("claimed after its end", with("assigned"), vec![], &[Fault::EndedTwice]),
        ("in progress for ever", status("in_progress", ""), vec![], &[Fault::Stuck]),
        ("given up", status("failed", "worker_lost"), vec![], &[Fault::Stuck]),
        ("failed", status("failed", "timeout"), vec![], &[Fault::Failed]),
        ("in jobs:pending", vec![sound()], left("jobs:pending"), &[Fault::Stuck]),
        ("held", vec![sound()], left("jobs:active:w"), &[Fault::Stuck]),
        ("cancelled, as somebody wanted", cancelled(true, 0), vec![], &[]),
        ("cancelled, and it was another that somebody wanted", cancelled(false, 0), vec![], &[Fault::Failed]),
        ("cancelled, with a result", cancelled(true, 1), vec![], &[Fault::Lost]),
        ("cancelled and completed", both, vec![], &[Fault::EndedTwice]),
        ("completed by a reference worker, which keeps results elsewhere", theirs, vec![], &[]),
    ];
    for (name, histories, leftovers, expected) in cases {
        let found: Vec<Fault> =
            check(&["a".to_owned()], &histories, &leftovers).iter().map(|finding| finding.fault).collect();
        if found != expected {
            return Err(format!("{name}: found {found:?}, expected {expected:?}"));
        }
    }
    check_repeats()
}

/// Feeds it runs whose reasons are known.
fn check_repeats() -> Result<(), String> {
    let run = |prompt: &str, outcome: &'static str| Execution { prompt_id: prompt.to_owned(), nodes: vec![], outcome };
    let with = |kind: &str| broken(|history| history.kinds.insert(1, kind.to_owned()));
    let cancelled = broken(|history| history.cancel_asked = true);
    let adopted = || vec![sound()];
    let (twice, cut) = (["success", "success"], ["interrupted", "success"]);
    // Name, faults in the storm, outcomes of two prompts, history, repeats with a reason, findings.
    type Case<'a> = (&'a str, &'a str, [&'static str; 2], Vec<History>, u64, usize);
    let cases: [Case<'_>; 8] = [
        ("once", "kill", ["lost", "success"], adopted(), 0, 0),
        ("twice, and its lease had run out", "kill", twice, with("stalled"), 1, 0),
        ("twice, and it was handed back", "kill", twice, with("released"), 1, 0),
        ("twice, and engines forget", "engine", twice, adopted(), 1, 0),
        ("twice, and no engine forgets", "kill", twice, adopted(), 0, 1),
        ("interrupted, and somebody wanted it", "kill", cut, cancelled, 0, 0),
        ("interrupted, and its lease had run out", "kill", cut, with("stalled"), 0, 0),
        ("interrupted, and it was another that somebody wanted", "kill", cut, adopted(), 0, 1),
    ];
    for (name, faults, outcomes, histories, repeated, found) in cases {
        let plan = Plan { jobs: 1, kills: 1, agents: 1, seed: 1, troubles: troubles(faults)? };
        let work = ["p", "q"].map(|prompt| (prompt.to_owned(), "a".to_owned())).into();
        let runs = [run("p", outcomes[0]), run("q", outcomes[1])];
        let repeats = repeats(&plan, &runs, &work, &histories, 0);
        let counted: u64 = repeats.by_reason.values().sum();
        if (counted, repeats.findings.len()) != (repeated, found) {
            return Err(format!("{name}: {:?}, {} findings", repeats.by_reason, repeats.findings.len()));
        }
    }
    let stray = repeats(
        &Plan { jobs: 1, kills: 1, agents: 1, seed: 1, troubles: troubles("kill")? },
        &[run("p", "success")],
        &[].into(),
        &[sound()],
        0,
    );
    if stray.findings.len() != 1 {
        return Err("a prompt of no job is not noticed".to_owned());
    }
    Ok(())
}
