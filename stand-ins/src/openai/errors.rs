//! Refusals in the form that each flavour gives them.
//! In: what is wrong. Out: status and JSON.

use super::options::Flavour;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

pub(super) fn of(status: u16, body: Value) -> Response {
    (StatusCode::from_u16(status).unwrap_or_default(), Json(body)).into_response()
}

fn openai(status: u16, message: &str, kind: &str, param: Option<&str>, code: Option<&str>) -> Response {
    of(status, json!({"error": {"message": message, "type": kind, "param": param, "code": code}}))
}

pub(super) fn no_such_model(flavour: Flavour, name: &str) -> Response {
    match flavour {
        Flavour::OpenAi => openai(
            404,
            &format!("The model `{name}` does not exist or you do not have access to it."),
            "invalid_request_error",
            None,
            Some("model_not_found"),
        ),
        Flavour::Vllm => of(
            404,
            json!({"error": {"message": format!("The model `{name}` does not exist."), "type": "NotFoundError",
                             "param": "model", "code": 404}}),
        ),
        Flavour::LlamaCpp => {
            let message = format!("model '{name}' not found");
            of(400, json!({"error": {"code": 400, "message": message, "type": "invalid_request_error"}}))
        }
        Flavour::Ollama => openai(404, &format!("model '{name}' not found"), "not_found_error", None, None),
    }
}

pub(super) fn wrong_key(flavour: Flavour) -> Response {
    match flavour {
        Flavour::Vllm => of(401, json!({"error": "Unauthorized"})),
        Flavour::LlamaCpp => {
            of(401, json!({"error": {"code": 401, "message": "Invalid API Key", "type": "authentication_error"}}))
        }
        _ => openai(
            401,
            "Incorrect API key provided: sk-wrong. You can find your API key at https://platform.openai.com/account/api-keys.",
            "invalid_request_error",
            None,
            Some("invalid_api_key"),
        ),
    }
}

pub(super) fn missing(param: &str) -> Response {
    openai(
        400,
        &format!("Missing required parameter: '{param}'."),
        "invalid_request_error",
        Some(param),
        Some("missing_required_parameter"),
    )
}

pub(super) fn unknown_parameter(param: &str) -> Response {
    openai(400, &format!("Unrecognized request argument supplied: {param}"), "invalid_request_error", Some(param), None)
}

pub(super) fn no_such_route(flavour: Flavour, route: &str) -> Response {
    match flavour {
        Flavour::OpenAi => openai(404, &format!("Invalid URL ({route})"), "invalid_request_error", None, None),
        Flavour::Vllm => of(404, json!({"detail": "Not Found"})),
        Flavour::LlamaCpp => {
            of(404, json!({"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}}))
        }
        Flavour::Ollama => (StatusCode::NOT_FOUND, "404 page not found").into_response(),
    }
}

pub(super) fn no_such_response(id: &str) -> Response {
    openai(404, &format!("Response with id '{id}' not found."), "invalid_request_error", None, None)
}
