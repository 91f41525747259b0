//! The requests of one upload: all in one, or parts that are completed; and what they have left if it came to nothing.
//! In: bodies in their order. Out: an object that the store has confirmed, or why there is none.

use super::clean::{Left, remove};
use super::refusal::Trouble;
use super::upload::Target;
use async_trait::async_trait;
use bytes::Bytes;
use connectors::failure::{Failure, Reason};
use http::StatusCode;
use object_store::retry::{RetryContext, RetryFailure, RetryPolicy};
use object_store::{Attributes, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt};
use object_store::{PutMultipartOptions, PutOptions, PutPayload};
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// As many as S3 takes of one object.
pub const MOST_PARTS: usize = 10_000;
/// Parts on their way at once. With the one that fills, 15 MiB is what an output takes.
const IN_FLIGHT: usize = 2;
/// How often a request is repeated whose body may have been damaged on its way.
const DAMAGED_AGAIN: usize = 2;

/// One output's way into its store.
pub struct Transfer<'a> {
    target: &'a Target,
    stop: &'a CancellationToken,
    begun: Option<Begun>,
    was_accepted: bool,
    may_be_there: bool,
}

struct Begun {
    upload: Box<dyn MultipartUpload>,
    parts: JoinSet<object_store::Result<()>>,
    count: usize,
}

/// A request that failed.
struct Failed {
    failure: Failure,
    /// The same request may well go through.
    may_be_damage: bool,
    /// Without an answer it may have done its work.
    is_unheard: bool,
}

impl<'a> Transfer<'a> {
    /// Nothing is asked yet.
    pub fn new(target: &'a Target, stop: &'a CancellationToken) -> Self {
        Self { target, stop, begun: None, was_accepted: false, may_be_there: false }
    }

    /// Whether there are parts already.
    pub fn is_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// Sends a part, once there is room for it among those on their way.
    pub async fn part(&mut self, body: Bytes, attributes: Attributes) -> Result<(), Failure> {
        if self.begun.is_none() {
            let options = PutMultipartOptions { attributes, ..Default::default() };
            let options = options.with_retry_policy(Arc::new(AgainIfDamaged));
            // Not given up half-way: what has been begun must be known, or it could not be aborted.
            let upload = self.target.store.put_multipart_opts(&self.target.key, options).await;
            let upload = upload.map_err(|error| self.failed(&error).failure)?;
            self.was_accepted = true;
            self.begun = Some(Begun { upload, parts: JoinSet::new(), count: 0 });
        }
        self.wait_for_parts(IN_FLIGHT - 1).await?;
        let Some(begun) = &mut self.begun else { return Ok(()) };
        begun.count += 1;
        if begun.count > MOST_PARTS {
            return Err(Trouble::TooLarge.failure(&self.target.whose, None));
        }
        begun.parts.spawn(begun.upload.put_part(body.into()));
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
                return Err(self.failed(error).failure);
            }
            if let Some(Err(_crashed)) = ended {
                return Err(Trouble::Refused.failure(&self.target.whose, None));
            }
        }
    }

    /// Everything in one request.
    pub async fn put(&mut self, body: Bytes, attributes: Attributes) -> Result<(), Failure> {
        let payload = PutPayload::from(body);
        let mut again = 0;
        loop {
            let options = PutOptions { attributes: attributes.clone(), ..Default::default() };
            let put = self.target.store.put_opts(&self.target.key, payload.clone(), options);
            tokio::pin!(put);
            let ended = tokio::select! {
                biased;
                ended = &mut put => ended,
                () = self.stop.cancelled() => {
                    // What is on its way arrives after it was given up, and must go again.
                    let ended = tokio::time::timeout(self.target.patience.last_parts, put).await;
                    let arrived = |ended: object_store::Result<_>| ended.map_or_else(|e| self.failed(&e).is_unheard, |_| true);
                    self.may_be_there = ended.map_or(true, arrived);
                    return Err(stopped());
                }
            };
            let Err(error) = ended else {
                self.may_be_there = true;
                return Ok(());
            };
            let failed = self.failed(&error);
            self.may_be_there = failed.is_unheard;
            again += 1;
            if again > DAMAGED_AGAIN || !failed.may_be_damage {
                return Err(failed.failure);
            }
        }
    }

    /// Makes an object of the parts.
    pub async fn complete(&mut self, bytes: u64) -> Result<(), Failure> {
        self.wait_for_parts(0).await?;
        let Some(begun) = &mut self.begun else { return Ok(()) };
        if let Err(error) = begun.upload.complete().await {
            let failure = self.failed(&error).failure;
            // Its answer may have been lost: asked again, a store has forgotten the upload and holds the object.
            let held = self.held().await;
            self.may_be_there = !matches!(held, Err(object_store::Error::NotFound { .. }));
            if !(self.target.is_exclusive && held.is_ok_and(|held| held.size == bytes)) {
                return Err(failure);
            }
        }
        // From here on there is no upload to abort, but an object.
        (self.begun, self.may_be_there) = (None, true);
        Ok(())
    }

    /// The store is asked what it holds, if it lets us.
    pub async fn confirm(&mut self, bytes: u64) -> Result<(), Failure> {
        let is_wrong = match self.held().await {
            Ok(held) => held.size != bytes,
            Err(object_store::Error::NotFound { .. }) => true,
            // Some may write and not read.
            Err(_) => false,
        };
        if is_wrong { Err(Trouble::Damaged.failure(&self.target.whose, None)) } else { Ok(()) }
    }

    async fn held(&mut self) -> object_store::Result<ObjectMeta> {
        let held = self.target.store.head(&self.target.key).await;
        // Its no is no reason for anything that fails later.
        let _ = self.target.ear.take();
        held
    }

    fn failed(&self, error: &object_store::Error) -> Failed {
        let whose = &self.target.whose;
        match self.target.ear.take() {
            Some(refusal) => Failed {
                failure: Trouble::of(&refusal, self.was_accepted).failure(whose, Some(&refusal)),
                may_be_damage: Trouble::may_be_damage(&refusal.code),
                is_unheard: false,
            },
            None => Failed {
                failure: Trouble::of_connection(error).failure(whose, None),
                may_be_damage: false,
                is_unheard: true,
            },
        }
    }

    /// Nothing of what was begun stays.
    ///
    /// # Errors
    /// Something does, and why.
    pub async fn clean(self) -> Result<(), Failure> {
        let parts = match self.begun {
            Some(Begun { upload, mut parts, .. }) => {
                let rest = async { while parts.join_next().await.is_some() {} };
                let cut_off = tokio::time::timeout(self.target.patience.last_parts, rest).await.is_err();
                parts.shutdown().await;
                remove(self.target, Left::Parts { upload, cut_off }).await
            }
            None => Ok(()),
        };
        // At a key that other attempts write, too, nobody can tell whose object it is that lies there by now.
        let object = match self.may_be_there && self.target.is_exclusive {
            true => remove(self.target, Left::Object).await,
            false => Ok(()),
        };
        parts.and(object)
    }
}

/// Nobody waits for the output any more.
pub fn stopped() -> Failure {
    Failure::new(Reason::InternalError, "the output was given up before it was stored")
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
