//! How a run ended, read off its history entry and nothing else.
//! In: a history entry. Out: success, or a failure without inputs, paths and tracebacks.

use super::api::Entry;
use super::graph::Graph;
use crate::failure::{Failure, Reason};
use serde_json::Value;

/// More blocked branches than this are not told of.
const BLOCKS_SHOWN: usize = 4;

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

pub(super) fn read(entry: &Entry, graph: Option<&Graph>) -> Verdict {
    // A blocked branch leaves an error message in a run that ends in success: the status decides.
    match entry.status.as_ref().map(|status| status.status_str.as_str()) {
        Some("success") => {
            let blocks = entry.messages("execution_error").take(BLOCKS_SHOWN);
            Verdict::Success { blocked: blocks.map(|block| of_error(block, graph).message).collect() }
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

fn of_error(error: &Value, graph: Option<&Graph>) -> Failure {
    let text = |name: &str| error.get(name).and_then(Value::as_str);
    let short = |name: &str| text(name).map_or_else(|| "?".to_owned(), |text| text.chars().take(80).collect());
    let exception = &*short("exception_type");
    let node = format!("node {} ({})", short("node_id"), short("node_type"));
    let said = text("exception_message").unwrap_or_default();
    if exception.ends_with("OutOfMemoryError") || said.contains("CUDA out of memory") {
        let what = format!("{node} ran out of GPU memory ({exception}); smaller sizes, batches or models need less");
        return Failure::of_host(Reason::GpuMemoryFull, what);
    }
    if exception == "MemoryError" {
        return Failure::of_host(Reason::OutOfMemory, format!("{node} ran out of main memory"));
    }
    if said.contains("No space left on device") {
        return Failure::of_host(Reason::DiskSpaceFull, format!("{node}: the disk of the server is full"));
    }
    if exception.ends_with("SafetensorError") || exception.ends_with("UnpicklingError") {
        let what = format!("{node} cannot read a model file ({exception}): the file on this server is damaged");
        // A node may load several files: then none of them is known to be the damaged one.
        let loads: Vec<&str> =
            graph.iter().flat_map(|graph| graph.models_of(text("node_id").unwrap_or_default())).collect();
        let model = (loads.len() == 1).then(|| loads[0].to_owned());
        return Failure::of_host(Reason::DependencyError, what).about_model(model);
    }
    if exception.ends_with("AcceleratorError") || said.contains("CUDA error") || said.contains("cuDNN error") {
        return Failure::of_host(Reason::GpuError, format!("{node}: the GPU failed ({exception})"));
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
