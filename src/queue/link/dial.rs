//! Opening a connection: attempts begin one after the other and go on side by side; the first that is answered is taken.
//! In: a way to open one. Out: an open connection, the server's refusal, or the news that nobody answers.
//!
//! One attempt alone would have to be patient, for a way that is slow, and impatient, for one that was dead a moment ago.

use super::failure::timed_out;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::RedisResult;
use std::future::Future;
use std::time::Duration;
use tokio::time::{Instant, interval_at, sleep};

/// After so long without an answer another attempt begins.
const NEXT: Duration = Duration::from_secs(1);
/// A way this slow is of no use. At most five attempts are under way.
pub(super) const LONGEST: Duration = Duration::from_secs(5);

/// Opens one.
pub(super) async fn dial<T, F: Future<Output = RedisResult<T>>>(attempt: impl Fn() -> F) -> RedisResult<T> {
    let numbered = |number: u32| {
        let opening = attempt();
        async move { (number, opening.await) }
    };
    let mut begun = 1;
    let mut attempts = FuturesUnordered::from_iter([numbered(begun)]);
    let mut next = interval_at(Instant::now() + NEXT, NEXT);
    let given_up = sleep(LONGEST);
    tokio::pin!(given_up);
    loop {
        tokio::select! {
            Some((number, opened)) = attempts.next() => match opened {
                // What the latest attempt meets is how things are; an earlier one may tell of what has passed.
                Err(_) if number < begun => {}
                opened => return opened,
            },
            _ = next.tick() => {
                begun += 1;
                attempts.push(numbered(begun));
            }
            () = &mut given_up => return Err(timed_out()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn refused<T>() -> RedisResult<T> {
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into())
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_is_never_answered_does_not_hold_up_the_next() {
        let begun = Cell::new(0);
        let opened = dial(async || {
            begun.set(begun.get() + 1);
            if begun.get() == 1 { std::future::pending().await } else { Ok(begun.get()) }
        });
        let since = Instant::now();
        assert_eq!(opened.await.unwrap(), 2);
        assert_eq!(since.elapsed(), NEXT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_counts_although_others_were_begun_meanwhile() {
        let begun = Cell::new(0);
        let opened = dial(async || {
            begun.set(begun.get() + 1);
            let mine = begun.get();
            sleep(LONGEST - NEXT / 2).await;
            Ok(mine)
        });
        assert_eq!(opened.await.unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_told_at_once_also_behind_a_silent_attempt() {
        let since = Instant::now();
        assert!(dial(async || refused::<()>()).await.unwrap_err().is_io_error());
        assert_eq!(since.elapsed(), Duration::ZERO);
        let begun = Cell::new(0);
        let opened = dial(async || {
            begun.set(begun.get() + 1);
            if begun.get() == 1 { std::future::pending().await } else { refused::<()>() }
        });
        assert!(!opened.await.unwrap_err().is_timeout());
        assert_eq!(since.elapsed(), NEXT);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_it() {
        let since = Instant::now();
        assert!(dial(std::future::pending::<RedisResult<()>>).await.unwrap_err().is_timeout());
        assert_eq!(since.elapsed(), LONGEST);
    }
}
