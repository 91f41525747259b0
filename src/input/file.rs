//! An input on its way into a file of this machine, and the file while it is in use.
//! In: bytes, as they come. Out: a file with length, hash and sniffed media type; nothing once it is dropped.
//!
//! A killed agent cannot clear up. So each file is locked by who uses it, and the next start removes those whose lock is
//! free; until it is locked a file has another name and is left alone.

use super::target::refused;
use connectors::contract::Input;
use connectors::failure::{Failure, Reason};
use sha2::{Digest, Sha256};
use std::fs::{self, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// First bytes that are enough for every signature that is looked for.
const HEAD: usize = 4096;
/// The end of a name that is not locked yet.
const UNLOCKED: &str = "new";
/// Locking takes no time: what is still unlocked then belongs to nobody.
const ABANDONED: Duration = Duration::from_secs(3600);

/// A file that is being written.
pub(super) struct Draft {
    file: tokio::fs::File,
    path: Removed,
    head: Vec<u8>,
    bytes: u64,
    most: u64,
    hash: Sha256,
}

/// An input, until it is dropped.
pub(super) struct Stored {
    path: Removed,
    bytes: u64,
    sha256: String,
    media_type: String,
    /// Holds the lock.
    _file: fs::File,
}

/// Goes when it is dropped, also by the thread that makes it when the run has been stopped meanwhile.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Draft {
    /// Begins a file in this folder, which is made if it is not there. More than `most` bytes are refused.
    pub async fn create(folder: &Path, most: u64) -> Result<Self, Failure> {
        let folder = folder.to_owned();
        let created = tokio::task::spawn_blocking(move || create(&folder)).await;
        let (file, path) = created.unwrap_or_else(|stopped| Err(io::Error::other(stopped))).map_err(failed)?;
        let file = tokio::fs::File::from_std(file);
        Ok(Self { file, path, head: Vec::new(), bytes: 0, most, hash: Sha256::new() })
    }

    /// Refuses a length that is told beforehand.
    pub fn expect(&self, bytes: u64) -> Result<(), Failure> {
        if bytes <= self.most { Ok(()) } else { Err(too_large(self.most)) }
    }

    pub async fn write(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        self.bytes += chunk.len() as u64;
        self.expect(self.bytes)?;
        let room = HEAD - self.head.len().min(HEAD);
        self.head.extend_from_slice(&chunk[..chunk.len().min(room)]);
        self.hash.update(chunk);
        self.file.write_all(chunk).await.map_err(failed)
    }

    /// Ends the file; `claim` is what the source said of its kind.
    pub async fn finish(mut self, claim: Option<&str>) -> Result<Stored, Failure> {
        if self.bytes == 0 {
            return Err(refused("an input is empty"));
        }
        self.file.flush().await.map_err(failed)?;
        Ok(Stored {
            path: self.path,
            bytes: self.bytes,
            sha256: self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
            media_type: media_type(&self.head, claim),
            _file: self.file.into_std().await,
        })
    }
}

impl Input for Stored {
    fn path(&self) -> &Path {
        &self.path.0
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn sha256(&self) -> &str {
        &self.sha256
    }

    fn media_type(&self) -> &str {
        &self.media_type
    }
}

/// By its bytes. A claim counts for kinds that have no signature: a picture that does not look like one is none.
fn media_type(head: &[u8], claim: Option<&str>) -> String {
    if let Some(kind) = infer::get(head) {
        return kind.mime_type().to_owned();
    }
    let claim = claim.and_then(|claim| claim.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase();
    let token =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b));
    match claim.split_once('/') {
        Some(("image" | "audio" | "video", _)) | None => "application/octet-stream".to_owned(),
        Some((kind, of)) if claim.len() <= 100 && token(kind) && token(of) => claim,
        Some(_) => "application/octet-stream".to_owned(),
    }
}

fn create(folder: &Path) -> io::Result<(fs::File, Removed)> {
    fs::create_dir_all(folder)?;
    let path = folder.join(uuid::Uuid::new_v4().simple().to_string());
    let unlocked = Removed(path.with_extension(UNLOCKED));
    let file = fs::File::create_new(&unlocked.0)?;
    file.lock()?;
    let removed = Removed(path);
    fs::rename(&unlocked.0, &removed.0)?;
    Ok((file, removed))
}

/// Removes what processes that are gone have left in this folder.
pub(super) fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(file) = fs::File::open(&path) else { continue };
        let is_new = path.extension().is_some_and(|end| end == UNLOCKED);
        let age = || file.metadata().ok()?.modified().ok()?.elapsed().ok();
        let settled = !is_new || age().is_some_and(|age| age >= ABANDONED);
        let in_use = matches!(file.try_lock(), Err(TryLockError::WouldBlock | TryLockError::Error(_)));
        if settled && !in_use {
            let _ = fs::remove_file(&path);
        }
    }
}

pub(super) fn too_large(most: u64) -> Failure {
    refused(format!("an input is larger than the {most} bytes that are taken here (MAX_INPUT_BYTES)"))
}

/// This box is at fault.
fn failed(error: io::Error) -> Failure {
    let reason = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Reason::DiskSpaceFull,
        _ => Reason::InternalError,
    };
    Failure::of_host(reason, format!("an input could not be kept on this worker: {}", error.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[tokio::test]
    async fn a_file_goes_with_its_input_and_with_a_draft_that_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let mut draft = Draft::create(folder.path(), 100).await.unwrap();
        draft.write(b"\x89PNG\r\n\x1a\n").await.unwrap();
        draft.write(b"rest").await.unwrap();
        let input = draft.finish(Some("text/html")).await.unwrap();
        assert_eq!((input.bytes(), input.media_type()), (12, "image/png"));
        assert_eq!(fs::read(input.path()).unwrap(), b"\x89PNG\r\n\x1a\nrest");
        assert_eq!(input.sha256().len(), 64);
        let given_up = Draft::create(folder.path(), 100).await.unwrap();
        assert_eq!(files(folder.path()), 2);
        drop((input, given_up));
        assert_eq!(files(folder.path()), 0);
    }

    #[tokio::test]
    async fn a_byte_too_many_is_refused_and_an_empty_input_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut draft = Draft::create(folder.path(), 4).await.unwrap();
        draft.write(b"1234").await.unwrap();
        assert_eq!(draft.write(b"5").await.unwrap_err().reason, Reason::InvalidPayload);
        let empty = Draft::create(folder.path(), 4).await.unwrap().finish(None).await;
        assert_eq!(empty.err().unwrap().reason, Reason::InvalidPayload);
    }

    #[tokio::test]
    async fn a_sweep_takes_what_nobody_holds() {
        let folder = tempfile::tempdir().unwrap();
        let held = Draft::create(folder.path(), 100).await.unwrap();
        fs::write(folder.path().join("left-behind"), "x").unwrap();
        fs::write(folder.path().join("being-made.new"), "").unwrap();
        let old = fs::File::create(folder.path().join("old.new")).unwrap();
        old.set_modified(std::time::SystemTime::now() - 2 * ABANDONED).unwrap();
        drop(old);
        sweep(folder.path());
        assert!(held.path.0.exists() && folder.path().join("being-made.new").exists());
        assert_eq!(files(folder.path()), 2);
    }

    #[test]
    fn a_claim_makes_no_picture_of_a_page() {
        assert_eq!(media_type(b"<!DOCTYPE html><html>", Some("image/png")), "text/html");
        assert_eq!(media_type(b"no picture at all", Some("image/png")), "application/octet-stream");
        assert_eq!(media_type(b"a,b", Some("text/csv; charset=utf-8")), "text/csv");
        assert_eq!(media_type(b"a,b", Some("nonsense")), "application/octet-stream");
        assert_eq!(media_type(b"a,b", Some("te xt/a b")), "application/octet-stream");
        assert_eq!(media_type(b"a,b", None), "application/octet-stream");
    }
}
