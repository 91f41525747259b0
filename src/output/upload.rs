//! One output on its way into a bucket: hashed, cut into parts, stored whole or not at all.
//! In: pieces. Out: what was stored, after the store has confirmed it; or nothing, and nothing left behind.
//!
//! ```text
//!   first part fills ──▶ multipart begun ──▶ parts, two at a time ──▶ completed ──▶ its length asked for ──▶ stored
//!   ended before     ──▶ one request ───────────────────────────────────────────────▶┘
//!   failed, dropped, stopped ──▶ parts in flight end ──▶ aborted, tried for a while
//! ```

use super::clean::{Left, remove};
use super::media_type;
use super::refusal::{Trouble, Whose};
use super::wire::{Ear, Patience};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use connectors::failure::Failure;
use http::StatusCode;
use object_store::path::Path;
use object_store::retry::{RetryContext, RetryFailure, RetryPolicy};
use object_store::{Attribute, Attributes, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Length of a part. All are equal, as some stores insist; 10,000 of them make the largest output, 48 GiB.
pub const PART: usize = 5 << 20;
const MOST_PARTS: usize = 10_000;
/// Parts on their way at once. With the one that fills, 15 MiB is what an output takes.
const IN_FLIGHT: usize = 2;
/// How often a request is repeated whose body may have been damaged on its way.
const DAMAGED_AGAIN: usize = 2;

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

/// Takes pieces until their end, and answers. Whoever drops the other end of `answer` gets no object.
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
    match upload.run(pieces).await {
        Ok(stored) => match answer.send(Ok(stored)) {
            Ok(()) => Ok(()),
            Err(_) => remove(&target, Left::Object).await,
        },
        Err(failure) => {
            // The job need not wait for the broom.
            let _ = answer.send(Err(failure));
            upload.clean().await
        }
    }
}

struct Begun {
    upload: Box<dyn object_store::MultipartUpload>,
    parts: JoinSet<object_store::Result<()>>,
    count: usize,
}

struct Upload<'a> {
    target: &'a Target,
    stop: &'a CancellationToken,
    part: BytesMut,
    begun: Option<Begun>,
    head: Vec<u8>,
    bytes: u64,
    hash: Sha256,
    was_accepted: bool,
    may_be_there: bool,
}

impl<'a> Upload<'a> {
    fn new(target: &'a Target, stop: &'a CancellationToken) -> Self {
        Self {
            target,
            stop,
            part: BytesMut::new(),
            begun: None,
            head: Vec::new(),
            bytes: 0,
            hash: Sha256::new(),
            was_accepted: false,
            may_be_there: false,
        }
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
        let room = media_type::HEAD - self.head.len().min(media_type::HEAD);
        self.head.extend_from_slice(&chunk[..chunk.len().min(room)]);
        self.hash.update(chunk);
        self.bytes += chunk.len() as u64;
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
        media_type::of(&self.head, self.target.claimed.as_deref(), &self.target.name)
    }

    async fn send_part(&mut self) -> Result<(), Failure> {
        let payload = PutPayload::from(std::mem::take(&mut self.part).freeze());
        if self.begun.is_none() {
            let options = PutMultipartOptions { attributes: self.attributes(), ..Default::default() };
            let options = options.with_retry_policy(Arc::new(AgainIfDamaged));
            // Not given up half-way: what has been begun must be known, or it could not be aborted.
            let upload = self.target.store.put_multipart_opts(&self.target.key, options).await;
            let upload = upload.map_err(|error| self.failed(&error))?;
            self.was_accepted = true;
            self.begun = Some(Begun { upload, parts: JoinSet::new(), count: 0 });
        }
        self.wait_for_parts(IN_FLIGHT - 1).await?;
        let Some(begun) = &mut self.begun else { return Ok(()) };
        begun.count += 1;
        if begun.count > MOST_PARTS {
            return Err(Trouble::TooLarge.failure(&self.target.whose, None));
        }
        begun.parts.spawn(begun.upload.put_part(payload));
        Ok(())
    }

    /// Until no more than so many parts are on their way.
    async fn wait_for_parts(&mut self, most: usize) -> Result<(), Failure> {
        let stop = self.stop;
        loop {
            let Some(begun) = self.begun.as_mut().filter(|begun| begun.parts.len() > most) else { return Ok(()) };
            let ended = tokio::select! {
                biased;
                () = stop.cancelled() => return Err(stopped()),
                ended = begun.parts.join_next() => ended,
            };
            if let Some(Ok(Err(error))) = &ended {
                return Err(self.failed(error));
            }
            if let Some(Err(_crashed)) = ended {
                return Err(Trouble::Refused.failure(&self.target.whose, None));
            }
        }
    }

    async fn finish(&mut self) -> Result<Stored, Failure> {
        if self.begun.is_some() {
            if !self.part.is_empty() {
                self.send_part().await?;
            }
            self.wait_for_parts(0).await?;
            self.complete().await?;
        } else {
            self.put().await?;
        }
        // From here on there is no upload to abort, but an object.
        (self.begun, self.may_be_there) = (None, true);
        self.confirm().await?;
        let sha256 = std::mem::take(&mut self.hash).finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Stored { bytes: self.bytes, sha256, media_type: self.media_type() })
    }

    /// All in one request.
    async fn put(&mut self) -> Result<(), Failure> {
        let payload = PutPayload::from(std::mem::take(&mut self.part).freeze());
        let mut again = 0;
        loop {
            let options = PutOptions { attributes: self.attributes(), ..Default::default() };
            let put = self.target.store.put_opts(&self.target.key, payload.clone(), options);
            tokio::pin!(put);
            let ended = tokio::select! {
                biased;
                ended = &mut put => ended,
                () = self.stop.cancelled() => {
                    // What is on its way arrives after it was given up, and must go again.
                    let ended = tokio::time::timeout(self.target.patience.last_parts, put).await;
                    self.may_be_there = ended.map_or(self.target.is_exclusive, |ended| ended.is_ok());
                    return Err(stopped());
                }
            };
            let Err(error) = ended else {
                self.may_be_there = true;
                return Ok(());
            };
            let failure = self.trouble(&error);
            // A request without an answer may have done its work.
            self.may_be_there = failure.2 && self.target.is_exclusive;
            again += 1;
            if again > DAMAGED_AGAIN || !failure.1 {
                return Err(failure.0);
            }
        }
    }

    async fn complete(&mut self) -> Result<(), Failure> {
        let Some(begun) = &mut self.begun else { return Ok(()) };
        match begun.upload.complete().await {
            Ok(_) => Ok(()),
            Err(error) => {
                let failure = self.failed(&error);
                // Its answer may have been lost: asked again, a store has forgotten the upload and holds the object.
                let held = self.target.store.head(&self.target.key).await;
                let is_there = self.target.is_exclusive && held.is_ok_and(|held| held.size == self.bytes);
                if is_there { Ok(()) } else { Err(failure) }
            }
        }
    }

    /// The store is asked what it holds, if it lets us.
    async fn confirm(&mut self) -> Result<(), Failure> {
        let held = self.target.store.head(&self.target.key).await;
        let _ = self.target.ear.take();
        let is_wrong = match held {
            Ok(held) => held.size != self.bytes,
            Err(object_store::Error::NotFound { .. }) => true,
            // Some may write and not read.
            Err(_) => false,
        };
        if is_wrong { Err(Trouble::Damaged.failure(&self.target.whose, None)) } else { Ok(()) }
    }

    fn failed(&self, error: &object_store::Error) -> Failure {
        self.trouble(error).0
    }

    /// The failure, whether the same request may well go through, and whether it may have done so unheard.
    fn trouble(&self, error: &object_store::Error) -> (Failure, bool, bool) {
        match self.target.ear.take() {
            Some(refusal) => {
                let trouble = Trouble::of(&refusal, self.was_accepted);
                (trouble.failure(&self.target.whose, Some(&refusal)), Trouble::may_be_damage(&refusal.code), false)
            }
            None => (Trouble::of_connection(error).failure(&self.target.whose, None), false, true),
        }
    }

    /// Nothing of what was begun stays.
    async fn clean(&mut self) -> Result<(), Failure> {
        let Some(Begun { upload, mut parts, .. }) = self.begun.take() else {
            return if self.may_be_there { remove(self.target, Left::Object).await } else { Ok(()) };
        };
        let rest = async { while parts.join_next().await.is_some() {} };
        let cut_off = tokio::time::timeout(self.target.patience.last_parts, rest).await.is_err();
        parts.shutdown().await;
        remove(self.target, Left::Parts { upload, cut_off }).await
    }
}

async fn unless<T>(stop: &CancellationToken, wait: impl Future<Output = T>) -> Result<T, Failure> {
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(stopped()),
        done = wait => Ok(done),
    }
}

fn stopped() -> Failure {
    Failure::new(connectors::failure::Reason::InternalError, "the output was given up before it was stored")
}

/// A part whose body was damaged on its way is sent again: the store has taken our credentials before.
#[derive(Debug)]
struct AgainIfDamaged;

#[async_trait]
impl RetryPolicy for AgainIfDamaged {
    async fn retry(&self, context: RetryContext) -> bool {
        let refused = [StatusCode::BAD_REQUEST, StatusCode::FORBIDDEN];
        matches!(context.failure, RetryFailure::Status(status) if refused.contains(&status))
            && context.attempt <= DAMAGED_AGAIN
    }
}
