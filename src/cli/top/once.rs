//! One picture as plain text: for scripts, for mails, for terminals that are none.
//! In: the state. Out: lines without escapes, all panels below each other.

use super::header;
use super::look::Look;
use super::panels::{self, Panel};
use super::state::State;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

/// Rows of lists that grow.
const MOST: usize = 10;

/// The whole picture in this many columns.
pub(super) fn text(state: &State, width: u16, look: Look) -> String {
    let columns = usize::from(width);
    let mut lines = header::lines(state, columns);
    if state.picture.is_one() {
        for panel in Panel::ALL {
            lines.push(Line::raw(""));
            lines.push(Line::raw(panels::title(state, panel)));
            let mut rows = panels::rows(state, panel, columns.saturating_sub(2), false);
            match panel {
                Panel::Log => drop(rows.drain(..rows.len().saturating_sub(MOST))),
                Panel::History => rows.truncate(MOST),
                _ => {}
            }
            for mut line in rows.into_iter().flat_map(|row| row.lines) {
                line.spans.insert(0, Span::raw("  "));
                lines.push(line);
            }
        }
    }
    let area = Rect::new(0, 0, width, u16::try_from(lines.len()).unwrap_or(u16::MAX));
    let mut buffer = Buffer::empty(area);
    for (y, line) in (0..area.height).zip(&lines) {
        buffer.set_line(0, y, line, width);
    }
    look.finish(&mut buffer);
    plain(&buffer)
}

/// The signs of a buffer, without blanks at the ends of lines.
pub(super) fn plain(buffer: &Buffer) -> String {
    let mut text = String::new();
    for y in buffer.area.y..buffer.area.y + buffer.area.height {
        let mut line = String::new();
        let mut x = buffer.area.x;
        while let Some(cell) = buffer.cell((x, y)) {
            line.push_str(cell.symbol());
            // A wide sign stands in one cell and covers the next.
            x += (Span::raw(cell.symbol()).width() as u16).max(1);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
