//! All state of one server, shared by its routes, its runs and the handle.
//! In: options. Out: the places where runs, answers called for and stored responses live.

use super::options::{Answer, Options};
use crate::pace::Pace;
use crate::wire::Wire;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One request for work, for tests to look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Execution {
    /// The client's `x-request-id`, or the id of a stored response.
    pub id: String,
    /// Such as `/v1/chat/completions`.
    pub route: String,
    /// The request's body; for a multipart form its text fields and the lengths of its files.
    pub request: Value,
    /// Pieces of text given.
    pub pieces: u64,
    /// `running`, `done`, `refused`, `hung_up` (by the client) or `cancelled` (a stored response).
    pub outcome: &'static str,
}

/// One server.
pub struct Server {
    pub(crate) options: Options,
    pub(crate) wire: Arc<Wire>,
    pub(crate) pace: Pace,
    executions: Mutex<Vec<Execution>>,
    requests: Mutex<Vec<String>>,
    answers: Mutex<VecDeque<Answer>>,
    replies: Mutex<VecDeque<Answer>>,
    stored: Mutex<BTreeMap<String, Value>>,
    loaded: Mutex<Vec<String>>,
    vanished: Mutex<Vec<String>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    pub(crate) fn new(options: Options) -> Arc<Server> {
        Arc::new(Server {
            wire: Wire::new(),
            pace: Pace::default(),
            executions: Mutex::default(),
            requests: Mutex::default(),
            answers: Mutex::default(),
            replies: Mutex::default(),
            stored: Mutex::default(),
            loaded: Mutex::default(),
            vanished: Mutex::default(),
            options,
        })
    }

    pub(crate) fn executions(&self) -> MutexGuard<'_, Vec<Execution>> {
        locked(&self.executions)
    }

    /// Method, path and `authorization` of every request, in order of arrival.
    pub(crate) fn requests(&self) -> MutexGuard<'_, Vec<String>> {
        locked(&self.requests)
    }

    pub(crate) fn answers(&self) -> MutexGuard<'_, VecDeque<Answer>> {
        locked(&self.answers)
    }

    /// Answers to questions about responses, in place of the stand-in's own.
    pub(crate) fn replies(&self) -> MutexGuard<'_, VecDeque<Answer>> {
        locked(&self.replies)
    }

    /// Responses that can be asked for by their id.
    pub(crate) fn stored(&self) -> MutexGuard<'_, BTreeMap<String, Value>> {
        locked(&self.stored)
    }

    /// Models in memory, as Ollama tells.
    pub(crate) fn loaded(&self) -> MutexGuard<'_, Vec<String>> {
        locked(&self.loaded)
    }

    /// Models that are listed no more.
    pub(crate) fn vanished(&self) -> MutexGuard<'_, Vec<String>> {
        locked(&self.vanished)
    }

    pub(crate) fn models(&self) -> Vec<String> {
        let gone = self.vanished().clone();
        self.options.models.iter().filter(|name| !gone.contains(name)).cloned().collect()
    }

    pub(crate) fn begin(self: &Arc<Self>, id: &str, route: &str, request: Value) -> Run {
        let mut executions = self.executions();
        executions.push(Execution {
            id: id.to_owned(),
            route: route.to_owned(),
            request,
            pieces: 0,
            outcome: "running",
        });
        Run { server: self.clone(), at: executions.len() - 1, over: false }
    }
}

/// A run at work; dropped before its end, its client has gone.
pub(crate) struct Run {
    server: Arc<Server>,
    at: usize,
    over: bool,
}

impl Run {
    pub(crate) fn piece(&self) {
        self.server.executions()[self.at].pieces += 1;
    }

    pub(crate) fn end(&mut self, outcome: &'static str) {
        self.over = true;
        self.server.executions()[self.at].outcome = outcome;
    }

    pub(crate) fn is(&mut self, id: &str) {
        id.clone_into(&mut self.server.executions()[self.at].id);
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.over {
            self.server.executions()[self.at].outcome = "hung_up";
        }
    }
}
