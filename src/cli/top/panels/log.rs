//! The end of the agent's log.
//! In: the state. Out: a line an entry, oldest first; those of lesser levels are left out on demand.

use super::{Row, fact, fit, remark};
use crate::cli::top::figures::clock;
use crate::cli::top::look::{BAD, FAINT, PLAIN, WARN};
use crate::cli::top::picture::LogLine;
use crate::cli::top::state::{LEVELS, State};
use ratatui::text::{Line, Span};
use std::collections::BTreeMap;

pub(super) fn title(state: &State) -> String {
    match LEVELS.get(state.least) {
        Some(&"error") => "of errors".to_owned(),
        Some(&level) if state.least + 1 < LEVELS.len() => format!("from {level}"),
        _ => String::new(),
    }
}

pub(super) fn rows(state: &State, width: usize) -> Vec<Row> {
    let mut rows: Vec<_> = shown(state)
        .map(|(key, entry)| {
            let style = match entry.level.as_str() {
                "error" => BAD,
                "warn" => WARN,
                "debug" => FAINT,
                _ => PLAIN,
            };
            let fields: Vec<String> =
                entry.fields.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect();
            let parts = vec![
                Span::styled(entry.at.map_or_else(String::new, clock), FAINT),
                Span::styled(format!("{:<5}", entry.level), style),
                Span::styled(entry.text.clone(), style),
                Span::styled(fields.join(" "), FAINT),
            ];
            Row { key: Some(key), lines: vec![fit(parts, width)] }
        })
        .collect();
    if rows.is_empty() {
        rows = remark("nothing was logged");
    }
    rows
}

/// Each entry has a key that stays while others come: its time, and which it is of that time.
fn shown(state: &State) -> impl Iterator<Item = (String, &LogLine)> {
    let mut of_time: BTreeMap<u64, usize> = BTreeMap::new();
    let keyed = state.picture.log.iter().map(move |entry| {
        let at = entry.at.unwrap_or_default();
        let count = of_time.entry(at.to_bits()).or_default();
        *count += 1;
        (format!("{at} {count}"), entry)
    });
    keyed.filter(|(_, entry)| LEVELS.iter().position(|level| *level == entry.level).is_none_or(|at| at <= state.least))
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(super) fn details(state: &State, chosen: &str) -> Vec<Line<'static>> {
    let Some((_, entry)) = shown(state).find(|(key, _)| key == chosen) else { return Vec::new() };
    let mut lines: Vec<_> = [
        fact("at", entry.at.map(|at| clock(at) + " UTC")),
        fact("level", Some(entry.level.clone())),
        fact("text", Some(entry.text.clone())),
    ]
    .into_iter()
    .flatten()
    .collect();
    lines.extend(entry.fields.iter().filter_map(|(name, value)| fact(name, Some(plain(value)))));
    lines
}
