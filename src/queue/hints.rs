//! Listening to what other processes say. Hints only: losing every one costs time, never a job.
//! In: channels. Out: typed hints, in order of arrival.

use super::claim::Birth;
use super::link::{Link, unless};
use crate::protocol::Space;
use futures_util::StreamExt;
use redis::{Msg, RedisResult};
use serde::Deserialize;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const PAUSE: Duration = Duration::from_millis(500);
const QUIET_MAX: Duration = Duration::from_secs(20);

/// Something that another process said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// Listening (again): whatever was said before has not been heard.
    Listening,
    /// A class was born.
    Born(Birth),
    /// A process has started under this worker id; it may be this one.
    Started {
        /// The id.
        worker: String,
    },
    /// Something else is wanted of a worker.
    Control {
        /// Its id.
        worker: String,
    },
    /// Somebody wants this job stopped.
    Cancel {
        /// The job.
        job_id: String,
    },
    /// Somebody publishes a machine status under our machine's id.
    MachineStatus {
        /// The message.
        json: String,
    },
}

#[derive(Deserialize)]
struct WorkerMessage {
    worker: String,
}

#[derive(Deserialize)]
struct CancelMessage {
    job_id: String,
}

/// Listens until told to stop; a broken connection is opened again.
pub async fn listen(
    link: &Link,
    space: &Space,
    machine: Option<&str>,
    beat: impl Fn(),
    stop: CancellationToken,
    hear: impl Fn(Hint),
) {
    loop {
        beat();
        let listening = listen_once(link, space, machine, &beat, &hear);
        if unless(&stop, listening).await.is_none() || unless(&stop, tokio::time::sleep(PAUSE)).await.is_none() {
            return;
        }
    }
}

async fn listen_once(
    link: &Link,
    space: &Space,
    machine: Option<&str>,
    beat: &impl Fn(),
    hear: &impl Fn(Hint),
) -> RedisResult<()> {
    let (mut listener, generation) = link.listener().await?;
    let (born, cancel) = (space.key("jobs:classes:born"), space.key("cancel_job"));
    let (started, control) = (space.key("jobs:workers:started"), space.key("jobs:workers:control"));
    let status = machine.map(|machine| space.key("machine:status:") + machine);
    listener.subscribe(&born).await?;
    listener.subscribe(&cancel).await?;
    listener.subscribe(&started).await?;
    listener.subscribe(&control).await?;
    if let Some(status) = &status {
        listener.subscribe(status).await?;
    }
    hear(Hint::Listening);
    let (mut sink, mut messages) = listener.split();
    loop {
        beat();
        let next = tokio::select! {
            next = tokio::time::timeout(QUIET_MAX, messages.next()) => next,
            // Redis is somewhere else by now.
            () = link.left(generation) => return Ok(()),
        };
        match next {
            Ok(Some(message)) => {
                if let Some(hint) = read(&message, [&born, &cancel, &started, &control]) {
                    hear(hint);
                }
            }
            Ok(None) => return Ok(()),
            // Long silence: a half-open connection would be silent for ever.
            Err(_) => match tokio::time::timeout(QUIET_MAX / 4, sink.ping::<redis::Value>()).await {
                Ok(answer) => drop(answer?),
                Err(_) => return Ok(()),
            },
        }
    }
}

fn read(message: &Msg, [born, cancel, started, control]: [&str; 4]) -> Option<Hint> {
    let channel = message.get_channel_name();
    let payload = message.get_payload_bytes();
    if channel == born {
        Some(Hint::Born(serde_json::from_slice(payload).ok()?))
    } else if channel == cancel {
        let CancelMessage { job_id } = serde_json::from_slice(payload).ok()?;
        Some(Hint::Cancel { job_id })
    } else if channel == started {
        let WorkerMessage { worker } = serde_json::from_slice(payload).ok()?;
        Some(Hint::Started { worker })
    } else if channel == control {
        let WorkerMessage { worker } = serde_json::from_slice(payload).ok()?;
        Some(Hint::Control { worker })
    } else {
        Some(Hint::MachineStatus { json: String::from_utf8_lossy(payload).into_owned() })
    }
}
