//! Pictures and vectors: images generated or edited, embeddings.
//! In: a request and its run. Out: base64 or addresses of pictures, rows of numbers.

use super::errors;
use super::server::{Run, Server};
use super::text;
use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// A PNG of one pixel whose colour tells the prompt. Not compressed, so that no library is needed.
pub(super) fn png(prompt: &str) -> Vec<u8> {
    let digest = Sha256::digest(prompt);
    let row = [0, digest[0], digest[1], digest[2]];
    let mut zlib = vec![0x78, 0x01, 1, 4, 0, 251, 255];
    zlib.extend(row);
    let (mut a, mut b) = (1u32, 0u32);
    for byte in row {
        a = (a + u32::from(byte)) % 65521;
        b = (b + a) % 65521;
    }
    zlib.extend((b << 16 | a).to_be_bytes());
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [
        (b"IHDR", [&1u32.to_be_bytes()[..], &1u32.to_be_bytes(), &[8, 2, 0, 0, 0]].concat()),
        (b"tEXt", b"Software\0stand-in".to_vec()),
        (b"IDAT", zlib),
        (b"IEND", Vec::new()),
    ] {
        png.extend((data.len() as u32).to_be_bytes());
        let chunk = [&kind[..], &data].concat();
        png.extend(&chunk);
        png.extend(crc(&chunk).to_be_bytes());
    }
    png
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bytes
        .chunks(3)
        .flat_map(|part| {
            let bits = part.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
            (0..4).map(
                move |at| if at <= part.len() { LETTERS[(bits >> (18 - 6 * at) & 63) as usize] as char } else { '=' },
            )
        })
        .collect()
}

pub(super) async fn pictures(server: Arc<Server>, host: &str, request: Value, mut run: Run) -> Response {
    let Some(prompt) = request["prompt"].as_str() else {
        run.end("refused");
        return errors::missing("prompt");
    };
    let count = request["n"].as_u64().or_else(|| request["n"].as_str()?.parse().ok()).unwrap_or(1);
    let by_url = request["response_format"] == "url";
    let mut data = Vec::new();
    for number in 0..count {
        server.pace.step(server.options.token_time).await;
        run.piece();
        let what = format!("{prompt} {number}");
        data.push(match by_url {
            true => {
                let hex: String = what.bytes().map(|byte| format!("{byte:02x}")).collect();
                json!({"url": format!("http://{host}/pictures/{hex}.png")})
            }
            false => json!({"b64_json": base64(&png(&what)), "revised_prompt": format!("a stand-in for: {prompt}")}),
        });
    }
    run.end("done");
    let usage = json!({"total_tokens": 100, "input_tokens": 50, "output_tokens": 50});
    Json(json!({"created": 1_700_000_000, "data": data, "usage": usage})).into_response()
}

pub(super) async fn embeddings(server: Arc<Server>, request: Value, mut run: Run) -> Response {
    let inputs: Vec<String> = match &request["input"] {
        Value::String(text) => vec![text.clone()],
        Value::Array(items) => {
            items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)).collect()
        }
        _ => {
            run.end("refused");
            return errors::missing("input");
        }
    };
    server.pace.step(server.options.token_time).await;
    run.piece();
    let width = request["dimensions"].as_u64().unwrap_or(8) as usize;
    let rows: Vec<Value> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| {
            let digest = Sha256::digest(input);
            let row: Vec<f64> = (0..width).map(|at| (f64::from(digest[at % 32]) - 128.0) / 128.0).collect();
            json!({"object": "embedding", "index": index, "embedding": row})
        })
        .collect();
    let tokens: u64 = inputs.iter().map(|input| text::count(input)).sum();
    run.end("done");
    Json(json!({"object": "list", "data": rows, "model": request["model"], "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}))
        .into_response()
}
