//! Upscaling: under the same lock, without task ids, deaf to interrupts.
//! In: pictures and an upscaler. Out: larger ones; a failed one leaves the global state as if it were at work.

use super::routes::{http_error, raised};
use super::server::{Execution, Server};
use super::{base64, lists, request};
use crate::picture;
use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

pub(crate) async fn upscale(server: &Server, batch: bool, body: &[u8]) -> Response {
    let sent = match request::object(body) {
        Ok(sent) => sent,
        Err(refused) => return *refused,
    };
    let list: Vec<Value> = match batch {
        true => sent
            .get("imageList")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|one| one["data"].clone())
            .collect(),
        false => vec![sent.get("image").cloned().unwrap_or_default()],
    };
    let mut sizes = Vec::new();
    for picture in &list {
        let Some(bytes) = picture.as_str().and_then(base64::decode) else {
            return http_error(500, "Invalid encoded image");
        };
        let side =
            |at: usize| bytes.get(at..at + 4).and_then(|part| part.try_into().ok()).map_or(64, u32::from_be_bytes);
        sizes.push(if bytes.starts_with(b"\x89PNG") { (side(16), side(20)) } else { (64, 64) });
    }
    let _turn = server.lock.lock().await;
    {
        let mut progress = server.progress();
        progress.begin("extras", None);
        progress.job_count = 1;
    }
    server.executions().push(Execution {
        task: String::new(),
        request: Value::Object(sent.clone()),
        checkpoint: String::new(),
        steps: 0,
        outcome: "running",
    });
    let at = server.executions().len() - 1;
    server.pace.step(server.options.step_time).await;
    server.wire.thawed().await;
    let name = sent.get("upscaler_1").and_then(Value::as_str).unwrap_or("None");
    if !lists::list("upscalers").as_array().into_iter().flatten().any(|known| known["name"] == name) {
        let mut progress = server.progress();
        progress.job = "Upscale".to_owned();
        progress.job_no = 1;
        server.executions()[at].outcome = "error";
        return raised(&("AssertionError", format!("could not find upscaler named {name}")));
    }
    let number = |name: &str| sent.get(name).and_then(Value::as_f64);
    let fixed = number("resize_mode") == Some(1.0);
    let (w, h) =
        (number("upscaling_resize_w").unwrap_or(512.0) as u32, number("upscaling_resize_h").unwrap_or(512.0) as u32);
    let factor = number("upscaling_resize").unwrap_or(2.0);
    let words = if fixed {
        format!("Postprocess upscale to: {w}x{h}, Postprocess crop to: {w}x{h}, Postprocess upscaler: {name}")
    } else {
        format!("Postprocess upscale by: {factor:?}, Postprocess upscaler: {name}")
    };
    let made = sizes.iter().zip(&list).map(|((width, height), source)| {
        let scaled = |side: u32| (f64::from(side) * factor) as u32;
        let (width, height) = if fixed { (w, h) } else { (scaled(*width), scaled(*height)) };
        let tint = source
            .as_str()
            .unwrap_or_default()
            .bytes()
            .fold(5, |tint: u32, byte| tint.wrapping_mul(31) + u32::from(byte));
        base64::encode(&picture::png(width, height, tint & 0xff_ffff, &[("postprocessing", words.clone())]))
    });
    let made: Vec<String> = made.collect();
    server.progress().end();
    server.executions()[at].outcome = "success";
    let html = format!("<p>{words}</p>");
    match (batch, made.first()) {
        (false, Some(picture)) => Json(json!({"html_info": html, "image": picture})).into_response(),
        _ => Json(json!({"html_info": html, "images": made})).into_response(),
    }
}
