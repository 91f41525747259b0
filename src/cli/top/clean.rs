//! Makes text of the network harmless for a terminal, once, where it comes in.
//! In: JSON as an agent sent it, texts of errors. Out: the same without what a terminal would obey or hide.

use serde_json::Value;

/// Longer texts are cut: no panel shows as much, and a job's message may be of any length.
const LONGEST: usize = 4000;

/// One line of plain text: control characters become blanks, marks that reorder or hide text are dropped.
pub(super) fn text(text: &str) -> String {
    text.chars().filter(|c| !hides(*c)).take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Every text of a value, names of fields too. Members that are null are dropped: unknown is the same as not there.
pub(super) fn value(value: Value) -> Value {
    match value {
        Value::String(string) => Value::String(text(&string)),
        Value::Array(items) => Value::Array(items.into_iter().map(self::value).collect()),
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .filter(|(_, member)| !member.is_null())
                .map(|(name, member)| (text(&name), self::value(member)))
                .collect(),
        ),
        other => other,
    }
}

/// Characters that show nothing themselves, but change the order of others, join them, or break lines.
fn hides(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_that_a_terminal_obeys_comes_through() {
        let hostile = [
            "\u{1b}[2J\u{1b}[H",
            "\u{1b}]0;title\u{7}",
            "\u{1b}]52;c;ZWNobyBoaQ==\u{1b}\\",
            "\u{9b}31m",
            "\u{1b}P+q\u{1b}\\",
            "a\rb\nc\u{8}\u{7f}\u{0}",
            "user\u{202e}gnp.exe",
            "x\u{200b}y\u{feff}\u{2028}z",
        ];
        for text in hostile {
            let clean = super::text(text);
            assert!(!clean.chars().any(|c| c.is_control() || hides(c)), "{text:?} became {clean:?}");
        }
        assert_eq!(super::text("Größe 3 µs, 画像"), "Größe 3 µs, 画像");
        assert_eq!(super::text(&"x".repeat(1_000_000)).len(), LONGEST);
    }

    #[test]
    fn names_and_nested_texts_are_cleaned_and_nulls_are_dropped() {
        let clean = value(json!({"a\u{1b}": ["x\u{1b}[0m", {"b": null, "c": "\u{7}"}], "n": null, "list": [null, 1]}));
        assert_eq!(clean, json!({"a ": ["x [0m", {"c": " "}], "list": [null, 1]}));
    }
}
