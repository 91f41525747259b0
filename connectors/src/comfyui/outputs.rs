//! What a run made: files streamed from the server into the store, texts kept inline.
//! In: the outputs of a history entry. Out: stored outputs, in the order of the nodes.
//!
//! Files of type `output` are taken; only if there are none, those of type `temp` (previews, wiped when the server
//! starts): a graph that only previews still has a result, and one that saves is not padded with its previews.

use super::api::{Api, Entry};
use super::http::{Body, ENGINE, Trouble, content_type, head};
use super::mark::unmarked;
use super::settings::Timing;
use crate::contract::{Job, OutputStore, StoredOutput};
use crate::failure::{Failure, Reason};
use reqwest::Method;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Inline texts of one run, in bytes.
const TEXTS_MAX: usize = 4096;
/// Downloads are tried again when the connection breaks, not when the server says no.
const TRIES: u32 = 3;

/// A file as history names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct File {
    kind: String,
    name: String,
    subfolder: String,
    place: String,
}

/// Every object with a `filename`, under whatever kind: videos come as `images`, custom nodes use words of their own.
pub(super) fn files(entry: &Entry) -> Vec<File> {
    let mut all = Vec::new();
    let mut seen = BTreeSet::new();
    for (_, kinds) in in_order(entry) {
        for (kind, items) in kinds {
            let items = items.as_array().map_or(std::slice::from_ref(items), Vec::as_slice);
            let found = items.iter().filter_map(|item| File::read(kind, item));
            all.extend(
                found.filter(|file| seen.insert((file.name.clone(), file.subfolder.clone(), file.place.clone()))),
            );
        }
    }
    let has_saved = all.iter().any(|file| file.place == "output");
    all.retain(|file| file.place == if has_saved { "output" } else { "temp" });
    all
}

/// Plain strings under any kind, by node, cut to a few KB.
pub(super) fn texts(entry: &Entry) -> Value {
    let (mut found, mut left) = (Map::new(), TEXTS_MAX);
    for (node, kinds) in in_order(entry) {
        let strings = kinds.values().filter_map(Value::as_array).flatten().filter_map(Value::as_str);
        let mut texts = Vec::new();
        for text in strings {
            let end = (0..=text.len().min(left)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            left -= end;
            if end > 0 || text.is_empty() {
                texts.push(json!(text[..end]));
            }
        }
        if !texts.is_empty() {
            found.insert(node.to_owned(), Value::Array(texts));
        }
    }
    Value::Object(found)
}

/// Node ids are numbers in practice; 10 comes after 9.
fn in_order(entry: &Entry) -> Vec<(&str, &Map<String, Value>)> {
    let nodes = entry.outputs.iter();
    let mut nodes: Vec<_> = nodes.filter_map(|(node, kinds)| Some((node.as_str(), kinds.as_object()?))).collect();
    nodes.sort_by_key(|(node, _)| node.parse::<u64>().unwrap_or(u64::MAX));
    nodes
}

impl File {
    /// It was saved, and not only shown.
    pub fn is_saved(&self) -> bool {
        self.place == "output"
    }

    fn read(kind: &str, item: &Value) -> Option<Self> {
        let text = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            kind: kind.to_owned(),
            name: text("filename").filter(|name| !name.is_empty())?,
            subfolder: text("subfolder").unwrap_or_default(),
            place: text("type").unwrap_or_else(|| "output".to_owned()),
        })
    }
}

/// Streams one file into the store.
pub(super) async fn fetch(
    api: &Api,
    timing: &Timing,
    store: &Arc<dyn OutputStore>,
    file: &File,
    job: &Job,
    prompt_id: &str,
) -> Result<StoredOutput, Failure> {
    let name = unmarked(&file.name, job, prompt_id);
    let mut tries = 1;
    loop {
        match copy(api, timing, store, file, &name).await {
            Ok(stored) => return Ok(stored),
            Err(Miss::Store(failure)) => return Err(failure),
            // Network file systems show a new file a moment later.
            Err(Miss::Server(Trouble::Status { status: 404, .. })) if tries < TRIES => {
                tries += 1;
                tokio::time::sleep(timing.second_look).await;
            }
            Err(Miss::Server(Trouble::Status { status: 404, .. })) => {
                let what =
                    format!("ComfyUI names the output `{name}`, but has no such file (deleted, or never written)");
                return Err(Failure::new(Reason::MissingExpectedData, what));
            }
            Err(Miss::Server(Trouble::Broken | Trouble::Silent)) if tries < TRIES => tries += 1,
            Err(Miss::Length) if tries < TRIES => tries += 1,
            Err(Miss::Server(trouble)) => {
                return Err(trouble.failure(ENGINE, &format!("downloading the output `{name}`")));
            }
            Err(Miss::Length) => {
                let what = format!("the output `{name}` has another length than ComfyUI announced");
                return Err(Failure::of_host(Reason::CorruptedData, what));
            }
        }
    }
}

enum Miss {
    Server(Trouble),
    Store(Failure),
    Length,
}

async fn copy(
    api: &Api,
    timing: &Timing,
    store: &Arc<dyn OutputStore>,
    file: &File,
    name: &str,
) -> Result<StoredOutput, Miss> {
    let query = [("filename", &*file.name), ("subfolder", &file.subfolder), ("type", &file.place)];
    let request = api.http.request(Method::GET, &["view"], &query);
    let response = head(request, timing.stalled_download).await.map_err(Miss::Server)?;
    if !response.status().is_success() {
        let status = response.status().as_u16();
        return Err(Miss::Server(Trouble::Status { status, retry_after: None }));
    }
    let claim = content_type(&response);
    let mut output = store.create(name, &file.kind, claim.as_deref()).await.map_err(Miss::Store)?;
    let mut body = Body::of(response, timing.stalled_download);
    if let Some(bytes) = body.announced() {
        output.expect_bytes(bytes).await.map_err(Miss::Store)?;
    }
    while let Some(part) = body.next().await.map_err(Miss::Server)? {
        output.write(part).await.map_err(Miss::Store)?;
    }
    if !body.is_complete() {
        return Err(Miss::Length);
    }
    output.finish().await.map_err(Miss::Store)
}
