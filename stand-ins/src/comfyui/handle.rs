//! The handle of a stand-in started by a test or a demo: where it is, what it did, and what shall go wrong with it.
//! In: calls while the server runs. Out: its URL, its doings, its faults.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::options::{Options, Quirks};
use super::server::{Execution, Server};
use super::wire::Door;

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
    /// If no port can be bound or the folders cannot be made.
    pub async fn start(options: Options) -> io::Result<StandIn> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let server = Server::new(options)?;
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

    /// When each run began and ended, once this many have ended.
    pub async fn spans(&self, ended: usize) -> Vec<(Instant, Instant)> {
        let mut spans = self.server.spans.subscribe();
        let over = |spans: &Vec<(Instant, Option<Instant>)>| {
            spans.iter().filter_map(|(began, ended)| Some((*began, (*ended)?))).collect::<Vec<_>>()
        };
        // The sender lives in the server, and that in self.
        spans.wait_for(|spans| over(spans).len() >= ended).await.map(|spans| over(&spans)).unwrap_or_default()
    }

    /// How often a prompt id was run, whatever came of it.
    pub fn runs_of(&self, prompt_id: &str) -> usize {
        self.server.executions().iter().filter(|execution| execution.prompt_id == prompt_id).count()
    }

    /// Files that save nodes wrote, in order; deleted ones are still listed.
    pub fn files_written(&self) -> Vec<PathBuf> {
        self.server.written().clone()
    }

    /// Where its `output` files lie.
    pub fn output_folder(&self) -> PathBuf {
        self.server.folders.output()
    }

    /// Websockets that are open, deaf ones included.
    pub fn open_sockets(&self) -> usize {
        self.server.hub.open_sockets()
    }

    /// Changes quirks from now on.
    pub fn quirks(&self, change: impl FnOnce(&mut Quirks)) {
        change(&mut self.server.quirks());
        // The runner looks anew.
        self.server.work.notify_one();
    }

    /// Replaces the files of one model folder.
    pub fn set_models(&self, folder: &str, names: &[&str]) {
        self.server.models().insert(folder.to_owned(), names.iter().map(|name| (*name).to_owned()).collect());
    }

    /// Stops everything as SIGSTOP does: connections stay open and silent, new ones are taken by the kernel alone.
    pub fn freeze(&self) {
        self.server.wire.set_frozen(true);
    }

    /// Ends [`StandIn::freeze`].
    pub fn thaw(&self) {
        self.server.wire.set_frozen(false);
    }

    /// Ends every connection without a close frame; queue, history and the running prompt stay.
    pub fn drop_connections(&self) {
        self.server.wire.cut_all();
    }

    /// A restart so quick that the port is never seen closed: queue, history and caches are empty, numbers begin at 0.
    pub fn restart(&self) {
        self.server.wire.set_frozen(false);
        self.server.lose_everything();
    }

    /// Ends as SIGKILL does; the port is closed when this returns.
    pub async fn kill(&self) {
        self.server.wire.set_frozen(false);
        self.server.wire.set_up(false).await;
        self.server.lose_everything();
    }

    /// Opens the port again after `kill`, or after a node ended the process.
    pub async fn revive(&self) {
        self.server.wire.set_up(true).await;
    }

    /// Deletes all files in the output folder.
    ///
    /// # Errors
    /// If the folder cannot be emptied.
    pub fn delete_outputs(&self) -> io::Result<()> {
        let folder = self.server.folders.output();
        std::fs::remove_dir_all(&folder)?;
        std::fs::create_dir_all(&folder)
    }

    /// From now on each step of a node ends when it is allowed to, not by the clock.
    pub fn step_by_hand(&self, by_hand: bool) {
        self.server.pace.set_stepped(by_hand);
    }

    /// Lets this many steps pass while they are stepped by hand.
    pub fn allow_steps(&self, steps: u32) {
        self.server.pace.allow(steps);
    }

    /// Returns when a node waits for a step that has not been allowed.
    pub async fn starving(&self) {
        self.server.pace.starving().await;
    }
}
