//! The checker, checked: a sound history passes, and each broken one is caught as what it is.
//! In: nothing. Out: what was missed.

use super::history::{Fault, History, Leftover, check};

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
    let cases: [Case<'_>; 16] = [
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
    ];
    for (name, histories, leftovers, expected) in cases {
        let found: Vec<Fault> =
            check(&["a".to_owned()], &histories, &leftovers).iter().map(|finding| finding.fault).collect();
        if found != expected {
            return Err(format!("{name}: found {found:?}, expected {expected:?}"));
        }
    }
    Ok(())
}
