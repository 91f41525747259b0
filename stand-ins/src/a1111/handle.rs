//! The handle of a stand-in started by a test or a demo: where it is, what it did, and what shall go wrong with it.
//! In: calls while the server runs. Out: its URL, its doings, its faults.

use super::options::{Checkpoint, Options, Quirks};
use super::server::{Execution, Server};
use crate::wire::Door;
use serde_json::Value;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A running server; it ends when this is dropped or stopped.
pub struct StandIn {
    address: SocketAddr,
    server: Arc<Server>,
    shutdown: CancellationToken,
    task: Option<JoinHandle<io::Result<()>>>,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl StandIn {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn start(options: Options) -> io::Result<StandIn> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let server = Server::new(options);
        let door = Door::new(listener, server.wire.clone())?;
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(super::attend(server.clone(), door, shutdown.clone()));
        Ok(StandIn { address, server, shutdown, task: Some(task) })
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

    /// All runs since the start, restarts included, in order.
    pub fn executions(&self) -> Vec<Execution> {
        self.server.executions().clone()
    }

    /// Method and path of every request, in order of arrival.
    pub fn requests(&self) -> Vec<String> {
        self.server.requests().clone()
    }

    /// How often a route was asked, such as `"POST /sdapi/v1/interrupt"`.
    pub fn asked(&self, route: &str) -> usize {
        self.server.requests().iter().filter(|request| *request == route).count()
    }

    /// The present value of an option.
    pub fn option(&self, name: &str) -> Value {
        self.server.settings().all()[name].clone()
    }

    /// Name of the checkpoint whose weights are loaded.
    pub fn loaded(&self) -> Option<String> {
        self.server.settings().loaded.clone()
    }

    /// Changes quirks from now on.
    pub fn quirks(&self, change: impl FnOnce(&mut Quirks)) {
        change(&mut self.server.quirks());
    }

    /// Puts a checkpoint file into its folder; it is listed after the next refresh.
    pub fn add_checkpoint(&self, checkpoint: Checkpoint) {
        self.server.settings().unseen.push(checkpoint);
    }

    /// Stops everything as SIGSTOP does: connections stay open and silent, new ones are taken by the kernel alone.
    pub fn freeze(&self) {
        self.server.wire.set_frozen(true);
    }

    /// Ends [`StandIn::freeze`].
    pub fn thaw(&self) {
        self.server.wire.set_frozen(false);
    }

    /// Ends every connection; whatever runs goes on.
    pub fn drop_connections(&self) {
        self.server.wire.cut_all();
    }

    /// Ends as SIGKILL does; the port is closed when this returns.
    pub async fn kill(&self) {
        self.server.wire.set_frozen(false);
        self.server.wire.set_up(false).await;
        self.server.lose_everything();
    }

    /// Opens the port again after [`StandIn::kill`].
    pub async fn revive(&self) {
        self.server.wire.set_up(true).await;
    }

    /// From now on each step ends when it is allowed to, not by the clock. A run has two steps before the first one of
    /// sampling; loading a checkpoint by options is one, too.
    pub fn step_by_hand(&self, by_hand: bool) {
        self.server.pace.set_stepped(by_hand);
    }

    /// Lets this many steps pass while they are stepped by hand.
    pub fn allow_steps(&self, steps: u32) {
        self.server.pace.allow(steps);
    }

    /// Returns when a run waits for a step that has not been allowed.
    pub async fn starving(&self) {
        self.server.pace.starving().await;
    }
}
