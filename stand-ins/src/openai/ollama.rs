//! Ollama's own routes: chat and generate as lines of JSON, the models in memory, unloading.
//! In: a request and its run. Out: lines with `done` on the last.
//!
//! Facts: Ollama's docs/api.md. Durations are in nanoseconds.

use super::chat::paced;
use super::errors;
use super::server::{Run, Server};
use super::text;
use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) async fn chat(server: Arc<Server>, request: Value, run: Run, generate: bool) -> Response {
    let model = request["model"].as_str().unwrap_or_default().to_owned();
    let mut run = run;
    if !knows(&server, &model) {
        run.end("refused");
        return errors::of(404, json!({"error": format!("model '{model}' not found")}));
    }
    if request["keep_alive"] == 0 && request.get("messages").is_none() && request.get("prompt").is_none() {
        server.loaded().retain(|name| *name != model);
        run.end("done");
        let answer = json!({"model": model, "created_at": AT, "response": "", "done": true, "done_reason": "unload"});
        return Json(answer).into_response();
    }
    if !server.loaded().contains(&model) {
        server.loaded().push(model.clone());
    }
    let (pieces, cut) = text::pieces(&request);
    let counted = pieces.len();
    let line = |text: &str, last: Option<&str>| {
        let mut line = json!({"model": model, "created_at": AT, "done": last.is_some()});
        if generate {
            line["response"] = json!(text);
        } else {
            line["message"] = json!({"role": "assistant", "content": text});
        }
        if let Some(reason) = last {
            line["done_reason"] = json!(reason);
            line["total_duration"] = json!(5_000_000_u64);
            line["load_duration"] = json!(1_000_000_u64);
            line["prompt_eval_count"] = json!(text::count(&text::prompt(&request)));
            line["eval_count"] = json!(counted);
            line["eval_duration"] = json!(4_000_000_u64);
        }
        format!("{line}\n")
    };
    let mut frames: Vec<(bool, String)> = pieces.iter().map(|piece| (true, line(piece, None))).collect();
    frames.push((false, line("", Some(if cut { "length" } else { "stop" }))));
    if request["stream"] == false {
        for _ in &pieces {
            server.pace.step(server.options.token_time).await;
            run.piece();
        }
        let mut whole: Value = serde_json::from_str(&frames[counted].1).unwrap_or_default();
        match generate {
            true => whole["response"] = json!(pieces.concat()),
            false => whole["message"]["content"] = json!(pieces.concat()),
        }
        run.end("done");
        return Json(whole).into_response();
    }
    paced(server, frames, run, "application/x-ndjson")
}

pub(super) fn running(server: &Server) -> Response {
    let models: Vec<Value> =
        server.loaded().iter().map(|name| json!({"name": name, "model": name, "size": 1})).collect();
    Json(json!({"models": models})).into_response()
}

pub(super) fn tags(server: &Server) -> Response {
    let models: Vec<Value> =
        server.models().iter().map(|name| json!({"name": name, "model": name, "size": 1})).collect();
    Json(json!({"models": models})).into_response()
}

/// A name without a tag means `latest`.
pub(super) fn knows(server: &Server, model: &str) -> bool {
    let latest = format!("{model}:latest");
    server.models().iter().any(|name| *name == model || *name == latest)
}

const AT: &str = "2026-01-01T00:00:00.000000Z";
