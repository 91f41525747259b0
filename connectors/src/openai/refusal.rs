//! Why the server would not, or could not: one table from HTTP status and the error's own code and type to a reason.
//! In: status, headers and body of an answer, or an error in mid-stream. Out: a failure that is the job's or this box's.
//!
//! Sources: platform.openai.com/docs/guides/error-codes and the error object of its reference; vLLM's `ErrorResponse`
//! (`type` is a class name, `code` the status); llama.cpp's `format_error_response` (`type` a word of its own); Ollama's
//! docs (`{"error": "text"}` on its own routes); Azure's `innererror.content_filter_result`. Words decide, never free
//! text. Three things are read off a text: that a server wants no `stream_options`, which costs one more request at most, and
//! llama.cpp's two constant sentences about routes and models that are not there, which have one type.

use super::flavour::Flavour;
use super::masked::masked;
use super::{model, pause};
use crate::failure::{Failure, Reason};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

/// What is known beside the answer itself.
pub(super) struct Around<'a> {
    pub flavour: Flavour,
    /// The model that was asked for.
    pub model: Option<&'a str>,
    /// What the server lists.
    pub listed: &'a [String],
    /// The key came with the job.
    pub jobs_key: bool,
    /// The key that was sent, which must not be repeated.
    pub key: Option<&'a str>,
    /// What the user wrote, which must not either.
    pub hidden: &'a [String],
}

/// The error inside an answer, whichever of the known forms it has.
struct Said<'a> {
    code: &'a str,
    kind: &'a str,
    message: &'a str,
    whole: &'a Value,
    /// It has a form that such servers give their errors.
    is_of_the_api: bool,
}

fn said(body: &Value) -> Said<'_> {
    let error = &body["error"];
    let text = |name: &str| error[name].as_str().or_else(|| body[name].as_str()).unwrap_or_default();
    let message = error.as_str().or_else(|| body["detail"].as_str()).unwrap_or_else(|| text("message"));
    let whole = if error.is_object() { error } else { body };
    Said {
        code: text("code"),
        kind: text("type"),
        message,
        whole,
        is_of_the_api: error.is_object() || error.is_string(),
    }
}

/// An answer that is no success.
pub(super) fn failure(status: u16, headers: &HeaderMap, body: &[u8], around: &Around<'_>) -> Failure {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let retry_after = pause::asked(status, headers);
    Failure { retry_after, ..of(status, &body, around) }
}

/// An error that comes where a piece of the answer was to come; its status stands in it or is not known.
pub(super) fn in_stream(body: &Value, around: &Around<'_>) -> Failure {
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    let status = [&body["error"]["code"], &body["code"], &body["error"]["status"]].into_iter().find_map(number);
    let status = status.and_then(|status| u16::try_from(status).ok()).filter(|status| *status >= 400);
    let by_kind = || match said(body).kind {
        "invalid_request_error" | "BadRequestError" => 400,
        "NotFoundError" => 404,
        "rate_limit_error" => 429,
        _ => 500,
    };
    of(status.unwrap_or_else(by_kind), body, around)
}

/// The error that came in place of an answer or a piece of one, if it is one.
pub(super) fn error_in(body: &Value) -> Option<Value> {
    let error = &body["error"];
    if error.is_object() || error.as_str().is_some_and(|text| !text.is_empty()) {
        return Some(body.clone());
    }
    // Its members stand in the event itself: older vLLM, the Responses API.
    (body["object"] == "error" || body["type"] == "error").then(|| json!({ "error": body }))
}

/// Whether the answer says that `stream_options` is not known here.
pub(super) fn wants_no_stream_options(status: u16, body: &[u8]) -> bool {
    matches!(status, 400 | 422) && body.windows(14).any(|part| part == b"stream_options")
}

/// Whether the limit must go by its newer name (models that reason).
pub(super) fn wants_newer_limit(status: u16, body: &[u8]) -> bool {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let said = said(&body);
    status == 400 && said.code == "unsupported_parameter" && said.whole["param"] == "max_tokens"
}

fn of(status: u16, body: &Value, around: &Around<'_>) -> Failure {
    let said = said(body);
    if let Some(refusal) = refused(&said) {
        return refusal;
    }
    let shown = masked(said.message, around.key, around.hidden);
    let colon = if shown.is_empty() { "" } else { ": " };
    let words = |what: &str| format!("{what} (HTTP {status}){colon}{shown}");
    let own = |reason, what: &str| Failure::new(reason, words(what));
    let host = |reason, what: &str| Failure::of_host(reason, words(what));
    // The door speaks; its words may hold a part of the key.
    let door = |reason, what: &str| match around.jobs_key {
        true => Failure::new(reason, format!("the server refuses the job's own `api_key`: {what} (HTTP {status})")),
        false => Failure::of_host(reason, format!("the server refuses OPENAI_API_KEY: {what} (HTTP {status})")),
    };
    let lacks_model = || {
        let name = around.model.map(|name| format!(" `{}`", name.chars().take(120).collect::<String>()));
        let there = around.model.map(|name| model::there_is(name, around.listed)).unwrap_or_default();
        // It lacks it for this job alone: no file of it is to be suspected.
        Failure::of_host(
            Reason::ModelNotFound,
            format!("this server lacks the model{}{there}", name.unwrap_or_default()),
        )
    };
    // The error's own words come first: they are finer than the status.
    match (said.code, said.kind) {
        ("model_not_found", _) => return lacks_model(),
        // Who may not ask from there may not ask for any model.
        ("unsupported_country_region_territory" | "ip_not_authorized", _) => {
            return door(Reason::InsufficientPermissions, "it may not be used from here");
        }
        (_, "NotFoundError") if around.flavour == Flavour::Vllm && said.whole["param"] == "model" => {
            return lacks_model();
        }
        ("invalid_api_key", _) | (_, "authentication_error") => return door(Reason::InvalidApiKey, "it is not valid"),
        ("token_expired" | "expired_api_key", _) => return door(Reason::ExpiredToken, "it has expired"),
        ("account_deactivated" | "account_suspended", _) => {
            return door(Reason::AccountSuspended, "its account is closed");
        }
        ("insufficient_quota" | "billing_hard_limit_reached" | "billing_not_active", _) | (_, "insufficient_quota") => {
            return own(Reason::DailyQuotaExceeded, "the account's quota is used up");
        }
        ("context_length_exceeded" | "string_above_max_length", _) | (_, "exceed_context_size_error") => {
            return own(Reason::InvalidPayload, "the text is longer than the model's context");
        }
        ("missing_required_parameter", _) => return own(Reason::MissingRequiredField, "the server misses a field"),
        ("unsupported_parameter" | "unsupported_value" | "unsupported_model", _) => {
            return own(Reason::UnsupportedOperation, "the model does not know a field or value");
        }
        (
            "invalid_image"
            | "invalid_image_format"
            | "image_parse_error"
            | "invalid_base64_image"
            | "invalid_image_url"
            | "invalid_image_mode"
            | "image_too_large"
            | "image_too_small"
            | "image_file_too_large"
            | "image_file_not_found"
            | "empty_image_file"
            | "unsupported_image_media_type"
            | "failed_to_download_image",
            _,
        ) => {
            return own(Reason::InvalidFormat, "a picture in the job cannot be read");
        }
        ("invalid_prompt", _) => return own(Reason::InvalidPayload, "the server refuses the prompt"),
        (_, "not_supported_error") => {
            return host(Reason::ComponentError, "this server was started without this");
        }
        (_, "unavailable_error") => return host(Reason::ServiceUnavailable, "the server is loading its model"),
        (_, "overloaded_error") => return own(Reason::DegradedPerformance, "the server has too much to do"),
        ("rate_limit_exceeded", "tokens") => return own(Reason::TokensPerMinute, "too many tokens a minute"),
        ("rate_limit_exceeded", _) => return own(Reason::RequestsPerMinute, "too many requests a minute"),
        _ => {}
    }
    match status {
        300..=399 => host(Reason::ConfigError, "the server sends us elsewhere; correct OPENAI_URL"),
        401 | 407 => door(Reason::InvalidApiKey, "it is not valid, or missing"),
        402 => own(Reason::DailyQuotaExceeded, "the account's quota is used up"),
        // What is refused in the API's own form is this model; a page of somebody in between refuses us as a whole.
        403 if said.is_of_the_api => {
            let model = around.model.filter(|_| !around.jobs_key).map(str::to_owned);
            door(Reason::InsufficientPermissions, "it may not use this model").about_model(model)
        }
        403 => door(Reason::InsufficientPermissions, "it may not do this"),
        404 if is_missing_model(&said, around) => lacks_model(),
        404 | 405 => host(Reason::ComponentError, "this server has no such route"),
        408 => own(Reason::NetworkTimeout, "the server did not get the request in time"),
        413 => own(Reason::InvalidPayload, "the request is larger than the server takes"),
        429 => own(Reason::RequestsPerMinute, "too many requests"),
        400 if llama_lacks(&said, around) => lacks_model(),
        400..=499 if status != 409 => own(Reason::InvalidPayload, "the server refuses the request"),
        501 => host(Reason::ComponentError, "this server was started without this"),
        // Its one 503 (`ErrMaxQueue` of its scheduler): as many requests wait in it as may.
        503 if around.flavour == Flavour::Ollama && said.is_of_the_api => {
            host(Reason::ConcurrentLimit, "the server has as many requests as it takes")
        }
        502..=504 => host(Reason::ServiceUnavailable, "the server is not ready"),
        529 => own(Reason::DegradedPerformance, "the server has too much to do"),
        // The server's own 500 may well be caused by the request: charged to the job, so that it cannot go round for ever.
        _ => own(Reason::ServiceUnavailable, "the server failed"),
    }
}

/// On a route that is there, 404 says that the model is not. Only a server that says so in a form of its own counts.
fn is_missing_model(said: &Said<'_>, around: &Around<'_>) -> bool {
    let is_unlisted =
        || around.model.is_some_and(|asked| !around.listed.is_empty() && !around.listed.iter().any(|one| one == asked));
    match around.flavour {
        Flavour::Ollama => said.kind == "not_found_error" || said.whole["error"].is_string(),
        Flavour::Vllm => said.kind == "NotFoundError",
        // It has one type for routes and models, and one sentence for every route that it has not.
        Flavour::LlamaCpp if said.message == "File Not Found" => false,
        _ => matches!(said.kind, "not_found_error" | "NotFoundError") && is_unlisted(),
    }
}

/// llama.cpp with several models calls a model that it has not a bad request; one with a single model takes any name.
fn llama_lacks(said: &Said<'_>, around: &Around<'_>) -> bool {
    let is_it = |asked| said.message == format!("model '{asked}' not found");
    around.flavour == Flavour::LlamaCpp && said.kind == "invalid_request_error" && around.model.is_some_and(is_it)
}

/// A refusal by what filters found, if it is one.
fn refused(said: &Said<'_>) -> Option<Failure> {
    let inner = &said.whole["innererror"];
    let found = [&inner["content_filter_result"], &said.whole["content_filter_results"]].into_iter().find_map(filtered);
    let reason = match (said.code, inner["code"].as_str().unwrap_or_default()) {
        ("content_policy_violation", inner) => found
            .or((inner == "ResponsibleAIPolicyViolation").then_some(Reason::SafetyFilter))
            .unwrap_or(Reason::PolicyViolation),
        ("image_content_policy_violation", _) => found.unwrap_or(Reason::PolicyViolation),
        ("moderation_blocked" | "content_filter", _) => found.unwrap_or(Reason::SafetyFilter),
        (_, "ResponsibleAIPolicyViolation") => found.unwrap_or(Reason::SafetyFilter),
        _ => return None,
    };
    Some(Failure::new(reason, "the server refuses the content of this job"))
}

/// The category that a content filter names, the gravest first.
pub(super) fn filtered(results: &Value) -> Option<Reason> {
    let rows = [
        ("sexual", Reason::NsfwContent),
        ("violence", Reason::ViolenceDetected),
        ("hate", Reason::HateSpeech),
        ("self_harm", Reason::PolicyViolation),
        ("protected_material_text", Reason::CopyrightBlocker),
        ("protected_material_code", Reason::CopyrightBlocker),
        ("personally_identifiable_information", Reason::PersonalInfo),
        ("jailbreak", Reason::PolicyViolation),
    ];
    rows.into_iter().find(|(name, _)| results[*name]["filtered"] == true).map(|(_, reason)| reason)
}

/// A text that ended because a filter stopped it.
pub(super) fn stopped_by_filter(choice: &Value) -> Failure {
    let reason = filtered(&choice["content_filter_results"]).unwrap_or(Reason::SafetyFilter);
    Failure::new(reason, "the server's content filter stopped the text")
}

/// A model that declined in so many words.
pub(super) fn declined() -> Failure {
    Failure::new(Reason::PolicyViolation, "the model refuses to answer this job")
}
