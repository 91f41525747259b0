//! What must be true of a job and of the queue when everything is over.
//! In: a stage. Out: nothing, or a panic that says what is wrong.

use super::super::support::until;
use super::stage::Stage;
use futures_util::FutureExt;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

/// One last event, outputs whole, nothing left in indexes, output folders and journals.
pub async fn is_clean(stage: &Stage, id: &str, workers: &[&str]) {
    stage.queue().ended_once(id).await;
    let job = stage.queue().job(id).await;
    assert_eq!(job["final"].split(' ').next(), Some(job["status"].as_str()), "final and status");
    if job["status"] == "completed" {
        outputs_are_whole(&serde_json::from_str(&job["result"]).expect("a result"));
    }
    let left = RefCell::new(Vec::new());
    let clean = until("nothing is left behind", || async {
        *left.borrow_mut() = left_behind(stage, workers).await;
        left.borrow().is_empty().then_some(())
    });
    if let Err(panic) = AssertUnwindSafe(clean).catch_unwind().await {
        eprintln!("left behind: {:?}", left.borrow());
        std::panic::resume_unwind(panic);
    }
}

fn outputs_are_whole(result: &Value) {
    let outputs = result["outputs"].as_array().expect("outputs");
    assert_eq!(outputs.len(), 1, "{result}");
    for output in outputs {
        let path = url::Url::parse(output["url"].as_str().expect("a URL")).expect("a URL").to_file_path();
        let bytes = std::fs::read(path.expect("a path")).expect("the output");
        let sum: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((output["bytes"].as_u64(), output["sha256"].as_str()), (Some(bytes.len() as u64), Some(&*sum)));
    }
}

/// Ids that are still in an index, part files, entries of journals.
pub async fn left_behind(stage: &Stage, workers: &[&str]) -> Vec<String> {
    let mut left = Vec::new();
    for key in ["jobs:pending", "jobs:delayed", "jobs:leases", "jobs:heads"] {
        let ids: Vec<String> = stage.ask(&["ZRANGE", key, "0", "-1"]).await;
        left.extend(ids.into_iter().map(|id| format!("{id} in {key}")));
    }
    // A class of nobody and a worker without a job have no key at all.
    left.extend(stage.ask::<Vec<String>>(&["KEYS", "jobs:active:*"]).await);
    left.extend(stage.ask::<Vec<String>>(&["KEYS", "jobs:class:????????????????"]).await);
    for worker in workers {
        let files = files_below(&stage.outputs(worker));
        left.extend(files.iter().filter(|file| is_part(file)).map(|file| file.display().to_string()));
        left.extend(files_below(&stage.journal(worker)).iter().map(|file| file.display().to_string()));
    }
    left
}

fn is_part(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "part")
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
