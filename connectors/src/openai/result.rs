//! What a job gets: its files and the facts beside them, under the names that the reference's readers know.
//! In: a text, pictures or vectors as the server gave them. Out: outputs in the store, and an outcome.

use super::draft::Draft;
use super::media;
use super::payload::Op;
use super::run::Attempt;
use crate::contract::{Outcome, StoredOutput};
use crate::failure::{Failure, Reason};
use crate::live::Cut;
use bytes::Bytes;
use reqwest::multipart::{Form, Part};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// Vectors that are also given inside the result, in bytes of JSON; all of them are in the file.
const INLINE_MAX: usize = 64 << 10;

fn bad(what: &str) -> Failure {
    Failure::new(Reason::MissingExpectedData, format!("the server's answer lacks {what}"))
}

fn ms(time: Duration) -> u64 {
    time.as_millis() as u64
}

impl Attempt {
    fn facts(&self) -> Map<String, Value> {
        let mut data = Map::new();
        data.insert("server".to_owned(), json!(self.server.flavour().name()));
        if !self.plan.ignored.is_empty() {
            data.insert("ignored".to_owned(), json!(self.plan.ignored));
        }
        data
    }

    fn model(&self, answered: Option<&str>) -> Value {
        json!(answered.or_else(|| self.plan.body.get("model").and_then(Value::as_str)))
    }
}

/// A text, and the pictures that came with it.
pub(super) async fn text(
    attempt: &Attempt,
    draft: Draft,
    pictures: Vec<String>,
    run: Duration,
    first: Option<Duration>,
) -> Result<Outcome, Cut> {
    let began = Instant::now();
    let mut outputs = Vec::new();
    for (at, picture) in pictures.iter().enumerate() {
        let bytes =
            media::decoded(picture).ok_or_else(|| Failure::new(Reason::CorruptedData, "a picture is damaged"))?;
        outputs.push(media::store(&attempt.ctx, at + 1, bytes).await?);
    }
    if !draft.text.is_empty() {
        let bytes = Bytes::from(draft.text.clone());
        outputs.push(media::file(&attempt.ctx, "text.txt", "text", Some("text/plain"), bytes).await?);
    }
    let mut data = attempt.facts();
    data.extend(draft.facts.clone());
    data.insert("text".to_owned(), json!(draft.text));
    data.insert("model_used".to_owned(), attempt.model(draft.model.as_deref()));
    data.insert("finish_reason".to_owned(), json!(draft.finish_reason));
    if !draft.usage.is_null() {
        data.insert("tokens_used".to_owned(), draft.usage["total_tokens"].clone());
        data.insert("usage".to_owned(), draft.usage.clone());
    }
    if !draft.reasoning.is_empty() {
        data.insert("reasoning".to_owned(), json!(draft.reasoning));
    }
    if let Some(calls) = draft.tool_calls() {
        data.insert("tool_calls".to_owned(), calls);
    }
    if attempt.plan.op == Op::Responses {
        data.insert("openai_response_id".to_owned(), json!(draft.id));
        data.insert("content_type".to_owned(), json!(if pictures.is_empty() { "text" } else { "image" }));
        data.insert("text_content".to_owned(), json!(draft.text));
    }
    let mut timings = BTreeMap::from([("run_ms".to_owned(), ms(run)), ("fetch_ms".to_owned(), ms(began.elapsed()))]);
    timings.extend(first.map(|first| ("first_token_ms".to_owned(), ms(first))));
    Ok(Outcome { outputs, data: Value::Object(data), timings })
}

/// Vectors, in the order of the inputs.
pub(super) async fn embeddings(attempt: &Attempt, mut answer: Value, run: Duration) -> Result<Outcome, Cut> {
    let began = Instant::now();
    // There may be millions of numbers: they are not to be there twice.
    let rows = answer["data"].as_array_mut().filter(|rows| !rows.is_empty()).ok_or_else(|| bad("vectors"))?;
    let mut rows: Vec<(u64, Value)> = rows
        .iter_mut()
        .enumerate()
        .map(|(at, row)| (row["index"].as_u64().unwrap_or(at as u64), row["embedding"].take()))
        .collect();
    rows.sort_by_key(|(index, _)| *index);
    let asked = attempt
        .plan
        .body
        .get("input")
        .and_then(Value::as_array)
        .filter(|input| input.iter().all(|one| !one.is_number()));
    if rows.len() != asked.map_or(1, Vec::len) {
        return Err(bad("a vector for each input").into());
    }
    let rows: Vec<Value> = rows.into_iter().map(|(_, row)| row).collect();
    if !rows.iter().all(|row| row.is_string() || row.as_array().is_some_and(|row| !row.is_empty())) {
        return Err(bad("vectors").into());
    }
    let dimensions = rows[0].as_array().map(Vec::len);
    let text = Value::Array(rows).to_string();
    let mut data = attempt.facts();
    data.insert("model_used".to_owned(), attempt.model(answer["model"].as_str()));
    data.insert("dimensions".to_owned(), json!(dimensions));
    data.insert("usage".to_owned(), answer["usage"].clone());
    if text.len() <= INLINE_MAX {
        data.insert("embeddings".to_owned(), serde_json::from_str(&text).unwrap_or_default());
    }
    let bytes = Bytes::from(text);
    let stored = media::file(&attempt.ctx, "embeddings.json", "embeddings", Some("application/json"), bytes).await?;
    let timings = BTreeMap::from([("run_ms".to_owned(), ms(run)), ("fetch_ms".to_owned(), ms(began.elapsed()))]);
    Ok(Outcome { outputs: vec![stored], data: Value::Object(data), timings })
}

/// Pictures, each as base64 or behind an address.
pub(super) async fn pictures(attempt: &Attempt, answer: &Value, run: Duration) -> Result<Outcome, Cut> {
    let began = Instant::now();
    let items = answer["data"].as_array().filter(|items| !items.is_empty()).ok_or_else(|| bad("pictures"))?;
    let mut outputs: Vec<StoredOutput> = Vec::new();
    let (server, plan) = (&attempt.server, &attempt.plan);
    for (at, item) in items.iter().enumerate() {
        let stored = match (item["b64_json"].as_str(), item["url"].as_str()) {
            (Some(text), _) => {
                let damaged = || Failure::new(Reason::CorruptedData, "a picture in the server's answer is damaged");
                media::store(&attempt.ctx, at + 1, media::decoded(text).ok_or_else(damaged)?).await?
            }
            (None, Some(address)) => {
                let limit = server.settings.timing.whole;
                media::fetched(&server.http, &plan.key, &attempt.ctx, at + 1, address, limit).await?
            }
            (None, None) => return Err(bad("a picture").into()),
        };
        outputs.push(stored);
    }
    let mut data = attempt.facts();
    data.insert("model_used".to_owned(), attempt.model(None));
    data.insert("usage".to_owned(), answer["usage"].clone());
    let revised: Vec<&str> = items.iter().filter_map(|item| item["revised_prompt"].as_str()).collect();
    if !revised.is_empty() {
        data.insert("revised_prompts".to_owned(), json!(revised));
    }
    let timings = BTreeMap::from([("run_ms".to_owned(), ms(run)), ("fetch_ms".to_owned(), ms(began.elapsed()))]);
    Ok(Outcome { outputs, data: Value::Object(data), timings })
}

/// The form of an edit: pictures as files, everything else as texts.
pub(super) async fn edit_form(attempt: &Attempt) -> Result<Form, Failure> {
    let mut form = Form::new();
    for (name, value) in &attempt.plan.body {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        form = form.text(name.clone(), text);
    }
    // One picture goes by the older name, which every server knows.
    let name = if attempt.plan.images.len() > 1 { "image[]" } else { "image" };
    let mut files: Vec<(&str, &str)> = attempt.plan.images.iter().map(|source| (name, source.as_str())).collect();
    files.extend(attempt.plan.mask.as_deref().map(|source| ("mask", source)));
    for (at, (name, source)) in files.into_iter().enumerate() {
        let bytes = media::input(&attempt.ctx, source).await?;
        let Some((ending, media_type)) = media::kind(&bytes) else {
            return Err(Failure::new(Reason::InvalidFormat, "a picture in the job is no PNG, JPEG, WebP or GIF"));
        };
        let part = Part::stream(bytes).file_name(format!("{at}.{ending}")).mime_str(media_type);
        let part = part.map_err(|_| Failure::new(Reason::InternalError, "a media type is no media type"))?;
        form = form.part(name.to_owned(), part);
    }
    Ok(form)
}
