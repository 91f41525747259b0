//! Why the server would not, or could not: its answers other than 200, as failures.
//! In: status and body. Out: a failure that is the job's or this box's, without prompts, paths and tracebacks.
//!
//! Two shapes: `{detail: [{loc, msg}]}` for fields of the wrong type, `{error, detail, errors}` with a Python class for
//! all else. 500 is both parties' fault, so the class and the text decide.

use super::http::{Answer, ENGINE, Trouble};
use super::payload::short;
use crate::failure::{Failure, Reason};
use serde_json::Value;

/// `texts`: what the user wrote, which is not repeated.
pub(super) fn failure(answer: &Answer, doing: &str, texts: &[&str]) -> Failure {
    let plain = Trouble::Status { status: answer.status, retry_after: answer.retry_after };
    let said: Value = answer.json().unwrap_or_default();
    let text = |name: &str| said[name].as_str().unwrap_or_default();
    match answer.status {
        // Before the body is looked at: it is the door that speaks.
        401 | 403 | 407 | 408 | 413 | 429 => return plain.failure(ENGINE, doing),
        422 if said["detail"].is_array() => return fields(&said["detail"]),
        _ => {}
    }
    let (class, words) = (short(text("error")), format!("{}\n{}", text("detail"), text("errors")));
    if class.is_empty() {
        return plain.failure(ENGINE, doing);
    }
    let shown = presentable(&words, texts);
    let colon = if shown.is_empty() { "" } else { ": " };
    let own = |reason, what: &str| Failure::new(reason, what);
    let host = |reason, what: &str| Failure::of_host(reason, what);
    let has = |part: &str| words.contains(part);
    match class.as_str() {
        _ if class.ends_with("OutOfMemoryError") || has("CUDA out of memory") => {
            host(Reason::GpuMemoryFull, "the server ran out of GPU memory; smaller sizes, batches or models need less")
        }
        "MemoryError" => host(Reason::OutOfMemory, "the server ran out of main memory"),
        _ if has("No space left on device") => host(Reason::DiskSpaceFull, "the disk of the server is full"),
        "FileNotFoundError" if has("No checkpoints found") => host(
            Reason::ModelNotFound,
            "this server has no checkpoint at all; put one into its folder models/Stable-diffusion",
        ),
        "NansException" => own(
            Reason::InternalError,
            "the model gave an all-NaN picture (NansException); the server's --no-half or --no-half-vae may help",
        ),
        "SafetensorError" | "UnpicklingError" => {
            host(Reason::DependencyError, &format!("the server cannot read a model file ({class}): it is damaged"))
        }
        "AcceleratorError" => host(Reason::GpuError, "the server's GPU failed"),
        _ if has("CUDA error") || has("cuDNN error") => host(Reason::GpuError, "the server's GPU failed"),
        "RuntimeError" if has("model ") && has(" not found") => {
            host(Reason::ModelNotFound, "this server lacks the checkpoint")
        }
        _ if has("could not find upscaler") => host(Reason::ModelNotFound, "this server lacks the upscaler"),
        "HTTPException" if has("Script ") && has("not found") => {
            host(Reason::ComponentError, "this server lacks a script or an extension that the job names")
        }
        "HTTPException" if has("Init image not found") => {
            own(Reason::MissingRequiredField, "img2img needs `init_images`")
        }
        "HTTPException" if has("Invalid encoded image") => {
            own(Reason::InvalidFormat, "a picture in the job cannot be decoded")
        }
        "HTTPException" if answer.status < 500 => {
            own(Reason::InvalidPayload, &format!("the server refuses the job{colon}{shown}"))
        }
        // What the parameters brought about: asking again gets the same answer.
        "TypeError" | "ValueError" | "KeyError" | "IndexError" | "AssertionError" | "AttributeError"
        | "ZeroDivisionError" | "Exception" | "HTTPException" => {
            own(Reason::InvalidPayload, &format!("the server failed on these parameters with {class}{colon}{shown}"))
        }
        _ => own(Reason::InternalError, &format!("the server failed with {class}{colon}{shown}")),
    }
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
