//! Giving GPU memory back, and waiting for it: a prompt that is sent at once would run before the memory is free.
//! In: an idle server. Out: asked, and as far as can be seen done.

use super::api::Api;
use super::http::Trouble;
use super::settings::Timing;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{sleep, timeout};

const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The server carries it out when it is idle and never says that it has: more free memory is the only sign. A server
/// that had freed everything by itself shows none, so the wait is short.
pub(super) async fn free(api: &Api, timing: &Timing) -> Result<(), Trouble> {
    let before = free_bytes(api, timing).await;
    api.free().await?;
    let Some(before) = before else { return Ok(()) };
    let more = async {
        while free_bytes(api, timing).await.is_some_and(|now| now <= before) {
            sleep(LOOK_AGAIN).await;
        }
    };
    let _ = timeout(timing.free, more).await;
    Ok(())
}

async fn free_bytes(api: &Api, timing: &Timing) -> Option<u64> {
    let answer = api.http.get(&["system_stats"], timing.probe).await.ok()?.success().ok()?;
    answer.json::<Value>().ok()?.pointer("/devices/0/vram_free")?.as_u64()
}
