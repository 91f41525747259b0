//! The Responses API: its events, its response object, and responses that are made in the background.
//! In: events, or a response as it stands. Out: tokens as they come, the text and its end; what else was made, such as pictures.
//!
//! ```text
//!   queued ──▶ in_progress ──▶ completed | incomplete (length, content_filter) | failed | cancelled
//! ```
//! Source: platform.openai.com/docs/api-reference/responses and /responses-streaming.

use super::draft::Draft;
use super::http::Trouble;
use super::refusal::{self, Around};
use crate::contract::TokenSink;
use crate::failure::{Failure, Reason};
use serde_json::{Value, json};

/// One event of the stream. Answers an error that came in its place.
pub(super) fn event(
    draft: &mut Draft,
    sink: &dyn TokenSink,
    event: &Value,
    around: &Around<'_>,
) -> Result<Option<Value>, Fault> {
    let delta = event["delta"].as_str().unwrap_or_default();
    match event["type"].as_str().ok_or(Trouble::Nonsense)? {
        "response.output_text.delta" => draft.text(sink, delta)?,
        "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => draft.reasoning(sink, delta)?,
        "response.refusal.delta" => draft.refusal(sink, delta)?,
        "response.function_call_arguments.delta" => sink.token(delta, "tool_call"),
        "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" => {
            return Ok(Some(event["response"].clone()));
        }
        "error" => {
            // Here its members stand in the event itself.
            let body = if event["error"].is_object() { event.clone() } else { json!({ "error": event }) };
            return Err(Fault::Failed(refusal::in_stream(&body, around)));
        }
        _ => {}
    }
    Ok(None)
}

/// What an event can end a run with.
pub(super) enum Fault {
    Trouble(Trouble),
    Failed(Failure),
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// Whether a response is still being made.
pub(super) fn goes_on(response: &Value) -> bool {
    matches!(response["status"].as_str(), Some("queued" | "in_progress"))
}

/// Takes in a response that has ended. What was streamed is replaced by what it says: it is the same text, whole.
pub(super) fn finish(draft: &mut Draft, response: &Value, around: &Around<'_>) -> Result<Vec<String>, Failure> {
    draft.is_done = true;
    draft.id = response["id"].as_str().map(str::to_owned);
    draft.model = response["model"].as_str().map(str::to_owned);
    draft.usage = response["usage"].clone();
    let (mut text, mut refused, mut calls, mut pictures) = (String::new(), false, Vec::new(), Vec::new());
    for item in response["output"].as_array().into_iter().flatten() {
        match item["type"].as_str() {
            Some("message") => {
                for part in item["content"].as_array().into_iter().flatten() {
                    match part["type"].as_str() {
                        Some("output_text") => text.push_str(part["text"].as_str().unwrap_or_default()),
                        Some("refusal") => refused = true,
                        _ => {}
                    }
                }
            }
            Some("function_call") => calls.push(json!({
                "id": item["call_id"], "type": "function",
                "function": { "name": item["name"], "arguments": item["arguments"] } })),
            Some("image_generation_call") => pictures.extend(item["result"].as_str().map(str::to_owned)),
            _ => {}
        }
    }
    if !text.is_empty() {
        draft.text = text;
    }
    if !calls.is_empty() {
        draft.facts.insert("tool_calls".to_owned(), Value::Array(calls));
    }
    match response["status"].as_str() {
        Some("completed") if refused => Err(refusal::declined()),
        Some("completed") => {
            draft.finish_reason = Some("stop".to_owned());
            Ok(pictures)
        }
        Some("incomplete") => match response["incomplete_details"]["reason"].as_str() {
            Some("content_filter") => Err(refusal::stopped_by_filter(&Value::Null)),
            _ => {
                draft.finish_reason = Some("length".to_owned());
                Ok(pictures)
            }
        },
        Some("cancelled") => {
            Err(Failure::new(Reason::ServiceUnavailable, "the response was cancelled by somebody else"))
        }
        Some("failed") => Err(refusal::in_stream(&json!({ "error": response["error"] }), around)),
        _ => Err(Failure::new(Reason::InvalidResponseFormat, "the response has no known state")),
    }
}
