//! The result of a job as readers of the queue get it.
//! In: a connector's outcome. Out: `{"outputs": [...], "data": {...}, "timings": {...}}`.

use connectors::contract::Outcome;
use serde_json::{Value, json};

/// Longest text that is kept inside `data`, in bytes.
const TEXT_MAX: usize = 64 * 1024;

/// A run of base64 at least this long is a file that went the wrong way.
const BASE64_MAX: usize = 1024;

/// Our result.
pub fn result(outcome: &Outcome) -> Value {
    let data = match &outcome.data {
        Value::Null => json!({}),
        data => clean(data),
    };
    json!({"outputs": outcome.outputs, "data": data, "timings": outcome.timings})
}

/// The same without base64 and endless texts: they do not belong into Redis.
pub fn clean(value: &Value) -> Value {
    match value {
        Value::String(text) if is_base64(text) => Value::String("[BASE64_DATA_REMOVED]".to_owned()),
        Value::String(text) if text.len() > TEXT_MAX => {
            let mut end = TEXT_MAX;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            Value::String(format!("{}… ({} bytes in all)", &text[..end], text.len()))
        }
        Value::Array(items) => items.iter().map(clean).collect(),
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), clean(value))).collect(),
        other => other.clone(),
    }
}

/// Longest message of a failure, in characters.
const SENTENCE_MAX: usize = 2000;

/// A message as people may see it: an engine's own words may hold what a terminal would obey, and have no end.
pub fn sentence(message: &str) -> String {
    let mut said: String = message.chars().take(SENTENCE_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if message.chars().nth(SENTENCE_MAX).is_some() {
        said.push('…');
    }
    said
}

fn is_base64(text: &str) -> bool {
    let body = text.strip_prefix("data:").and_then(|rest| rest.split_once(',')).map_or(text, |(_, body)| body);
    body.len() >= BASE64_MAX
        && body.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_an_end_and_nothing_that_a_terminal_obeys() {
        assert_eq!(sentence("node \u{1b}[2J failed\nhere"), "node  [2J failed here");
        assert_eq!(sentence(&"x".repeat(5000)).chars().count(), SENTENCE_MAX + 1);
    }

    #[test]
    fn base64_and_endless_texts_stay_out_of_redis() {
        let picture = "iVBORw0KGgo".repeat(200);
        let data = json!({"a": picture, "b": [format!("data:image/png;base64,{picture}")], "c": "short", "d": "x y ".repeat(30_000)});
        let cleaned = clean(&data);
        assert_eq!(cleaned["a"], "[BASE64_DATA_REMOVED]");
        assert_eq!(cleaned["b"][0], "[BASE64_DATA_REMOVED]");
        assert_eq!(cleaned["c"], "short");
        assert!(cleaned["d"].as_str().is_some_and(|text| text.len() < TEXT_MAX + 100));
    }
}
