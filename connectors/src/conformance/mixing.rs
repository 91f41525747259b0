//! The check that two runs at once keep apart what they make.
//! In: a subject. Out: nothing, what was wrong, or why nothing can be said: the same payload may well give the same files.

use super::running::ends_well;
use super::{Bench, Bounds, Judged, Subject, ensure};
use crate::contract::{Job, Outcome};
use std::collections::BTreeSet;

type Hashes = BTreeSet<String>;

pub(super) async fn side_by_side(subject: &dyn Subject, bounds: &Bounds) -> Result<Judged, String> {
    let (one, two) = (Bench::new(), Bench::new());
    let (left, right) = (subject.ok_job("conformance-left"), subject.other_job("conformance-right"));
    let runs =
        futures_util::future::join(ends_well(subject, bounds, &left, &one), ends_well(subject, bounds, &right, &two));
    let (first, second) = runs.await;
    let (first, second) = (hashes(first?), hashes(second?));
    ensure(one.ledger.ids() != two.ledger.ids(), || "the two runs had the same service job id".into())?;
    ensure(!first.is_empty() && !second.is_empty(), || "a run gave no files".into())?;
    if first.is_disjoint(&second) {
        return Ok(Judged::Passed);
    }
    // Files that both give even when they run alone were not mixed up.
    let alone = async |job: &Job| ends_well(subject, bounds, job, &Bench::new()).await.map(hashes);
    let (left, right) =
        (alone(&subject.ok_job("conformance-alone")).await?, alone(&subject.other_job("conformance-alone-too")).await?);
    let common: Hashes = left.intersection(&right).cloned().collect();
    ensure(first.intersection(&second).all(|hash| common.contains(hash)), || {
        "the two runs gave the same files".into()
    })?;
    let of_its_own = |hashes: &Hashes| hashes.iter().any(|hash| !common.contains(hash));
    if of_its_own(&first) && of_its_own(&second) {
        return Ok(Judged::Passed);
    }
    Ok(Judged::Not(
        "the engine gives the same files for both, also when each runs alone: give a payload with other files as \
         `other` beside `ok`"
            .to_owned(),
    ))
}

fn hashes(outcome: Outcome) -> Hashes {
    outcome.outputs.into_iter().map(|out| out.sha256).collect()
}
