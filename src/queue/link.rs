//! The connection to Redis: opened when needed, dropped when broken, each call with a deadline.
//! In: calls. Out: their answers; an outage is told once when it begins and once when it ends.
//!
//! ```text
//!   none ──connect──▶ open ──call fails by the connection──▶ none
//!    ▲                  │ └─a watched call is silent, a new connection is answered──▶ open (the new one)
//!    └──connect fails── ┘ (next call tries again; callers that must get through use [`persist`])
//! ```

use super::dial::{self, dial};
use crate::telemetry::{Notice, tell};
use redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, RedisError, RedisResult};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// Without an answer to a watched call for so long, a new connection is tried beside.
const SILENCE: Duration = Duration::from_secs(2);
/// A server that was merely busy answers both: the old one first.
const GRACE: Duration = Duration::from_millis(200);
/// Answers beyond this many bytes do not share a connection with others.
const LARGE: u64 = 256 << 10;
/// Bytes a second that a way to Redis must carry.
const SLOWEST: u64 = 64 << 10;
/// A peer that has vanished is noticed by the kernel after about this long, also where only it is to speak.
const PEER_VANISHED: Duration = Duration::from_secs(20);
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
    /// How often a connection was lost.
    losses: watch::Sender<u64>,
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
        let alive = TcpKeepalive::new().with_time(PEER_VANISHED / 2).with_interval(PEER_VANISHED / 10);
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        info = info.set_tcp_settings(tcp.set_keepalive(alive).set_user_timeout(PEER_VANISHED));
        let (state, connecting, losses) = Default::default();
        Ok(Self { client: Client::open(info)?, state, connecting, losses })
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
                Ok((con, state.generation))
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

    /// Told when Redis has answered, not when a connection is open: it may be loading, or the way too slow for answers.
    fn note_answer(&self) {
        let back = self.state().lost_since.take();
        if let Some(since) = back {
            tell(Notice::RedisBack { after: since.elapsed() });
        }
    }

    /// How often a connection was lost so far. Whoever has one of his own renews it then, too: the way is the same.
    pub fn losses(&self) -> u64 {
        *self.losses.borrow()
    }

    /// Returns when a connection has been lost since.
    pub async fn lost_since(&self, losses: u64) {
        // The sender lives in self.
        let _ = self.losses.subscribe().wait_for(|now| *now > losses).await;
    }

    /// Calls Redis as [`Link::call`] does, and takes silence for death if a new connection is answered meanwhile: one
    /// that is half-open stays silent for ever. For a small call that is made again and again.
    pub async fn watched<T>(
        &self,
        run: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let doubting = async {
            let mut doubted = None;
            loop {
                let current = self.current().map(|(_, generation)| generation);
                let Some(generation) = current.filter(|_| current == doubted) else {
                    // The call goes over a connection that has just been opened, or will be.
                    doubted = current;
                    tokio::time::sleep(SILENCE).await;
                    continue;
                };
                let opened = self.open(Some(CALL_DEADLINE)).await;
                tokio::time::sleep(GRACE).await;
                let lost = match opened {
                    Ok(fresh) => self.replace(generation, Some(fresh)).then(dial::silent),
                    Err(error) => (self.current().map(|(_, generation)| generation) == current).then_some(error),
                };
                lost.iter().for_each(|error| self.note_loss(error));
            }
        };
        tokio::select! {
            biased;
            result = self.call(run) => result,
            () = doubting => Err(dial::silent()),
        }
    }

    /// Gives up the connection of this generation. False if that has been done.
    fn replace(&self, generation: u64, fresh: Option<MultiplexedConnection>) -> bool {
        let mut state = self.state();
        let is_current = state.generation == generation && state.open.is_some();
        if is_current {
            state.generation += u64::from(fresh.is_some());
            state.open = fresh;
            self.losses.send_modify(|losses| *losses += 1);
        }
        is_current
    }

    /// Calls Redis once. A broken connection is dropped, so that the next call opens a new one.
    pub async fn call<T>(&self, run: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>) -> RedisResult<T> {
        let (mut con, generation) = self.connection().await?;
        let losses = self.losses();
        let result = tokio::select! {
            biased;
            result = run(&mut con) => result,
            () = self.lost_since(losses) => Err(dial::silent()),
        };
        match &result {
            // Others on the same connection may hear of it only after a new one has been answered: it is told once.
            Err(error) if breaks_connection(error) => {
                if self.replace(generation, None) {
                    self.note_loss(error);
                }
            }
            Err(error) if error.code() == Some("LOADING") => {}
            Err(error) => {
                self.note_answer();
                self.note_refusal(error);
            }
            Ok(_) => self.note_answer(),
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
            .set_connection_timeout(Some(dial::LONGEST))
            .set_response_timeout(response_deadline);
        dial(|| self.client.get_multiplexed_async_connection_with_config(&config)).await
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
        tokio::time::timeout(allowed, run(&mut con)).await.unwrap_or_else(|_| Err(dial::silent()))
    }

    /// A connection of the caller's own, without a deadline on answers: for blocking commands.
    pub async fn dedicated(&self) -> RedisResult<MultiplexedConnection> {
        self.open(None).await
    }

    /// A connection that listens to channels.
    pub async fn listener(&self) -> RedisResult<PubSub> {
        dial(|| self.client.get_async_pubsub()).await
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
