//! What a run made: files fetched from the engine, or taken out of its answer.
//! In: the last answer. Out: stored outputs, in the order of the definition.

use super::definition::{Form, Output};
use super::http::{Answer, Body, STALLED, Trouble, Unanswered, content_type};
use super::server::Server;
use super::template::Fill;
use crate::contract::{OutputStore, StoredOutput};
use crate::failure::{Failure, Reason};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;
use std::sync::Arc;

/// Outputs of one run.
const OUTPUTS_MAX: usize = 1000;
/// Downloads are tried again when the connection breaks, not when the server says no.
const TRIES: u32 = 3;
/// Many servers leave the padding away.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) async fn store(
    server: &Server,
    fill: &Fill<'_>,
    answer: &Answer,
    store: &Arc<dyn OutputStore>,
) -> Result<Vec<StoredOutput>, Failure> {
    let definition = &server.definition;
    let json: Option<Value> = answer.json().ok();
    let mut stored = Vec::new();
    for output in &definition.outputs {
        let kind = &output.kind;
        if output.form == Form::Body {
            if answer.body.is_empty() {
                missing(output, "is empty")?;
                continue;
            }
            let claim = output.media_type.as_deref().or(answer.content_type.as_deref());
            let mut writer = store.create(output.name.as_deref().unwrap_or("output"), kind, claim).await?;
            writer.write(answer.body.clone()).await?;
            stored.push(writer.finish().await?);
            continue;
        }
        let Some(json) = &json else {
            return Err(Failure::new(Reason::InvalidResponseFormat, "the engine's answer is not JSON"));
        };
        for text in texts(json, output)? {
            if stored.len() == OUTPUTS_MAX {
                return Err(wrong(format!("the engine gives more than {OUTPUTS_MAX} outputs")));
            }
            stored.push(match output.form {
                Form::Url => fetch(server, fill, output, text, store).await?,
                _ => keep(output, text, store).await?,
            });
        }
    }
    Ok(stored)
}

fn wrong(said: String) -> Failure {
    Failure::new(Reason::InvalidResponseFormat, said)
}

/// What is not there, although the engine says that it is done.
fn missing(output: &Output, what: &str) -> Result<(), Failure> {
    if output.optional {
        return Ok(());
    }
    let said = format!("the engine says that it is done, but its answer {what}; `optional = true` allows that");
    Err(Failure::new(Reason::MissingExpectedData, said))
}

fn texts<'a>(json: &'a Value, output: &Output) -> Result<Vec<&'a str>, Failure> {
    let at = &output.at;
    let texts = match json.pointer(at) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) => vec![text.as_str()],
        Some(Value::Array(items)) => {
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            texts.ok_or_else(|| wrong(format!("what the engine's answer has at `{at}` is no list of texts")))?
        }
        Some(_) => {
            return Err(wrong(format!("what the engine's answer has at `{at}` is no text and no list of texts")));
        }
    };
    // An empty text is a text, but no address and no picture.
    let texts: Vec<&str> = texts.into_iter().filter(|text| output.form == Form::Text || !text.is_empty()).collect();
    if texts.is_empty() {
        missing(output, &format!("has no output at `{at}`"))?;
    }
    Ok(texts)
}

async fn keep(output: &Output, text: &str, store: &Arc<dyn OutputStore>) -> Result<StoredOutput, Failure> {
    let (bytes, fallback) = if output.form == Form::Text {
        (text.as_bytes().to_vec(), "output.txt")
    } else {
        // A data URL says what it is in front of the bytes.
        let body = text.strip_prefix("data:").and_then(|rest| rest.split_once(',')).map_or(text, |(_, body)| body);
        let decoded = BASE64.decode(body.trim());
        (
            decoded.map_err(|_| wrong(format!("what the engine's answer has at `{}` is not base64", output.at)))?,
            "output",
        )
    };
    let name = output.name.as_deref().unwrap_or(fallback);
    let mut writer = store.create(name, &output.kind, output.media_type.as_deref()).await?;
    writer.write(bytes.into()).await?;
    writer.finish().await
}

async fn fetch(
    server: &Server,
    fill: &Fill<'_>,
    output: &Output,
    place: &str,
    store: &Arc<dyn OutputStore>,
) -> Result<StoredOutput, Failure> {
    let mut tries = 1;
    loop {
        match copy(server, fill, output, place, store).await {
            Err(Miss::Call(Unanswered::Wire(Trouble::Broken | Trouble::Silent))) if tries < TRIES => tries += 1,
            Err(Miss::Call(unanswered)) => return Err(unanswered.failure("downloading an output")),
            Err(Miss::Failure(failure)) => return Err(failure),
            Ok(stored) => return Ok(stored),
        }
    }
}

enum Miss {
    Call(Unanswered),
    Failure(Failure),
}

impl<U: Into<Unanswered>> From<U> for Miss {
    fn from(unanswered: U) -> Self {
        Self::Call(unanswered.into())
    }
}

impl From<Failure> for Miss {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

async fn copy(
    server: &Server,
    fill: &Fill<'_>,
    output: &Output,
    place: &str,
    store: &Arc<dyn OutputStore>,
) -> Result<StoredOutput, Miss> {
    let (response, name) = server.http.download(place, &output.from, &server.definition.headers, fill).await?;
    let status = response.status().as_u16();
    if !response.status().is_success() {
        let said = format!("the engine names an output, but answers {status} when it is fetched");
        return Err(Failure::new(Reason::MissingExpectedData, said).into());
    }
    let claim = content_type(&response);
    let name = output.name.clone().unwrap_or(name);
    let claim = output.media_type.as_deref().or(claim.as_deref());
    let mut writer = store.create(if name.is_empty() { "output" } else { &name }, &output.kind, claim).await?;
    let mut body = Body::of(response, STALLED);
    if let Some(bytes) = body.announced() {
        writer.expect_bytes(bytes).await?;
    }
    while let Some(part) = body.next().await? {
        writer.write(part).await?;
    }
    if !body.is_complete() {
        return Err(Trouble::Broken.into());
    }
    Ok(writer.finish().await?)
}
