//! What the dashboard asks of the agent.
//! In: nothing. Out: one look at each part; none of it waits for anything.

use super::view::connectors::Connector;
use super::view::gpus::Gpu;
use super::view::queue::Queue;
use super::view::series::Ring;
use super::view::slots::{Picture, Slot};
use super::view::system::System;
use super::view::worker::Worker;
use crate::telemetry::metrics::{LoopSeen, Observed, Readiness};
use futures_util::future::BoxFuture;
use serde_json::Value;
use std::path::PathBuf;

/// Knows how the agent is. Called for each request and a few times a second: it must not wait for
/// anything, but for [`Source::fresh`].
pub trait Source: Send + Sync + 'static {
    /// How it is now, for the metrics.
    fn observe(&self) -> Observed;

    /// Whether it can take jobs, which is little work.
    fn readiness(&self) -> Readiness {
        Readiness::default()
    }

    /// Ready when what has to be fetched is of now, or takes too long.
    fn fresh(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Its loops alone, which is little work.
    fn loops(&self) -> Vec<LoopSeen> {
        self.observe().loops
    }

    /// The agent as a whole.
    fn worker(&self) -> Worker {
        Worker::default()
    }

    /// The cards.
    fn gpus(&self) -> Vec<Gpu> {
        Vec::new()
    }

    /// The last quarter of an hour of them.
    fn series(&self) -> Option<&Ring> {
        None
    }

    /// The workers and what each is at.
    fn slots(&self) -> Vec<Slot> {
        Vec::new()
    }

    /// What waits, as last read.
    fn queue(&self) -> Queue {
        Queue::default()
    }

    /// The engines.
    fn connectors(&self) -> Vec<Connector> {
        Vec::new()
    }

    /// The machine and the agent's process.
    fn system(&self) -> System {
        System::default()
    }

    /// What a loop of this name is at, where that is known.
    fn loop_at(&self, _name: &str) -> Option<String> {
        None
    }

    /// Each worker's id and what it offers, in the reference's shape.
    fn capabilities(&self) -> Vec<(String, Value)> {
        Vec::new()
    }

    /// The newest picture of a worker's job.
    fn picture(&self, _worker: &str) -> Option<Picture> {
        None
    }

    /// Where outputs lie that are files.
    fn output_dir(&self) -> Option<PathBuf> {
        None
    }

    /// Nobody may change anything from here.
    fn read_only(&self) -> bool {
        false
    }

    /// Somebody looks: what has to be fetched is fetched, for a while.
    fn looked_at(&self) {}
}
