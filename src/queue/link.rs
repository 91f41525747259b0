//! The connection to Redis: opened when needed, dropped when broken, each call with a deadline.
//! In: calls. Out: their answers; an outage is told once when it begins and once when it ends.
//!
//! ```text
//!   none ──connect──▶ open ──call fails by the connection──▶ none
//!    ▲                  │
//!    └──connect fails── ┘ (next call tries again; callers that must get through use [`persist`])
//! ```

use crate::telemetry::{Notice, tell};
use redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, RedisError, RedisResult};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
const CALL_DEADLINE: Duration = Duration::from_secs(10);
const REFUSALS_TOLD_EVERY: Duration = Duration::from_secs(60);
/// Redis has fewer codes; scripts may invent more.
const REFUSALS_MAX: usize = 50;
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// One process's way to Redis.
pub struct Link {
    client: Client,
    state: Mutex<State>,
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    open: Option<MultiplexedConnection>,
    /// Told apart from connections opened later, so that a late error does not close a fresh one.
    generation: u64,
    lost_since: Option<Instant>,
    /// When each kind of refusal was told last.
    refused: BTreeMap<String, Instant>,
}

impl Link {
    /// A link that opens at its first call.
    pub fn new(url: &str) -> RedisResult<Self> {
        let mut info = url.into_connection_info()?;
        // Calls of several tasks share one connection: none may wait until the answer to the one before is acknowledged.
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        info = info.set_tcp_settings(tcp);
        Ok(Self { client: Client::open(info)?, state: Mutex::default(), connecting: tokio::sync::Mutex::default() })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn current(&self) -> Option<(MultiplexedConnection, u64)> {
        let state = self.state();
        state.open.clone().map(|con| (con, state.generation))
    }

    async fn connection(&self) -> RedisResult<(MultiplexedConnection, u64)> {
        if let Some(found) = self.current() {
            return Ok(found);
        }
        let _one_at_a_time = self.connecting.lock().await;
        if let Some(found) = self.current() {
            return Ok(found);
        }
        match self.open(Some(CALL_DEADLINE)).await {
            Ok(con) => {
                let mut state = self.state();
                state.generation += 1;
                state.open = Some(con.clone());
                let back = state.lost_since.take().map(|since| since.elapsed());
                let generation = state.generation;
                drop(state);
                if let Some(after) = back {
                    tell(Notice::RedisBack { after });
                }
                Ok((con, generation))
            }
            Err(error) => {
                self.note_loss(&error);
                Err(error)
            }
        }
    }

    fn note_loss(&self, error: &RedisError) {
        let first = {
            let mut state = self.state();
            let first = state.lost_since.is_none();
            state.lost_since.get_or_insert_with(Instant::now);
            first
        };
        if first {
            tell(Notice::RedisLost { error: error.to_string() });
        }
    }

    /// Calls Redis once. A broken connection is dropped, so that the next call opens a new one.
    pub async fn call<T>(&self, run: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>) -> RedisResult<T> {
        let (mut con, generation) = self.connection().await?;
        let result = run(&mut con).await;
        match &result {
            Err(error) if breaks_connection(error) => {
                let mut state = self.state();
                if state.generation == generation {
                    state.open = None;
                }
                drop(state);
                self.note_loss(error);
            }
            Err(error) if error.code() == Some("LOADING") => {}
            Err(error) => self.note_refusal(error),
            Ok(_) => {}
        }
        result
    }

    /// Callers try again, so without this an agent that may do nothing would say nothing.
    fn note_refusal(&self, error: &RedisError) {
        let refusal = error.code().unwrap_or("no code").to_owned();
        let mut state = self.state();
        let fresh = state.refused.get(&refusal).is_some_and(|at| at.elapsed() < REFUSALS_TOLD_EVERY);
        if !fresh && state.refused.len() < REFUSALS_MAX {
            state.refused.insert(refusal, Instant::now());
            drop(state);
            tell(Notice::RedisRefuses { error: error.to_string() });
        }
    }

    async fn open(&self, response_deadline: Option<Duration>) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_DEADLINE))
            .set_response_timeout(response_deadline);
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// A connection of the caller's own, without a deadline on answers: for blocking commands.
    pub async fn dedicated(&self) -> RedisResult<MultiplexedConnection> {
        self.open(None).await
    }

    /// A connection that listens to channels.
    pub async fn listener(&self) -> RedisResult<PubSub> {
        match tokio::time::timeout(CONNECT_DEADLINE, self.client.get_async_pubsub()).await {
            Ok(result) => result,
            Err(_) => Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))),
        }
    }
}

/// The connection is of no more use.
fn breaks_connection(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.is_unrecoverable_error()
        // The master has become a replica: its name may lead to the new one by now.
        || error.code() == Some("READONLY")
}

/// Redis may well answer later: worth repeating.
pub fn is_passing(error: &RedisError) -> bool {
    // Redis before 7 wraps what a script ran into: `ERR Error running script ...: -MISCONF ...`.
    let wrapped = |code: &&str| error.detail().is_some_and(|text| text.contains(&format!("-{code} ")));
    breaks_connection(error) || PASSING.iter().any(|code| error.code() == Some(code) || wrapped(code))
}

/// What an operator or time mends: restarting, failing over, out of memory or disk, replicas missing, rights changed.
const PASSING: [&str; 12] = [
    "LOADING",
    "BUSY",
    "READONLY",
    "MASTERDOWN",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "OOM",
    "MISCONF",
    "NOREPLICAS",
    "NOAUTH",
    "WRONGPASS",
    "NOPERM",
];

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

/// Asks whether the server answers at all.
pub async fn ping(con: &mut impl ConnectionLike) -> RedisResult<()> {
    redis::cmd("PING").query_async(con).await
}
