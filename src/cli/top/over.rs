//! What lies over the panels: help, details, a question.
//! In: the state. Out: a box in the middle.

use super::look::{BOLD, FAINT, PLAIN, WARN};
use super::panels;
use super::state::{Over, State};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Widget, Wrap};

/// Keys, and what they do.
const HELP: &[(&str, &str)] = &[
    ("tab, left, right", "another panel; 1 to 7: this one"),
    ("j k, up, down", "another row; pgup, pgdn, g and G: further"),
    ("enter", "everything on the row; esc: back"),
    ("l", "fewer lines of the log, by level"),
    ("n", "the next agent of this machine"),
    ("p  r  d", "pause, resume, drain this agent"),
    ("P", "ask all engines now how they are"),
    ("c", "cancel the job of the chosen slot (asks once)"),
    ("R", "retry the chosen job of the history"),
    ("f", "free the memory of the chosen GPU"),
    ("ctrl-l, ctrl-z", "paint anew; leave for a while (fg comes back)"),
    ("q, ctrl-c", "quit"),
];

pub(super) fn paint(state: &State, area: Rect, buffer: &mut Buffer) {
    match &state.over {
        Over::Nothing => {}
        Over::Help => {
            let line = |(keys, what): &(&str, &str)| {
                Line::from(vec![Span::styled(format!("{keys:<17} "), BOLD), Span::styled((*what).to_owned(), PLAIN)])
            };
            let mut lines: Vec<_> = HELP.iter().map(line).collect();
            lines.push(Line::raw(""));
            lines.push(Line::styled(
                "memory: █ jobs of this agent  ▒ others  ▓ not known whose  ░ free; times are UTC",
                FAINT,
            ));
            if state.picture.read_only {
                lines.push(Line::styled("This agent is read-only: it takes no orders.", WARN));
            }
            put("Keys", lines, 0, area, buffer);
        }
        Over::Details { scroll } => {
            let mut lines = panels::details(state);
            if lines.is_empty() {
                lines.push(Line::styled("it is gone", FAINT));
            }
            put("Details", lines, *scroll, area, buffer);
        }
        Over::Question(order) => {
            let lines = vec![
                Line::styled(order.question().unwrap_or_default(), BOLD),
                Line::raw(""),
                Line::from(vec![Span::styled("y", BOLD), Span::raw(": do it   any other key: leave it")]),
            ];
            put("Sure?", lines, 0, area, buffer);
        }
    }
}

fn put(title: &str, lines: Vec<Line<'static>>, scroll: u16, area: Rect, buffer: &mut Buffer) {
    let width = area.width.saturating_sub(4).min(100);
    let room = usize::from(width.saturating_sub(4)).max(1);
    // Wrapping at words may take a line more than counting says.
    let tall: usize = lines.iter().map(|line| line.width() / room + 1 + line.width() / (room * 6)).sum();
    let height = u16::try_from(tall + 2).unwrap_or(u16::MAX).min(area.height.saturating_sub(2));
    let frame = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    let scroll = scroll.min(u16::try_from(tall + 2).unwrap_or(u16::MAX).saturating_sub(height));
    Clear.render(frame, buffer);
    let block = Block::bordered().border_style(WARN).title(Line::styled(format!(" {title} "), BOLD));
    let inner = block.inner(frame);
    block.render(frame, buffer);
    let inner = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
    Paragraph::new(lines).wrap(Wrap { trim: false }).scroll((scroll, 0)).render(inner, buffer);
}
