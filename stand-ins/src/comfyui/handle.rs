//! What a test or a demo asks of this engine's server beyond what every stand-in can do (`crate::handle`).
//! In: calls while the server runs. Out: its doings, its files, its quirks.

use super::options::Quirks;
use super::server::{Execution, Server};
use crate::handle::Running;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

/// A running server; it ends when this is dropped or stopped.
pub type StandIn = Running<Server>;

impl Running<Server> {
    /// Whether a run has left its model in memory, and nobody has asked to free it since.
    pub fn holds_a_model(&self) -> bool {
        self.server.model_loaded.load(std::sync::atomic::Ordering::SeqCst)
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

    /// A restart so quick that the port is never seen closed: queue, history and caches are empty, numbers begin at 0.
    pub fn restart(&self) {
        self.server.wire.set_frozen(false);
        self.server.forget();
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
}
