//! The handle of a stand-in started by a test or a demo: where it is, and what shall happen to its wire and its pace.
//! In: calls while the server runs. Out: its URL, its faults. What an engine's server did is told by the engine's own part.

use crate::pace::Pace;
use crate::wire::{Door, Wire};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A server of one engine's API.
pub trait Served: Send + Sync + Sized + 'static {
    /// What it is started with.
    type Options;

    /// A server at rest.
    ///
    /// # Errors
    /// If it cannot have the folders that it needs.
    fn open(options: Self::Options) -> io::Result<Arc<Self>>;

    /// What lies under all its connections.
    fn wire(&self) -> &Arc<Wire>;

    /// What decides when a step ends.
    fn pace(&self) -> &Pace;

    /// Forgets what dies with a process.
    fn lose_everything(&self);

    /// Serves until `shutdown` is cancelled.
    fn attend(
        self: Arc<Self>,
        door: Door,
        shutdown: CancellationToken,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static;
}

/// Serves these routes until `shutdown` is cancelled; a frozen wire thaws then.
pub(crate) async fn route(
    wire: &Wire,
    door: Door,
    router: axum::Router,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let ended = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        served = axum::serve(door, router).into_future() => served,
    };
    wire.set_frozen(false);
    ended
}

/// Serves until `shutdown` is cancelled; then all connections are cut.
pub(crate) async fn serve<S: Served>(
    listener: TcpListener,
    options: S::Options,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let server = S::open(options)?;
    let door = Door::new(listener, server.wire().clone())?;
    server.attend(door, shutdown).await
}

/// A running server; it ends when this is dropped or stopped.
pub struct Running<S: Served> {
    address: SocketAddr,
    pub(crate) server: Arc<S>,
    shutdown: CancellationToken,
    task: Option<JoinHandle<io::Result<()>>>,
}

impl<S: Served> Drop for Running<S> {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl<S: Served> Running<S> {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// If no port can be bound or the folders cannot be made.
    pub async fn start(options: S::Options) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let server = S::open(options)?;
        let door = Door::new(listener, server.wire().clone())?;
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(server.clone().attend(door, shutdown.clone()));
        Ok(Self { address, server, shutdown, task: Some(task) })
    }

    /// Ends the server and waits until it has.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }

    /// Without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens, always on loopback.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops everything as SIGSTOP does: connections stay open and silent, new ones are taken by the kernel alone.
    pub fn freeze(&self) {
        self.server.wire().set_frozen(true);
    }

    /// Ends [`Running::freeze`].
    pub fn thaw(&self) {
        self.server.wire().set_frozen(false);
    }

    /// Ends every connection without a word; whatever runs goes on.
    pub fn drop_connections(&self) {
        self.server.wire().cut_all();
    }

    /// Ends as SIGKILL does; the port is closed when this returns.
    pub async fn kill(&self) {
        self.server.wire().set_frozen(false);
        self.server.wire().set_up(false).await;
        self.server.lose_everything();
    }

    /// Opens the port again after [`Running::kill`], or after the server ended itself.
    pub async fn revive(&self) {
        self.server.wire().set_up(true).await;
    }

    /// From now on each step of a run ends when it is allowed to, not by the clock.
    pub fn step_by_hand(&self, by_hand: bool) {
        self.server.pace().set_stepped(by_hand);
    }

    /// Lets this many steps pass while they are stepped by hand.
    pub fn allow_steps(&self, steps: u32) {
        self.server.pace().allow(steps);
    }

    /// Returns when a run waits for a step that has not been allowed.
    pub async fn starving(&self) {
        self.server.pace().starving().await;
    }
}
