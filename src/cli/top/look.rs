//! What the terminal can show: colours or none, Unicode or ASCII; and the few styles that all panels share.
//! In: the environment, a painted buffer. Out: the buffer as this terminal can show it.

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};

/// What can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    pub colour: bool,
    pub unicode: bool,
}

/// The sixteen colours of the terminal alone: they fit its background, be it light or dark.
pub(super) const PLAIN: Style = Style::new();
pub(super) const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
pub(super) const FAINT: Style = Style::new().add_modifier(Modifier::DIM);
pub(super) const GOOD: Style = Style::new().fg(Color::Green);
pub(super) const WARN: Style = Style::new().fg(Color::Yellow);
pub(super) const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
pub(super) const JOB: Style = Style::new().fg(Color::Cyan);
pub(super) const OTHER: Style = Style::new().fg(Color::Magenta);

impl Look {
    /// As the environment says: <https://no-color.org>, and the locale by the order of POSIX.
    pub fn of(env: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        Self { colour: set("NO_COLOR").is_none(), unicode: locale.contains("utf-8") || locale.contains("utf8") }
    }

    /// Takes out what cannot be shown. Meaning hangs on no colour and no sign alone.
    pub fn finish(self, buffer: &mut Buffer) {
        for cell in &mut buffer.content {
            if !self.colour {
                (cell.fg, cell.bg) = (Color::Reset, Color::Reset);
            }
            if !self.unicode && !cell.symbol().is_ascii() {
                let plain = cell.symbol().chars().next().map_or(' ', ascii);
                cell.set_char(plain);
            }
        }
    }
}

/// The nearest sign of ASCII.
fn ascii(c: char) -> char {
    match c {
        '─' | '━' | '–' | '—' | '▃' => '-',
        '│' | '┃' => '|',
        '┌' | '┐' | '└' | '┘' | '╭' | '╮' | '╰' | '╯' | '├' | '┤' | '┬' | '┴' | '┼' => '+',
        '█' | '▉' | '▊' | '▋' | '▌' => '#',
        '▒' => '+',
        '▓' => '%',
        '░' | '▂' | '·' => '.',
        '▁' | '▍' | '▎' | '▏' => '_',
        '▄' => ':',
        '▅' => '=',
        '▆' => '+',
        '▇' => '*',
        '›' | '→' => '>',
        '…' => '~',
        '×' => 'x',
        '°' => ' ',
        '↑' => '^',
        '↓' => 'v',
        '¹' => '1',
        '²' => '2',
        '³' => '3',
        '⁴'..='⁹' => char::from_digit(c as u32 - 0x2070, 10).unwrap_or('?'),
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_what_can_be_shown() {
        type Row<'a> = (&'a [(&'a str, &'a str)], bool, bool);
        let rows: [Row<'_>; 6] = [
            (&[("LANG", "de_DE.UTF-8")], true, true),
            (&[("LANG", "en_US.utf8"), ("NO_COLOR", "1")], false, true),
            (&[("LANG", "C.UTF-8"), ("LC_ALL", "C")], true, false),
            (&[("LANG", "C.UTF-8"), ("LC_ALL", ""), ("LC_CTYPE", "POSIX")], true, false),
            (&[("NO_COLOR", "")], true, false),
            (&[], true, false),
        ];
        for (env, colour, unicode) in rows {
            let look = Look::of(|name| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()));
            assert_eq!(look, Look { colour, unicode }, "{env:?}");
        }
    }
}
