//! The folder that a run's files travel through: the process writes into it, the agent takes out what is named.
//! In: the outputs that a process names. Out: stored outputs; nothing from outside of the folder, nothing left in it.

use crate::contract::{OutputStore, StoredOutput};
use crate::failure::{Failure, Reason};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rustix::fs::{FileType, Mode, OFlags, fstat, open, openat};
use serde::Deserialize;
use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use tokio::io::AsyncReadExt;

/// Outputs of one run.
const OUTPUTS_MAX: usize = 1000;
const CHUNK: usize = 64 << 10;

/// A run's folder; removed when dropped.
pub(super) struct Scratch {
    path: PathBuf,
}

/// An output as a process names it: one of `path`, `text` and `base64`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    path: Option<PathBuf>,
    text: Option<String>,
    base64: Option<String>,
    name: Option<String>,
    kind: Option<String>,
    media_type: Option<String>,
}

impl Scratch {
    pub fn make(root: &Path, run: &str) -> Result<Self, Failure> {
        let path = root.join(run);
        std::fs::create_dir_all(&path).map_err(|error| {
            let reason = match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Reason::DiskSpaceFull,
                _ => Reason::ConfigError,
            };
            Failure::of_host(reason, format!("no folder could be made for the engine's files: {}", error.kind()))
        })?;
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Stores them all, in their order.
    pub async fn store(&self, outputs: &[Named], store: &Arc<dyn OutputStore>) -> Result<Vec<StoredOutput>, Failure> {
        if outputs.len() > OUTPUTS_MAX {
            return Err(wrong(format!("the engine names {} outputs; {OUTPUTS_MAX} are allowed", outputs.len())));
        }
        let mut stored = Vec::with_capacity(outputs.len());
        for output in outputs {
            stored.push(self.store_one(output, store).await?);
        }
        Ok(stored)
    }

    async fn store_one(&self, output: &Named, store: &Arc<dyn OutputStore>) -> Result<StoredOutput, Failure> {
        let kind = output.kind.as_deref().unwrap_or("files");
        let claim = output.media_type.as_deref();
        let inline = match (&output.path, &output.text, &output.base64) {
            (Some(path), None, None) => {
                let inside = inside(&self.path, path).ok_or_else(|| outside(path))?;
                let (folder, of) = (self.path.clone(), inside.clone());
                // A file system that hangs must not hold up the one thread.
                let opened = tokio::task::spawn_blocking(move || open_inside(&folder, &of)).await;
                let (file, length) = match opened {
                    Ok(Ok(opened)) => opened,
                    Ok(Err(why)) => return Err(why.failure(path)),
                    Err(_) => return Err(Failure::new(Reason::InternalError, "an output could not be opened")),
                };
                let name = output.name.clone().or_else(|| Some(inside.file_name()?.to_string_lossy().into_owned()));
                let name = name.unwrap_or_else(|| "output".to_owned());
                return stream(file, length, store.create(&name, kind, claim).await?).await;
            }
            (None, Some(text), None) => text.clone().into_bytes(),
            (None, None, Some(text)) => {
                STANDARD.decode(text).map_err(|_| wrong("an output of the engine is not base64".to_owned()))?
            }
            _ => return Err(wrong("an output needs one of `path`, `text` and `base64`".to_owned())),
        };
        let fallback = if output.text.is_some() { "output.txt" } else { "output" };
        let mut writer = store.create(output.name.as_deref().unwrap_or(fallback), kind, claim).await?;
        writer.write(inline.into()).await?;
        writer.finish().await
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Removing follows no links.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn wrong(said: String) -> Failure {
    Failure::new(Reason::InvalidResponseFormat, said)
}

fn outside(path: &Path) -> Failure {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    wrong(format!("the engine names the output `{name}` outside of its run's folder"))
}

/// The path below the folder: plain names alone.
fn inside(folder: &Path, path: &Path) -> Option<PathBuf> {
    let relative = if path.is_absolute() { path.strip_prefix(folder).ok()? } else { path };
    let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
    (plain && relative.components().next().is_some()).then(|| relative.to_owned())
}

enum Closed {
    Missing,
    Link,
    NoFile,
    Other(io::Error),
}

impl Closed {
    fn failure(self, path: &Path) -> Failure {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match self {
            Self::Missing => {
                let said = format!("the engine names the output `{name}`, but has not written it");
                Failure::new(Reason::MissingExpectedData, said)
            }
            Self::Link => wrong(format!("the output `{name}` is, or lies behind, a symbolic link")),
            Self::NoFile => wrong(format!("the output `{name}` is no regular file")),
            Self::Other(error) => {
                let said = format!("the output `{name}` cannot be read: {}", error.kind());
                Failure::new(Reason::CorruptedData, said)
            }
        }
    }
}

impl From<rustix::io::Errno> for Closed {
    fn from(error: rustix::io::Errno) -> Self {
        match error {
            rustix::io::Errno::NOENT => Self::Missing,
            rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR => Self::Link,
            other => Self::Other(other.into()),
        }
    }
}

/// Name by name, so that no link is followed at any of them; never waits for the other end of a named pipe.
fn open_inside(folder: &Path, inside: &Path) -> Result<(File, u64), Closed> {
    let step = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = open(folder, step | OFlags::DIRECTORY, Mode::empty())?;
    if let Some(parents) = inside.parent() {
        for parent in parents {
            at = openat(&at, parent, step | OFlags::DIRECTORY, Mode::empty())?;
        }
    }
    let name = inside.file_name().unwrap_or_default();
    let file = openat(&at, name, step | OFlags::NONBLOCK, Mode::empty())?;
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Closed::NoFile);
    }
    let length = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    Ok((File::from(file), length))
}

async fn stream(
    file: File,
    length: u64,
    mut to: Box<dyn crate::contract::OutputWriter>,
) -> Result<StoredOutput, Failure> {
    to.expect_bytes(length).await?;
    // Exactly what was there when it was named: a file that still grows is not finished.
    let mut from = tokio::fs::File::from_std(file).take(length + 1);
    let (mut chunk, mut copied) = (vec![0; CHUNK], 0);
    loop {
        let read = from.read(&mut chunk).await.map_err(|error| {
            Failure::of_host(Reason::CorruptedData, format!("an output of the engine cannot be read: {}", error.kind()))
        })?;
        if read == 0 {
            break;
        }
        copied += read as u64;
        to.write(Bytes::copy_from_slice(&chunk[..read])).await?;
    }
    if copied != length {
        return Err(Failure::new(Reason::CorruptedData, "an output changed its length while it was stored"));
    }
    to.finish().await
}
