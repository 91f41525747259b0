//! What became of the jobs: each is looked at until it has ended, before Redis forgets it.
//! In: ids. Out: how many ended how, how many are gone without an end, and how long they waited.

use crate::support::RedisServer;
use redis::streams::StreamRangeReply;
use std::collections::BTreeMap;

/// Jobs and their ends.
#[derive(Default)]
pub struct Accounts {
    waiting: Vec<String>,
    pub submitted: u64,
    /// State to count.
    pub ended: BTreeMap<String, u64>,
    /// No hash and no end: nobody knows of them any more.
    pub gone: u64,
    /// From submission to start by the clock of Redis, in ms.
    pub latencies: Vec<f64>,
}

/// Jobs asked for in one go.
const PAGE: usize = 500;
/// Where more wait than can be looked at, jobs end in the order in which they came.
const AT_ONCE: usize = 4000;

impl Accounts {
    pub fn submitted(&mut self, id: String) {
        self.submitted += 1;
        self.waiting.push(id);
    }

    /// Jobs whose end has not been seen.
    pub fn open(&self) -> usize {
        self.waiting.len()
    }

    /// Looks at those that have waited longest.
    pub async fn look(&mut self, server: &RedisServer) {
        let mut left = Vec::new();
        let mut later = self.waiting.split_off(self.waiting.len().min(AT_ONCE));
        for page in std::mem::take(&mut self.waiting).chunks(PAGE) {
            let mut pipe = redis::pipe();
            for id in page {
                pipe.cmd("HGET").arg(format!("job:{id}")).arg("status");
                pipe.cmd("XRANGE").arg(format!("job:events:{id}")).arg("-").arg("+");
            }
            let rows: Vec<redis::Value> = pipe.query_async(&mut server.con.clone()).await.expect("Redis answers");
            for (id, row) in page.iter().zip(rows.chunks_exact(2)) {
                let status: Option<String> = redis::from_redis_value(row[0].clone()).expect("a status");
                match status.as_deref() {
                    None => self.gone += 1,
                    Some(state @ ("completed" | "failed" | "cancelled")) => {
                        *self.ended.entry(state.to_owned()).or_default() += 1;
                        let events: StreamRangeReply = redis::from_redis_value(row[1].clone()).expect("events");
                        self.latencies.extend(latency(&events));
                    }
                    Some(_) => left.push(id.clone()),
                }
            }
        }
        left.append(&mut later);
        self.waiting = left;
    }

    pub fn done(&self) -> u64 {
        self.ended.values().sum()
    }
}

fn latency(events: &StreamRangeReply) -> Option<f64> {
    let at = |kind: &str| {
        let event = events.ids.iter().find(|event| event.get::<String>("type").as_deref() == Some(kind))?;
        event.get::<f64>("timestamp")
    };
    Some((at("started")? - at("job_submitted")?) * 1000.0)
}
