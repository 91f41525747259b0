//! The files that a job names: fetched by the agent, put into ComfyUI's input folder, named in the graph.
//! In: `payload.inputs`, and URLs where a loader's file name would stand. Out: the graph with names that ComfyUI knows.
//!
//! ```text
//!   named ─▶ their fields in the graph ─▶ each: fetched ─▶ its kind suits ─▶ uploaded ─▶ the name in the answer put in
//!     └─ for no field: Failure                  └─ Failure     └─ Failure         └─ Failure     cancel: at once, anywhere
//! ```
//!
//! ComfyUI has no route that deletes an input: the name is made of job and content, so that another attempt adds nothing.

use super::ComfyUi;
use super::graph::{Field, Graph};
use super::http::{ENGINE, Trouble, read};
use crate::contract::{Input, Job, Progress, RunContext, RunError, Stage};
use crate::failure::{Failure, Reason};
use crate::reference;
use reqwest::multipart::{Form, Part};
use reqwest::{Body, Method};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Inputs of one job.
const MOST: usize = 64;
/// The folder within ComfyUI's input folder.
const SUBFOLDER: &str = "gpu-worker";
/// An answer to an upload names a file.
const ANSWER_MAX: usize = 64 << 10;
/// The slowest upload that is waited for, in bytes a second.
const SLOWEST: u64 = 1 << 20;

/// An input, and the fields of nodes that its name goes to.
struct Wanted {
    source: String,
    /// What the job calls it, if it has a name.
    name: Option<String>,
    fields: Vec<Field>,
}

impl Wanted {
    fn shown(&self) -> String {
        self.name.as_ref().map_or_else(|| "an input".to_owned(), |name| format!("the input `{}`", short(name)))
    }

    /// The failure, with the input that it is about.
    fn failed(&self, failure: Failure) -> Failure {
        Failure { message: format!("{}: {}", self.shown(), failure.message), ..failure }
    }
}

/// Puts what the job names into ComfyUI and into the graph.
pub(super) async fn put_in(comfy: &ComfyUi, job: &Job, ctx: &RunContext, graph: &mut Graph) -> Result<(), RunError> {
    let wanted = wanted(&job.payload, graph)?;
    if wanted.is_empty() {
        return Ok(());
    }
    tokio::select! {
        biased;
        // Nothing has been started yet.
        () = ctx.cancel.cancelled() => Err(RunError::Cancelled),
        done = all(comfy, job, ctx, graph, &wanted) => done.map_err(Into::into),
    }
}

async fn all(
    comfy: &ComfyUi,
    job: &Job,
    ctx: &RunContext,
    graph: &mut Graph,
    wanted: &[Wanted],
) -> Result<(), Failure> {
    // One after the other: there is one copy on this machine's disk at a time.
    for (at, one) in wanted.iter().enumerate() {
        let message = Some(format!("fetching inputs ({} of {})", at + 1, wanted.len()));
        ctx.progress.report(Progress { message, stage: Stage::Fetching, ..Progress::default() });
        let input = ctx.inputs.fetch(&one.source).await.map_err(|failure| one.failed(failure))?;
        for field in &one.fields {
            suits(field, input.media_type()).map_err(|failure| one.failed(failure))?;
        }
        let name = upload(comfy, &file_name(job, &*input, &one.source), &*input).await?;
        for field in &one.fields {
            graph.set_text(field, &name);
        }
    }
    Ok(())
}

/// What the job names, with the fields that it is for.
fn wanted(payload: &Value, graph: &Graph) -> Result<Vec<Wanted>, Failure> {
    let named = named(payload)?;
    let mut wanted: BTreeMap<(Option<String>, String), Vec<Field>> = BTreeMap::new();
    for (field, text) in graph.literals() {
        let bare = text.strip_prefix("{{").and_then(|text| text.strip_suffix("}}")).map_or(text, str::trim);
        let key = match named.get_key_value(bare) {
            Some((name, source)) => (Some(name.clone()), source.clone()),
            None if loads(&field) && reference::is_one(text) => (None, text.to_owned()),
            None => continue,
        };
        wanted.entry(key).or_default().push(field);
    }
    let found = |name: &String| wanted.keys().any(|(found, _)| found.as_ref() == Some(name));
    if let Some(name) = named.keys().find(|name| !found(name)) {
        let what = format!(
            "the input `{0}` is used nowhere: an input of a node must be \"{0}\" or \"{{{{{0}}}}}\"",
            short(name)
        );
        return Err(Failure::new(Reason::InvalidPayload, what));
    }
    if wanted.len() > MOST {
        let what = format!("the job has {} inputs; {MOST} are taken", wanted.len());
        return Err(Failure::new(Reason::InvalidPayload, what));
    }
    Ok(wanted.into_iter().map(|((name, source), fields)| Wanted { source, name, fields }).collect())
}

/// `payload.inputs`: name to source. A payload that is itself the graph has none.
fn named(payload: &Value) -> Result<BTreeMap<String, String>, Failure> {
    let given = payload.get("workflow").and(payload.get("inputs")).filter(|inputs| !inputs.is_null());
    let Some(given) = given else { return Ok(BTreeMap::new()) };
    let wrong = |what: String| Failure::new(Reason::InvalidFormat, what);
    let given = given.as_object().ok_or_else(|| wrong("`inputs` must be an object: name to URL".to_owned()))?;
    let source = |(name, value): (&String, &Value)| match reference::source(value) {
        Some(source) if !name.trim().is_empty() => Ok((name.trim().to_owned(), source)),
        _ => Err(wrong(format!(
            "the input `{}` must be a URL, or an object with one of `url`, `base64` and `output`",
            short(name)
        ))),
    };
    given.iter().map(source).collect()
}

/// Whether a file's name is expected there. Nodes that say that they take URLs are left alone.
fn loads(field: &Field) -> bool {
    let class = field.class.to_ascii_lowercase();
    let takes_text = ["url", "base64", "http"].iter().any(|word| class.contains(word));
    let is_file = matches!(field.input.as_str(), "image" | "mask" | "audio" | "video" | "file");
    is_file && class.contains("load") && !takes_text
}

/// Whether what was fetched is of the kind that its node reads.
fn suits(field: &Field, media_type: &str) -> Result<(), Failure> {
    let class = field.class.to_ascii_lowercase();
    let (words, kinds): (_, &[&str]) = match field.input.as_str() {
        "image" | "mask" => ("a picture", &["image/"]),
        // A film has sound, and an animation is a film.
        "audio" => ("sound", &["audio/", "video/"]),
        "video" => ("a video", &["video/", "image/gif", "image/webp"]),
        "file" if class.contains("video") => ("a video", &["video/", "image/gif", "image/webp"]),
        "file" if class.contains("audio") => ("sound", &["audio/", "video/"]),
        "file" if class.contains("image") => ("a picture", &["image/"]),
        _ => return Ok(()),
    };
    if kinds.iter().any(|kind| media_type.starts_with(kind)) {
        return Ok(());
    }
    let (node, class) = (short(&field.node), short(&field.class));
    let what = format!("it is {media_type}, but node {node} ({class}) takes {words}");
    Err(Failure::new(Reason::InvalidPayload, what))
}

/// Plain ASCII: anything else ComfyUI stores as it is encoded for the way.
fn file_name(job: &Job, input: &dyn Input, source: &str) -> String {
    let id: String = job.id.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).take(48).collect();
    let hash: String = input.sha256().chars().filter(char::is_ascii_alphanumeric).take(16).collect();
    format!("{id}-{hash}.{}", reference::extension(input.media_type(), source))
}

/// Under a name that is one word for the same bytes; the name in the answer is the one that counts.
async fn upload(comfy: &ComfyUi, name: &str, input: &dyn Input) -> Result<String, Failure> {
    let limit = comfy.settings.timing.submit + Duration::from_secs(input.bytes() / SLOWEST);
    let send = || async {
        let file = tokio::fs::File::open(input.path()).await.map_err(|_| gone())?;
        let part = Part::stream_with_length(Body::from(file), input.bytes()).file_name(name.to_owned());
        let part = part.mime_str(input.media_type()).map_err(|_| gone())?;
        let form = Form::new().part("image", part).text("subfolder", SUBFOLDER).text("type", "input");
        let form = form.text("overwrite", "false");
        let request = comfy.api.http.request(Method::POST, &["upload", "image"], &[]).multipart(form);
        Ok::<_, Failure>(read(request, limit, ANSWER_MAX).await)
    };
    let answer = match send().await? {
        // A connection kept from before a restart breaks at its first use; sent twice it is the same file.
        Err(Trouble::Broken) => send().await?,
        answer => answer,
    };
    let doing = "uploading an input";
    let answer = answer.and_then(super::http::Answer::success).map_err(|trouble| match trouble {
        Trouble::Status { status: 413, .. } => {
            let what = format!("ComfyUI takes no input of {} bytes (--max-upload-size)", input.bytes());
            Failure::new(Reason::InvalidPayload, what)
        }
        trouble => trouble.failure(ENGINE, doing),
    })?;
    let said: Value = answer.json().map_err(|trouble| trouble.failure(ENGINE, doing))?;
    let text = |field: &str| said.get(field).and_then(Value::as_str).unwrap_or_default();
    match (text("name"), text("subfolder")) {
        ("", _) => Err(Trouble::Nonsense.failure(ENGINE, doing)),
        (name, "") => Ok(name.to_owned()),
        (name, subfolder) => Ok(format!("{subfolder}/{name}")),
    }
}

fn gone() -> Failure {
    Failure::of_host(Reason::InternalError, "an input that was fetched cannot be read")
}

fn short(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(80).collect()
}

#[cfg(test)]
#[path = "inputs_tests.rs"]
mod tests;
