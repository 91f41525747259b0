//! A line that is not JSON, such as one with `NaN` or half a character in it: whose answer it was to be all the same.
//! In: its bytes. Out: whether it is an answer, to which question, and the words around the place where it breaks.

/// Shown on each side of that place.
const SHOWN: usize = 40;

/// What can be told of a broken line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Broken {
    /// Its `id`, wherever in the object it stands.
    pub id: Option<u64>,
    /// Whether it has a `result` or an `error`.
    pub is_answer: bool,
}

impl Broken {
    /// Looks for the members of the outermost object. Values are skipped by their brackets and quotes alone.
    pub fn read(line: &[u8]) -> Self {
        let (mut found, mut depth, mut at) = (Self::default(), 0_u32, 0);
        while let Some(byte) = line.get(at) {
            match byte {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.saturating_sub(1),
                b'"' => {
                    let end = end_of_text(line, at);
                    let value = line.get(end..).unwrap_or_default().trim_ascii_start();
                    if depth == 1
                        && let Some(value) = value.strip_prefix(b":")
                    {
                        match line.get(at..end).unwrap_or_default() {
                            b"\"id\"" => found.id = number(value),
                            b"\"result\"" | b"\"error\"" => found.is_answer = true,
                            _ => {}
                        }
                    }
                    at = end;
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        found
    }
}

/// Behind the closing quote of the text that begins here.
fn end_of_text(line: &[u8], begin: usize) -> usize {
    let mut at = begin + 1;
    while let Some(byte) = line.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    line.len()
}

/// The number that a value begins with, also in quotes.
fn number(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii_start();
    let value = value.strip_prefix(b"\"").unwrap_or(value);
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(value.get(..digits)?).ok()?.parse().ok()
}

/// The words around the byte of this number, from 1.
pub(super) fn around(line: &[u8], column: usize) -> String {
    let column = column.min(line.len());
    let (from, to) = (column.saturating_sub(SHOWN), (column + SHOWN).min(line.len()));
    let text = String::from_utf8_lossy(line.get(from..to).unwrap_or_default());
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let (before, after) = (if from > 0 { "…" } else { "" }, if to < line.len() { "…" } else { "" });
    format!("{before}{text}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_broken_answer_is_found_wherever_it_stands() {
        for (line, id, is_answer) in [
            (r#"{"id":2,"result":NaN}"#, Some(2), true),
            (r#"{"result":{"a":[Infinity,{"id":9}],"b":"\"}"},"jsonrpc":"2.0", "id" : 12 }"#, Some(12), true),
            (r#"{"error":{"message":"\ud800"},"id":"7"}"#, Some(7), true),
            (r#"{"result":{"id":3}"#, None, true),
            (r#"{"method":"progress","params":{"fraction":NaN}}"#, None, false),
            (r#"{"id":2,"result":"cut off"#, Some(2), true),
            (r#"{"result":"id\":5"#, None, true),
            ("{'result': 1, 'id': 2}", None, false),
            ("plain text with \"result\": in it", None, false),
            ("", None, false),
            ("\"\\", None, false),
        ] {
            assert_eq!(Broken::read(line.as_bytes()), Broken { id, is_answer }, "{line}");
        }
    }

    #[test]
    fn what_is_quoted_is_short_and_plain() {
        let line = format!("{}NaN{}", "a".repeat(1000), "b".repeat(1000));
        let quoted = around(line.as_bytes(), 1001);
        assert!(quoted.contains("NaN") && quoted.chars().count() <= 2 * SHOWN + 2, "{quoted}");
        assert_eq!(around(b"a\tb", 900), "a b");
        assert_eq!(around(b"", 1), "");
    }
}
