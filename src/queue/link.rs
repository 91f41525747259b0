//! The connection to Redis: opened when needed, dropped when broken, each call with a deadline.
//! In: calls. Out: their answers; an outage is told once when it begins and once when it ends.
//!
//! ```text
//!   none ──way found──▶ open ──call fails by the connection, or the master is another by now──▶ none
//!    ▲                   │
//!    └──no way ───────── ┘ (next call tries again; callers that must get through use [`persist`])
//! ```
//! A call that is silent may be made over a connection that is half-open: see [`Link::watched`].
//!
//! The way is looked for anew each time: Sentinels and nodes of a Cluster say who is the master now. Connections that
//! wait (blocked, listening) lead where the shared one leads, and are given up with it: calls are made all the time and
//! show that a server is gone, whereas waiting shows nothing.

mod dial;
mod doubt;
mod failure;
mod gate;
mod guides;
mod own;
mod refusals;
mod retry;
mod route;
mod server;

pub use failure::is_passing;
pub use own::Dedicated;
pub use retry::{persist, unless};

use super::announce::now_ms;
use crate::telemetry::{Notice, tell};
use dial::dial;
use failure::{breaks_connection, timed_out};
use gate::Gate;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Client, RedisError, RedisResult};
use refusals::Refusals;
use route::{Opened, Route};
use server::History;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::watch;

const CALL_DEADLINE: Duration = Duration::from_secs(10);
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
    /// When the connection came or went, in ms since 1970.
    since: Option<i64>,
    failed: Option<(Instant, RedisError)>,
    /// `None` until the first connection; then what the last server said of itself, if it did.
    history: Option<Option<History>>,
    refusals: Refusals,
    /// Of the last watched call.
    round_trip: Option<Duration>,
    /// Since when a watched call waits for its answer.
    asked: Option<Instant>,
}

/// How the way to Redis is now.
#[derive(Debug, Clone)]
pub struct Standing {
    /// A connection is open that has not failed.
    pub is_up: bool,
    /// How long Redis has been away.
    pub away: Option<Duration>,
    /// Since when it is as it is, in ms since 1970; `None`: it was never there, and not missed yet.
    pub since: Option<i64>,
    /// For how long a call has waited that is answered at once as a rule: the connection may be as good as it was, but nobody
    /// answers.
    pub silent: Option<Duration>,
    /// How long the last tick took to be answered.
    pub round_trip: Option<Duration>,
    /// Host and port of the server, while there is a connection; else where it is looked for.
    pub at: Option<String>,
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

    /// How it is now.
    pub fn standing(&self) -> Standing {
        let state = self.state();
        let away = state.lost_since.map(|since| since.elapsed());
        let at = state.open.as_ref().map_or_else(|| self.route.shown(), |open| Some(open.place.clone()));
        let silent = state.asked.map(|asked| asked.elapsed()).filter(|waited| *waited >= doubt::SILENCE);
        let (is_up, round_trip) = (state.open.is_some() && away.is_none(), state.round_trip);
        Standing { is_up, away, since: state.since, silent, round_trip, at }
    }

    /// How often Redis may have lost what it had confirmed.
    pub fn history(&self) -> u64 {
        *self.histories.borrow()
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
        match dial(|| self.route.open(None)).await {
            Ok(opened) => Ok(self.install(opened)),
            Err(error) => {
                self.state().failed = Some((Instant::now(), error.clone()));
                self.note_loss(&error);
                // It answers, and does not let us in: another password, for example.
                if error.kind() == redis::ErrorKind::AuthenticationFailed {
                    self.state().refusals.note(&error);
                }
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
        state.since.get_or_insert_with(now_ms);
        if !first && !is_same {
            self.claims.shut();
            self.histories.send_modify(|count| *count += 1);
        }
        drop(state);
        self.generation.send_replace(generation);
        self.note_back(&open);
        open
    }

    /// Redis has answered on this connection.
    fn note_back(&self, open: &Open) {
        let since = {
            let mut state = self.state();
            // A late answer of an earlier connection says nothing about this one, or that there is one.
            if state.open.as_ref().is_none_or(|known| known.generation != open.generation) {
                return;
            }
            let since = state.lost_since.take();
            state.since = if since.is_some() { Some(now_ms()) } else { state.since };
            since
        };
        if let Some(since) = since {
            tell(Notice::RedisBack { after: since.elapsed(), at: &open.place });
        }
    }

    fn note_loss(&self, error: &RedisError) {
        let first = {
            let mut state = self.state();
            let first = state.lost_since.is_none();
            if first {
                // A server that hangs has been away since it was asked what it has not answered.
                let silent = state.asked.map(|asked| asked.elapsed()).filter(|silent| *silent >= doubt::SILENCE);
                let gone = silent.unwrap_or_default();
                state.lost_since = Instant::now().checked_sub(gone).or_else(|| Some(Instant::now()));
                state.since = Some(now_ms().saturating_sub_unsigned(gone.as_millis() as u64));
            }
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
            () = self.left(open.generation) => Err(timed_out()),
        };
        match &result {
            Err(error) if breaks_connection(error) => self.close(open.generation, error),
            Err(error) => {
                self.note_back(&open);
                self.state().refusals.note(error);
            }
            Ok(_) => {
                self.note_back(&open);
                self.state().refusals.note_success();
            }
        }
        result
    }
}

/// Asks whether the server answers at all.
pub async fn ping(con: &mut impl ConnectionLike) -> RedisResult<()> {
    redis::cmd("PING").query_async(con).await
}
