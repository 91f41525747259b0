//! Pictures that a job names by URL, or as outputs of earlier jobs: fetched by the agent and put into the request.
//! In: the body of a request. Out: the same with pictures in base64, wherever the server would have asked somebody for one.
//!
//! The server fetches URLs itself, from wherever it can reach, and extensions do so through it. So no text that begins as
//! a URL does is left in any field but prompts, and one that leads to something else than a picture fails the job.

use crate::contract::{Input, Progress, RunContext, Stage};
use crate::failure::{Failure, Reason};
use crate::reference;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Bytes of all pictures of a job: they go into one request, which is held in memory.
const TOTAL_MAX: u64 = 256 << 20;

/// Puts them in.
pub(super) async fn inline(ctx: &RunContext, body: &mut Map<String, Value>) -> Result<(), Failure> {
    let mut found = Vec::new();
    body.iter_mut().for_each(|(name, value)| find(name, value, &mut found));
    let sources: BTreeMap<String, Vec<&mut Value>> =
        found.into_iter().fold(BTreeMap::new(), |mut all, (source, at)| {
            all.entry(source).or_insert_with(Vec::new).push(at);
            all
        });
    let (count, mut total) = (sources.len(), 0);
    for (at, (source, places)) in sources.into_iter().enumerate() {
        let message = Some(format!("fetching inputs ({} of {count})", at + 1));
        ctx.progress.report(Progress { message, stage: Stage::Fetching, ..Progress::default() });
        let input = ctx.inputs.fetch(&source).await?;
        total += input.bytes() * places.len() as u64;
        if !input.media_type().starts_with("image/") {
            let what = format!("an input is {}, where a picture is needed", input.media_type());
            return Err(Failure::new(Reason::InvalidPayload, what));
        }
        if total > TOTAL_MAX {
            let what = format!("the pictures of the job have more than {TOTAL_MAX} bytes in all");
            return Err(Failure::new(Reason::InvalidPayload, what));
        }
        let letters = encoded(input).await?;
        for place in places {
            *place = Value::String(letters.clone());
        }
    }
    Ok(())
}

/// What is to be fetched, with its place.
fn find<'a>(name: &str, value: &'a mut Value, found: &mut Vec<(String, &'a mut Value)>) {
    // What is written there is read by nobody but the model.
    if name.contains("prompt") {
        return;
    }
    let named = |value: &Value| match value {
        // Data in the job is what the server reads itself.
        Value::String(text) => (reference::is_address(text) || text.starts_with("output:")).then(|| value.clone()),
        Value::Object(_) => Some(value.clone()),
        _ => None,
    };
    if let Some(source) = named(value).as_ref().and_then(reference::source) {
        found.push((source, value));
        return;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| find("", item, found)),
        Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| find(name, value, found)),
        _ => {}
    }
}

/// On another thread: a large picture takes a while.
async fn encoded(input: Box<dyn Input>) -> Result<String, Failure> {
    let encoding = tokio::task::spawn_blocking(move || std::fs::read(input.path()).map(|bytes| STANDARD.encode(bytes)));
    let lost = || Failure::of_host(Reason::InternalError, "an input that was fetched cannot be read");
    encoding.await.map_err(|_| lost())?.map_err(|_| lost())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sources(mut body: Value) -> Vec<String> {
        let mut found = Vec::new();
        find("", &mut body, &mut found);
        found.into_iter().map(|(source, _)| source).collect()
    }

    #[test]
    fn every_place_from_which_the_server_might_fetch_is_found_and_prompts_are_left_alone() {
        let body = json!({
            "prompt": "https://host/1", "negative_prompt": "http://host/2", "hr_prompt": "https://host/3",
            "init_images": ["https://host/a", "data:image/png;base64,aGk=", "aGk=", { "output": "job-1/a.png" }],
            "mask": { "url": "https://host/mask" },
            "image": " HTTPS:host/b",
            "imageList": [{ "data": "output:job-1/b.png", "name": "1.png" }],
            "script_args": ["http://host/c", 7, "output: a fox"],
            "alwayson_scripts": { "ControlNet": { "args": [{
                "image": "https://host/d", "mask": { "base64": "aGk=" }, "model": "canny",
                "input_image": { "image": "https://host/e", "mask": "https://host/f" },
            }] }, "ADetailer": { "args": [true, { "ad_prompt": "https://host/4" }] } },
            "ip_adapter": [{ "images": [["https://host/g"]] }],
        });
        let mut found = sources(body);
        found.sort_unstable();
        let mut expected: Vec<String> = ["a", "c", "d", "e", "f", "g", "mask"]
            .iter()
            .map(|end| format!("{}://host/{end}", if *end == "c" { "http" } else { "https" }))
            .collect();
        expected.extend(
            [" HTTPS:host/b", "output:job-1/a.png", "output:job-1/b.png", "data:;base64,aGk="].map(str::to_owned),
        );
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}
