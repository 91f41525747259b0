//! What a test or a demo asks of this engine's server beyond what every stand-in can do (`crate::handle`).
//! In: calls while the server runs. Out: its doings, its quirks. A run has two steps before the first one of sampling;
//! loading a checkpoint by options is one, too.

use super::options::{Checkpoint, Quirks};
use super::server::{Execution, Server};
use crate::handle::Running;
use serde_json::Value;

/// A running server; it ends when this is dropped or stopped.
pub type StandIn = Running<Server>;

impl Running<Server> {
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
}
