//! What waits, by class: for whoever shows it, in three round trips however long the queue is.
//! In: nothing. Out: counts, and the classes whose turn comes first with their definitions.

use super::link::Link;
use crate::protocol::Space;
use crate::protocol::order::Order;
use redis::RedisResult;

/// What waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Waiting and due.
    pub due: u64,
    /// Waiting for a time.
    pub delayed: u64,
    /// Of those that are due, without a class yet; `None`: there are more classes than were looked at.
    pub unindexed: Option<u64>,
    /// There are more classes than `classes` has.
    pub truncated: bool,
    /// Those whose turn comes first.
    pub classes: Vec<WaitingClass>,
}

/// Jobs that ask for the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingClass {
    /// The class's id.
    pub id: String,
    /// Its definition; `None`: it has just gone.
    pub definition: Option<String>,
    /// How many wait.
    pub count: u64,
    /// The place of the one that comes first.
    pub first: Option<Order>,
}

/// Looks at the `most` classes whose turn comes first.
///
/// # Errors
/// Redis does not answer, or refuses.
pub async fn look(link: &Link, space: &Space, most: usize) -> RedisResult<Waiting> {
    link.call(async |con| {
        let mut pipe = redis::pipe();
        pipe.cmd("ZCARD").arg(space.key("jobs:pending"));
        pipe.cmd("ZCARD").arg(space.key("jobs:delayed"));
        pipe.cmd("ZCARD").arg(space.key("jobs:heads"));
        pipe.cmd("ZRANGE").arg(space.key("jobs:heads")).arg(0).arg(most.max(1) - 1).arg("WITHSCORES");
        let (due, delayed, all, heads): (u64, u64, u64, Vec<(String, f64)>) = pipe.query_async(con).await?;
        let mut waiting = Waiting { due, delayed, truncated: all > heads.len() as u64, ..Waiting::default() };
        if !heads.is_empty() {
            let mut pipe = redis::pipe();
            pipe.cmd("HMGET").arg(space.key("jobs:classes"));
            for (class, _) in &heads {
                pipe.arg(class);
            }
            let (definitions,): (Vec<Option<String>>,) = pipe.query_async(con).await?;
            let mut pipe = redis::pipe();
            for (class, _) in &heads {
                pipe.cmd("ZCARD").arg(space.key("jobs:class:") + class);
            }
            let counts: Vec<u64> = pipe.query_async(con).await?;
            let class = |(((id, score), definition), count): (((String, f64), _), _)| WaitingClass {
                id,
                definition,
                count,
                first: Order::parse(&format!("{score:.0}")),
            };
            waiting.classes = heads.into_iter().zip(definitions).zip(counts).map(class).collect();
        }
        let indexed: u64 = waiting.classes.iter().map(|class| class.count).sum();
        waiting.unindexed = (!waiting.truncated).then(|| waiting.due.saturating_sub(indexed));
        Ok(waiting)
    })
    .await
}
