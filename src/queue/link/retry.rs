//! Calls that must get through, and calls that end with an order to stop.
//! In: calls that are harmless when repeated. Out: their answers, once Redis gives them.

use super::failure::is_passing;
use redis::RedisResult;
use std::future::Future;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Repeats a call until Redis answers it; `None` if `stop` fires first. For calls that are harmless when repeated.
pub async fn persist<T, F: Future<Output = RedisResult<T>>>(
    stop: &CancellationToken,
    call: impl Fn() -> F,
) -> Option<RedisResult<T>> {
    let mut pause = PAUSE_FIRST;
    loop {
        match call().await {
            Err(error) if is_passing(&error) => {
                unless(stop, tokio::time::sleep(pause)).await?;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            settled => return Some(settled),
        }
    }
}

/// The future's answer, or `None` if `stop` fires first.
pub async fn unless<T>(stop: &CancellationToken, run: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        answer = run => Some(answer),
    }
}
