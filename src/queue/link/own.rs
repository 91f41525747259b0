//! Connections of one caller's own: for commands that block, and for channels.
//! In: where the shared connection leads. Out: connections that are given up together with it.

use super::dial::dial;
use super::failure::{breaks_connection, timed_out};
use super::route::CONNECT_DEADLINE;
use super::{CALL_DEADLINE, Link};
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Client, RedisResult};
use std::future::Future;
use std::time::Duration;

/// Answers beyond this many bytes do not share a connection with others.
const LARGE: u64 = 256 << 10;
/// Bytes a second that a way to Redis must carry.
const SLOWEST: u64 = 64 << 10;

/// A connection of one caller's own, for commands that block.
pub struct Dedicated {
    con: MultiplexedConnection,
    generation: u64,
}

impl Link {
    /// Returns once the shared connection is another than this one.
    pub async fn left(&self, generation: u64) {
        let mut now = self.generation.subscribe();
        // The sender lives as long as the link.
        let _ = now.wait_for(|now| *now != generation).await;
    }

    /// Opens a further connection to where the shared one leads.
    async fn beside<T, F: Future<Output = RedisResult<T>>>(&self, open: impl Fn(Client) -> F) -> RedisResult<(T, u64)> {
        let shared = self.connection().await?;
        match dial(|| open(shared.client.clone())).await {
            Ok(con) => Ok((con, shared.generation)),
            Err(error) => {
                if breaks_connection(&error) {
                    self.close(shared.generation, &error);
                }
                Err(error)
            }
        }
    }

    async fn without_deadline(&self) -> RedisResult<(MultiplexedConnection, u64)> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_DEADLINE)).set_response_timeout(None);
        self.beside(async |client| client.get_multiplexed_async_connection_with_config(&config).await).await
    }

    /// A connection of the caller's own, without a deadline on answers.
    pub async fn dedicated(&self) -> RedisResult<MultiplexedConnection> {
        self.without_deadline().await.map(|(con, _)| con)
    }

    /// Calls Redis for an answer of about this size. A large one comes over a connection of its own, so that leases do
    /// not wait behind it, and has time by its size.
    pub async fn call_for<T>(
        &self,
        bytes: u64,
        run: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        if bytes <= LARGE {
            return self.call(run).await;
        }
        let mut con = self.dedicated().await?;
        let allowed = CALL_DEADLINE + Duration::from_secs(bytes / SLOWEST);
        tokio::time::timeout(allowed, run(&mut con)).await.unwrap_or_else(|_| Err(timed_out()))
    }

    /// Runs a command that blocks, on a connection of the caller's own, for at most so long. Ends with an error as soon as
    /// the link has left that server: the next call opens another connection.
    pub async fn blocking<T>(
        &self,
        own: &mut Option<Dedicated>,
        deadline: Duration,
        run: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let mut dedicated = match own.take() {
            Some(dedicated) if dedicated.generation == *self.generation.borrow() => dedicated,
            _ => {
                let (con, generation) = self.without_deadline().await?;
                Dedicated { con, generation }
            }
        };
        let result = tokio::select! {
            biased;
            result = tokio::time::timeout(deadline, run(&mut dedicated.con)) => result.unwrap_or_else(|_| Err(timed_out())),
            () = self.left(dedicated.generation) => Err(timed_out()),
        };
        if result.is_ok() {
            *own = Some(dedicated);
        }
        result
    }

    /// A connection that listens to channels, and the number that [`Link::left`] knows it by.
    pub async fn listener(&self) -> RedisResult<(PubSub, u64)> {
        self.beside(async |client| client.get_async_pubsub().await).await
    }
}
