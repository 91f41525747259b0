//! The handle of a stand-in started by a test or a demo: where it is, what it did, and what shall go wrong with it.
//! In: calls while the server runs. Out: its URL, its doings, its faults.

use super::options::{Answer, Options};
use super::server::{Execution, Server};
use crate::wire::Door;
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

    /// Without a slash at the end and without `/v1`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests for work since the start, in order.
    pub fn executions(&self) -> Vec<Execution> {
        self.server.executions().clone()
    }

    /// Method, path and `authorization` of every request, in order of arrival.
    pub fn requests(&self) -> Vec<String> {
        self.server.requests().clone()
    }

    /// Models in memory, as Ollama tells.
    pub fn loaded(&self) -> Vec<String> {
        self.server.loaded().clone()
    }

    /// The next request for work that has no answer called for yet gets this one.
    pub fn answer(&self, answer: Answer) {
        self.server.answers().push_back(answer);
    }

    /// A model is listed no more, and not known.
    pub fn remove_model(&self, name: &str) {
        self.server.vanished().push(name.to_owned());
    }

    /// Stops everything as SIGSTOP does: connections stay open and silent, new ones are taken by the kernel alone.
    pub fn freeze(&self) {
        self.server.wire.set_frozen(true);
    }

    /// Ends [`StandIn::freeze`].
    pub fn thaw(&self) {
        self.server.wire.set_frozen(false);
    }

    /// Ends every connection.
    pub fn drop_connections(&self) {
        self.server.wire.cut_all();
    }

    /// Ends as SIGKILL does; the port is closed when this returns.
    pub async fn kill(&self) {
        self.server.wire.set_frozen(false);
        self.server.wire.set_up(false).await;
        self.server.wire.cut_all();
    }

    /// Opens the port again after [`StandIn::kill`].
    pub async fn revive(&self) {
        self.server.wire.set_up(true).await;
    }

    /// From now on each piece of text comes when it is allowed to, not by the clock.
    pub fn step_by_hand(&self, by_hand: bool) {
        self.server.pace.set_stepped(by_hand);
    }

    /// Lets this many pieces pass while they are stepped by hand.
    pub fn allow_steps(&self, steps: u32) {
        self.server.pace.allow(steps);
    }

    /// Returns when a run waits for a piece that has not been allowed.
    pub async fn starving(&self) {
        self.server.pace.starving().await;
    }
}
