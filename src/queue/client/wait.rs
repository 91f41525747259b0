//! What a job waits for, as Redis has it.
//! In: an id, its class. Out: the class's definition, when it is due, the server's clock.

use crate::protocol::Space;
use crate::queue::link::Link;
use redis::RedisResult;

/// Where a job stands in the queue.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// What its class asks for; `None`: it has none yet, or one that has just gone.
    pub definition: Option<String>,
    /// It is not due before this time, in ms since 1970.
    pub due_ms: Option<u64>,
    /// The server's clock, in ms since 1970.
    pub now_ms: u64,
}

/// Looks where a job of this class stands.
pub async fn standing(link: &Link, space: &Space, id: &str, class: &str) -> RedisResult<Standing> {
    link.call(async |con| {
        let mut pipe = redis::pipe();
        pipe.cmd("HGET").arg(space.key("jobs:classes")).arg(class);
        pipe.cmd("ZSCORE").arg(space.key("jobs:delayed")).arg(id).cmd("TIME");
        let (definition, due, (seconds, micros)): (Option<String>, Option<f64>, (u64, u64)) =
            pipe.query_async(con).await?;
        let due_ms = due.map(|due| due.max(0.0) as u64);
        Ok(Standing { definition, due_ms, now_ms: seconds * 1000 + micros / 1000 })
    })
    .await
}
