//! The text that a stand-in writes: pieces that can be told in advance from the prompt and the limit.
//! In: a request. Out: its prompt, its limit, pieces of text.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Pieces when no limit is given.
const USUAL: u64 = 12;

/// Everything that the user said, joined.
pub(super) fn prompt(request: &Value) -> String {
    fn gather(value: &Value, into: &mut String) {
        match value {
            Value::String(text) => into.push_str(text),
            Value::Array(items) => items.iter().for_each(|item| gather(item, into)),
            Value::Object(members) => ["content", "text", "input"]
                .iter()
                .filter_map(|name| members.get(*name))
                .for_each(|part| gather(part, into)),
            _ => {}
        }
    }
    let mut said = String::new();
    for name in ["prompt", "messages", "input"] {
        gather(&request[name], &mut said);
    }
    said
}

/// The pieces, and whether the limit cut them off: a text with a limit goes on until it is reached.
pub(super) fn pieces(request: &Value) -> (Vec<String>, bool) {
    let limit = ["max_tokens", "max_completion_tokens", "max_output_tokens", "num_predict"]
        .iter()
        .find_map(|name| request[*name].as_u64().or_else(|| request["options"][*name].as_u64()));
    let most = limit.unwrap_or(USUAL);
    let mark: String = Sha256::digest(prompt(request)).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let mut pieces: Vec<String> = ["Stand-in", " für", " ", &mark, ":"].map(str::to_owned).into();
    pieces.extend((1..).map(|n| format!(" {n}")).take(most.saturating_sub(5) as usize));
    pieces.truncate(most as usize);
    (pieces, limit.is_some())
}

/// Counted as a tokenizer would, more or less.
pub(super) fn count(text: &str) -> u64 {
    text.split_whitespace().count().max(1) as u64
}
