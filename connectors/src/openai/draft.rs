//! A text as it is written: its pieces joined, calls of tools put together, how it ended.
//! In: chunks of a chat or a completion, Ollama's lines. Out: tokens as they come, and at the end what the result says.

use super::halves::{Half, Piece};
use super::refusal;
use crate::contract::TokenSink;
use crate::failure::{Failure, Reason};
use crate::http::Trouble;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// All that is joined of one answer: text, reasoning, calls.
const TEXT_MAX: usize = 16 << 20;
/// The longest of the facts that are passed on as the server gave them, in bytes of JSON.
const FACT_MAX: usize = 4096;
/// Calls of tools in one text.
const CALLS_MAX: usize = 256;

#[derive(Default)]
struct Call {
    /// What the server calls it; several may have the same.
    index: u64,
    id: String,
    kind: String,
    name: String,
    arguments: String,
    half: Half,
}

#[derive(Default)]
pub(super) struct Draft {
    pub text: String,
    pub reasoning: String,
    pub refusal: String,
    calls: Vec<Call>,
    /// Halves of letters, by the kind of text.
    halves: BTreeMap<&'static str, Half>,
    /// The piece that is read may hold some.
    pub is_marked: bool,
    length: usize,
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
    fn grow(&mut self, by: usize) -> Result<(), Trouble> {
        self.length += by;
        if self.length > TEXT_MAX { Err(Trouble::TooLarge) } else { Ok(()) }
    }

    fn add(&mut self, sink: &dyn TokenSink, text: &str, kind: &'static str) -> Result<(), Trouble> {
        let text = self.halves.entry(kind).or_default().join(text, self.is_marked);
        if text.is_empty() {
            return Ok(());
        }
        self.grow(text.len())?;
        let into = match kind {
            "reasoning" => &mut self.reasoning,
            "refusal" => &mut self.refusal,
            _ => &mut self.text,
        };
        into.push_str(&text);
        self.pieces += 1;
        sink.token(&text, kind);
        Ok(())
    }

    /// The server has said all that it will: letters that came by half stay so.
    pub fn end(&mut self, sink: &dyn TokenSink) -> Result<(), Trouble> {
        self.is_marked = false;
        let lacking: Vec<_> = self.halves.iter_mut().filter_map(|(kind, half)| half.end().then_some(*kind)).collect();
        for kind in lacking {
            match kind {
                "tool_call" => sink.token("\u{fffd}", kind),
                kind => self.add(sink, "\u{fffd}", kind)?,
            }
        }
        for call in self.calls.iter_mut().filter_map(|call| call.half.end().then_some(call)) {
            call.arguments.push('\u{fffd}');
            sink.token("\u{fffd}", "tool_call");
        }
        Ok(())
    }

    /// The whole text, told at the end. Readers have had most of it; if they have had another one, they begin anew.
    pub fn settle(&mut self, sink: &dyn TokenSink, whole: &str) -> Result<(), Trouble> {
        self.end(sink)?;
        if let Some(rest) = whole.strip_prefix(self.text.as_str()) {
            return self.text(sink, rest);
        }
        sink.begin();
        let (reasoning, _) = (std::mem::take(&mut self.reasoning), std::mem::take(&mut self.text));
        self.length = 0;
        self.reasoning(sink, &reasoning)?;
        self.text(sink, whole)
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
    pub fn chunk(&mut self, sink: &dyn TokenSink, piece: &Piece) -> Result<(), Trouble> {
        let chunk = &piece.value;
        self.is_marked = piece.is_marked;
        let choices = match chunk["choices"].as_array() {
            Some(choices) => choices.as_slice(),
            // Some tell it apart.
            None if chunk["usage"].is_object() => &[],
            None => return Err(Trouble::Nonsense),
        };
        let known = |name: &str| chunk[name].as_str().filter(|text| !text.is_empty()).map(cut);
        self.model = self.model.take().or_else(|| known("model"));
        self.id = self.id.take().or_else(|| known("id"));
        if chunk["usage"].is_object() {
            self.usage = short(&chunk["usage"]);
        }
        let Some(choice) = choices.iter().find(|choice| choice["index"].as_u64().unwrap_or(0) == 0) else {
            return Ok(());
        };
        let delta = if choice["delta"].is_object() { &choice["delta"] } else { &choice["message"] };
        for name in ["reasoning_content", "reasoning"] {
            if let Some(text) = delta[name].as_str().filter(|text| !text.is_empty()) {
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
        // How calls were written before there could be several; some servers still do.
        if delta["function_call"].is_object() {
            self.call(sink, &json!({ "function": delta["function_call"] }), 0)?;
        }
        if choice["content_filter_results"].is_object() {
            self.filters = json!({ "content_filter_results": short(&choice["content_filter_results"]) });
        }
        if let Some(reason) = choice["finish_reason"].as_str().filter(|reason| !reason.is_empty()) {
            self.finish_reason = Some(cut(reason));
        }
        Ok(())
    }

    fn call(&mut self, sink: &dyn TokenSink, part: &Value, index: u64) -> Result<(), Trouble> {
        let text = |value: &Value| cut(value.as_str().unwrap_or_default());
        let (id, kind, name) = (text(&part["id"]), text(&part["type"]), text(&part["function"]["name"]));
        // Ollama gives all calls of one answer the same index: another id is another call.
        let known = self.calls.iter().rposition(|call| call.index == index);
        let known = known.filter(|at| id.is_empty() || self.calls[*at].id.is_empty() || self.calls[*at].id == id);
        let at = known.unwrap_or(self.calls.len());
        if known.is_none() {
            if at >= CALLS_MAX {
                return Err(Trouble::Nonsense);
            }
            self.calls.push(Call { index, ..Call::default() });
        }
        // Ollama gives them as an object, whole.
        let arguments = match &part["function"]["arguments"] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            whole => whole.to_string(),
        };
        self.grow(name.len() + arguments.len())?;
        let is_marked = self.is_marked;
        let call = &mut self.calls[at];
        if !id.is_empty() {
            call.id = id;
        }
        if !kind.is_empty() {
            call.kind = kind;
        }
        // Some repeat it with every piece.
        if call.name != name {
            call.name.push_str(&name);
        }
        let arguments = call.half.join(&arguments, is_marked);
        call.arguments.push_str(&arguments);
        if !arguments.is_empty() {
            self.pieces += 1;
            sink.token(&arguments, "tool_call");
        }
        Ok(())
    }

    /// A piece of the arguments of a call; the calls themselves stand in the response at its end.
    pub fn call_of_response(&mut self, sink: &dyn TokenSink, delta: &str) {
        let delta = self.halves.entry("tool_call").or_default().join(delta, self.is_marked);
        if !delta.is_empty() {
            self.pieces += 1;
            sink.token(&delta, "tool_call");
        }
    }

    /// A line of Ollama's `/api/chat` or `/api/generate`.
    pub fn line(&mut self, sink: &dyn TokenSink, piece: &Piece) -> Result<(), Trouble> {
        let line = &piece.value;
        self.is_marked = piece.is_marked;
        if !line["done"].is_boolean() {
            return Err(Trouble::Nonsense);
        }
        self.model = self.model.take().or_else(|| line["model"].as_str().map(cut));
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
            self.finish_reason = Some(cut(line["done_reason"].as_str().unwrap_or("stop")));
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
            .iter()
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
            None if self.pieces == 0 && self.calls.is_empty() => {
                Err(Failure::new(Reason::MissingExpectedData, "the server ended its answer without a word"))
            }
            None if self.is_done => Ok(()),
            None => Err(Failure::new(
                Reason::CorruptedData,
                format!("the stream ended before the text did, after {} pieces", self.pieces),
            )),
        }
    }
}

/// A fact of the server's, if it is as short as such facts are.
pub(super) fn short(fact: &Value) -> Value {
    if fact.to_string().len() <= FACT_MAX { fact.clone() } else { Value::Null }
}

/// A name of the server's, not longer than names are.
fn cut(name: &str) -> String {
    name.chars().take(1024).collect()
}
