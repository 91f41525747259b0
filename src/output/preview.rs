//! Pictures of work that goes on, in files of their own: `{OUTPUT_DIR}/.previews/{job}/{unique name}`.
//! In: one picture after the other. Out: where the newest is; older ones go, and all of them once the job has ended well.
//!
//! They lie beside the outputs of jobs and not among them: whoever collects outputs must not collect these, and what
//! is left behind by failed jobs and killed agents is found without a walk through all outputs.

use connectors::contract::Preview;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const FOLDER: &str = ".previews";

/// Whoever has just read of a picture still finds it when the next one comes.
const KEPT: usize = 2;

/// The pictures of one job.
#[derive(Debug)]
pub struct PreviewFolder {
    folder: PathBuf,
    files: VecDeque<PathBuf>,
}

impl PreviewFolder {
    /// Of this job. What other jobs left behind longer ago than `retention` is swept away, by a thread of its own.
    pub fn new(root: &Path, job: &str, retention: Duration) -> Self {
        let all = root.join(FOLDER);
        let folder = all.join(job);
        drop(tokio::task::spawn_blocking(move || sweep(&all, retention)));
        Self { folder, files: VecDeque::new() }
    }

    /// Stores a picture in the place of the ones before, and says where it is; `None` if it could not be stored.
    pub async fn replace(&mut self, preview: Preview) -> Option<String> {
        let ending = if preview.media_type == "image/jpeg" { "jpg" } else { "png" };
        let path = self.folder.join(format!("{}.{ending}", uuid::Uuid::now_v7().simple()));
        self.files.push_back(path.clone());
        let old = if self.files.len() > KEPT { self.files.pop_front() } else { None };
        let folder = self.folder.clone();
        let writing = tokio::task::spawn_blocking(move || {
            if let Some(old) = old {
                let _ = std::fs::remove_file(old);
            }
            std::fs::create_dir_all(folder)?;
            // Named only after it is whole; of a picture that is gone after a power cut nobody is the worse.
            std::fs::write(&path, &preview.bytes)?;
            std::path::absolute(&path)
        });
        let path = writing.await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)));
        url::Url::from_file_path(path.ok()?).map(String::from).ok()
    }
}

/// The job has ended well, and its results are there: its pictures go.
pub async fn forget_previews(root: &Path, job: &str) {
    let folder = root.join(FOLDER).join(job);
    let _ = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(folder)).await;
}

fn sweep(all: &Path, retention: Duration) {
    let Ok(folders) = std::fs::read_dir(all) else { return };
    let Some(limit) = SystemTime::now().checked_sub(retention) else { return };
    for folder in folders.flatten() {
        // A folder's time is that of its newest picture.
        let is_old = folder.metadata().and_then(|about| about.modified()).is_ok_and(|modified| modified < limit);
        if is_old {
            let _ = std::fs::remove_dir_all(folder.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pictures(root: &Path, job: &str) -> usize {
        std::fs::read_dir(root.join(FOLDER).join(job)).map_or(0, Iterator::count)
    }

    #[tokio::test]
    async fn few_pictures_are_kept_and_none_of_a_job_that_ended_well() {
        let root = tempfile::tempdir().unwrap();
        let mut folder = PreviewFolder::new(root.path(), "j", Duration::from_secs(3600));
        let mut urls = Vec::new();
        for byte in 0..5 {
            let preview = Preview { media_type: "image/jpeg", bytes: vec![byte].into(), node: None };
            urls.push(folder.replace(preview).await.unwrap());
        }
        assert_eq!(pictures(root.path(), "j"), KEPT);
        let newest = url::Url::parse(&urls[4]).unwrap().to_file_path().unwrap();
        assert_eq!(std::fs::read(newest).unwrap(), [4]);
        forget_previews(root.path(), "j").await;
        assert!(!root.path().join(FOLDER).join("j").exists());
    }

    #[tokio::test]
    async fn what_was_left_behind_goes_after_its_time() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join(FOLDER).join("old")).unwrap();
        let all = root.path().join(FOLDER);
        sweep(&all, Duration::from_secs(3600));
        assert!(all.join("old").exists());
        sweep(&all, Duration::ZERO);
        assert!(!all.join("old").exists());
    }
}
