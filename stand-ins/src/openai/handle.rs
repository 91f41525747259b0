//! What a test or a demo asks of this engine's server beyond what every stand-in can do (`crate::handle`).
//! In: calls while the server runs. Out: its doings, answers called for. A step is a piece of text.

use super::options::Answer;
use super::server::{Execution, Server};
use crate::handle::Running;

/// A running server; it ends when this is dropped or stopped.
pub type StandIn = Running<Server>;

impl Running<Server> {
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

    /// The same for the next question about a response.
    pub fn reply(&self, answer: Answer) {
        self.server.replies().push_back(answer);
    }

    /// A model is listed no more, and not known.
    pub fn remove_model(&self, name: &str) {
        self.server.vanished().push(name.to_owned());
    }
}
