//! The engines: whether they are well, what they have, what of them is left out for now.
//! In: the state. Out: a line an engine, one more for each thing that is wrong.

use super::{Row, below, fact, fit, pad, remark};
use crate::cli::top::figures::age;
use crate::cli::top::look::{BAD, BOLD, FAINT, GOOD, WARN};
use crate::cli::top::picture::{Connector, LeftOut};
use crate::cli::top::state::State;
use ratatui::text::{Line, Span};

pub(super) fn title(state: &State) -> String {
    let all = &state.picture.connectors;
    let down = all.iter().filter(|engine| engine.healthy == Some(false)).count();
    if down > 0 { format!("{}, {down} down", all.len()) } else { format!("{}", all.len()) }
}

pub(super) fn rows(state: &State, width: usize) -> Vec<Row> {
    if state.picture.connectors.is_empty() {
        return remark("no engine is configured");
    }
    let all = state.picture.connectors.iter();
    all.map(|engine| Row { key: Some(engine.label.clone()), lines: lines(state, engine, width) }).collect()
}

fn lines(state: &State, engine: &Connector, width: usize) -> Vec<Line<'static>> {
    let health = match engine.healthy {
        Some(true) => Span::styled("healthy", GOOD),
        Some(false) => Span::styled("down", BAD),
        None => Span::styled("unknown", WARN),
    };
    let models: Vec<String> = engine.models.iter().map(|(kind, count)| format!("{count:.0} {kind}")).collect();
    let queued = engine.queue_remaining.filter(|queued| *queued > 0.0);
    let parts = vec![
        Span::styled(pad(&engine.label, if width >= 90 { 20 } else { 15 }), BOLD),
        health,
        Span::raw(engine.version.clone().unwrap_or_default()),
        Span::raw(queued.map_or_else(String::new, |queued| format!("{queued:.0} queued"))),
        Span::styled(models.join(", "), FAINT),
        Span::styled(engine.services.join(", "), FAINT),
    ];
    let mut lines = vec![fit(parts, width)];
    if let Some(why) = &engine.why {
        lines.push(below(why, 3, width, WARN));
    }
    for part in &engine.left_out {
        let (what, then) = left_out(state, part);
        lines.push(below(&what, 3, width, WARN));
        lines.extend(then.map(|remedy| below(&format!("→ {remedy}"), 3, width, WARN)));
    }
    lines
}

fn left_out(state: &State, part: &LeftOut) -> (String, Option<String>) {
    let left = part.until.map(|until| until - state.now).filter(|left| *left > 0.0);
    let until = left.map_or_else(String::new, |left| format!(" for {} more", age(left)));
    let state = if part.state.as_deref() == Some("trial") { "on trial" } else { "left out" };
    let why = part.why.as_deref().map_or_else(String::new, |why| format!(": {why}"));
    (format!("{} is {state}{until}{why}", part.part), part.remedy.clone())
}

pub(super) fn details(state: &State, chosen: &str) -> Vec<Line<'static>> {
    let found = state.picture.connectors.iter().find(|engine| engine.label == chosen);
    let Some(engine) = found else { return Vec::new() };
    let health = engine.healthy.map(|healthy| if healthy { "healthy" } else { "down" }.to_owned());
    let models: Vec<String> = engine.models.iter().map(|(kind, count)| format!("{count:.0} {kind}")).collect();
    let mut lines: Vec<_> = [
        fact("engine", Some(engine.label.clone())),
        fact("connector", Some(engine.connector.clone())),
        fact("health", health),
        fact("why", engine.why.clone()),
        fact("version", engine.version.clone()),
        fact("services", Some(engine.services.join(", "))),
        fact("queued", engine.queue_remaining.map(|queued| format!("{queued:.0}"))),
        fact("models", Some(models.join(", "))),
        fact("asked", engine.probed.map(|at| format!("{} ago", age(state.now - at)))),
    ]
    .into_iter()
    .flatten()
    .collect();
    for part in &engine.left_out {
        let (what, then) = left_out(state, part);
        lines.extend(fact("left out", Some(what)));
        lines.extend(fact("what to do", then));
    }
    lines
}
