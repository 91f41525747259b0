//! Half letters: an emoji that a server cuts in two writes as `\ud83d` in one piece and `\ude00` in the next.
//! In: JSON as it came. Out: a value in which halves stand as marks, and texts in which they are letters again.
//!
//! A half has no place in UTF-8, so it travels as a letter of the last private plane, in values that are known to hold such
//! marks. A half that never meets its other half becomes U+FFFD.

use crate::http::Trouble;
use serde_json::Value;
use std::borrow::Cow;

/// `U+D800` as a mark; the other 2047 follow.
const MARKS: u32 = 0x0010_f800;
const LOST: char = char::REPLACEMENT_CHARACTER;

/// A piece of a stream.
pub(super) struct Piece {
    pub value: Value,
    /// Whether letters of the last private plane are halves in it.
    pub is_marked: bool,
}

/// Reads a piece whose texts may go on in the next one.
pub(super) fn piece(text: &str) -> Result<Piece, Trouble> {
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(Piece { value, is_marked: false });
    }
    let marked = serde_json::from_str(&rewritten(text, |half| char::from_u32(MARKS + half).unwrap_or(LOST)));
    marked.map(|value| Piece { value, is_marked: true }).map_err(|_| Trouble::Nonsense)
}

/// Reads what stands for itself: halves in it are lost.
pub(super) fn whole(bytes: &[u8]) -> Result<Value, Trouble> {
    serde_json::from_slice(bytes).or_else(|_| {
        let text = String::from_utf8_lossy(bytes);
        serde_json::from_str(&rewritten(&text, |_| LOST)).map_err(|_| Trouble::Nonsense)
    })
}

/// Marks in a value that stands for itself are lost halves.
pub(super) fn lose(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.chars().map(plain).collect(),
        Value::Array(items) => items.iter_mut().for_each(lose),
        Value::Object(members) => members.values_mut().for_each(lose),
        _ => {}
    }
}

fn plain(letter: char) -> char {
    if u32::from(letter) >= MARKS { LOST } else { letter }
}

/// The four hex digits behind `\u` at the beginning of the text.
fn escaped(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

/// The same JSON with something else in place of lone halves. In JSON a backslash stands inside of texts only.
fn rewritten(text: &str, of_half: impl Fn(u32) -> char) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('\\') {
        out.extend(rest[..at].chars().map(plain));
        rest = &rest[at..];
        let taken = match escaped(rest) {
            Some(high @ 0xd800..0xdc00) => match escaped(&rest[6..]) {
                Some(low @ 0xdc00..0xe000) => {
                    out.push(plain(joined(high, low)));
                    12
                }
                _ => {
                    out.push(of_half(high - 0xd800));
                    6
                }
            },
            Some(low @ 0xdc00..0xe000) => {
                out.push(of_half(low - 0xd800));
                6
            }
            // The escaped letter goes with its backslash.
            _ => {
                let length = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
                out.push_str(&rest[..length]);
                length
            }
        };
        rest = &rest[taken..];
    }
    out.extend(rest.chars().map(plain));
    out
}

fn joined(high: u32, low: u32) -> char {
    char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)).unwrap_or(LOST)
}

/// What one text waits for: the first half of a letter.
#[derive(Debug, Default)]
pub(super) struct Half(Option<u32>);

impl Half {
    /// The next piece of the text, its halves joined.
    pub fn join<'a>(&mut self, text: &'a str, is_marked: bool) -> Cow<'a, str> {
        if self.0.is_none() && !is_marked {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        for letter in text.chars() {
            let half = u32::from(letter).checked_sub(MARKS).filter(|_| is_marked).map(|half| half + 0xd800);
            match (half, self.0.take()) {
                (Some(low @ 0xdc00..), Some(high)) => out.push(joined(high, low)),
                (half, before) => {
                    out.extend(before.map(|_| LOST));
                    match half {
                        Some(0xdc00..) => out.push(LOST),
                        Some(high) => self.0 = Some(high),
                        None => out.push(letter),
                    }
                }
            }
        }
        Cow::Owned(out)
    }

    /// The text has ended. True if it lacks the other half.
    pub fn end(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&str]) -> String {
        let mut half = Half::default();
        let mut text = String::new();
        for piece in pieces {
            let Piece { value, is_marked } = super::piece(&format!("{{\"a\":\"{piece}\"}}")).unwrap();
            text += &half.join(value["a"].as_str().unwrap(), is_marked);
        }
        if half.end() { text + "\u{fffd}" } else { text }
    }

    #[test]
    fn halves_meet_over_pieces_and_those_that_do_not_are_lost() {
        for (pieces, expected) in [
            (&["ok \\ud83d\\ude00"][..], "ok 😀"),
            (&["ok \\ud83d", "\\ude00!"], "ok 😀!"),
            (&["\\uD83D", "", "\\uDE00"], "😀"),
            (&["\\ud83d", "x"], "\u{fffd}x"),
            (&["\\ud83d", "\\ud83d", "\\ude00"], "\u{fffd}😀"),
            (&["\\ude00", "x\\ud83d"], "\u{fffd}x\u{fffd}"),
            (&["\\\\ud83d\\n\\ud83d", "\\ude00"], "\\ud83d\n😀"),
            // Letters that look like marks are none.
            (&["\u{10f83d}", "\\ude00"], "\u{10f83d}\u{fffd}"),
            (&["\u{10f83d}\\ude00", "\\udbfe\\udc3d"], "\u{fffd}\u{fffd}\u{10f83d}"),
        ] {
            assert_eq!(read(pieces), expected, "{pieces:?}");
        }
    }

    #[test]
    fn what_stands_for_itself_loses_its_halves_and_what_is_no_json_stays_none() {
        assert_eq!(whole(b"{\"a\":\"x\\ud83d\"}").unwrap()["a"], "x\u{fffd}");
        assert_eq!(whole(b"{\"a\":\"x\xff\"}").unwrap()["a"], "x\u{fffd}");
        for text in ["", "{", "\"\\", "\"\\u", "\"\\ud83d", "\\ud83d\\u", "<html>"] {
            assert!(piece(text).is_err() && whole(text.as_bytes()).is_err(), "{text}");
        }
    }
}
