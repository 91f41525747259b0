//! How a run ended, read off its history entry; of blocked branches the socket alone tells.
//! In: a history entry, what was heard of blocks. Out: success, or a failure without inputs, paths and tracebacks.

use super::api::Entry;
use super::graph::Graph;
use crate::failure::{Failure, Reason};
use crate::python::{Cause, cause};
use serde_json::Value;

/// More blocked branches than this are not told of.
pub(super) const BLOCKS_MAX: usize = 4;

/// How it ended.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It ran to its end. A node may have blocked a branch and said why: that is no failure.
    Success {
        blocked: Vec<String>,
    },
    /// Somebody stopped it.
    Interrupted,
    Failed(Failure),
}

pub(super) fn read(entry: &Entry, heard: &[Value], graph: Option<&Graph>) -> Verdict {
    // A blocked branch is told as an error of a run that ends in success: the status decides.
    match entry.status.as_ref().map(|status| status.status_str.as_str()) {
        Some("success") => {
            let mut blocked = Vec::new();
            for said in heard.iter().chain(entry.messages("execution_error")).map(|block| of_block(block, graph)) {
                if blocked.len() < BLOCKS_MAX && !blocked.contains(&said) {
                    blocked.push(said);
                }
            }
            Verdict::Success { blocked }
        }
        // Older servers and forks have no status; they make entries of finished runs alone.
        None if !entry.outputs.is_empty() => Verdict::Success { blocked: Vec::new() },
        _ => match (entry.message("execution_interrupted"), entry.message("execution_error")) {
            (Some(_), _) => Verdict::Interrupted,
            (None, Some(error)) => Verdict::Failed(of_error(error, graph)),
            (None, None) => {
                let what = "ComfyUI says that the run failed, but not why; its log may tell";
                Verdict::Failed(Failure::new(Reason::InternalError, what))
            }
        },
    }
}

/// The node is the one that got nothing; the one that blocks is not named.
fn of_block(block: &Value, graph: Option<&Graph>) -> String {
    let text = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or_default();
    let short = |name: &str| text(name).chars().take(80).collect::<String>();
    let said = text("exception_message");
    let said = presentable(said.strip_prefix("Execution Blocked:").unwrap_or(said), graph);
    let colon = if said.is_empty() { "" } else { ": " };
    format!("node {} ({}) was blocked{colon}{said}", short("node_id"), short("node_type"))
}

fn of_error(error: &Value, graph: Option<&Graph>) -> Failure {
    let text = |name: &str| error.get(name).and_then(Value::as_str);
    let short = |name: &str| text(name).map_or_else(|| "?".to_owned(), |text| text.chars().take(80).collect());
    let exception = &*short("exception_type");
    let node = format!("node {} ({})", short("node_id"), short("node_type"));
    let said = text("exception_message").unwrap_or_default();
    let of_host = |reason, what: &str| Failure::of_host(reason, format!("{node}{what}"));
    match cause(text("exception_type").unwrap_or_default(), said) {
        Some(Cause::GpuMemory) => {
            let what = format!(" ran out of GPU memory ({exception}); smaller sizes, batches or models need less");
            return of_host(Reason::GpuMemoryFull, &what);
        }
        Some(Cause::MainMemory) => return of_host(Reason::OutOfMemory, " ran out of main memory"),
        Some(Cause::Disk) => return of_host(Reason::DiskSpaceFull, ": the disk of the server is full"),
        Some(Cause::ModelFile) => {
            let what = format!(" cannot read a model file ({exception}): the file on this server is damaged");
            // A node may load several files: then none of them is known to be the damaged one.
            let loads: Vec<&str> =
                graph.iter().flat_map(|graph| graph.models_of(text("node_id").unwrap_or_default())).collect();
            let model = (loads.len() == 1).then(|| loads[0].to_owned());
            return of_host(Reason::DependencyError, &what).about_model(model);
        }
        Some(Cause::Gpu) => return of_host(Reason::GpuError, &format!(": the GPU failed ({exception})")),
        None => {}
    }
    let said = presentable(said, graph);
    let colon = if said.is_empty() { "" } else { ": " };
    Failure::new(Reason::InternalError, format!("{node} failed with {exception}{colon}{said}"))
}

/// The first line, without paths and without what the user wrote, and short.
fn presentable(said: &str, graph: Option<&Graph>) -> String {
    let mut line = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned();
    let Some(graph) = graph else { return String::new() };
    // Longest first: a short text may be part of a longer one.
    let mut texts: Vec<_> =
        graph.texts().flat_map(str::lines).map(str::trim).filter(|text| text.chars().count() >= 6).collect();
    texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
    for text in texts {
        line = line.replace(text, "…");
    }
    let words = line.split_whitespace().map(|word| if is_path(word) { "…" } else { word });
    words.collect::<Vec<_>>().join(" ").chars().take(300).collect()
}

fn is_path(word: &str) -> bool {
    let bare = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '/' && c != '\\');
    let drive = bare.as_bytes().get(1..3).is_some_and(|two| two == b":\\" || two == b":/");
    drive || bare.starts_with("\\\\") || (bare.starts_with('/') && bare.len() > 1) || bare.matches('/').count() >= 2
}
