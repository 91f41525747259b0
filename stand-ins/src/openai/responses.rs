//! The Responses API: streamed, whole, or in the background to be asked for by id.
//! In: a request and its run. Out: its events, or a response object as it stands.

use super::chat::paced;
use super::errors;
use super::server::{Run, Server};
use super::text;
use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) async fn create(server: Arc<Server>, request: Value, mut run: Run) -> Response {
    if request.get("input").is_none() {
        run.end("refused");
        return errors::missing("input");
    }
    let id = format!("resp_{}", uuid::Uuid::new_v4().simple());
    let (pieces, cut) = text::pieces(&request);
    let bare = response(&id, &request["model"], "in_progress");
    let whole = finished(&bare, &pieces, cut, text::count(&text::prompt(&request)));
    if request["background"] == true {
        run.is(&id);
        server.stored().insert(id.clone(), response(&id, &request["model"], "queued"));
        tokio::spawn(work(server.clone(), id.clone(), bare, whole, pieces.len(), run));
        let stored = server.stored().get(&id).cloned();
        return Json(stored).into_response();
    }
    if request["stream"] == true {
        return paced(server, events(&bare, &whole, &pieces), run, "text/event-stream");
    }
    for _ in &pieces {
        server.pace.step(server.options.token_time).await;
        run.piece();
    }
    run.end("done");
    Json(whole).into_response()
}

/// Works in the background until it is done or cancelled.
async fn work(server: Arc<Server>, id: String, bare: Value, whole: Value, pieces: usize, mut run: Run) {
    server.stored().insert(id.clone(), bare);
    for _ in 0..pieces {
        server.pace.step(server.options.token_time).await;
        if server.stored().get(&id).is_none_or(|stored| stored["status"] == "cancelled") {
            return run.end("cancelled");
        }
        run.piece();
    }
    server.stored().insert(id, whole);
    run.end("done");
}

pub(super) fn ask(server: &Server, id: &str) -> Response {
    match server.stored().get(id) {
        Some(stored) => Json(stored.clone()).into_response(),
        None => errors::no_such_response(id),
    }
}

pub(super) fn cancel(server: &Server, id: &str) -> Response {
    let mut all = server.stored();
    let Some(stored) = all.get_mut(id) else { return errors::no_such_response(id) };
    if matches!(stored["status"].as_str(), Some("queued" | "in_progress")) {
        stored["status"] = json!("cancelled");
        // The run's own end comes with its next step; what it is asked for now is over at once.
        let mut executions = server.executions();
        executions.iter_mut().filter(|run| run.id == id).for_each(|run| run.outcome = "cancelled");
    }
    Json(stored.clone()).into_response()
}

fn response(id: &str, model: &Value, status: &str) -> Value {
    json!({"id": id, "object": "response", "created_at": 1_700_000_000, "status": status, "error": null,
           "incomplete_details": null, "model": model, "output": [], "usage": null})
}

fn finished(bare: &Value, pieces: &[String], cut: bool, asked: u64) -> Value {
    let mut whole = bare.clone();
    whole["status"] = json!(if cut { "incomplete" } else { "completed" });
    if cut {
        whole["incomplete_details"] = json!({"reason": "max_output_tokens"});
    }
    whole["output"] = json!([{"type": "message", "id": "msg_1", "status": whole["status"], "role": "assistant",
        "content": [{"type": "output_text", "text": pieces.concat(), "annotations": []}]}]);
    let given = pieces.len() as u64;
    whole["usage"] = json!({"input_tokens": asked, "output_tokens": given, "total_tokens": asked + given,
                            "output_tokens_details": {"reasoning_tokens": 0}});
    whole
}

fn events(bare: &Value, whole: &Value, pieces: &[String]) -> Vec<(bool, String)> {
    let mut events = vec![(false, json!({"type": "response.created", "response": bare}))];
    events.push((false, json!({"type": "response.in_progress", "response": bare})));
    let item = json!({"type": "message", "id": "msg_1", "status": "in_progress", "role": "assistant", "content": []});
    events.push((false, json!({"type": "response.output_item.added", "output_index": 0, "item": item})));
    for piece in pieces {
        events.push((
            true,
            json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0,
                                  "content_index": 0, "delta": piece}),
        ));
    }
    events.push((
        false,
        json!({"type": "response.output_text.done", "item_id": "msg_1", "output_index": 0,
                               "content_index": 0, "text": pieces.concat()}),
    ));
    let last = if whole["status"] == "incomplete" { "response.incomplete" } else { "response.completed" };
    events.push((false, json!({"type": last, "response": whole})));
    events
        .into_iter()
        .enumerate()
        .map(|(number, (counts, mut event))| {
            event["sequence_number"] = json!(number);
            let kind = event["type"].as_str().unwrap_or_default().to_owned();
            (counts, format!("event: {kind}\ndata: {event}\n\n"))
        })
        .collect()
}
