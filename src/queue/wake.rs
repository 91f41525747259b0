//! Waiting for work: an idle worker blocks on the tokens of its classes, on a connection of its own.
//! In: the classes that fit. Out: a reason to look again, at the latest after the poll interval.
//!
//! A token is popped by the server even when the waiter has gone; whoever gets one and does not claim puts it back.

use super::link::{Dedicated, Link};
use crate::protocol::Space;
use failpoints::{Point, reach};
use redis::RedisResult;
use std::collections::BTreeSet;
use std::time::Duration;

/// Why a wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Woken {
    /// A job of this class became claimable.
    Class(String),
    /// This worker was called itself: its list of classes has changed.
    Called,
    /// A job came to a class whose tokens this worker does not wait for.
    Newcomer,
    /// Nothing came.
    TimedOut,
}

/// One worker's wait.
pub struct Waiter {
    worker: String,
    connection: Option<Dedicated>,
    /// Redis may believe that the last one still waits.
    is_haunted: bool,
}

impl Waiter {
    /// A waiter for this worker.
    pub fn new(worker: &str) -> Self {
        Self { worker: worker.to_owned(), connection: None, is_haunted: false }
    }

    /// Blocks until something happens. Must not be dropped while it waits: the token that it gets would be lost.
    /// `stands_by`: the last claim told of classes whose jobs avoid it.
    pub async fn wait(
        &mut self,
        link: &Link,
        space: &Space,
        classes: &BTreeSet<String>,
        stands_by: bool,
        longest: Duration,
    ) -> RedisResult<Woken> {
        if std::mem::take(&mut self.is_haunted) {
            // A dead wait would be given the next token. This one goes to it; without it, to the wait below.
            let _ = call(link, space, &self.worker).await;
        }
        let own = wake_key(space, &self.worker);
        let newcomers = space.key("jobs:wake:bystander:") + &self.worker;
        let mut command = redis::cmd("BLPOP");
        command.arg(&own);
        if stands_by {
            command.arg(&newcomers);
        }
        for class in classes {
            command.arg(space.key("jobs:wake:") + class);
        }
        command.arg(format!("{:.3}", longest.as_secs_f64().max(0.001)));
        // The server answers by then; a connection that does not is dead.
        let deadline = longest + Duration::from_secs(2);
        let answer: RedisResult<Option<(String, String)>> =
            link.blocking(&mut self.connection, deadline, async |con| command.query_async(con).await).await;
        self.is_haunted = answer.is_err();
        Ok(match answer? {
            None => Woken::TimedOut,
            Some((key, _)) if key == own => Woken::Called,
            Some((key, _)) if key == newcomers => Woken::Newcomer,
            Some((_, class)) => {
                reach(Point::TokenTaken);
                Woken::Class(class)
            }
        })
    }
}

fn wake_key(space: &Space, worker: &str) -> String {
    space.key("jobs:wake:worker:") + worker
}

/// Wakes a worker that waits, so that it waits anew with its present list of classes.
pub async fn call(link: &Link, space: &Space, worker: &str) -> RedisResult<()> {
    push_token(link, wake_key(space, worker), worker).await
}

/// Puts a class's token back for somebody else.
pub async fn put_back(link: &Link, space: &Space, class: &str) -> RedisResult<()> {
    push_token(link, space.key("jobs:wake:") + class, class).await?;
    reach(Point::TokenPutBack);
    Ok(())
}

async fn push_token(link: &Link, key: String, value: &str) -> RedisResult<()> {
    link.call(async |con| {
        let length: u64 = redis::cmd("LLEN").arg(&key).query_async(con).await?;
        if length > 0 {
            return Ok(());
        }
        redis::pipe().cmd("RPUSH").arg(&key).arg(value).cmd("EXPIRE").arg(&key).arg(60).exec_async(con).await
    })
    .await
}
