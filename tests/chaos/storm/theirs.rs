//! The reference's programs, as far as a storm needs them: its hub adds and cancels jobs, one of its workers runs some.
//! In: a Redis that may be away. Out: writes in the forms of the older deployment, which asks nobody.

use super::plan::Dice;
use super::record::FOREIGN;
use gpu_worker::queue::link::Link;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, ToRedisArgs};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The id of its worker.
pub const WORKER: &str = "theirs";

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}

/// Its hub's clock as it writes it.
pub fn iso_now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// Its hub accepts a job: the hash, then the queue, then a message.
pub async fn add(con: &mut MultiplexedConnection, id: &str, payload: &Value, attempts: u64) -> RedisResult<()> {
    let (created_at, payload, attempts) = (iso_now(), payload.to_string(), attempts.to_string());
    let fields = [
        ("id", id),
        ("service_required", "comfyui"),
        ("priority", "50"),
        ("payload", &payload),
        ("requirements", ""),
        ("customer_id", ""),
        ("created_at", &created_at),
        ("status", "pending"),
        ("retry_count", "0"),
        ("max_retries", &attempts),
        ("workflow_id", ""),
        ("workflow_priority", ""),
        ("workflow_datetime", ""),
        ("current_step", ""),
        ("total_steps", ""),
        ("job_trace_id", "temp-trace-id"),
        ("ctx", ""),
    ];
    redis::cmd("HMSET").arg(format!("job:{id}")).arg(&fields[..]).exec_async(con).await?;
    let score = 50.0 * 1e15 - (now_ms() / 1000) as f64;
    redis::cmd("ZADD").arg("jobs:pending").arg(score).arg(id).exec_async(con).await?;
    let hint = json!({"job_id": id, "service_required": "comfyui", "priority": 50, "status": "pending", "timestamp": now_ms()});
    redis::cmd("PUBLISH").arg("job_submitted").arg(hint.to_string()).exec_async(con).await
}

/// Its hub cancels a job: it looks, and then writes; whatever happens between is overwritten.
pub async fn cancel(con: &mut MultiplexedConnection, id: &str) -> RedisResult<()> {
    let key = format!("job:{id}");
    let (status, worker): (Option<String>, Option<String>) =
        redis::cmd("HMGET").arg(&key).arg(&["status", "worker_id"]).query_async(con).await?;
    let (status, worker) = (status.unwrap_or_default(), worker.unwrap_or_default());
    if ["", "completed", "failed", "cancelled"].contains(&status.as_str()) {
        return Ok(());
    }
    let fields = [("status", "failed"), ("failed_at", &iso_now()), ("error", "Job cancelled by user")];
    redis::cmd("HMSET").arg(&key).arg(&fields[..]).exec_async(con).await?;
    if !worker.is_empty() {
        redis::cmd("HDEL").arg(format!("jobs:active:{worker}")).arg(id).exec_async(con).await?;
        let said = json!({"job_id": id, "worker_id": worker, "reason": "Job cancelled by user", "timestamp": now_ms()});
        redis::cmd("PUBLISH").arg("cancel_job").arg(said.to_string()).exec_async(con).await?;
    }
    if status == "pending" {
        redis::cmd("ZREM").arg("jobs:pending").arg(id).exec_async(con).await?;
    }
    let kept = json!({"error": "Job cancelled by user", "failed_at": iso_now(), "cancelled": true});
    redis::cmd("HSET").arg("jobs:failed").arg(id).arg(kept.to_string()).exec_async(con).await
}

/// Its claim is one function: the first of the queue is taken, and nobody is asked.
const CLAIM: &str = "
local id = redis.call('ZREVRANGE', 'jobs:pending', 0, 0)[1]
if not id or redis.call('HGET', 'job:' .. id, 'status') ~= 'pending' then return '' end
redis.call('ZREM', 'jobs:pending', id)
redis.call('HMSET', 'job:' .. id, 'status', 'assigned', 'worker_id', ARGV[1], 'assigned_at', ARGV[2])
redis.call('HSET', 'jobs:active:' .. ARGV[1], id, '{}')
redis.call('XADD', 'progress:' .. id, '*', 'status', 'assigned', 'worker_id', ARGV[1])
return id";

/// Its worker, which runs until it is told to end. It is never killed: nobody takes back what it holds.
pub struct Worker {
    stop: Arc<AtomicBool>,
    pub completed: Arc<AtomicU64>,
    pub retried: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Worker {
    pub fn start(url: &str, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (completed, retried) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let link = Link::new(url, "").expect("the URL is good");
        let mut work = Work { link, dice: Dice(seed), completed: completed.clone(), retried: retried.clone() };
        let task = tokio::spawn({
            let stop = stop.clone();
            async move {
                while !stop.load(Ordering::SeqCst) {
                    work.one().await;
                }
            }
        });
        Self { stop, completed, retried, task }
    }

    /// Lets it finish what it holds.
    pub async fn end(self) -> (u64, u64) {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.expect("their worker does not panic");
        (self.completed.load(Ordering::SeqCst), self.retried.load(Ordering::SeqCst))
    }
}

struct Work {
    link: Link,
    dice: Dice,
    completed: Arc<AtomicU64>,
    retried: Arc<AtomicU64>,
}

impl Work {
    /// Repeats a command until Redis answers it.
    async fn say<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> T {
        loop {
            match self.link.call(async |con| command.query_async(con).await).await {
                Ok(answer) => return answer,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    async fn set(&self, id: &str, fields: impl ToRedisArgs) {
        let () = self.say(redis::cmd("HMSET").arg(format!("job:{id}")).arg(fields)).await;
    }

    async fn one(&mut self) {
        tokio::time::sleep(Duration::from_millis(self.dice.between(100, 500))).await;
        let mut claim = redis::cmd("EVAL");
        claim.arg(format!("{FOREIGN}{CLAIM}")).arg(0).arg(WORKER).arg("1795346098.000123");
        let _: String = self.say(&claim).await;
        // A lost reply has left something here, too.
        let held: Vec<String> = self.say(redis::cmd("HKEYS").arg(format!("jobs:active:{WORKER}"))).await;
        for id in held {
            self.run(&id).await;
        }
    }

    async fn run(&mut self, id: &str) {
        self.set(id, &[("status", "in_progress"), ("started_at", &iso_now())][..]).await;
        tokio::time::sleep(Duration::from_millis(self.dice.between(20, 200))).await;
        let active = format!("jobs:active:{WORKER}");
        if self.dice.once_in(5) {
            self.retried.fetch_add(1, Ordering::SeqCst);
            let fields = [("status", "pending"), ("worker_id", ""), ("retry_count", "1"), ("failed_at", &iso_now())];
            self.set(id, &fields[..]).await;
            // The score of its retries, which has nothing to do with the one of its submissions.
            let score = 50.0 * 1e6 + (9_007_199_254_740_991.0 - now_ms() as f64);
            let _: u64 = self.say(redis::cmd("ZADD").arg("jobs:pending").arg(score).arg(id)).await;
            let _: u64 = self.say(redis::cmd("HDEL").arg(&active).arg(id)).await;
            return;
        }
        self.completed.fetch_add(1, Ordering::SeqCst);
        self.set(id, &[("status", "completed"), ("completed_at", &iso_now())][..]).await;
        let _: u64 = self.say(redis::cmd("HDEL").arg(&active).arg(id)).await;
        let result = json!({"success": true, "data": {}, "completed_at": iso_now()});
        let _: u64 = self.say(redis::cmd("HSET").arg("jobs:completed").arg(id).arg(result.to_string())).await;
        let said = json!({"job_id": id, "worker_id": WORKER, "status": "completed", "timestamp": now_ms()});
        let _: u64 = self.say(redis::cmd("PUBLISH").arg("complete_job").arg(said.to_string())).await;
    }
}
