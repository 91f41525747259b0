//! The routes, and what stands in front of them: the record of requests, the key, answers called for by a test.
//! In: HTTP requests. Out: HTTP answers in the flavour's form.

use super::chat::{Kind, complete};
use super::options::{Answer, Flavour, Then};
use super::server::{Run, Server};
use super::{errors, ollama, pictures, responses};
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use futures_util::stream;
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;

/// Edits carry pictures.
const BODY_MAX: usize = 64 << 20;

pub(super) fn router(server: Arc<Server>) -> Router {
    Router::new().fallback(serve).with_state(server)
}

fn header(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

async fn serve(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let (key, id) = (header(request.headers(), "authorization"), header(request.headers(), "x-request-id"));
    let host = header(request.headers(), "host");
    server.requests().push(format!("{method} {path} {key}").trim_end().to_owned());
    let flavour = server.options.flavour;
    let is_asked_for = path.starts_with("/v1/") || flavour == Flavour::OpenAi;
    if let Some(wanted) = &server.options.api_key
        && is_asked_for
        && key != format!("Bearer {wanted}")
        && !path.starts_with("/pictures/")
    {
        return errors::wrong_key(flavour);
    }
    if method == Method::GET {
        return asked(&server, &path);
    }
    if let Some(id) = path.strip_prefix("/v1/responses/").and_then(|rest| rest.strip_suffix("/cancel")) {
        return responses::cancel(&server, id);
    }
    let body = match body_of(request).await {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    let mut run = server.begin(&id, &path, body.clone());
    let called_for = server.answers().pop_front();
    if let Some(answer) = called_for {
        return instead(answer, Some(run));
    }
    let model = body["model"].as_str().unwrap_or_default();
    let own = matches!(path.as_str(), "/api/chat" | "/api/generate");
    let knows = match flavour {
        // Whatever the name, it has one model.
        Flavour::LlamaCpp => true,
        Flavour::Ollama => own || ollama::knows(&server, model),
        _ => server.models().iter().any(|name| name == model),
    };
    if !knows && path.starts_with("/v1/") {
        run.end("refused");
        return errors::no_such_model(flavour, model);
    }
    match path.as_str() {
        "/v1/chat/completions" => complete(server, Kind::Chat, body, run).await,
        "/v1/completions" => complete(server, Kind::Plain, body, run).await,
        "/v1/embeddings" => pictures::embeddings(server, body, run).await,
        "/v1/responses" if flavour != Flavour::LlamaCpp => responses::create(server, body, run).await,
        "/v1/images/generations" | "/v1/images/edits" if flavour == Flavour::OpenAi => {
            pictures::pictures(server, &host, body, run).await
        }
        "/api/chat" | "/api/generate" if flavour == Flavour::Ollama => {
            ollama::chat(server, body, run, path == "/api/generate").await
        }
        _ => {
            run.end("refused");
            errors::no_such_route(flavour, &format!("{method} {path}"))
        }
    }
}

fn asked(server: &Arc<Server>, path: &str) -> Response {
    let flavour = server.options.flavour;
    if let Some(id) = path.strip_prefix("/v1/responses/") {
        let reply = server.replies().pop_front();
        return reply.map_or_else(|| responses::ask(server, id), |answer| instead(answer, None));
    }
    if let Some(hex) = path.strip_prefix("/pictures/").and_then(|rest| rest.strip_suffix(".png")) {
        let bytes = (0..hex.len() / 2).filter_map(|at| u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok());
        let what = String::from_utf8(bytes.collect()).unwrap_or_default();
        return ([("content-type", "image/png")], pictures::png(&what)).into_response();
    }
    let owner = match flavour {
        Flavour::OpenAi => "system",
        Flavour::Vllm => "vllm",
        Flavour::LlamaCpp => "llamacpp",
        Flavour::Ollama => "library",
    };
    match (path, flavour) {
        ("/v1/models", _) => {
            let model =
                |name: &String| json!({"id": name, "object": "model", "created": 1_700_000_000, "owned_by": owner});
            let data: Vec<Value> = server.models().iter().map(model).collect();
            Json(json!({"object": "list", "data": data})).into_response()
        }
        ("/version", Flavour::Vllm) => Json(json!({"version": "0.11.0"})).into_response(),
        ("/health", Flavour::LlamaCpp) => Json(json!({"status": "ok"})).into_response(),
        ("/props", Flavour::LlamaCpp) => Json(json!({
            "default_generation_settings": {"n_ctx": 4096}, "total_slots": 1, "model_path": "stand-in.gguf",
            "build_info": "b6500-stand-in"}))
        .into_response(),
        ("/api/version", Flavour::Ollama) => Json(json!({"version": "0.12.0"})).into_response(),
        ("/api/ps", Flavour::Ollama) => ollama::running(server),
        ("/api/tags", Flavour::Ollama) => ollama::tags(server),
        _ => errors::no_such_route(flavour, &format!("GET {path}")),
    }
}

async fn body_of(request: Request) -> Result<Value, Box<Response>> {
    let refused =
        |why: String| Box::new(errors::of(400, json!({"error": {"message": why, "type": "invalid_request_error"}})));
    if !header(request.headers(), "content-type").starts_with("multipart/form-data") {
        let bytes =
            axum::body::to_bytes(request.into_body(), BODY_MAX).await.map_err(|error| refused(error.to_string()))?;
        return serde_json::from_slice(&bytes).map_err(|error| refused(error.to_string()));
    }
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| refused(error.to_string()))?;
    let mut body = serde_json::Map::new();
    while let Some(field) = form.next_field().await.map_err(|error| refused(error.to_string()))? {
        let name = field.name().unwrap_or_default().trim_end_matches("[]").to_owned();
        let is_file = field.file_name().is_some();
        let bytes = field.bytes().await.map_err(|error| refused(error.to_string()))?;
        if is_file {
            let files = body.entry(name).or_insert_with(|| json!([]));
            if let Some(files) = files.as_array_mut() {
                files.push(json!(bytes.len()));
            }
        } else {
            body.insert(name, json!(String::from_utf8_lossy(&bytes)));
        }
    }
    Ok(Value::Object(body))
}

/// An answer called for by a test.
fn instead(answer: Answer, mut run: Option<Run>) -> Response {
    let end = |run: &mut Option<Run>| run.iter_mut().for_each(|run| run.end("done"));
    let mut response = Response::builder().status(StatusCode::from_u16(answer.status).unwrap_or_default());
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    if answer.then == Then::End {
        end(&mut run);
    }
    let state = (answer.pieces.into_iter(), answer.then, run);
    let body = stream::unfold(state, move |(mut pieces, then, mut run)| async move {
        // Each piece is a write of its own.
        tokio::task::yield_now().await;
        match (pieces.next(), then) {
            (Some(piece), _) => Some((Ok(Bytes::from(piece)), (pieces, then, run))),
            (None, Then::End) => None,
            (None, Then::Hang) => std::future::pending().await,
            (None, Then::Cut) => {
                end(&mut run);
                Some((Err(io::Error::from(io::ErrorKind::ConnectionReset)), (pieces, Then::End, run)))
            }
        }
    });
    response.body(Body::from_stream(body)).unwrap_or_default()
}
