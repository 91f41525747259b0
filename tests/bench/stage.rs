//! What a section stands on: a redis-server of its own, the product's client, and the server's own clock.
//! In: nothing. Out: jobs submitted, events seen and when, the server's time and memory.

use crate::support::{RedisServer, until};
use crate::table::us;
use gpu_worker::protocol::Space;
use gpu_worker::protocol::ids::new_job_id;
use gpu_worker::queue::client::{self, JobRequest};
use gpu_worker::queue::link::Link;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamReadOptions, StreamReadReply};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub struct Stage {
    pub server: RedisServer,
    pub link: Link,
    pub space: Space,
    pub con: MultiplexedConnection,
}

impl Stage {
    pub async fn set() -> Self {
        let server = RedisServer::start().await;
        let (link, space) = (server.link(), server.space());
        let con = link.dedicated().await.expect("a connection");
        Self { server, link, space, con }
    }

    /// Another connection, for blocking commands.
    pub async fn connection(&self) -> MultiplexedConnection {
        self.link.dedicated().await.expect("a connection")
    }

    pub async fn submit(&self, body: Value) -> String {
        let request = JobRequest::from_json(&body).expect("a job");
        client::submit(&self.link, &self.space, &request, 10 << 20).await.expect("accepted")
    }

    /// Microseconds that the server has spent in scripts, as it says itself.
    pub async fn script_time(&self) -> f64 {
        let info: String = self.ask(redis::cmd("INFO").arg("commandstats")).await;
        let line = info.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:")).unwrap_or_default();
        line.split(',').find_map(|part| part.strip_prefix("usec=")?.parse().ok()).unwrap_or(0.0)
    }

    pub async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> T {
        command.query_async(&mut self.con.clone()).await.expect("an answer")
    }

    /// Bytes that the server has in use.
    pub async fn memory(&self) -> f64 {
        let info: String = self.ask(redis::cmd("INFO").arg("memory")).await;
        info.lines()
            .find_map(|line| line.strip_prefix("used_memory:"))
            .and_then(|text| text.parse().ok())
            .unwrap_or(0.0)
    }

    /// Submits a job, and answers the microseconds until the reader on `con` has seen each of these events.
    pub async fn submit_and_see<const N: usize>(
        &self,
        con: &mut MultiplexedConnection,
        body: Value,
        kinds: [&str; N],
    ) -> [f64; N] {
        let id = new_job_id();
        let request = JobRequest { id: Some(id.clone()), ..JobRequest::from_json(&body).expect("a job") };
        let began = Instant::now();
        let submitted = client::submit(&self.link, &self.space, &request, 10 << 20);
        let (submitted, seen) = tokio::join!(submitted, see(con, &self.space, &id, kinds));
        submitted.expect("accepted");
        seen.map(|at| us(at.duration_since(began)))
    }

    /// Waits until so many jobs have ended well.
    pub async fn finished(&self, count: u64) {
        until("every job is completed", || async {
            let done: u64 = self.ask(redis::cmd("ZCARD").arg("jobs:finished")).await;
            (done >= count).then_some(())
        })
        .await;
    }
}

/// When the reader has seen each of these events of a job.
pub async fn see<const N: usize>(
    con: &mut MultiplexedConnection,
    space: &Space,
    id: &str,
    kinds: [&str; N],
) -> [Instant; N] {
    let (key, mut last) = (space.key("job:events:") + id, "0".to_owned());
    let mut seen = [None; N];
    let options = StreamReadOptions::default().block(20_000);
    while seen.iter().any(Option::is_none) {
        let reply: Option<StreamReadReply> =
            redis::AsyncCommands::xread_options(con, &[&key], &[&last], &options).await.expect("events");
        let at = Instant::now();
        let reply = reply.unwrap_or_else(|| panic!("job {id} is silent for 20 s; seen so far: {seen:?} of {kinds:?}"));
        for entry in reply.keys.into_iter().flat_map(|stream| stream.ids) {
            let kind: String = entry.get("type").unwrap_or_default();
            if let Some(at_kind) = kinds.iter().position(|wanted| *wanted == kind) {
                seen[at_kind] = Some(at);
            }
            last = entry.id;
        }
    }
    seen.map(|at| at.unwrap_or_else(Instant::now))
}

/// A job for the simulation that takes no time and leaves no file.
pub fn quick() -> Value {
    json!({"service_required": "simulation", "payload": {"steps": 0, "step_ms": 0, "outputs": 0}})
}

/// The environment of an agent that looks for no GPU.
pub const NO_GPU: [(&str, &str); 1] = [("GPU_COUNT", "0")];

/// Lets a freshly started thing come to rest. Only figures of rest need it.
pub async fn settle(time: Duration) {
    tokio::time::sleep(time).await;
}
