//! The connection to Redis: opened when needed, dropped when broken, each call with a deadline.
//! In: calls. Out: their answers; an outage is told once when it begins and once when it ends.
//!
//! ```text
//!   none ──way found──▶ open ──call fails by the connection, or the master is another by now──▶ none
//!    ▲                   │
//!    └──no way ───────── ┘ (next call tries again; callers that must get through use [`persist`])
//! ```
//! The way is looked for anew each time: Sentinels and nodes of a Cluster say who is the master now. Connections that
//! wait (blocked, listening) lead where the shared one leads, and are given up with it: calls are made all the time and
//! show that a server is gone, whereas waiting shows nothing.

mod failure;
mod gate;
mod refusals;
mod retry;
mod route;
mod server;

pub use failure::is_passing;
pub use retry::{persist, unless};

use crate::telemetry::{Notice, tell};
use failure::{breaks_connection, timed_out};
use futures_util::StreamExt;
use gate::Gate;
use redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult};
use refusals::Refusals;
use route::{CONNECT_DEADLINE, Opened, Route};
use server::History;
use std::future::Future;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// A call that takes longer makes us ask the guides whether the master is another by now.
const DOUBT: Duration = Duration::from_secs(2);
const DOUBT_AGAIN: Duration = Duration::from_secs(1);
/// All who wait for a connection share one try at a time.
const TRIES_APART: Duration = Duration::from_millis(100);

/// One process's way to Redis.
pub struct Link {
    route: Route,
    state: Mutex<State>,
    connecting: tokio::sync::Mutex<()>,
    /// Counts shared connections.
    generation: watch::Sender<u64>,
    /// Counts histories of the data: each restart and failover of Redis may have lost what it had confirmed.
    histories: watch::Sender<u64>,
    claims: Gate,
}

#[derive(Clone)]
struct Open {
    con: MultiplexedConnection,
    client: Client,
    place: String,
    /// Told apart from connections opened later, so that a late error does not close a fresh one.
    generation: u64,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    lost_since: Option<Instant>,
    failed: Option<(Instant, RedisError)>,
    /// `None` until the first connection; then what the last server said of itself, if it did.
    history: Option<Option<History>>,
    refusals: Refusals,
}

/// A connection of one caller's own, for commands that block.
pub struct Dedicated {
    con: MultiplexedConnection,
    generation: u64,
}

impl Link {
    /// A link that opens at its first call. `prefix` is that of the keys: in a Cluster it decides which node is ours.
    pub fn new(url: &str, prefix: &str) -> RedisResult<Self> {
        Ok(Self {
            route: Route::new(url, prefix, CALL_DEADLINE)?,
            state: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            generation: watch::Sender::new(0),
            histories: watch::Sender::new(0),
            claims: Gate::default(),
        })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Changes when Redis may have lost what it had confirmed.
    pub fn histories(&self) -> watch::Receiver<u64> {
        self.histories.subscribe()
    }

    /// From now on claims wait after each change of history, until [`Link::asserted`] says that they may go.
    pub fn assert_before_claims(&self) {
        self.claims.hang();
    }

    /// What this history of Redis may have lost has been told to it.
    pub fn asserted(&self, history: u64) {
        if *self.histories.borrow() == history {
            self.claims.open();
        }
    }

    /// Whether claims may go. Asked with a connection in hand, so that it concerns the history behind that.
    pub fn may_claim(&self) -> bool {
        self.claims.is_open()
    }

    /// Waits until claims may go.
    pub async fn until_claims_may_go(&self) {
        self.claims.wait().await;
    }

    async fn connection(&self) -> RedisResult<Open> {
        if let Some(open) = self.state().open.clone() {
            return Ok(open);
        }
        let asked = Instant::now();
        let _one_at_a_time = self.connecting.lock().await;
        {
            let state = self.state();
            if let Some(open) = &state.open {
                return Ok(open.clone());
            }
            if let Some((at, error)) = &state.failed
                && (*at >= asked || at.elapsed() < TRIES_APART)
            {
                return Err(error.clone());
            }
        }
        match self.route.open(None).await {
            Ok(opened) => Ok(self.install(opened)),
            Err(error) => {
                self.state().failed = Some((Instant::now(), error.clone()));
                self.note_loss(&error);
                Err(error)
            }
        }
    }

    fn install(&self, Opened { con, client, place, history }: Opened) -> Open {
        let mut state = self.state();
        let generation = *self.generation.borrow() + 1;
        let open = Open { con, client, place, generation };
        state.open = Some(open.clone());
        state.failed = None;
        let first = state.history.is_none();
        let is_same = history.is_some() && state.history.as_ref() == Some(&history);
        state.history = Some(history);
        let back = state.lost_since.take().map(|since| since.elapsed());
        if !first && !is_same {
            self.claims.shut();
            self.histories.send_modify(|count| *count += 1);
        }
        drop(state);
        self.generation.send_replace(generation);
        if let Some(after) = back {
            tell(Notice::RedisBack { after, at: &open.place });
        }
        open
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

    /// The shared connection is of no more use.
    fn close(&self, generation: u64, error: &RedisError) {
        {
            let mut state = self.state();
            // A late error of an earlier connection says nothing about this one.
            if state.open.as_ref().is_none_or(|open| open.generation != generation) {
                return;
            }
            state.open = None;
        }
        self.note_loss(error);
    }

    /// Calls Redis once. A broken connection is dropped, so that the next call opens a new one.
    pub async fn call<T>(&self, run: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>) -> RedisResult<T> {
        let open = self.connection().await?;
        let mut con = open.con.clone();
        let result = tokio::select! {
            biased;
            result = run(&mut con) => result,
            () = self.led_elsewhere(&open) => Err(timed_out()),
        };
        match &result {
            Err(error) if breaks_connection(error) => self.close(open.generation, error),
            Err(error) => self.state().refusals.note(error),
            Ok(_) => self.state().refusals.note_success(),
        }
        result
    }

    /// Returns once a call that takes long proves to be made to a server that is not the master any more. Without guides
    /// there is nobody to ask; the call's deadline ends it.
    async fn led_elsewhere(&self, open: &Open) {
        if !self.route.has_guides() {
            return std::future::pending().await;
        }
        let looking = async {
            tokio::time::sleep(DOUBT).await;
            while !self.look_elsewhere(open).await {
                tokio::time::sleep(DOUBT_AGAIN).await;
            }
        };
        tokio::select! {
            () = looking => {}
            () = self.left(open.generation) => {}
        }
    }

    /// Asks the guides whether there is another master; true once the shared connection leads to it.
    async fn look_elsewhere(&self, open: &Open) -> bool {
        let _one_at_a_time = self.connecting.lock().await;
        if *self.generation.borrow() != open.generation {
            return true;
        }
        let Ok(opened) = self.route.open(Some(&open.place)).await else { return false };
        self.close(open.generation, &failure::unusable(format!("the master is another by now: {}", opened.place)));
        self.install(opened);
        true
    }

    /// Follows what Sentinels say until told to stop: a master that they replace may go on for seconds as if it were one,
    /// and what it takes meanwhile is lost.
    pub async fn follow_guides(&self, stop: CancellationToken) {
        let following = async {
            for turn in 0.. {
                if let Ok(mut sentinel) = self.route.sentinel(turn).await {
                    let mut news = sentinel.on_message();
                    // What was said before has not been heard.
                    let mut heard = Some(());
                    while heard.is_some() {
                        let open = self.state().open.clone();
                        if let Some(open) = open {
                            self.look_elsewhere(&open).await;
                        }
                        heard = news.next().await.map(drop);
                    }
                }
                tokio::time::sleep(DOUBT_AGAIN).await;
            }
        };
        unless(&stop, following).await;
    }

    /// Returns once the shared connection is another than this one.
    pub async fn left(&self, generation: u64) {
        let mut now = self.generation.subscribe();
        // The sender lives as long as the link.
        let _ = now.wait_for(|now| *now != generation).await;
    }

    /// Opens a further connection to where the shared one leads.
    async fn beside<T, F: Future<Output = RedisResult<T>>>(
        &self,
        open: impl FnOnce(Client) -> F,
    ) -> RedisResult<(T, u64)> {
        let shared = self.connection().await?;
        let opening = tokio::time::timeout(CONNECT_DEADLINE, open(shared.client));
        match opening.await.unwrap_or_else(|_| Err(timed_out())) {
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

/// Asks whether the server answers at all.
pub async fn ping(con: &mut impl ConnectionLike) -> RedisResult<()> {
    redis::cmd("PING").query_async(con).await
}
