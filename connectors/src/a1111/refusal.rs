//! Why the server would not, or could not: its answers other than 200, as failures.
//! In: status and body. Out: a failure that is the job's or this box's, without prompts, paths and tracebacks.
//!
//! Two shapes: `{detail: [{loc, msg}]}` for fields of the wrong type, `{error, detail, errors}` with a Python class for
//! all else. 500 is both parties' fault, so the class decides, and a text only where it is one of those that were recorded.

use super::http::{Answer, ENGINE, Trouble};
use super::payload::short;
use crate::failure::{Failure, Reason};
use crate::python::{Cause, cause};
use serde_json::{Map, Value};

/// Class, beginning and end of the text with a name of the user's between, reason, whether it is this box's lack, and what
/// is said of it.
type Said = (&'static str, &'static str, &'static str, Reason, bool, &'static str);

/// What was recorded from a running server.
#[rustfmt::skip]
const SAID: &[Said] = &[
    ("FileNotFoundError", "No checkpoints found. ", "", Reason::ModelNotFound, true,
     "this server has no checkpoint at all; put one into its folder models/Stable-diffusion"),
    ("RuntimeError", "model '", "' not found", Reason::ModelNotFound, true, "this server lacks the checkpoint"),
    ("AssertionError", "could not find upscaler named ", "", Reason::ModelNotFound, true, "this server lacks the upscaler"),
    ("Exception", "could not find upscaler named ", "", Reason::ModelNotFound, true, "this server lacks the upscaler"),
    ("HTTPException", "Script '", "' not found", Reason::ComponentError, true,
     "this server lacks a script or an extension that the job names"),
    ("HTTPException", "Init image not found", "", Reason::MissingRequiredField, false, "img2img needs `init_images`"),
    ("HTTPException", "Invalid encoded image", "", Reason::InvalidFormat, false, "a picture in the job cannot be decoded"),
    ("HTTPException", "Request to local resource not allowed", "", Reason::InvalidPayload, false,
     "the server does not fetch pictures from addresses inside its own network"),
    // From the source: what an axis of a plot names.
    ("RuntimeError", "Unknown checkpoint: ", "", Reason::ModelNotFound, true,
     "this server lacks a checkpoint on an axis of the plot"),
    ("RuntimeError", "Unknown sampler: ", "", Reason::InvalidPayload, false,
     "an axis of the plot names a sampler that the server does not have"),
    ("RuntimeError", "Prompt S/R did not find ", "", Reason::InvalidPayload, false,
     "an axis of the plot replaces words that are not in the prompt"),
    // From the source: raised by the server's own check of what a model gives.
    ("NansException", "", "", Reason::InternalError, false,
     "the model gave an all-NaN picture (NansException); the server's --no-half or --no-half-vae may help"),
];

fn is_said(said: &Said, class: &str, words: &str) -> bool {
    let words = words.trim_end();
    said.0 == class && words.starts_with(said.1) && words.ends_with(said.2)
}

/// `job`: what was sent; what the user wrote there is not repeated.
pub(super) fn failure(answer: &Answer, doing: &str, job: &Map<String, Value>) -> Failure {
    let plain = Trouble::Status { status: answer.status, retry_after: answer.retry_after };
    let said: Value = answer.json().unwrap_or_default();
    let text = |name: &str| said[name].as_str().unwrap_or_default();
    match answer.status {
        // Before the body is looked at: it is the door that speaks.
        401 | 403 | 407 | 408 | 413 | 429 => return plain.failure(ENGINE, doing),
        422 if said["detail"].is_array() => return fields(&said["detail"]),
        _ => {}
    }
    let class = short(text("error"));
    if class.is_empty() {
        return plain.failure(ENGINE, doing);
    }
    // An HTTPException speaks in `detail`, any other exception in `errors`.
    let words = if text("detail").is_empty() { text("errors") } else { text("detail") };
    let written = |name: &&str| job.get(*name).and_then(Value::as_str);
    let texts: Vec<&str> = ["prompt", "negative_prompt"].iter().filter_map(written).collect();
    let shown = presentable(words, &texts);
    let colon = if shown.is_empty() { "" } else { ": " };
    let own = |reason, what: &str| Failure::new(reason, what);
    let host = |reason, what: &str| Failure::of_host(reason, what);
    match cause(&class, text("errors")) {
        Some(Cause::GpuMemory) => {
            let what = "the server ran out of GPU memory; smaller sizes, batches or models need less";
            return host(Reason::GpuMemoryFull, what);
        }
        Some(Cause::MainMemory) => return host(Reason::OutOfMemory, "the server ran out of main memory"),
        Some(Cause::Disk) => return host(Reason::DiskSpaceFull, "the disk of the server is full"),
        Some(Cause::ModelFile) => {
            let what = format!("the server cannot read a model file ({class}): it is damaged");
            return host(Reason::DependencyError, &what);
        }
        Some(Cause::Gpu) => return host(Reason::GpuError, "the server's GPU failed"),
        None => {}
    }
    if let Some((.., reason, hosts_fault, what)) = SAID.iter().find(|said| is_said(said, &class, words)) {
        return if *hosts_fault { host(*reason, what) } else { own(*reason, what) };
    }
    match class.as_str() {
        "HTTPException" if answer.status < 500 => {
            own(Reason::InvalidPayload, &format!("the server refuses the job{colon}{shown}"))
        }
        // No model is loaded: every job fails alike, whatever it asks for.
        "AttributeError" if words.starts_with("'NoneType' object ") && !brings_null(job) => host(
            Reason::InternalError,
            &format!("the server has no model loaded, or lacks another part of itself{colon}{shown}; restart it"),
        ),
        "AttributeError" | "TypeError" if words.starts_with("'NoneType' object ") => {
            own(Reason::InternalError, &format!("the server failed with {class}{colon}{shown}"))
        }
        // What the parameters brought about: asking again gets the same answer.
        "TypeError" | "ValueError" | "KeyError" | "IndexError" | "AssertionError" | "AttributeError"
        | "ZeroDivisionError" | "Exception" | "HTTPException" => {
            own(Reason::InvalidPayload, &format!("the server failed on these parameters with {class}{colon}{shown}"))
        }
        _ => own(Reason::InternalError, &format!("the server failed with {class}{colon}{shown}")),
    }
}

/// Whether the job itself hands a null to a script; elsewhere nulls are left out before.
fn brings_null(job: &Map<String, Value>) -> bool {
    fn within(value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::Array(list) => list.iter().any(within),
            Value::Object(fields) => fields.values().any(within),
            _ => false,
        }
    }
    ["script_args", "alwayson_scripts"].iter().filter_map(|name| job.get(*name)).any(within)
}

fn fields(detail: &Value) -> Failure {
    let said = detail.as_array().into_iter().flatten().take(4).map(|fault| {
        let path = fault["loc"].as_array().into_iter().flatten().skip(1);
        let path: Vec<String> = path.map(|part| part.as_str().map_or_else(|| part.to_string(), short)).collect();
        format!("`{}`: {}", path.join("."), short(fault["msg"].as_str().unwrap_or("is wrong")))
    });
    Failure::new(Reason::InvalidPayload, said.collect::<Vec<_>>().join("; "))
}

/// The first line, without paths and without what the user wrote, and short.
fn presentable(said: &str, texts: &[&str]) -> String {
    let mut line = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned();
    let mut parts: Vec<_> =
        texts.iter().flat_map(|text| text.lines()).map(str::trim).filter(|text| text.len() >= 6).collect();
    // Longest first: a short text may be part of a longer one.
    parts.sort_by_key(|text| std::cmp::Reverse(text.len()));
    for text in parts {
        line = line.replace(text, "…");
    }
    let words = line.split_whitespace().map(|word| if is_path(word) { "…" } else { word });
    words.collect::<Vec<_>>().join(" ").chars().take(200).collect()
}

fn is_path(word: &str) -> bool {
    let bare = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '/' && c != '\\');
    bare.starts_with('/') && bare.len() > 1 || bare.contains('\\') || bare.matches('/').count() >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each answer as recorded: status, class, `detail`, `errors`.
    #[test]
    fn what_was_recorded_is_classified_by_class_and_whole_text() {
        let none_here =
            "No checkpoints found. When searching for checkpoints, looked at:\n - file /opt/webui/model.ckpt";
        let arguments = "Script.run() missing 18 required positional arguments: 'x_type'";
        for (status, class, detail, errors, reason, hosts) in [
            (401, "HTTPException", "Not authenticated", "", Reason::InvalidApiKey, true),
            (401, "HTTPException", "Incorrect username or password", "", Reason::InvalidApiKey, true),
            (404, "", "Not Found", "", Reason::InvalidResponseFormat, true),
            (405, "", "Method Not Allowed", "", Reason::InvalidResponseFormat, true),
            (500, "FileNotFoundError", "", none_here, Reason::ModelNotFound, true),
            (422, "HTTPException", "Script 'no such script' not found", "", Reason::ComponentError, true),
            (404, "HTTPException", "Init image not found", "", Reason::MissingRequiredField, false),
            (500, "HTTPException", "Invalid encoded image", "", Reason::InvalidFormat, false),
            (500, "HTTPException", "Request to local resource not allowed", "", Reason::InvalidPayload, false),
            (500, "AssertionError", "", "could not find upscaler named NoSuch", Reason::ModelNotFound, true),
            (500, "Exception", "", "could not find upscaler named NoSuch", Reason::ModelNotFound, true),
            (500, "RuntimeError", "", "model 'no-such-model.safetensors' not found", Reason::ModelNotFound, true),
            (500, "KeyError", "", "'no_such_option'", Reason::InvalidPayload, false),
            (500, "ZeroDivisionError", "", "integer division or modulo by zero", Reason::InvalidPayload, false),
            (500, "RuntimeError", "", "number of steps must be non-negative", Reason::InternalError, false),
            (500, "IndexError", "", "list index out of range", Reason::InvalidPayload, false),
            (500, "TypeError", "", arguments, Reason::InvalidPayload, false),
            (500, "AssertionError", "", "", Reason::InvalidPayload, false),
            (500, "AttributeError", "", "'NoneType' object has no attribute 'lowvram'", Reason::InternalError, true),
            (500, "RuntimeError", "", "Unknown checkpoint: no-such", Reason::ModelNotFound, true),
            (500, "RuntimeError", "", "Unknown sampler: no-such", Reason::InvalidPayload, false),
            (404, "HTTPException", "File not found: outputs/worker/nope.png.", "", Reason::InvalidPayload, false),
        ] {
            let mut body = serde_json::json!({ "detail": detail, "errors": errors });
            if !class.is_empty() {
                body["error"] = class.into();
            }
            let answer = Answer {
                status,
                headers: reqwest::header::HeaderMap::new(),
                retry_after: None,
                content_type: None,
                body: body.to_string().into(),
            };
            let failure = failure(&answer, "asking", &Map::new());
            let said = format!("{status} {class} {detail}{errors}: {failure}");
            assert_eq!((failure.reason, failure.hosts_fault), (reason, hosts), "{said}");
        }
    }
}
