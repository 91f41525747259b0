//! The workers and what each is at.
//! In: a slot. Out: its entry for the page, a word, a few words.

use crate::dashboard::view::in_ms;
use crate::dashboard::view::slots::{Job, Slot as Shown};
use crate::runner::slot::Slot;
use connectors::contract::{Progress, Stage};
use std::time::Duration;

/// Its entry.
pub(super) fn slot(slot: &Slot) -> Shown {
    let engines = slot.engines.borrow().clone();
    let able = engines.iter().find(|engine| engine.is_healthy()).or(engines.first());
    let job = job(slot);
    let engine = slot.shared.board.of(&slot.worker).and_then(|(at_work, _)| at_work.engine);
    Shown {
        id: slot.worker.clone(),
        gpu: slot.gpu(),
        engine: engine.or_else(|| able.map(|engine| engine.label.clone())),
        state: match standing(slot) {
            "busy" => "running",
            other => other,
        },
        services: slot.capabilities.borrow().services().to_vec(),
        job,
    }
}

/// What it does, or why it does nothing.
pub(super) fn standing(slot: &Slot) -> &'static str {
    match slot.standing() {
        "idle" if slot.capabilities.borrow().services().is_empty() => "waiting_for_engine",
        "idle" if slot.no_place_in().is_some() => "engine_full",
        other => other,
    }
}

/// Where a run is, in a word.
pub(super) fn stage_word(stage: &Stage) -> &'static str {
    match stage {
        Stage::Waiting => "waiting",
        Stage::Working | Stage::Kind(_) => "working",
        Stage::Unseen => "unseen",
        Stage::Fetching => "fetching",
    }
}

fn job(slot: &Slot) -> Option<Job> {
    let (at_work, guess) = slot.shared.board.of(&slot.worker)?;
    let Progress { fraction, message, node, step, stage } = at_work.progress.clone().unwrap_or_default();
    let picture = slot.shared.previews.latest(&slot.worker).filter(|shown| shown.job == at_work.job);
    let hold = slot.shared.holds.of_job(&at_work.job);
    Some(Job {
        service: at_work.service.filter(|service| !service.is_empty()),
        attempt: at_work.attempt,
        claimed: at_work.claimed,
        started: at_work.started,
        progress: at_work.progress.is_some().then(|| crate::dashboard::view::tenths(fraction * 100.0)),
        message,
        node,
        step,
        stage: stage_word(&stage),
        eta_ms: guess.map(|guess| whole_seconds(guess.left)),
        eta_from: guess.map(|guess| if guess.runs.is_some() { "runs" } else { "pace" }),
        eta_from_runs: guess.and_then(|guess| guess.runs),
        preview: picture.map(|shown| format!("/api/preview/{}?v={}", in_path(&slot.worker), shown.version)),
        cancelling: hold.is_some_and(|hold| hold.why().is_some()),
        customer: at_work.customer,
        id: at_work.job,
    })
}

/// An id may hold what ends a path or leads elsewhere.
fn in_path(id: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    id.bytes().map(one).collect()
}

/// A guess is no better than that, and is sent when it changes.
fn whole_seconds(left: Duration) -> u64 {
    in_ms(left).div_ceil(1000) * 1000
}

/// What its loop is at.
pub(super) fn at(slot: &Slot) -> String {
    let shown = self::slot(slot);
    match (shown.job, shown.state) {
        (Some(job), _) => format!("at work on job {}", job.id),
        (None, "paused") => "paused: claims nothing".to_owned(),
        (None, "drained") => "drained: claims nothing".to_owned(),
        (None, "fenced") => "waits for its GPU to be well".to_owned(),
        (None, "waiting_for_engine") => "waits for an engine".to_owned(),
        (None, "engine_full") => format!("waits for a place in {}", slot.no_place_in().unwrap_or_default()),
        (None, _) => "waits for work".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_any_letters_is_one_step_of_a_path() {
        assert_eq!(in_path("box-1_gpu0"), "box-1_gpu0");
        assert_eq!(in_path("a/b#c?d%2f.\u{e9}"), "a%2Fb%23c%3Fd%252f%2E%C3%A9");
    }
}
