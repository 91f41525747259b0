//! `connectors conformance`: an engine that is a file, held to the contract that every connector keeps.
//! In: an engine's file with payloads whose course is known. Out: a verdict a line.

use super::{healthy, load};
use crate::cli::render::plain;
use crate::cli::{Chosen, Exit, Failed};
use connectors::conformance::{self, Bounds, EngineFile};
use std::path::Path;

pub(super) async fn run(chosen: &Chosen, path: &Path) -> Result<Exit, Failed> {
    let (_, loaded, _scratch) = load(chosen, path).await?;
    let Some(payloads) = loaded.conformance.clone() else {
        return Err(Failed::usage(format!(
            "{}: the suite needs payloads whose course is known: `conformance` with ok, slow, failing and failure_type, \
             see connectors/README.md",
            path.display()
        )));
    };
    let one = healthy(&loaded).await?;
    let service = loaded.services.first().cloned().unwrap_or_default();
    let verdicts = conformance::run(&EngineFile::new(one, service, payloads), &Bounds::default()).await;
    for verdict in &verdicts {
        match (&verdict.fault, &verdict.not_judged) {
            (None, None) => say!("ok          {}", verdict.check),
            (None, Some(why)) => say!("not judged  {}\n            {}", verdict.check, plain(why)),
            (Some(fault), _) => say!("FAULT       {}\n            {}", verdict.check, plain(fault)),
        }
    }
    let bad = verdicts.iter().filter(|verdict| verdict.fault.is_some()).count();
    let open = verdicts.iter().filter(|verdict| verdict.not_judged.is_some()).count();
    let left = if open > 0 { format!(", {open} could not be judged") } else { String::new() };
    say!("\n{} of {} checks passed{left}", verdicts.len() - bad - open, verdicts.len());
    Ok(if bad == 0 { Exit::Done } else { Exit::Failed })
}
