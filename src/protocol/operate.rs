//! What is done to the queue from outside a run: cancel a job, let time pass, register and leave.
//! In: an order, or the passing of time. Out: what changed.

use super::control::Wanted;
use super::script::{Space, lua};
use redis::RedisResult;
use redis::aio::ConnectionLike;

lua!(CANCEL, "cancel.lua");
lua!(TICK, "tick.lua");
lua!(REGISTER, "register.lua");
lua!(DEREGISTER, "deregister.lua");

/// What became of a cancellation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cancelled {
    /// It is cancelled.
    Now,
    /// Its worker has been asked to stop.
    Requested {
        /// That worker.
        worker: String,
    },
    /// It had ended.
    Ended {
        /// How.
        state: String,
    },
    /// There is no such job.
    Unknown,
}

/// What a tick did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ticked {
    /// Leases that had run out and were acted upon.
    pub reaped: u64,
    /// Delayed jobs that became claimable.
    pub promoted: u64,
    /// Ended jobs that were deleted.
    pub purged: u64,
    /// Jobs that failed as `worker_lost`.
    pub given_up: u64,
    /// Time stood still or jumped: every lease was extended.
    pub time_jumped: bool,
    /// What is wanted of each worker that was asked about, in that order.
    pub wanted: Vec<Wanted>,
}

/// A worker's record.
#[derive(Debug, Clone)]
pub struct Registration<'a> {
    /// The worker's id.
    pub worker: &'a str,
    /// Which process; empty at its start, then what the first registration answered.
    pub instance: &'a str,
    /// A random text that makes the instance unique.
    pub nonce: &'a str,
    /// Life of the heartbeat key, in seconds.
    pub ttl_seconds: u64,
    /// Job fields beyond the usual that its matching reads.
    pub class_fields: &'a [String],
    /// The fields of the hash.
    pub fields: &'a [(String, String)],
}

/// What a registration answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    /// Registered.
    Ok {
        /// Which process this is.
        instance: String,
        /// What somebody wants of it.
        wanted: Wanted,
        /// Job fields of which the queue did not know yet that they matter.
        new_class_fields: u64,
    },
    /// A newer process has this id: stop.
    Superseded {
        /// Which.
        by: String,
    },
}

impl Space {
    /// Cancels a job, or asks its holder to.
    pub async fn cancel(
        &self,
        con: &mut (impl ConnectionLike + Send),
        id: &str,
        reason: &str,
    ) -> RedisResult<Cancelled> {
        let reply = self.call(&CANCEL).arg(id).arg(reason).send(con).await?;
        Ok(match reply.text(0).as_str() {
            "cancelled" => Cancelled::Now,
            "requested" => Cancelled::Requested { worker: reply.text(1) },
            "ended" => Cancelled::Ended { state: reply.text(1) },
            "unknown" => Cancelled::Unknown,
            _ => return Err(reply.unknown()),
        })
    }

    /// Reaps, promotes and purges what is due. Asks on the way what is wanted of `workers`.
    pub async fn tick(
        &self,
        con: &mut (impl ConnectionLike + Send),
        lease_ms: u64,
        max_stalls: u32,
        workers: &[&str],
    ) -> RedisResult<Ticked> {
        let mut call = self.call(&TICK).arg(lease_ms).arg(max_stalls);
        for worker in workers {
            call = call.arg(worker);
        }
        let reply = call.send(con).await?;
        Ok(Ticked {
            reaped: reply.count(0),
            promoted: reply.count(1),
            purged: reply.count(2),
            given_up: reply.count(3),
            time_jumped: reply.text(4) == "1",
            wanted: (0..workers.len()).map(|at| Wanted::read(&reply, 5 + 3 * at)).collect(),
        })
    }

    /// Registers a worker, or renews its registration.
    pub async fn register(
        &self,
        con: &mut (impl ConnectionLike + Send),
        registration: &Registration<'_>,
    ) -> RedisResult<Registered> {
        let mut call = self
            .call(&REGISTER)
            .arg(registration.worker)
            .arg(registration.instance)
            .arg(registration.nonce)
            .arg(registration.ttl_seconds)
            .arg(registration.class_fields.join(","));
        for (name, value) in registration.fields {
            call = call.arg(name).arg(value);
        }
        let reply = call.send(con).await?;
        Ok(match reply.text(0).as_str() {
            "ok" => {
                let wanted = Wanted::read(&reply, 3);
                Registered::Ok { instance: reply.text(1), wanted, new_class_fields: reply.count(2) }
            }
            "superseded" => Registered::Superseded { by: reply.text(1) },
            _ => return Err(reply.unknown()),
        })
    }

    /// Takes a worker's record away, unless a newer process has it.
    pub async fn deregister(
        &self,
        con: &mut (impl ConnectionLike + Send),
        worker: &str,
        instance: &str,
    ) -> RedisResult<()> {
        self.call(&DEREGISTER).arg(worker).arg(instance).send(con).await.map(|_| ())
    }
}
