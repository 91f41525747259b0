//! Outputs in a local folder: `{OUTPUT_DIR}/{job}/{attempt}/{name}`.
//! In: chunks. Out: files that appear whole or not at all.

use super::{media_type, name};
use async_trait::async_trait;
use bytes::Bytes;
use connectors::contract::{OutputStore, OutputWriter, StoredOutput};
use connectors::failure::{Failure, Reason};
use failpoints::{Point, reach};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use url::Url;

/// The outputs of one attempt.
pub struct LocalStore {
    folder: PathBuf,
    /// What stands for the folder in results, if others can reach it.
    shown_at: Option<Url>,
    taken: Mutex<BTreeSet<String>>,
}

impl LocalStore {
    /// Outputs of this attempt of this job; the folder is made with the first of them.
    pub fn new(root: &Path, job: &str, attempt: u64) -> Self {
        Self { folder: root.join(job).join(attempt.to_string()), shown_at: None, taken: Mutex::default() }
    }

    /// The same, named in results as what lies below this address.
    pub fn shown_at(self, base: Option<&Url>) -> Self {
        let place: Vec<_> =
            self.folder.components().rev().take(2).map(|part| part.as_os_str().to_string_lossy()).collect();
        let shown_at = base
            .zip(place.first().zip(place.get(1)))
            .and_then(|(base, (attempt, job))| Url::parse(&super::place::url(base, &format!("{job}/{attempt}"))).ok());
        Self { shown_at, ..self }
    }
}

/// Whether an output could be stored in this folder now: a mebibyte is written, flushed and removed.
///
/// # Errors
/// What stands in the way: the folder cannot be made or written, the disk is full.
pub fn try_storing(root: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(root)?;
    let probe = root.join(format!(".probe-{}", uuid::Uuid::new_v4().simple()));
    let written = std::fs::File::create(&probe).and_then(|mut file| {
        std::io::Write::write_all(&mut file, &vec![0; 1 << 20])?;
        file.sync_all()
    });
    let _ = std::fs::remove_file(&probe);
    written
}

fn failed(error: &std::io::Error) -> Failure {
    let reason = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Reason::DiskSpaceFull,
        _ => Reason::InternalError,
    };
    Failure::of_host(reason, format!("an output could not be stored on this worker: {}", error.kind()))
}

#[async_trait]
impl OutputStore for LocalStore {
    async fn create(
        &self,
        suggested: &str,
        kind: &str,
        claimed: Option<&str>,
    ) -> Result<Box<dyn OutputWriter>, Failure> {
        let chosen = name::unique(suggested, &mut self.taken.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        let path = self.folder.join(&chosen);
        let part = self.folder.join(format!(".{chosen}.part"));
        let folder = self.folder.clone();
        let creating = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(folder)?;
            Ok((std::fs::File::create(&part)?, PartFile(part)))
        });
        let created = creating.await.unwrap_or_else(|stopped| Err(std::io::Error::other(stopped)));
        let (file, part) = created.map_err(|error| failed(&error))?;
        Ok(Box::new(LocalWriter {
            file: Some(File::from_std(file)),
            part,
            path,
            shown_at: self.shown_at.clone(),
            name: chosen,
            kind: kind.to_owned(),
            claimed: claimed.map(str::to_owned),
            head: Vec::new(),
            bytes: 0,
            hash: Sha256::new(),
        }))
    }
}

/// Goes when it is dropped, also by the thread that makes it when the run has been stopped meanwhile. After a rename it
/// is gone already.
struct PartFile(PathBuf);

impl Drop for PartFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

struct LocalWriter {
    file: Option<File>,
    part: PartFile,
    path: PathBuf,
    shown_at: Option<Url>,
    name: String,
    kind: String,
    claimed: Option<String>,
    head: Vec<u8>,
    bytes: u64,
    hash: Sha256,
}

#[async_trait]
impl OutputWriter for LocalWriter {
    async fn write(&mut self, chunk: Bytes) -> Result<(), Failure> {
        let room = media_type::HEAD - self.head.len().min(media_type::HEAD);
        self.head.extend_from_slice(&chunk[..chunk.len().min(room)]);
        self.hash.update(&chunk);
        self.bytes += chunk.len() as u64;
        match &mut self.file {
            Some(file) => file.write_all(&chunk).await.map_err(|error| failed(&error))?,
            None => return Ok(()),
        }
        reach(Point::OutputPart);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<StoredOutput, Failure> {
        if let Some(mut file) = self.file.take() {
            file.flush().await.map_err(|error| failed(&error))?;
            // A result that Redis has accepted must not name a file that a power cut has emptied.
            file.sync_all().await.map_err(|error| failed(&error))?;
        }
        reach(Point::OutputWritten);
        tokio::fs::rename(&self.part.0, &self.path).await.map_err(|error| failed(&error))?;
        reach(Point::OutputRenamed);
        let absolute = std::path::absolute(&self.path).map_err(|error| failed(&error))?;
        let url = match &self.shown_at {
            Some(base) => super::place::url(base, &self.name),
            None => Url::from_file_path(&absolute).map(String::from).unwrap_or_default(),
        };
        Ok(StoredOutput {
            media_type: media_type::of(&self.head, self.claimed.as_deref(), &self.name),
            name: self.name.clone(),
            kind: self.kind.clone(),
            bytes: self.bytes,
            sha256: self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
            url,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_run_stopped_while_an_output_is_created_leaves_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        // One thread for the disk: what is asked of it last is done last.
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let store = LocalStore::new(root.path(), "job", 1);
            for n in 0..20 {
                assert!(
                    store.create(&format!("{n}.png"), "images", None).now_or_never().is_none(),
                    "it waits for the disk"
                );
            }
            tokio::task::spawn_blocking(|| ()).await.unwrap();
        });
        let files = std::fs::read_dir(root.path().join("job").join("1")).unwrap();
        assert_eq!(files.count(), 0);
    }
}
