//! What all slots of an agent share.
//! In: limits and the way to Redis. Out: one place to reach both.

use super::board::Board;
use super::previews::Previews;
use crate::output::Outputs;
use crate::protocol::Space;
use crate::queue::announce;
use crate::queue::holds::Holds;
use crate::queue::journal::Journal;
use crate::queue::link::Link;
use crate::service::shutdown::Shutdown;
use connectors::contract::InputSource;
use failpoints::{Point, reach};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Times and sizes that a run obeys.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long a claim holds without renewal.
    pub lease: Duration,
    /// How often a job may lose its worker.
    pub max_stalls: u32,
    /// The safety net under the wake-up hints.
    pub poll: Duration,
    /// How long a job may run unless it asks for another limit.
    pub timeout: Duration,
    /// Largest payload that is read.
    pub max_payload_bytes: u64,
    /// First pause before a retry.
    pub retry_backoff: Duration,
    /// Progress events of one attempt.
    pub events_max: u32,
    /// Where pictures of work that goes on lie.
    pub output_dir: PathBuf,
    /// How long pictures of jobs that did not end well are kept.
    pub preview_retention: Duration,
}

/// What all slots of an agent share.
pub struct Shared {
    /// The way to Redis.
    pub link: Link,
    /// Where the queue lies in it.
    pub space: Space,
    /// What this process holds.
    pub holds: Holds,
    /// Where jobs' inputs come from.
    pub inputs: Arc<dyn InputSource>,
    /// Ends of jobs that Redis has not confirmed.
    pub journal: Journal,
    /// Times and sizes.
    pub limits: Limits,
    /// Where outputs go.
    pub outputs: Outputs,
    /// What each worker is at.
    pub board: Board,
    /// What jobs look like while they are at work.
    pub previews: Previews,
    /// How many slots have yet to see what an earlier process held.
    pub looking: watch::Sender<usize>,
    /// Orders to stop.
    pub shutdown: Shutdown,
    /// This machine's id.
    pub machine: String,
    /// This program's version.
    pub version: String,
    /// Hints for the reference's readers, published in order.
    pub announcements: mpsc::UnboundedSender<Announcement>,
}

/// Something to publish, and what to write into the worker's record beside it.
#[derive(Debug, Default)]
pub struct Announcement {
    /// Channel and message.
    pub messages: Vec<(String, Value)>,
    /// Worker id, its status, its job.
    pub record: Option<(String, &'static str, String)>,
}

/// Publishes announcements in order until the senders are gone. What fails is dropped: they are hints.
pub async fn publish_announcements(shared: &Shared, mut announcements: mpsc::UnboundedReceiver<Announcement>) {
    while let Some(Announcement { messages, record }) = announcements.recv().await {
        if let Some((worker, status, job)) = record {
            let key = shared.space.key("worker:") + &worker;
            let _ = shared
                .link
                .call(async |con| {
                    redis::cmd("HSET")
                        .arg(&key)
                        .arg(&["status", status, "current_job_id", &job, "last_status_change", &announce::now_iso()])
                        // It has had a place: what the latest beat said is past.
                        .arg(&["no_place_in", ""])
                        .exec_async(con)
                        .await
                })
                .await;
            reach(Point::StatusWritten);
        }
        let _ = announce::publish(&shared.link, &shared.space, &messages).await;
    }
}
