//! One output on its way into a bucket: hashed, cut into parts, stored whole or not at all.
//! In: pieces. Out: what was stored, after the store has confirmed it; or nothing, and nothing left behind.
//!
//! ```text
//!   first part fills ──▶ multipart begun ──▶ parts, two at a time ──▶ completed ──▶ its length asked for ──▶ stored
//!   ended before     ──▶ one request ───────────────────────────────────────────────▶┘
//!   failed, dropped, stopped ──▶ parts in flight end ──▶ aborted, tried for a while
//! ```

use super::passed::Passed;
use super::refusal::Whose;
use super::transfer::{Transfer, stopped};
use super::wire::{Ear, Patience};
use bytes::{Bytes, BytesMut};
use connectors::failure::Failure;
use object_store::path::Path;
use object_store::{Attribute, Attributes, ObjectStore};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Length of a part. All are equal, as some stores insist; 10,000 of them make the largest output, 48 GiB.
pub const PART: usize = 5 << 20;

/// What a writer sends.
pub enum Piece {
    /// More bytes.
    Bytes(Bytes),
    /// There are no more.
    End,
}

/// What was stored.
#[derive(Debug)]
pub struct Stored {
    pub bytes: u64,
    pub sha256: String,
    pub media_type: String,
}

/// Where an output goes.
pub struct Target {
    pub store: Arc<dyn ObjectStore>,
    pub ear: Ear,
    pub key: Path,
    pub whose: Whose,
    pub patience: Patience,
    /// For its media type.
    pub name: String,
    /// What the engine says that it is.
    pub claimed: Option<String>,
    /// The key is this attempt's alone.
    pub is_exclusive: bool,
}

/// Takes pieces until their end, and answers. Whoever drops the other end of `answer` gets no object, unless the key is
/// not this attempt's alone.
///
/// # Errors
/// What has been begun could not be cleaned away.
pub async fn upload(
    target: Target,
    pieces: mpsc::Receiver<Piece>,
    answer: oneshot::Sender<Result<Stored, Failure>>,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let mut upload = Upload::new(&target, &stop);
    let ended = upload.run(pieces).await;
    let is_stored = ended.is_ok();
    // The job need not wait for the broom.
    let is_heard = answer.send(ended).is_ok();
    if is_stored && is_heard { Ok(()) } else { upload.transfer.clean().await }
}

struct Upload<'a> {
    target: &'a Target,
    stop: &'a CancellationToken,
    transfer: Transfer<'a>,
    part: BytesMut,
    passed: Passed,
}

impl<'a> Upload<'a> {
    fn new(target: &'a Target, stop: &'a CancellationToken) -> Self {
        let transfer = Transfer::new(target, stop);
        Self { target, stop, transfer, part: BytesMut::new(), passed: Passed::default() }
    }

    async fn run(&mut self, mut pieces: mpsc::Receiver<Piece>) -> Result<Stored, Failure> {
        loop {
            match unless(self.stop, pieces.recv()).await? {
                Some(Piece::Bytes(chunk)) => self.take(&chunk).await?,
                Some(Piece::End) => return self.finish().await,
                None => return Err(stopped()),
            }
        }
    }

    async fn take(&mut self, mut chunk: &[u8]) -> Result<(), Failure> {
        self.passed.take(chunk);
        while !chunk.is_empty() {
            if self.part.is_empty() {
                // A part that grows as it fills would lie about twice, and what is not written to costs nothing.
                self.part = BytesMut::with_capacity(PART);
            }
            let (fits, rest) = chunk.split_at(chunk.len().min(PART - self.part.len()));
            self.part.extend_from_slice(fits);
            chunk = rest;
            if self.part.len() == PART {
                self.send_part().await?;
            }
        }
        Ok(())
    }

    fn attributes(&self) -> Attributes {
        [(Attribute::ContentType, self.media_type())].into_iter().collect()
    }

    fn media_type(&self) -> String {
        self.passed.media_type(self.target.claimed.as_deref(), &self.target.name)
    }

    async fn send_part(&mut self) -> Result<(), Failure> {
        let (part, attributes) = (std::mem::take(&mut self.part).freeze(), self.attributes());
        self.transfer.part(part, attributes).await
    }

    async fn finish(&mut self) -> Result<Stored, Failure> {
        if self.transfer.is_begun() {
            if !self.part.is_empty() {
                self.send_part().await?;
            }
            self.transfer.complete(self.passed.bytes()).await?;
        } else {
            let (all, attributes) = (std::mem::take(&mut self.part).freeze(), self.attributes());
            self.transfer.put(all, attributes).await?;
        }
        self.transfer.confirm(self.passed.bytes()).await?;
        Ok(Stored { bytes: self.passed.bytes(), sha256: self.passed.sha256(), media_type: self.media_type() })
    }
}

async fn unless<T>(stop: &CancellationToken, wait: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(stopped()),
        done = wait => Ok(done),
    }
}
