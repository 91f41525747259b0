//! The Responses API: its events, its response object, and responses that are made in the background.
//! In: events, or a response as it stands. Out: tokens as they come, the text and its end; what else was made, such as pictures.
//!
//! ```text
//!   queued ──▶ in_progress ──▶ completed | incomplete (length, content_filter) | failed | cancelled
//! ```
//! Source: platform.openai.com/docs/api-reference/responses and /responses-streaming.

use super::draft::{Draft, short};
use super::halves::Piece;
use super::refusal::{self, Around};
use super::stream::Fault;
use crate::contract::TokenSink;
use crate::failure::{Failure, Reason};
use crate::http::Trouble;
use serde_json::{Value, json};

/// One event of the stream. Answers the response at its end.
pub(super) fn event(draft: &mut Draft, sink: &dyn TokenSink, piece: &Piece) -> Result<Option<Value>, Fault> {
    let event = &piece.value;
    draft.is_marked = piece.is_marked;
    let delta = event["delta"].as_str().unwrap_or_default();
    match event["type"].as_str().ok_or(Trouble::Nonsense)? {
        "response.output_text.delta" => draft.text(sink, delta)?,
        "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => draft.reasoning(sink, delta)?,
        "response.refusal.delta" => draft.refusal(sink, delta)?,
        "response.function_call_arguments.delta" => draft.call_of_response(sink, delta),
        "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" => {
            return Ok(Some(event["response"].clone()));
        }
        _ => {}
    }
    Ok(None)
}

/// Whether a response is still being made.
pub(super) fn goes_on(response: &Value) -> bool {
    matches!(response["status"].as_str(), Some("queued" | "in_progress"))
}

/// Takes in a response that has ended, and tells what was not streamed of it. Answers the pictures.
pub(super) fn finish(
    draft: &mut Draft,
    sink: &dyn TokenSink,
    response: &Value,
    around: &Around<'_>,
) -> Result<Vec<String>, Fault> {
    draft.is_done = true;
    draft.id = response["id"].as_str().map(str::to_owned);
    draft.model = response["model"].as_str().map(str::to_owned);
    draft.usage = short(&response["usage"]);
    let (mut text, mut refused, mut calls, mut pictures) = (String::new(), false, Vec::new(), Vec::new());
    let had_reasoning = !draft.reasoning.is_empty();
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
            Some("reasoning") if !had_reasoning => {
                for part in item["summary"].as_array().into_iter().flatten() {
                    draft.reasoning(sink, part["text"].as_str().unwrap_or_default())?;
                }
            }
            Some("function_call") => calls.push(json!({
                "id": item["call_id"], "type": "function",
                "function": { "name": item["name"], "arguments": item["arguments"] } })),
            Some("image_generation_call") => pictures.extend(item["result"].as_str().map(str::to_owned)),
            _ => {}
        }
    }
    if !calls.is_empty() {
        draft.facts.insert("tool_calls".to_owned(), Value::Array(calls));
    }
    let reason = match response["status"].as_str() {
        Some("completed") if refused => return Err(refusal::declined().into()),
        Some("completed") => "stop",
        Some("incomplete") => match response["incomplete_details"]["reason"].as_str() {
            Some("content_filter") => return Err(refusal::stopped_by_filter(&Value::Null).into()),
            _ => "length",
        },
        Some("cancelled") => {
            let what = "the response was cancelled by somebody else";
            return Err(Failure::new(Reason::ServiceUnavailable, what).into());
        }
        Some("failed") => return Err(refusal::in_stream(&json!({ "error": response["error"] }), around).into()),
        _ => return Err(Failure::new(Reason::InvalidResponseFormat, "the response has no known state").into()),
    };
    draft.finish_reason = Some(reason.to_owned());
    if !text.is_empty() {
        draft.settle(sink, &text)?;
    }
    Ok(pictures)
}
