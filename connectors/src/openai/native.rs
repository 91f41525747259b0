//! Ollama's own words: what its routes know beyond the OpenAI API, in both directions.
//! In: a body in the words of a job. Out: the same in the words of the route that is to have it.
//!
//! Facts: Ollama's docs/api.md and docs/modelfile.md (options), docs/openai.md (what its OpenAI route takes); vLLM's extra
//! sampling parameters; llama.cpp's tools/server/README.md.

use super::flavour::Flavour;
use super::payload::{Body, Op};
use serde_json::{Value, json};

/// What only Ollama's own routes take, beside `messages` or `prompt`.
const TOP: &[&str] = &["keep_alive", "format", "think", "template", "raw", "context", "options"];
/// What stands in `options` there and has no place on its OpenAI route.
const OPTIONS: &[&str] = &[
    "top_k",
    "min_p",
    "repeat_penalty",
    "repeat_last_n",
    "num_ctx",
    "context_length",
    "num_gpu",
    "num_batch",
    "num_keep",
    "num_thread",
    "main_gpu",
    "use_mmap",
    "typical_p",
    "tfs_z",
    "mirostat",
    "mirostat_eta",
    "mirostat_tau",
    "penalize_newline",
];
/// What both have, and stands in `options` there.
const SHARED: &[&str] = &["temperature", "top_p", "seed", "stop", "presence_penalty", "frequency_penalty"];

/// Whether the OpenAI route of Ollama would lose something.
pub(super) fn needs(body: &Body) -> bool {
    TOP.iter().chain(OPTIONS).any(|name| body.contains_key(*name))
}

/// Into a body for `/api/chat` or `/api/generate`.
pub(super) fn from_openai(body: &mut Body, op: Op, system: Option<&str>) {
    let mut options = match body.remove("options") {
        Some(Value::Object(options)) => options,
        _ => Body::new(),
    };
    for name in OPTIONS.iter().chain(SHARED) {
        if let Some(value) = body.remove(*name) {
            let name = if *name == "context_length" { "num_ctx" } else { name };
            options.entry(name).or_insert(value);
        }
    }
    for name in ["num_predict", "max_tokens", "max_completion_tokens"] {
        if let Some(most) = body.remove(name) {
            options.entry("num_predict").or_insert(most);
        }
    }
    if !options.is_empty() {
        body.insert("options".to_owned(), Value::Object(options));
    }
    if let Some(wanted) = body.remove("response_format") {
        match wanted["type"].as_str() {
            Some("json_object") => drop(body.entry("format").or_insert(json!("json"))),
            Some("json_schema") => drop(body.entry("format").or_insert(wanted["json_schema"]["schema"].clone())),
            _ => {}
        }
    }
    let Some(system) = system else { return };
    match (op, body.get_mut("messages").and_then(Value::as_array_mut)) {
        (Op::NativeChat, Some(messages)) if messages.iter().all(|message| message["role"] != "system") => {
            messages.insert(0, json!({ "role": "system", "content": system }));
        }
        (Op::NativeGenerate, _) => drop(body.insert("system".to_owned(), json!(system))),
        _ => {}
    }
}

/// Into a body for `/v1`; answers the names of what this server has no word for.
pub(super) fn into_openai(body: &mut Body, flavour: Flavour) -> Vec<String> {
    if flavour == Flavour::Ollama {
        return Vec::new();
    }
    // What stands in `options` counts as if it stood beside it.
    if let Some(Value::Object(options)) = body.remove("options") {
        for (name, value) in options {
            body.entry(name).or_insert(value);
        }
    }
    if let Some(most) = body.remove("num_predict") {
        body.entry("max_tokens").or_insert(most);
    }
    match body.remove("format") {
        Some(Value::String(word)) if word == "json" => {
            body.entry("response_format").or_insert(json!({ "type": "json_object" }));
        }
        Some(schema @ Value::Object(_)) => {
            let schema = json!({ "type": "json_schema", "json_schema": { "name": "answer", "schema": schema } });
            body.entry("response_format").or_insert(schema);
        }
        _ => {}
    }
    let takes: &[&str] = match flavour {
        Flavour::Vllm => &["top_k", "min_p"],
        Flavour::LlamaCpp => &[
            "top_k",
            "min_p",
            "repeat_penalty",
            "repeat_last_n",
            "typical_p",
            "mirostat",
            "mirostat_eta",
            "mirostat_tau",
        ],
        Flavour::LmStudio => &["top_k", "min_p", "repeat_penalty"],
        Flavour::OpenAi | Flavour::Ollama => &[],
    };
    if flavour == Flavour::Vllm
        && let Some(penalty) = body.remove("repeat_penalty")
    {
        body.entry("repetition_penalty").or_insert(penalty);
    }
    let mut ignored = Vec::new();
    for name in TOP.iter().chain(OPTIONS).filter(|name| !takes.contains(name)) {
        if body.remove(*name).is_some() {
            ignored.push((*name).to_owned());
        }
    }
    ignored
}
