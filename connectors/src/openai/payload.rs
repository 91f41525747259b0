//! What a job asks for: the route that answers it, and the body in the server's words.
//! In: a job's service and payload, the server's flavour. Out: a plan, or what is wrong with the payload.
//!
//! What is known by another name is renamed, what belongs to the queue is left out, all else is passed on as it is.

use super::flavour::Flavour;
use super::http::JobKey;
use super::native;
use super::sources::{IMAGES, MASKS, sources};
use crate::contract::Job;
use crate::failure::{Failure, Reason};
use serde_json::{Map, Value, json};

pub(super) type Body = Map<String, Value>;

/// What kind of answer is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Chat,
    Completion,
    Responses,
    Embeddings,
    Images,
    Edits,
    /// Ollama's own `/api/chat`.
    NativeChat,
    /// Ollama's own `/api/generate`.
    NativeGenerate,
}

impl Op {
    pub fn is_text(self) -> bool {
        !matches!(self, Self::Embeddings | Self::Images | Self::Edits)
    }
}

/// A job, in the server's words.
pub(super) struct Plan {
    pub op: Op,
    pub body: Body,
    /// Used for this job in place of the configured one.
    pub key: JobKey,
    /// Where the pictures of an edit come from.
    pub images: Vec<String>,
    pub mask: Option<String>,
    /// Fields that this server has no word for.
    pub ignored: Vec<String>,
}

/// What belongs to the queue or to the reference's connectors and is never sent (its list for the Responses API, and ours).
const OURS: &[&str] = &[
    "api_key",
    "dynamic_json",
    "ctx",
    "bucket",
    "prefix",
    "filename",
    "provider",
    "cdnUrl",
    "workflow_name",
    "user_id",
    "generation_context",
    "save_assets",
    "job_type",
    "operation",
    "session_id",
    "system",
    "system_prompt",
    "model_used",
];
fn missing(what: &str) -> Failure {
    Failure::new(Reason::MissingRequiredField, format!("the payload needs {what}"))
}

/// The model that a payload names.
pub(super) fn model(payload: &Value) -> Option<&str> {
    let named = payload["dynamic_json"]["model"].as_str().or_else(|| payload["model"].as_str());
    named.map(str::trim).filter(|name| !name.is_empty())
}

/// What a job asks for by its service, and by what its payload says where the service leaves it open.
fn asked(service: &str, payload: &Value) -> Op {
    let by_word = || match payload["job_type"].as_str().or_else(|| payload["operation"].as_str())? {
        "generate" | "text_generation" => Some(Op::Completion),
        "chat" | "chat_completion" => Some(Op::Chat),
        "embeddings" | "embedding" => Some(Op::Embeddings),
        _ => None,
    };
    let by_fields = || match () {
        () if payload["messages"].is_array() => Op::Chat,
        () if payload.get("input").is_some() => Op::Embeddings,
        () => Op::Completion,
    };
    match service {
        "openai_text" | "chat_completion" => by_word().unwrap_or(Op::Chat),
        "openai_responses" | "openai" => Op::Responses,
        "openai_image" if sources(payload, IMAGES).is_empty() => Op::Images,
        "openai_image" | "openai_img2img" => Op::Edits,
        "embeddings" => by_word().unwrap_or(Op::Embeddings),
        "text_generation" => by_word().unwrap_or(Op::Completion),
        _ => by_word().unwrap_or_else(by_fields),
    }
}

impl Plan {
    /// # Errors
    /// `validation_error` if the payload lacks what its service needs.
    pub fn read(job: &Job, flavour: Flavour) -> Result<Self, Failure> {
        let Value::Object(payload) = &job.payload else {
            return Err(Failure::new(Reason::InvalidPayload, "the payload is not a JSON object"));
        };
        let mut op = asked(&job.service, &job.payload);
        let given = match (op, payload.get("dynamic_json")) {
            (Op::Responses, Some(Value::Object(inner))) => inner,
            _ => payload,
        };
        let key =
            |from: &Body| from.get("api_key").and_then(Value::as_str).filter(|key| !key.is_empty()).map(str::to_owned);
        let key: JobKey = key(payload).or_else(|| key(given)).map(Into::into);
        let mut body: Body = given
            .iter()
            .filter(|(name, _)| !OURS.contains(&name.as_str()))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
        if op != Op::Responses {
            // An object in `prompt` means a stored prompt to the Responses API; elsewhere there is no such thing.
            body.retain(|_, value| !value.is_null());
        }
        if body.get("n").is_some_and(|n| *n != 1) && op.is_text() {
            return Err(Failure::new(Reason::UnsupportedOperation, "one text is written for each job: `n` must be 1"));
        }
        let system = ["system_prompt", "system"].iter().find_map(|name| given.get(*name)?.as_str());
        let system = system.filter(|text| !text.is_empty());
        op = route(op, flavour, &body, system.is_some());
        let (images, mask) = (sources(&job.payload, IMAGES), sources(&job.payload, MASKS).into_iter().next());
        let ignored = match op {
            Op::Chat | Op::Completion => {
                text(op, &mut body, system)?;
                native::into_openai(&mut body, flavour)
            }
            Op::NativeChat | Op::NativeGenerate => {
                text(if op == Op::NativeChat { Op::Chat } else { Op::Completion }, &mut body, None)?;
                native::from_openai(&mut body, op, system);
                Vec::new()
            }
            Op::Responses => {
                responses(&mut body, system)?;
                Vec::new()
            }
            Op::Embeddings => {
                let input = ["input", "prompt", "text", "texts"].iter().find_map(|name| body.remove(*name));
                let input = input.ok_or_else(|| missing("`input`: a text or a list of texts"))?;
                body.retain(|name, _| !matches!(name.as_str(), "stream" | "messages"));
                body.insert("input".to_owned(), input);
                native::into_openai(&mut body, flavour)
            }
            Op::Images | Op::Edits => {
                pictures(op, &mut body, &images)?;
                Vec::new()
            }
        };
        Ok(Self { op, body, key, images, mask, ignored })
    }
}

/// The route that can carry all fields.
fn route(op: Op, flavour: Flavour, body: &Body, has_system: bool) -> Op {
    let op = if op == Op::Completion && body.get("messages").is_some_and(Value::is_array) { Op::Chat } else { op };
    let needs_native = native::needs(body);
    match (op, flavour) {
        (Op::Chat, Flavour::Ollama) if needs_native => Op::NativeChat,
        (Op::Completion, Flavour::Ollama) if needs_native || has_system => Op::NativeGenerate,
        (Op::Completion, Flavour::Ollama) => Op::Completion,
        // What only this route knows. The service itself serves it for models of old alone.
        (Op::Completion, _) if ["suffix", "echo", "best_of", "raw"].iter().any(|name| body.contains_key(*name)) => op,
        (Op::Completion, Flavour::OpenAi) => Op::Chat,
        // There is no place for it beside a bare prompt.
        (Op::Completion, _) if has_system => Op::Chat,
        _ => op,
    }
}

fn text(op: Op, body: &mut Body, system: Option<&str>) -> Result<(), Failure> {
    if op == Op::Completion {
        body.remove("messages");
        return match body.get("prompt") {
            Some(Value::String(_)) => Ok(()),
            Some(_) => Err(Failure::new(Reason::InvalidFormat, "`prompt` must be a text")),
            None => Err(missing("`prompt`")),
        };
    }
    let prompt = body.remove("prompt");
    let mut messages = match (body.remove("messages"), prompt) {
        (Some(Value::Array(messages)), _) if !messages.is_empty() => messages,
        (Some(_), None) => {
            return Err(Failure::new(Reason::InvalidFormat, "`messages` must be a list with something in it"));
        }
        (_, Some(Value::String(prompt))) => vec![json!({ "role": "user", "content": prompt })],
        (_, Some(_)) => return Err(Failure::new(Reason::InvalidFormat, "`prompt` must be a text")),
        (None, None) => return Err(missing("`messages` or `prompt`")),
    };
    let has_own = messages.iter().any(|message| matches!(message["role"].as_str(), Some("system" | "developer")));
    if let Some(system) = system.filter(|_| !has_own) {
        messages.insert(0, json!({ "role": "system", "content": system }));
    }
    body.insert("messages".to_owned(), Value::Array(messages));
    Ok(())
}

fn responses(body: &mut Body, system: Option<&str>) -> Result<(), Failure> {
    if !body.contains_key("input") {
        let said = body.remove("messages").or_else(|| body.get("prompt").filter(|prompt| prompt.is_string()).cloned());
        if body.get("prompt").is_some_and(Value::is_string) {
            body.remove("prompt");
        }
        if let Some(said) = said {
            body.insert("input".to_owned(), said);
        } else if !body.contains_key("prompt") {
            return Err(missing("`input` or `prompt`"));
        }
    }
    if let Some(system) = system {
        body.entry("instructions").or_insert_with(|| json!(system));
    }
    if let Some(most) = body.remove("max_tokens") {
        body.entry("max_output_tokens").or_insert(most);
    }
    Ok(())
}

fn pictures(op: Op, body: &mut Body, images: &[String]) -> Result<(), Failure> {
    if body.get("prompt").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err(missing("`prompt`"));
    }
    if op == Op::Edits && images.is_empty() {
        return Err(missing("`image`: a URL, a data: URL or base64"));
    }
    body.retain(|name, _| !IMAGES.contains(&name.as_str()) && !MASKS.contains(&name.as_str()) && name != "stream");
    if let (Some(width), Some(height)) = (body.remove("width"), body.remove("height")) {
        body.entry("size").or_insert_with(|| json!(format!("{width}x{height}")));
    }
    Ok(())
}
