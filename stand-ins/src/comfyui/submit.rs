//! `POST /prompt`: reads a submission, has it validated and puts it into the queue.
//! In: the raw body. Out: the answer the recorded releases give, errors and oddities included.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, body::Bytes};
use serde_json::{Value, json};

use super::ledger::{Item, Number};
use super::routes::trouble;
use super::server::{Server, now_ms};
use super::validate;

/// Keys of `extra_data` that no history shows, and the queue of the newer release neither.
pub(crate) const SECRETS: [&str; 2] = ["auth_token_comfy_org", "api_key_comfy_org"];

pub(crate) fn problem(kind: &str, message: &str, details: &str, extra_info: Value) -> Value {
    json!({"type": kind, "message": message, "details": details, "extra_info": extra_info})
}

fn refused(error: Value, node_errors: Value) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({"error": error, "node_errors": node_errors}))).into_response()
}

pub(crate) async fn post_prompt(State(server): State<Arc<Server>>, body: Bytes) -> Response {
    let Ok(mut body) = serde_json::from_slice::<Value>(&body) else {
        return trouble();
    };
    let Some(number) = number(&server, &body) else {
        return trouble();
    };
    if body.get("prompt").is_none() {
        return refused(problem("no_prompt", "No prompt provided", "No prompt provided", json!({})), json!({}));
    }
    let id = match body.get("prompt_id").filter(|id| !id.is_null()) {
        None => uuid::Uuid::new_v4().to_string(),
        Some(id) => {
            let text = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
            if server.options.release.is_new() && !is_canonical(&text) {
                let details = "prompt_id must be a UUID string in canonical lowercase hyphenated form; omit it to let the server generate one";
                return refused(
                    problem("invalid_prompt_id", "prompt_id must be a valid UUID", details, json!({})),
                    json!({}),
                );
            }
            text
        }
    };
    let targets = body["partial_execution_targets"]
        .as_array()
        .map(|list| list.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect());
    let mut graph = body["prompt"].take();
    let verdict = match validate::check(&mut graph, targets, &server) {
        validate::Verdict::Crash => return trouble(),
        validate::Verdict::Refused { error, node_errors } => return refused(error, node_errors),
        validate::Verdict::Accepted(accepted) => accepted,
    };
    let create_time = now_ms();
    let mut extra_data = body.get_mut("extra_data").map_or_else(|| json!({}), Value::take);
    let Some(extra) = extra_data.as_object_mut() else {
        return trouble();
    };
    if let Some(client) = body.get("client_id") {
        extra.insert("client_id".to_owned(), client.clone());
    }
    let client_id = extra.get("client_id").and_then(Value::as_str).map(str::to_owned);
    if server.options.release.is_new() {
        extra.retain(|key, _| !SECRETS.contains(&key.as_str()));
        extra.insert("create_time".to_owned(), json!(create_time));
    }
    let answer = json!({"prompt_id": id, "number": number.json(), "node_errors": verdict.node_errors});
    let item = Item { number, id, graph, extra_data, outputs: verdict.outputs, client_id, create_time };
    let collision = enqueue(&server, item);
    let quirks = server.quirks().clone();
    if quirks.swallow_prompt_answer {
        std::future::pending::<()>().await;
    }
    if collision || quirks.refuse_but_queue { trouble() } else { Json(answer).into_response() }
}

/// True if the real queue fails to compare the item with its twin; both are in the queue all the same.
fn enqueue(server: &Server, item: Item) -> bool {
    let collision = {
        let mut ledger = server.ledger();
        let collision =
            ledger.twin_of(&item).is_some_and(|twin| server.options.release.is_new() || twin.graph != item.graph);
        ledger.add(item);
        collision
    };
    // The failed comparison ends the real handler before it tells anybody.
    if !collision {
        server.tell_queue_length();
    }
    server.work.notify_one();
    collision
}

/// `None` for a number that is none; that, too, is found before anything else is looked at.
fn number(server: &Server, body: &Value) -> Option<Number> {
    match body.get("number") {
        Some(Value::Number(number)) => number.as_f64().map(Number::Given),
        Some(Value::String(text)) => text.trim().parse().ok().map(Number::Given),
        Some(Value::Bool(value)) => Some(Number::Given(f64::from(u8::from(*value)))),
        Some(_) => None,
        None if body.is_object() || body.is_array() => Some(server.ledger().next_number(body["front"] == json!(true))),
        None => None,
    }
}

fn is_canonical(id: &str) -> bool {
    uuid::Uuid::parse_str(id).is_ok_and(|uuid| uuid.hyphenated().to_string() == id)
}
