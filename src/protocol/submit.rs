//! Accepting jobs, and giving ended ones a new life.
//! In: a job's fields. Out: accepted, or which limit or earlier job stands in the way.

use super::script::{Space, lua};
use redis::RedisResult;
use redis::aio::ConnectionLike;

lua!(SUBMIT, "submit.lua");
lua!(REPLAY, "replay.lua");

/// A job to be accepted.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// `[A-Za-z0-9_-]{1,128}`.
    pub id: String,
    /// Its class: id and definition.
    pub class: (String, String),
    /// The job fields beyond the usual that the class was made with, sorted.
    pub class_fields: Vec<String>,
    /// 0 to 1023, higher first.
    pub priority: u64,
    /// `workflow_datetime` in ms, if set: the time that counts for the order.
    pub order_time_ms: Option<u64>,
    /// When it becomes claimable, in ms; `None` = at once.
    pub due_ms: Option<u64>,
    /// Payload and requirements as JSON, for the reference's `job_submitted`.
    pub hint: (String, String),
    /// The other fields of the hash, payload included.
    pub fields: Vec<(String, String)>,
}

/// Caps on what may wait.
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    /// Most waiting jobs, delayed ones included.
    pub waiting: u64,
    /// Most classes.
    pub classes: u64,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { waiting: 1_000_000, classes: 10_000 }
    }
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// Accepted.
    Accepted {
        /// Its life.
        created_at: String,
    },
    /// The id is taken.
    Exists {
        /// That job's status.
        status: String,
    },
    /// Too many jobs wait.
    QueueFull {
        /// How many wait.
        waiting: u64,
    },
    /// Too many different sets of requirements wait.
    TooManyClasses,
    /// The class must be made with these job fields; submit again.
    ClassFields(Vec<String>),
}

/// What became of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// It waits again.
    Waiting {
        /// Its new life.
        created_at: String,
    },
    /// It neither failed nor was cancelled.
    NotEnded {
        /// Its status.
        status: String,
    },
    /// There is no such job.
    Unknown,
}

impl Space {
    /// Accepts a job: hash, class, queue, event and hint at once.
    pub async fn submit(
        &self,
        con: &mut (impl ConnectionLike + Send),
        job: &NewJob,
        limits: QueueLimits,
    ) -> RedisResult<Submitted> {
        let mut call = self
            .call(&SUBMIT)
            .arg(&job.id)
            .arg(&job.class.0)
            .arg(&job.class.1)
            .arg(job.priority)
            .arg(job.order_time_ms.map(|ms| ms.to_string()).unwrap_or_default())
            .arg(job.due_ms.unwrap_or(0))
            .arg(limits.waiting)
            .arg(limits.classes)
            .arg(job.class_fields.join(","))
            .arg(&job.hint.0)
            .arg(&job.hint.1);
        for (name, value) in &job.fields {
            call = call.arg(name).arg(value);
        }
        let reply = call.send(con).await?;
        Ok(match reply.text(0).as_str() {
            "ok" => Submitted::Accepted { created_at: reply.text(1) },
            "exists" => Submitted::Exists { status: reply.text(1) },
            "full" => Submitted::QueueFull { waiting: reply.count(1) },
            "classes_full" => Submitted::TooManyClasses,
            "fields" => Submitted::ClassFields(reply.texts(1)),
            _ => return Err(reply.unknown()),
        })
    }

    /// Gives a failed or cancelled job a new life.
    pub async fn replay(&self, con: &mut (impl ConnectionLike + Send), id: &str) -> RedisResult<Replayed> {
        let reply = self.call(&REPLAY).arg(id).send(con).await?;
        Ok(match reply.text(0).as_str() {
            "ok" => Replayed::Waiting { created_at: reply.text(1) },
            "exists" => Replayed::NotEnded { status: reply.text(1) },
            "unknown" => Replayed::Unknown,
            _ => return Err(reply.unknown()),
        })
    }
}
