//! The sweeper: one agent at a time walks the queue for jobs that hints and claims missed.
//! In: the queue as foreign programs left it. Out: every waiting job indexed, stale entries gone.

use super::index::{PAGE, index};
use super::link::{Link, unless};
use crate::protocol::Space;
use failpoints::{Point, reach};
use futures_util::StreamExt;
use redis::RedisResult;
use redis::aio::PubSub;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Shortest time from the start of one round to the next; a long round is followed by a longer rest.
const ROUND: Duration = Duration::from_secs(1);
/// How often an agent that does not sweep asks whether it is to.
const TURN: Duration = Duration::from_secs(5);
/// The sweeper's lock, so that one agent of a pool sweeps.
const LOCK_MS: u64 = 10_000;
/// At most this share of the time is spent sweeping.
const SHARE: u32 = 20;

/// Sweeps until told to stop, whenever this process has the lock.
pub async fn keep(link: &Link, space: &Space, who: &str, beat: impl Fn(), stop: CancellationToken) {
    let mut listener = None;
    loop {
        beat();
        let locked = lock(link, space, who).await;
        if !locked.as_ref().is_ok_and(|locked| *locked) {
            listener = None;
            // Redis may be back at once.
            let pause = if locked.is_ok() { TURN } else { ROUND };
            if unless(&stop, tokio::time::sleep(pause)).await.is_none() {
                return;
            }
            continue;
        }
        reach(Point::SweepLocked);
        let began = Instant::now();
        let round = async {
            round(link, space, who, &beat).await;
            tokio::time::sleep(ROUND.saturating_sub(began.elapsed())).await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = round => {}
            () = heed_hints(link, space, &mut listener) => {}
        }
    }
}

async fn round(link: &Link, space: &Space, who: &str, beat: &impl Fn()) {
    let mut cursor = Some(String::new());
    while let Some(at) = cursor {
        let began = Instant::now();
        let Ok((next, indexed)) = page(link, space, &at).await else { return };
        cursor = next;
        beat();
        // A page full of news is worked through at once; an idle walk stays in the background.
        if indexed < PAGE {
            tokio::time::sleep(began.elapsed() * SHARE).await;
        }
        if !lock(link, space, who).await.unwrap_or(false) {
            return;
        }
    }
}

/// Foreign producers say when they have added a job. Returns only if the connection breaks for good.
async fn heed_hints(link: &Link, space: &Space, listener: &mut Option<(PubSub, u64)>) {
    loop {
        if listener.is_none() {
            match subscribed(link, space).await {
                Ok(fresh) => *listener = Some(fresh),
                Err(_) => tokio::time::sleep(ROUND).await,
            }
        }
        if let Some((heard, generation)) = listener {
            let mut messages = heard.on_message();
            while let Some(message) = next_while(link.left(*generation), messages.next()).await {
                if let Some(id) = job_id(message.get_payload_bytes())
                    && !is_indexed(link, space, &id).await
                {
                    // What cannot be indexed now is met again by the next round.
                    let _ = index(link, space, &[id.into_bytes()]).await;
                }
            }
        }
        *listener = None;
    }
}

/// The next message, or `None` once Redis is somewhere else.
async fn next_while<T>(left: impl Future<Output = ()>, next: impl Future<Output = Option<T>>) -> Option<T> {
    tokio::select! {
        next = next => next,
        () = left => None,
    }
}

async fn subscribed(link: &Link, space: &Space) -> RedisResult<(PubSub, u64)> {
    let (mut listener, generation) = link.listener().await?;
    listener.subscribe(space.key("job_submitted")).await?;
    Ok((listener, generation))
}

#[derive(serde::Deserialize)]
struct Submitted {
    job_id: String,
}

fn job_id(message: &[u8]) -> Option<String> {
    serde_json::from_slice::<Submitted>(message).ok().map(|hint| hint.job_id)
}

/// Our own submissions are: they need no second look.
async fn is_indexed(link: &Link, space: &Space, id: &str) -> bool {
    let key = space.key("job:") + id;
    let seen: RedisResult<(Option<String>, Option<String>)> =
        link.call(async |con| redis::cmd("HMGET").arg(&key).arg("life").arg("created_at").query_async(con).await).await;
    seen.is_ok_and(|(life, created_at)| life.is_some_and(|life| life == created_at.unwrap_or_default()))
}

/// Walks one page; answers where to go on and how many jobs were settled.
pub async fn page(link: &Link, space: &Space, cursor: &str) -> RedisResult<(Option<String>, usize)> {
    let page = link.call(async |con| space.sweep(con, cursor, PAGE as u64).await).await?;
    let indexed = index(link, space, &page.unindexed).await?;
    Ok((page.next, indexed.settled))
}

async fn lock(link: &Link, space: &Space, who: &str) -> RedisResult<bool> {
    let key = space.key("jobs:sweep");
    link.call(async |con| {
        let taken: Option<String> =
            redis::cmd("SET").arg(&key).arg(who).arg("NX").arg("PX").arg(LOCK_MS).query_async(con).await?;
        if taken.is_some() {
            return Ok(true);
        }
        let holder: Option<String> = redis::cmd("GET").arg(&key).query_async(con).await?;
        if holder.as_deref() != Some(who) {
            return Ok(false);
        }
        redis::cmd("PEXPIRE").arg(&key).arg(LOCK_MS).exec_async(con).await?;
        Ok(true)
    })
    .await
}
