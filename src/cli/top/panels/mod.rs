//! The panels: which there are, and what is common to them.
//! In: the state. Out: rows of styled lines of a given width; titles; everything on one row.

pub(super) mod agent;
pub(super) mod connectors;
pub(super) mod gpus;
pub(super) mod history;
pub(super) mod jobs;
pub(super) mod log;
pub(super) mod waiting;

use super::figures::cut;
use super::look::{BOLD, FAINT};
use super::state::State;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// A panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Panel {
    Gpus,
    Jobs,
    Waiting,
    History,
    Connectors,
    Agent,
    Log,
}

/// Something of a panel that can be chosen, or a remark.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    /// What it is of; `None`: cannot be chosen.
    pub key: Option<String>,
    pub lines: Vec<Line<'static>>,
}

impl Panel {
    /// In the order in which the keys go through them.
    pub const ALL: [Self; 7] =
        [Self::Gpus, Self::Jobs, Self::Waiting, Self::History, Self::Connectors, Self::Agent, Self::Log];

    /// Those of which a small screen shows one.
    pub const BELOW: [Self; 5] = [Self::Waiting, Self::History, Self::Connectors, Self::Agent, Self::Log];

    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gpus => "GPUs",
            Self::Jobs => "Jobs",
            Self::Waiting => "Waiting",
            Self::History => "History",
            Self::Connectors => "Connectors",
            Self::Agent => "Agent",
            Self::Log => "Log",
        }
    }
}

/// The word, with the number that matters most.
pub(super) fn title(state: &State, panel: Panel) -> String {
    let extra = match panel {
        Panel::Gpus => gpus::title(state),
        Panel::Jobs => jobs::title(state),
        Panel::Waiting => waiting::title(state),
        Panel::History => history::title(state),
        Panel::Connectors => connectors::title(state),
        Panel::Agent => agent::title(state),
        Panel::Log => log::title(state),
    };
    if extra.is_empty() { panel.name().to_owned() } else { format!("{} {extra}", panel.name()) }
}

/// What it shows, in this many columns. `tight`: GPUs and jobs in one line each, where lines are scarce.
pub(super) fn rows(state: &State, panel: Panel, width: usize, tight: bool) -> Vec<Row> {
    match panel {
        Panel::Gpus => gpus::rows(state, width, tight),
        Panel::Jobs => jobs::rows(state, width, tight),
        Panel::Waiting => waiting::rows(state, width),
        Panel::History => history::rows(state, width),
        Panel::Connectors => connectors::rows(state, width),
        Panel::Agent => agent::rows(state, width),
        Panel::Log => log::rows(state, width),
    }
}

/// What can be chosen in it.
pub(super) fn keys(state: &State, panel: Panel) -> Vec<String> {
    rows(state, panel, 80, true).into_iter().filter_map(|row| row.key).collect()
}

/// Everything on the chosen row of the panel that has the keys.
pub(super) fn details(state: &State) -> Vec<Line<'static>> {
    let Some(key) = state.chosen(state.focus) else { return Vec::new() };
    match state.focus {
        Panel::Gpus => gpus::details(state, &key),
        Panel::Jobs => jobs::details(state, &key),
        Panel::Waiting => waiting::details(state, &key),
        Panel::History => history::details(state, &key),
        Panel::Connectors => connectors::details(state, &key),
        Panel::Agent => agent::details(state, &key),
        Panel::Log => log::details(state, &key),
    }
}

/// What is at least as long still says something when it is cut.
const LONG: usize = 16;

/// A row that says why there are none.
fn remark(text: &str) -> Vec<Row> {
    vec![Row { key: None, lines: vec![Line::styled(text.to_owned(), FAINT)] }]
}

/// A name and what it is, in the details; nothing if that is not known.
fn fact(name: &str, value: Option<String>) -> Option<Line<'static>> {
    let value = value.filter(|value| !value.is_empty())?;
    Some(Line::from(vec![Span::styled(format!("{name:<14} "), BOLD), Span::raw(value)]))
}

/// Parts two blanks apart, as many as there is room for.
pub(super) fn fit(parts: Vec<Span<'static>>, width: usize) -> Line<'static> {
    let mut line = Line::default();
    let mut used = 0;
    for part in parts.into_iter().filter(|part| !part.content.is_empty()) {
        let gap = if used == 0 { 0 } else { 2 };
        if used + gap + part.width() > width {
            // The first thing that does not fit is cut if something of it remains; what is behind it matters less.
            let left = width.saturating_sub(used + gap);
            if left >= 8 && part.width() > LONG {
                line.push_span(Span::raw(" ".repeat(gap)));
                line.push_span(Span::styled(cut(&part.content, left), part.style));
            }
            break;
        }
        used += gap + part.width();
        line.push_span(Span::raw(" ".repeat(gap)));
        line.push_span(part);
    }
    line
}

/// A text behind an indent, cut.
pub(super) fn below(text: &str, indent: usize, width: usize, style: Style) -> Line<'static> {
    let text = cut(text, width.saturating_sub(indent));
    Line::from(vec![Span::raw(" ".repeat(indent)), Span::styled(text, style)])
}

/// Padded or cut to just this many columns.
fn pad(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    let missing = columns.saturating_sub(Span::raw(text.as_str()).width());
    text + &" ".repeat(missing)
}
