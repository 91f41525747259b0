//! Chat and plain completions: whole, or as a stream of server-sent events.
//! In: a request and its run. Out: pieces of text, the reason of the end, usage, `[DONE]`.

use super::errors;
use super::options::Flavour;
use super::server::{Run, Server};
use super::text;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;

/// The route's two manners.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Chat,
    Plain,
}

pub(super) async fn complete(server: Arc<Server>, kind: Kind, request: Value, mut run: Run) -> Response {
    let needed = if kind == Kind::Chat { "messages" } else { "prompt" };
    if request.get(needed).is_none() {
        run.end("refused");
        return errors::missing(needed);
    }
    if server.options.refuses_stream_options && request.get("stream_options").is_some() {
        run.end("refused");
        return errors::unknown_parameter("stream_options");
    }
    let model = request["model"].as_str().unwrap_or_default().to_owned();
    let (pieces, cut) = text::pieces(&request);
    let said = if kind == Kind::Chat && request["tools"].is_array() { Said::Call } else { Said::Text(pieces) };
    let reason = match (&said, cut) {
        (Said::Call, _) => "tool_calls",
        (_, true) => "length",
        _ => "stop",
    };
    let given = said.pieces().len() as u64;
    let asked = text::count(&text::prompt(&request));
    let usage = json!({"prompt_tokens": asked, "completion_tokens": given, "total_tokens": asked + given});
    let head = head(&server, kind, &model);
    if request["stream"] == true {
        let wants_usage = request["stream_options"]["include_usage"] == true;
        return stream_of(server, kind, head, said, reason, wants_usage.then_some(usage), run);
    }
    for _ in said.pieces() {
        server.pace.step(server.options.token_time).await;
        run.piece();
    }
    let mut choice = json!({"index": 0, "finish_reason": reason, "logprobs": null});
    match (kind, &said) {
        (Kind::Plain, _) => choice["text"] = json!(said.pieces().concat()),
        (Kind::Chat, Said::Text(pieces)) => {
            choice["message"] = json!({"role": "assistant", "content": pieces.concat(), "refusal": null});
        }
        (Kind::Chat, Said::Call) => {
            choice["message"] = json!({"role": "assistant", "content": null, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": Said::ARGUMENTS.concat()}}]});
        }
    }
    let mut answer = head;
    answer["object"] = json!(if kind == Kind::Chat { "chat.completion" } else { "text_completion" });
    answer["choices"] = json!([choice]);
    answer["usage"] = usage;
    run.end("done");
    Json(answer).into_response()
}

enum Said {
    Text(Vec<String>),
    /// A call of a tool, whose arguments come in pieces.
    Call,
}

impl Said {
    const ARGUMENTS: [&str; 3] = ["{\"city\":", " \"Bra", "ga\"}"];

    fn pieces(&self) -> Vec<String> {
        match self {
            Self::Text(pieces) => pieces.clone(),
            Self::Call => Self::ARGUMENTS.map(str::to_owned).into(),
        }
    }
}

fn head(server: &Server, kind: Kind, model: &str) -> Value {
    let id = uuid::Uuid::new_v4().simple();
    let id = if kind == Kind::Chat { format!("chatcmpl-{id}") } else { format!("cmpl-{id}") };
    let object = if kind == Kind::Chat { "chat.completion.chunk" } else { "text_completion" };
    let mut head = json!({"id": id, "object": object, "created": 1_700_000_000, "model": model});
    if server.options.flavour != Flavour::Vllm {
        head["system_fingerprint"] = json!("fp_stand_in");
    }
    head
}

/// The chunks, one for each step of the pace; the run ends as `hung_up` if the client goes before the last.
fn stream_of(
    server: Arc<Server>,
    kind: Kind,
    head: Value,
    said: Said,
    reason: &'static str,
    usage: Option<Value>,
    run: Run,
) -> Response {
    let chunk = |choices: Value, usage: Option<&Value>| {
        let mut chunk = head.clone();
        chunk["choices"] = choices;
        if let Some(usage) = usage {
            chunk["usage"] = usage.clone();
        }
        format!("data: {chunk}\n\n")
    };
    let choice = |delta: Value, reason: Option<&str>| match kind {
        Kind::Chat => json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason}]),
        Kind::Plain => {
            json!([{"index": 0, "text": delta["content"].as_str().unwrap_or(""), "logprobs": null, "finish_reason": reason}])
        }
    };
    // Whether it counts as a piece, and the text.
    let mut frames: Vec<(bool, String)> = Vec::new();
    if kind == Kind::Chat {
        frames.push((false, chunk(choice(json!({"role": "assistant", "content": ""}), None), None)));
    }
    match &said {
        Said::Text(pieces) => {
            frames.extend(pieces.iter().map(|piece| (true, chunk(choice(json!({"content": piece}), None), None))));
        }
        Said::Call => {
            let first = json!({"tool_calls": [{"index": 0, "id": "call_1", "type": "function",
                                               "function": {"name": "weather", "arguments": ""}}]});
            frames.push((false, chunk(choice(first, None), None)));
            for part in Said::ARGUMENTS {
                let delta = json!({"tool_calls": [{"index": 0, "function": {"arguments": part}}]});
                frames.push((true, chunk(choice(delta, None), None)));
            }
        }
    }
    frames.push((false, chunk(choice(json!({}), Some(reason)), None)));
    if let Some(usage) = &usage {
        frames.push((false, chunk(json!([]), Some(usage))));
    }
    frames.push((false, "data: [DONE]\n\n".to_owned()));
    paced(server, frames, run, "text/event-stream")
}

/// Sends frames at the server's pace.
pub(super) fn paced(server: Arc<Server>, frames: Vec<(bool, String)>, run: Run, media_type: &'static str) -> Response {
    let state = (server, frames.into_iter(), run);
    let body = stream::unfold(state, |(server, mut frames, mut run)| async move {
        let Some((counts, text)) = frames.next() else {
            run.end("done");
            return None;
        };
        if counts {
            server.pace.step(server.options.token_time).await;
            run.piece();
        }
        if frames.len() == 0 {
            run.end("done");
        }
        Some((Ok::<_, Infallible>(Bytes::from(text)), (server, frames, run)))
    });
    ([("content-type", media_type)], Body::from_stream(body)).into_response()
}
