//! A client's view of the queue under test: jobs handed in, how they stand, what their events say.

use super::{RedisServer, until};
use gpu_worker::protocol::Space;
use gpu_worker::protocol::event::Event;
use gpu_worker::queue::client::{self, JobRequest};
use gpu_worker::queue::link::{Link, persist};
use serde_json::Value;
use std::collections::BTreeMap;

/// What Redis answers, once it does: it may be on its way back.
async fn answered<T>(ask: impl AsyncFn() -> redis::RedisResult<T>) -> T {
    let never = tokio_util::sync::CancellationToken::new();
    let answer = tokio::time::timeout(super::PATIENCE, persist(&never, || ask())).await.expect("Redis answers in time");
    answer.expect("nobody gives up").expect("Redis answers")
}

/// The queue of one server.
pub struct Queue {
    pub link: Link,
    pub space: Space,
}

impl Queue {
    /// The queue at the root of this server.
    pub fn of(server: &RedisServer) -> Self {
        Self { link: server.link(), space: server.space() }
    }

    /// The queue behind an address, in its place there.
    pub fn at(url: &str, prefix: &str) -> Self {
        let space = Space {
            prefix: prefix.to_owned(),
            reference_events: true,
            stream_max: 5000,
            retention_ms: 86_400_000,
            failed_retention_ms: 604_800_000,
        };
        Self { link: Link::new(url, prefix).expect("the address is good"), space }
    }

    /// Hands in a job; answers its id.
    pub async fn submit(&self, job: Value) -> String {
        let request = JobRequest::from_json(&job).expect("a good job");
        client::submit(&self.link, &self.space, &request, 1 << 20).await.expect("an accepted job")
    }

    /// The small fields of a job.
    pub async fn job(&self, id: &str) -> BTreeMap<String, String> {
        answered(|| client::job(&self.link, &self.space, id)).await.unwrap_or_default()
    }

    /// One field of a job, empty if it is not set.
    pub async fn field(&self, id: &str, name: &str) -> String {
        self.job(id).await.remove(name).unwrap_or_default()
    }

    /// Waits until the job has this status; answers its fields.
    pub async fn reaches(&self, id: &str, status: &str) -> BTreeMap<String, String> {
        until(&format!("{id} is {status}"), || async {
            let job = self.job(id).await;
            (job.get("status").map(String::as_str) == Some(status)).then_some(job)
        })
        .await
    }

    /// The job's events.
    pub async fn events(&self, id: &str) -> Vec<Event> {
        answered(|| client::events(&self.link, &self.space, id)).await
    }

    /// The kinds of a job's events, in order.
    pub async fn kinds(&self, id: &str) -> Vec<String> {
        self.events(id).await.iter().map(|event| event.kind().to_owned()).collect()
    }

    /// Panics unless the job's log holds exactly one end, and it is the last entry.
    pub async fn ended_once(&self, id: &str) {
        let events = self.events(id).await;
        let ends = events.iter().filter(|event| event.terminal().is_some()).count();
        assert_eq!(ends, 1, "{id}: {:?}", self.kinds(id).await);
        assert!(events.last().is_some_and(|event| event.terminal().is_some()), "{id}: {:?}", self.kinds(id).await);
    }
}
