//! A text as it is written: its pieces joined, calls of tools put together, how it ended.
//! In: chunks of a chat or a completion, Ollama's lines. Out: tokens as they come, and at the end what the result says.

use super::http::Trouble;
use super::refusal;
use crate::contract::TokenSink;
use crate::failure::{Failure, Reason};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The longest text that is joined.
const TEXT_MAX: usize = 16 << 20;
/// Calls of tools in one text.
const CALLS_MAX: u64 = 256;

#[derive(Default)]
struct Call {
    id: String,
    kind: String,
    name: String,
    arguments: String,
}

#[derive(Default)]
pub(super) struct Draft {
    pub text: String,
    pub reasoning: String,
    pub refusal: String,
    calls: BTreeMap<u64, Call>,
    pub finish_reason: Option<String>,
    pub usage: Value,
    pub model: Option<String>,
    pub id: Option<String>,
    filters: Value,
    /// Facts of the server beside: durations, a context.
    pub facts: Map<String, Value>,
    /// Pieces so far.
    pub pieces: u64,
    /// The server said that this is all.
    pub is_done: bool,
}

impl Draft {
    fn add(&mut self, sink: &dyn TokenSink, text: &str, kind: &'static str) -> Result<(), Trouble> {
        if text.is_empty() {
            return Ok(());
        }
        let into = match kind {
            "reasoning" => &mut self.reasoning,
            "refusal" => &mut self.refusal,
            _ => &mut self.text,
        };
        if into.len() + text.len() > TEXT_MAX {
            return Err(Trouble::Endless);
        }
        into.push_str(text);
        self.pieces += 1;
        sink.token(text, kind);
        Ok(())
    }

    /// A piece of text.
    pub fn text(&mut self, sink: &dyn TokenSink, text: &str) -> Result<(), Trouble> {
        self.add(sink, text, "text")
    }

    /// A piece of reasoning.
    pub fn reasoning(&mut self, sink: &dyn TokenSink, text: &str) -> Result<(), Trouble> {
        self.add(sink, text, "reasoning")
    }

    /// A piece of a refusal.
    pub fn refusal(&mut self, sink: &dyn TokenSink, text: &str) -> Result<(), Trouble> {
        self.add(sink, text, "refusal")
    }

    /// A chunk of `/v1/chat/completions` or `/v1/completions`, or the whole answer of a server that does not stream.
    pub fn chunk(&mut self, sink: &dyn TokenSink, chunk: &Value) -> Result<(), Trouble> {
        let Some(choices) = chunk["choices"].as_array() else { return Err(Trouble::Nonsense) };
        let known = |name: &str| chunk[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        self.model = self.model.take().or_else(|| known("model"));
        self.id = self.id.take().or_else(|| known("id"));
        if chunk["usage"].is_object() {
            self.usage = chunk["usage"].clone();
        }
        let Some(choice) = choices.iter().find(|choice| choice["index"].as_u64().unwrap_or(0) == 0) else {
            return Ok(());
        };
        let delta = if choice["delta"].is_object() { &choice["delta"] } else { &choice["message"] };
        for name in ["reasoning_content", "reasoning"] {
            if let Some(text) = delta[name].as_str() {
                self.reasoning(sink, text)?;
                break;
            }
        }
        if let Some(text) = delta["content"].as_str().or_else(|| choice["text"].as_str()) {
            self.text(sink, text)?;
        }
        if let Some(text) = delta["refusal"].as_str() {
            self.refusal(sink, text)?;
        }
        for (at, call) in delta["tool_calls"].as_array().into_iter().flatten().enumerate() {
            self.call(sink, call, call["index"].as_u64().unwrap_or(at as u64))?;
        }
        if choice["content_filter_results"].is_object() {
            self.filters = choice.clone();
        }
        if let Some(reason) = choice["finish_reason"].as_str() {
            self.finish_reason = Some(reason.to_owned());
        }
        Ok(())
    }

    fn call(&mut self, sink: &dyn TokenSink, part: &Value, index: u64) -> Result<(), Trouble> {
        if index >= CALLS_MAX {
            return Err(Trouble::Nonsense);
        }
        let call = self.calls.entry(index).or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (id, kind, name) = (text(&part["id"]), text(&part["type"]), text(&part["function"]["name"]));
        if !id.is_empty() {
            call.id = id;
        }
        if !kind.is_empty() {
            call.kind = kind;
        }
        call.name.push_str(&name);
        // Ollama gives them as an object, whole.
        let arguments = match &part["function"]["arguments"] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            whole => whole.to_string(),
        };
        if call.arguments.len() + arguments.len() > TEXT_MAX || call.name.len() > 1024 {
            return Err(Trouble::Endless);
        }
        call.arguments.push_str(&arguments);
        if !arguments.is_empty() {
            self.pieces += 1;
            sink.token(&arguments, "tool_call");
        }
        Ok(())
    }

    /// A line of Ollama's `/api/chat` or `/api/generate`.
    pub fn line(&mut self, sink: &dyn TokenSink, line: &Value) -> Result<(), Trouble> {
        if !line["done"].is_boolean() {
            return Err(Trouble::Nonsense);
        }
        self.model = self.model.take().or_else(|| line["model"].as_str().map(str::to_owned));
        let message = &line["message"];
        if let Some(text) = message["thinking"].as_str().or_else(|| line["thinking"].as_str()) {
            self.reasoning(sink, text)?;
        }
        if let Some(text) = message["content"].as_str().or_else(|| line["response"].as_str()) {
            self.text(sink, text)?;
        }
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            self.call(sink, call, self.calls.len() as u64)?;
        }
        if line["done"] == true {
            self.is_done = true;
            self.finish_reason = Some(line["done_reason"].as_str().unwrap_or("stop").to_owned());
            let (asked, given) =
                (line["prompt_eval_count"].as_u64().unwrap_or(0), line["eval_count"].as_u64().unwrap_or(0));
            self.usage = json!({ "prompt_tokens": asked, "completion_tokens": given, "total_tokens": asked + given });
            for name in ["total_duration", "load_duration", "prompt_eval_duration", "eval_duration"] {
                if let Some(time) = line[name].as_u64() {
                    self.facts.insert(name.to_owned(), json!(time));
                }
            }
        }
        Ok(())
    }

    /// The calls as the API gives them in a whole answer.
    pub fn tool_calls(&self) -> Option<Value> {
        let calls: Vec<Value> = self
            .calls
            .values()
            .map(|call| {
                let kind = if call.kind.is_empty() { "function" } else { &call.kind };
                json!({ "id": call.id, "type": kind, "function": { "name": call.name, "arguments": call.arguments } })
            })
            .collect();
        (!calls.is_empty()).then_some(Value::Array(calls))
    }

    /// Whether the text is whole, and may be shown.
    pub fn judge(&self) -> Result<(), Failure> {
        if self.finish_reason.as_deref() == Some("content_filter") {
            return Err(refusal::stopped_by_filter(&self.filters));
        }
        // A model that declines gives no other text beside.
        if !self.refusal.is_empty() {
            return Err(refusal::declined());
        }
        match self.finish_reason.as_deref() {
            Some("error" | "abort" | "cancelled") => {
                Err(Failure::new(Reason::ServiceUnavailable, "the server gave the text up before its end"))
            }
            Some(_) => Ok(()),
            None if self.is_done => Ok(()),
            None => Err(Failure::new(
                Reason::MissingExpectedData,
                format!("the stream ended before the text did, after {} pieces", self.pieces),
            )),
        }
    }
}
