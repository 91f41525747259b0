//! Presence of one worker: the whole registration again at each beat, so that nothing stays half-written for long.
//! In: the worker's record. Out: registered, desired state heard, or superseded by a newer process.

use super::control::Control;
use super::link::Link;
use crate::protocol::Space;
use crate::protocol::operate::{Registered, Registration};
use failpoints::{Point, reach};
use redis::RedisResult;
use std::sync::Mutex;

/// A worker's place among the registered ones.
pub struct Presence {
    /// The worker's id.
    pub worker: String,
    nonce: String,
    ttl_seconds: u64,
    instance: Mutex<String>,
}

/// The other live workers that offer a service and could take the job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Others {
    /// How many there are.
    pub serve: usize,
    /// How many of them are not among those that have refused the job.
    pub unasked: usize,
    /// Those whose GPU has no more memory than the one that asks, if there is one whose GPU has.
    pub no_larger: Vec<String>,
    /// How many of them list every one of the models that were asked for, and have not refused the job.
    pub have_models: usize,
    /// The others of them.
    pub lack_models: Vec<String>,
    /// How many of them have not refused the job and list no models for the service: they may have any.
    pub unlisting: usize,
}

/// Who else offers this service, and with these models. `refused`: ids, separated by spaces, of workers that lack what
/// the job needs. `unfit`: by what a worker advertises it cannot take the job; it will neither run nor refuse it.
pub async fn others_serve(
    link: &Link,
    space: &Space,
    me: &str,
    service: &str,
    models: &[String],
    refused: &str,
    unfit: &(dyn Fn(&serde_json::Value) -> bool + Sync),
) -> RedisResult<Others> {
    let mut others = Others::default();
    let (mut mine, mut memories) = (0.0, Vec::new());
    for worker in super::client::workers(link, space).await?.iter().filter(|worker| worker.alive) {
        let capabilities = worker.record.get("capabilities").map(String::as_str).unwrap_or_default();
        let capabilities: serde_json::Value = serde_json::from_str(capabilities).unwrap_or_default();
        let memory = capabilities["hardware"]["gpu_memory_gb"].as_f64().unwrap_or_default();
        if worker.id == me {
            mine = memory;
            continue;
        }
        let lists = |list: &serde_json::Value, name: &str| {
            list.as_array().is_some_and(|names| names.iter().any(|known| known == name))
        };
        if lists(&capabilities["services"], service) && !unfit(&capabilities) {
            let listed = &capabilities["models"][service];
            others.serve += 1;
            memories.push((worker.id.clone(), memory));
            let is_unasked = !refused.split(' ').any(|id| id == worker.id);
            others.unasked += usize::from(is_unasked);
            let lists_none = listed.as_array().is_none_or(Vec::is_empty);
            others.unlisting += usize::from(is_unasked && lists_none);
            if is_unasked && models.iter().all(|model| lists(listed, model) || lists(listed, "all")) {
                others.have_models += 1;
            } else {
                others.lack_models.push(worker.id.clone());
            }
        }
    }
    if mine > 0.0 && memories.iter().any(|(_, memory)| *memory > mine) {
        others.no_larger = memories.into_iter().filter(|(_, memory)| *memory <= mine).map(|(id, _)| id).collect();
    }
    Ok(others)
}

/// What a beat brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beaten {
    /// Registered; what is wanted of the worker has been heard.
    Registered {
        /// This beat was the first.
        first: bool,
    },
    /// A newer process has this worker id.
    Superseded {
        /// Which.
        by: String,
    },
}

impl Presence {
    /// A worker whose heartbeat key lives for `ttl_seconds` after each beat.
    pub fn new(worker: &str, ttl_seconds: u64) -> Self {
        let nonce = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
        Self { worker: worker.to_owned(), nonce, ttl_seconds, instance: Mutex::default() }
    }

    /// Which process this is, once it is registered.
    pub fn instance(&self) -> String {
        self.instance.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Writes the whole record.
    pub async fn beat(
        &self,
        link: &Link,
        space: &Space,
        control: &Control,
        class_fields: &[String],
        fields: &[(String, String)],
    ) -> RedisResult<Beaten> {
        let (instance, history) = (self.instance(), link.history());
        let registration = Registration {
            worker: &self.worker,
            instance: &instance,
            nonce: &self.nonce,
            ttl_seconds: self.ttl_seconds,
            class_fields,
            fields,
        };
        Ok(match link.call(async |con| space.register(con, &registration).await).await? {
            Registered::Ok { instance: now, wanted, .. } => {
                reach(Point::Registered);
                control.hear(link, history, wanted);
                *self.instance.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = now;
                Beaten::Registered { first: instance.is_empty() }
            }
            Registered::Superseded { by } => Beaten::Superseded { by },
        })
    }

    /// Leaves.
    pub async fn leave(&self, link: &Link, space: &Space) -> RedisResult<()> {
        let instance = self.instance();
        if instance.is_empty() {
            return Ok(());
        }
        link.call(async |con| space.deregister(con, &self.worker, &instance).await).await?;
        reach(Point::Deregistered);
        Ok(())
    }
}
