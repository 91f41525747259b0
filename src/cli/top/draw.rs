//! The whole picture on one screen.
//! In: the state, an area. Out: a painted buffer.
//!
//! ```text
//!   small: header          wide (120 x 30 and more): header
//!          GPUs                                      GPUs
//!          Jobs                                      Jobs     │ Connectors
//!          one of the rest, as the keys say          Waiting  │ Agent
//!          keys                                      History  │ Log
//!                                                    keys
//! ```

use super::header;
use super::look::{BOLD, FAINT, JOB, Look, PLAIN};
use super::over;
use super::panels::{self, Panel, Row};
use super::state::State;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Widget};

/// The keys that lead to the panels.
const DIGITS: [char; 7] = ['¹', '²', '³', '⁴', '⁵', '⁶', '⁷'];

/// Paints everything.
pub(super) fn paint(state: &State, area: Rect, look: Look) -> Buffer {
    let mut buffer = Buffer::empty(area);
    if area.width < 40 || area.height < 10 {
        buffer.set_stringn(0, 0, "too small: 40 x 10 at least", area.width.into(), PLAIN);
    } else {
        screen(state, area, &mut buffer);
        over::paint(state, area, &mut buffer);
    }
    look.finish(&mut buffer);
    buffer
}

fn screen(state: &State, area: Rect, buffer: &mut Buffer) {
    let mut head = header::lines(state, area.width.into());
    head.truncate(usize::from(area.height / 3));
    for (y, line) in head.iter().enumerate() {
        buffer.set_line(0, y as u16, line, area.width);
    }
    let top = head.len() as u16;
    buffer.set_line(0, area.height - 1, &header::footer(state, area.width.into()), area.width);
    let body = Rect { y: top, height: area.height - 1 - top, ..area };
    if area.width >= 120 && area.height >= 30 {
        wide(state, body, buffer);
    } else {
        small(state, body, buffer);
    }
}

fn small(state: &State, body: Rect, buffer: &mut Buffer) {
    // Room for one: the panel that has the keys.
    if body.height < 10 {
        return panel_at(state, state.focus, body, true, &[state.focus], buffer);
    }
    // The lower panel keeps five lines, and more if the others need little.
    let most = body.height.saturating_sub(5);
    let inner = body.width.into();
    let mut tight = [false; 2];
    let mut heights = [Panel::Gpus, Panel::Jobs].map(|panel| height(state, panel, inner, false));
    for (at, panel) in [(0, Panel::Gpus), (1, Panel::Jobs)] {
        if heights.iter().sum::<u16>() > most.min(body.height * 6 / 10) {
            (tight[at], heights[at]) = (true, height(state, panel, inner, true));
        }
    }
    heights[0] = heights[0].min(most / 2);
    heights[1] = heights[1].min(most - heights[0]);
    let mut y = body.y;
    for (at, panel) in [(0, Panel::Gpus), (1, Panel::Jobs)] {
        panel_at(state, panel, Rect { y, height: heights[at], ..body }, tight[at], &[panel], buffer);
        y += heights[at];
    }
    let rest = Rect { y, height: body.y + body.height - y, ..body };
    panel_at(state, state.below, rest, false, &Panel::BELOW, buffer);
}

fn wide(state: &State, body: Rect, buffer: &mut Buffer) {
    let tall = height(state, Panel::Gpus, body.width.into(), false);
    let tight = tall > body.height / 2;
    let tall = height(state, Panel::Gpus, body.width.into(), tight).min(body.height / 2);
    panel_at(state, Panel::Gpus, Rect { height: tall, ..body }, tight, &[Panel::Gpus], buffer);
    let body = Rect { y: body.y + tall, height: body.height - tall, ..body };
    let left = Rect { width: body.width * 11 / 20, ..body };
    let right = Rect { x: left.width, width: body.width - left.width, ..body };
    column(state, [Panel::Jobs, Panel::Waiting, Panel::History], left, buffer);
    column(state, [Panel::Connectors, Panel::Agent, Panel::Log], right, buffer);
}

/// Three panels: each of the first two gets what it needs up to a third, the last one the rest.
fn column(state: &State, [first, second, last]: [Panel; 3], area: Rect, buffer: &mut Buffer) {
    let mut y = area.y;
    for panel in [first, second] {
        let tall = height(state, panel, area.width.into(), false).min(area.height / 3);
        panel_at(state, panel, Rect { y, height: tall, ..area }, false, &[panel], buffer);
        y += tall;
    }
    panel_at(state, last, Rect { y, height: area.y + area.height - y, ..area }, false, &[last], buffer);
}

/// Lines that it would fill, with its frame.
fn height(state: &State, panel: Panel, width: usize, tight: bool) -> u16 {
    let lines: usize = panels::rows(state, panel, inside(width), tight).iter().map(|row| row.lines.len()).sum();
    u16::try_from(lines + 2).unwrap_or(u16::MAX)
}

/// Columns for rows between the frame and the mark of the chosen one.
fn inside(width: usize) -> usize {
    width.saturating_sub(3)
}

/// One panel in its frame; `tabs`: those that share the place.
fn panel_at(state: &State, panel: Panel, area: Rect, tight: bool, tabs: &[Panel], buffer: &mut Buffer) {
    if area.height < 2 {
        return;
    }
    let has_keys = state.focus == panel;
    let frame = if has_keys { JOB } else { FAINT };
    let rows = panels::rows(state, panel, inside(area.width.into()), tight);
    let room = usize::from(area.height - 2);
    let (lines, offset, total) = window(state, panel, rows, room, has_keys);
    let mut block = Block::new().borders(Borders::ALL).border_style(frame).title(title(state, panel, tabs, has_keys));
    if total > room && room > 0 {
        let text = format!(" {}-{} of {total} lines ", offset + 1, (offset + room).min(total));
        block = block.title_bottom(Line::styled(text, FAINT).right_aligned());
    }
    block.render(area, buffer);
    for (y, (is_chosen, line)) in (area.y + 1..).zip(lines) {
        let style = if is_chosen && has_keys { Modifier::REVERSED } else { Modifier::empty() };
        if is_chosen && has_keys {
            buffer.set_string(area.x + 1, y, "›", BOLD);
        }
        let columns = area.width.saturating_sub(3);
        buffer.set_line(area.x + 2, y, &line, columns);
        // The first words alone: a reversed bar cannot be read.
        let words =
            Rect { x: area.x + 2, y, width: columns.min(line.spans.first().map_or(0, Span::width) as u16), height: 1 };
        buffer.set_style(words, style);
    }
}

fn title(state: &State, panel: Panel, tabs: &[Panel], has_keys: bool) -> Line<'static> {
    let mut line = Line::default();
    for tab in tabs {
        let at = Panel::ALL.iter().position(|other| other == tab).and_then(|at| DIGITS.get(at)).unwrap_or(&' ');
        if tab != &panel {
            line.push_span(Span::styled(format!(" {at}{} ", tab.name()), FAINT));
            continue;
        }
        let style = if has_keys { BOLD.add_modifier(Modifier::REVERSED) } else { BOLD };
        line.push_span(Span::styled(format!(" {at}{} ", panels::title(state, panel)), style));
    }
    line
}

/// The lines that are seen of a panel: around the chosen row; each with whether it begins that row.
type Seen = (Vec<(bool, Line<'static>)>, usize, usize);

fn window(state: &State, panel: Panel, rows: Vec<Row>, room: usize, has_keys: bool) -> Seen {
    let chosen = state.chosen(panel);
    let mut lines = Vec::new();
    let mut at = 0;
    for row in rows {
        let is_chosen = row.key.is_some() && row.key == chosen;
        if is_chosen {
            at = lines.len() + row.lines.len() / 2;
        }
        lines.extend(row.lines.into_iter().enumerate().map(|(n, line)| (is_chosen && n == 0, line)));
    }
    let total = lines.len();
    let last = total.saturating_sub(room);
    // A panel without the keys shows its beginning; the log its end.
    let follows = has_keys || panel == Panel::Log;
    let offset = if follows { at.saturating_sub(room / 2).min(last) } else { 0 };
    (lines.into_iter().skip(offset).take(room).collect(), offset, total)
}
