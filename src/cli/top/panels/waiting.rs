//! What waits, by class, and why not here.
//! In: the state. Out: a line a class, one more where no worker of this box can run it.

use super::{Row, below, fact, fit, pad, remark};
use crate::cli::top::figures::age;
use crate::cli::top::look::{BOLD, FAINT, GOOD, WARN};
use crate::cli::top::picture::Class;
use crate::cli::top::state::State;
use ratatui::text::{Line, Span};

pub(super) fn title(state: &State) -> String {
    let queue = &state.picture.queue;
    let mut text = queue.waiting.map_or_else(String::new, |waiting| format!("{waiting:.0}"));
    for (count, what) in [(queue.delayed, "delayed"), (queue.unindexed, "not sorted yet")] {
        if let Some(count) = count.filter(|count| *count > 0.0) {
            text += &format!(", {count:.0} {what}");
        }
    }
    text
}

pub(super) fn rows(state: &State, width: usize) -> Vec<Row> {
    let queue = &state.picture.queue;
    let mut rows: Vec<_> = queue
        .classes
        .iter()
        .map(|class| Row { key: Some(class.id.clone()), lines: lines(state, class, width) })
        .collect();
    if rows.is_empty() {
        let text = if queue.waiting.is_none() { "what waits is not known now" } else { "nothing waits" };
        return remark(text);
    }
    if queue.truncated {
        rows.extend(remark("there are more classes than are listed"));
    }
    rows
}

fn lines(state: &State, class: &Class, width: usize) -> Vec<Line<'static>> {
    let count = class.count.map_or_else(String::new, |count| format!("{count:.0}"));
    let oldest = class.oldest.map_or_else(String::new, |oldest| format!("oldest {}", age(state.now - oldest)));
    let wide = if width >= 90 { 22 } else { 15 };
    let fits = match class.fits.as_slice() {
        [] => Span::styled("not for this box", WARN),
        [one] => Span::styled(format!("fits {one}"), GOOD),
        [one, rest @ ..] => Span::styled(format!("fits {one} and {} more", rest.len()), GOOD),
    };
    let service = if class.service.is_empty() { "any service" } else { &class.service };
    let parts = vec![
        Span::styled(format!("{count:>5} ×"), BOLD),
        Span::styled(pad(service, wide), BOLD),
        Span::raw(pad(&oldest, 14)),
        fits,
        Span::styled(class.needs.join(" · "), FAINT),
    ];
    let mut lines = vec![fit(parts, width)];
    if class.fits.is_empty() {
        lines.extend(class.misfits.iter().take(1).map(|misfit| below(&misfit.reasons.join("; "), 9, width, FAINT)));
    }
    lines
}

pub(super) fn details(state: &State, chosen: &str) -> Vec<Line<'static>> {
    let Some(class) = state.picture.queue.classes.iter().find(|class| class.id == chosen) else { return Vec::new() };
    let mut lines: Vec<_> = [
        fact("class", Some(class.id.clone())),
        fact("service", Some(class.service.clone())),
        fact("waiting", class.count.map(|count| format!("{count:.0}"))),
        fact("oldest", class.oldest.map(|oldest| age(state.now - oldest))),
        fact("best priority", class.priority_best.map(|priority| format!("{priority:.0}"))),
        fact("needs", Some(class.needs.join(", "))),
        fact("fits", Some(class.fits.join(", "))),
    ]
    .into_iter()
    .flatten()
    .collect();
    for misfit in &class.misfits {
        lines.extend(fact("not for", Some(format!("{}: {}", misfit.worker, misfit.reasons.join("; ")))));
    }
    lines
}
