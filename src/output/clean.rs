//! Cleaning away what an upload that came to nothing has left in its bucket.
//! In: an object, or an upload that was begun. Out: nothing of it, tried for a while.

use super::refusal::Trouble;
use super::upload::Target;
use connectors::failure::Failure;
use object_store::{MultipartUpload, ObjectStoreExt};
use std::time::{Duration, Instant};

/// What is to be cleaned away.
pub enum Left {
    /// The object itself.
    Object,
    /// The parts of an upload that was begun.
    Parts {
        /// The upload.
        upload: Box<dyn MultipartUpload>,
        /// Parts were cut off on their way: some may arrive behind the abort, which is then repeated once.
        cut_off: bool,
    },
}

/// Tries until it is gone, or too much time has passed.
///
/// # Errors
/// It is still there, and why.
pub async fn remove(target: &Target, mut left: Left) -> Result<(), Failure> {
    let began = Instant::now();
    let mut pause = target.patience.pause;
    loop {
        let removed = match &mut left {
            Left::Object => target.store.delete(&target.key).await,
            Left::Parts { upload, .. } => upload.abort().await,
        };
        match removed {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {
                let again = matches!(&left, Left::Parts { cut_off: true, .. });
                if !again {
                    return Ok(());
                }
                if let Left::Parts { cut_off, .. } = &mut left {
                    *cut_off = false;
                }
                tokio::time::sleep(target.patience.last_parts).await;
                continue;
            }
            Err(error) => {
                let refusal = target.ear.take();
                let trouble = refusal.as_ref().map_or_else(|| Trouble::of_connection(&error), |r| Trouble::of(r, true));
                let is_final = matches!(trouble, Trouble::Forbidden | Trouble::Refused | Trouble::Credentials);
                if is_final || began.elapsed() > target.patience.cleaning {
                    let failure = trouble.failure(&target.whose, refusal.as_ref());
                    return Err(Failure { message: format!("{}: {}", target.key, failure.message), ..failure });
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(30));
    }
}
