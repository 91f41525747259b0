//! The slots and the job that runs in each.
//! In: the state. Out: a line for each slot, and one more on what its job is at.

use super::{Row, fact, fit, pad, remark};
use crate::cli::top::bars::bar;
use crate::cli::top::figures::{age, span};
use crate::cli::top::look::{BAD, BOLD, FAINT, GOOD, JOB, PLAIN, WARN};
use crate::cli::top::picture::{Job, Slot};
use crate::cli::top::state::State;
use ratatui::text::{Line, Span};

pub(super) fn title(state: &State) -> String {
    let slots = &state.picture.slots;
    let running = slots.iter().filter(|slot| slot.job.is_some()).count();
    format!("{running} in {} slot{}", slots.len(), if slots.len() == 1 { "" } else { "s" })
}

pub(super) fn rows(state: &State, width: usize, tight: bool) -> Vec<Row> {
    if state.picture.slots.is_empty() {
        return remark("no slots are planned yet");
    }
    let most = if tight { 1 } else { usize::MAX };
    let row = |slot: &Slot| Row {
        key: Some(slot.id.clone()),
        lines: lines(state, slot, width).into_iter().take(most).collect(),
    };
    state.picture.slots.iter().map(row).collect()
}

/// The running job of the chosen slot.
pub(in crate::cli::top) fn chosen(state: &State) -> Option<String> {
    let slot = state.chosen(super::Panel::Jobs)?;
    let slot = state.picture.slots.iter().find(|other| other.id == slot)?;
    slot.job.as_ref().map(|job| job.id.clone())
}

fn lines(state: &State, slot: &Slot, width: usize) -> Vec<Line<'static>> {
    let (id_width, bar_width) = match width {
        110.. => (20, 40),
        60.. => (13, 20),
        _ => (8, 8),
    };
    let id = Span::styled(pad(&slot.id, id_width), BOLD);
    let engine = slot.engine.clone().unwrap_or_default();
    let Some(job) = &slot.job else {
        let style = match slot.state.as_str() {
            "idle" | "engine_full" => FAINT,
            "fenced" => BAD,
            _ => WARN,
        };
        return vec![fit(vec![id, Span::styled(words(&slot.state), style), Span::styled(engine, FAINT)], width)];
    };
    let mut first = vec![id, Span::raw("  ")];
    match job.progress {
        Some(percent) => {
            first.extend(bar(percent, bar_width, JOB));
            first.push(Span::raw(format!(" {percent:>3.0} %  ")));
        }
        None => first.push(Span::styled(pad("no progress told", bar_width + 8), FAINT)),
    }
    let used: usize = first.iter().map(Span::width).sum();
    let mut rest = vec![left(state, job)];
    rest.push(Span::styled(job.service.clone(), BOLD));
    rest.push(Span::styled(job.id.clone(), PLAIN));
    rest.push(Span::styled(engine, FAINT));
    first.extend(fit(rest, width.saturating_sub(used)).spans);

    let mut second: Vec<Span<'static>> = Vec::new();
    if job.cancelling {
        second.push(Span::styled("cancelling", WARN));
    }
    second.push(stage(job));
    second.push(Span::raw(job.message.clone().unwrap_or_default()));
    let begun = job.started.or(job.claimed).map_or_else(String::new, |since| format!("for {}", age(state.now - since)));
    second.push(Span::styled(begun, FAINT));
    if let Some(attempt) = job.attempt.filter(|attempt| *attempt > 1.0) {
        second.push(Span::styled(format!("attempt {attempt:.0}"), WARN));
    }
    let mut below = Line::from(Span::raw(" ".repeat(id_width + 2)));
    below.spans.extend(fit(second, width.saturating_sub(id_width + 2)).spans);
    vec![Line::from(first), below]
}

/// How long it will probably take yet; told for a moment that has passed since.
fn left(state: &State, job: &Job) -> Span<'static> {
    let Some(eta) = job.eta_ms else { return Span::raw("") };
    let left = (eta - (state.now - state.slots_told)).max(0.0);
    let text = if left < 1000.0 { "any moment".to_owned() } else { format!("{} left", age(left + 999.0)) };
    Span::styled(text, GOOD)
}

fn stage(job: &Job) -> Span<'static> {
    match job.stage.as_deref() {
        Some("waiting") => Span::styled("waits in the engine's queue", WARN),
        Some("fetching") => Span::styled("fetching files", JOB),
        Some("unseen") => Span::styled("at work, unseen", FAINT),
        _ => Span::raw(""),
    }
}

/// `waiting_for_engine` for people.
fn words(word: &str) -> String {
    word.replace('_', " ")
}

pub(super) fn details(state: &State, chosen: &str) -> Vec<Line<'static>> {
    let Some(slot) = state.picture.slots.iter().find(|slot| slot.id == chosen) else { return Vec::new() };
    let mut lines: Vec<_> = [
        fact("worker", Some(slot.id.clone())),
        fact("state", Some(words(&slot.state))),
        fact("engine", slot.engine.clone()),
        fact("GPU", slot.gpu.map(|gpu| format!("{gpu:.0}"))),
    ]
    .into_iter()
    .flatten()
    .collect();
    let Some(job) = &slot.job else { return lines };
    let step = job.step.as_deref().and_then(|step| Some(format!("{:.0} of {:.0}", step.first()?, step.get(1)?)));
    let ago = |since: Option<f64>| since.map(|since| format!("{} ago", span(state.now - since)));
    let eta = job.eta_ms.map(|eta| match job.eta_from_runs {
        Some(runs) => format!("{}, learned from {runs:.0} runs", span(eta)),
        None => span(eta),
    });
    lines.extend(
        [
            fact("job", Some(job.id.clone())),
            fact("service", Some(job.service.clone())),
            fact("attempt", job.attempt.map(|attempt| format!("{attempt:.0}"))),
            fact("claimed", ago(job.claimed)),
            fact("started", ago(job.started)),
            fact("progress", job.progress.map(|percent| format!("{percent:.1} %"))),
            fact("stage", job.stage.clone()),
            fact("step", step),
            fact("node", job.node.as_ref().map(|node| node.as_str().map_or_else(|| node.to_string(), str::to_owned))),
            fact("message", job.message.clone()),
            fact("left", eta),
            fact("cancelling", job.cancelling.then(|| "it was told to stop".to_owned())),
        ]
        .into_iter()
        .flatten(),
    );
    lines
}
