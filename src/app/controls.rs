//! Carries out what the dashboard is told: by Redis, the engines, or both.
//! In: orders. Out: what was done, in a sentence; or why not, and what to do about it.

use crate::dashboard::{Because, Controls, Order, Refused};
use crate::hardware::Inventory;
use crate::protocol::control::Desired;
use crate::protocol::ids::is_legal_job_id;
use crate::protocol::operate::Cancelled;
use crate::protocol::submit::Replayed;
use crate::runner::engine::Engine;
use crate::runner::shared::Shared;
use crate::runner::slot::Slot;
use async_trait::async_trait;
use connectors::contract::{Freed, Health};
use redis::RedisResult;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Whoever waits in front of a page is told that Redis is away, sooner than a job would be.
const REDIS_LONGEST: Duration = Duration::from_secs(4);
const ENGINES_LONGEST: Duration = Duration::from_secs(20);

type Done = Result<String, Refused>;

fn refused(because: Because, error: impl Into<String>, remedy: &str) -> Refused {
    Refused { because, error: error.into(), remedy: remedy.to_owned() }
}

/// Engines that are in use now, each once: slots of one GPU share them.
pub(super) fn engines_of(slots: &[Arc<Slot>]) -> Vec<Arc<Engine>> {
    let mut all: Vec<Arc<Engine>> = Vec::new();
    for slot in slots {
        for engine in slot.engines.borrow().iter() {
            if !all.iter().any(|known| Arc::ptr_eq(known, engine)) {
                all.push(engine.clone());
            }
        }
    }
    all
}

/// Reaches what orders are about.
pub(super) struct Operator {
    pub shared: Arc<Shared>,
    pub slots: Vec<Arc<Slot>>,
    pub hardware: watch::Receiver<Arc<Inventory>>,
}

#[async_trait]
impl Controls for Operator {
    async fn carry_out(&self, order: Order) -> Done {
        match order {
            Order::Pause(which) => self.want(which, Desired::Paused).await,
            Order::Resume(which) => self.want(which, Desired::Running).await,
            Order::Drain(which) => self.want(which, Desired::Draining).await,
            Order::Probe => self.probe().await,
            Order::Cancel(id) => self.cancel(&id).await,
            Order::Retry(id) => self.retry(&id).await,
            Order::FreeVram(gpu) => self.free_vram(gpu).await,
        }
    }
}

/// Redis answers in time, or it is away.
async fn in_time<T>(asking: impl Future<Output = RedisResult<T>>) -> Result<T, Refused> {
    const REMEDY: &str =
        "look again once Redis answers: it may have heard the order and obey it then; running jobs go on meanwhile";
    match tokio::time::timeout(REDIS_LONGEST, asking).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(refused(Because::Unavailable, format!("Redis: {error}"), REMEDY)),
        Err(_) => Err(refused(Because::Unavailable, "Redis does not answer", REMEDY)),
    }
}

/// Whether all were told; if only some were, the refusal names them.
fn all_told(answers: Vec<(&str, Result<(), Refused>)>) -> Result<(), Refused> {
    let (mut told, mut refusal) = (Vec::new(), None);
    for (worker, answer) in answers {
        match answer {
            Ok(()) => told.push(worker),
            Err(why) => refusal = Some(why),
        }
    }
    let Some(mut refusal) = refusal else { return Ok(()) };
    if !told.is_empty() {
        refusal.error = format!("{}; only {} heard of it", refusal.error, told.join(", "));
    }
    Err(refusal)
}

fn legal(id: &str) -> Result<(), Refused> {
    match is_legal_job_id(id) {
        true => Ok(()),
        false => Err(refused(
            Because::Unknown,
            "a job id is 1 to 128 letters, digits, `_` or `-`",
            "take it from the list of jobs",
        )),
    }
}

fn no_job(id: &str) -> Refused {
    refused(Because::Unknown, format!("there is no job {id}"), "it may have been deleted; `gpu-worker jobs` lists them")
}

impl Operator {
    async fn want(&self, which: Option<String>, desired: Desired) -> Done {
        let chosen: Vec<&Arc<Slot>> =
            self.slots.iter().filter(|slot| which.as_ref().is_none_or(|id| *id == slot.worker)).collect();
        if chosen.is_empty() {
            let error = format!("this agent has no worker {}", which.unwrap_or_default());
            return Err(refused(Because::Unknown, error, "`gpu-worker workers` lists them"));
        }
        let by = format!("dashboard of {}", self.shared.machine);
        let telling = chosen.iter().map(async |slot| {
            let order = slot.control.order(&self.shared.link, &self.shared.space, desired, &by);
            (slot.worker.as_str(), in_time(order).await)
        });
        all_told(futures_util::future::join_all(telling).await)?;
        let whom = match which {
            Some(worker) => worker,
            None if chosen.len() == 1 => "this worker".to_owned(),
            None => format!("all {} workers of this agent", chosen.len()),
        };
        let busy = chosen.iter().filter(|slot| slot.job().is_some()).count();
        let rest = match busy {
            0 => "nothing runs".to_owned(),
            1 => "one job still runs, to its end".to_owned(),
            _ => format!("{busy} jobs still run, to their ends"),
        };
        Ok(match desired {
            Desired::Running => format!("{whom} may claim jobs again"),
            Desired::Paused => format!("{whom} may claim no more jobs; {rest}"),
            Desired::Draining if busy == 0 => format!("{whom} may claim no more jobs and is drained: nothing runs"),
            Desired::Draining => format!("{whom} may claim no more jobs and drains: {rest}"),
        })
    }

    async fn probe(&self) -> Done {
        let engines = engines_of(&self.slots);
        let asking = futures_util::future::join_all(engines.iter().map(|engine| engine.probe()));
        let all_answered = tokio::time::timeout(ENGINES_LONGEST, asking).await.is_ok();
        let sick: Vec<String> = engines
            .iter()
            .filter_map(|engine| match engine.latest().health {
                Health::Unhealthy(why) => Some(format!("{}: {why}", engine.label)),
                Health::Healthy => None,
            })
            .collect();
        let well = engines.len() - sick.len();
        Ok(match (engines.len(), sick.is_empty()) {
            (0, _) => "there is no engine to ask".to_owned(),
            _ if !all_answered => "asked; not every engine has answered yet".to_owned(),
            (all, true) => format!("asked: all engines are well ({all})"),
            (all, false) => format!("asked: {well} of {all} engines are well; {}", sick.join("; ")),
        })
    }

    async fn cancel(&self, id: &str) -> Done {
        legal(id)?;
        let (link, space) = (&self.shared.link, &self.shared.space);
        let asking = link.call(async |con| space.cancel(con, id, "cancelled from the dashboard").await);
        match in_time(asking).await? {
            Cancelled::Now => Ok(format!("{id} is cancelled")),
            Cancelled::Requested { worker } => Ok(format!("{worker} has been asked to stop {id}")),
            Cancelled::Ended { state } => {
                Err(refused(Because::Conflict, format!("{id} has ended already: {state}"), "there is nothing to stop"))
            }
            Cancelled::Unknown => Err(no_job(id)),
        }
    }

    async fn retry(&self, id: &str) -> Done {
        legal(id)?;
        let (link, space) = (&self.shared.link, &self.shared.space);
        match in_time(link.call(async |con| space.replay(con, id).await)).await? {
            Replayed::Waiting { .. } => Ok(format!("{id} waits again")),
            Replayed::NotEnded { status } => Err(refused(
                Because::Conflict,
                format!("only failed and cancelled jobs can be tried again; {id} is {status}"),
                "hand it in once more under another id",
            )),
            Replayed::Unknown => Err(no_job(id)),
        }
    }

    /// Not under a job: an engine at work would load again what it has just let go, or lose what it works with. A job that is
    /// claimed while the engines are asked is not held up.
    async fn free_vram(&self, gpu: u32) -> Done {
        if !self.hardware.borrow().gpus.iter().any(|known| known.index == gpu) {
            let error = format!("this machine has no GPU {gpu}");
            return Err(refused(Because::Unknown, error, "`gpu-worker probe` lists them"));
        }
        let engines = engines_of(&self.slots);
        let on_it = |engine: &&Arc<Engine>| engine.fence().is_some_and(|fence| fence.gpu == gpu);
        let engines: Vec<&Arc<Engine>> = engines.iter().filter(on_it).collect();
        if engines.is_empty() {
            let error = format!("no engine works on GPU {gpu}");
            return Err(refused(Because::Conflict, error, "what fills it belongs to another program"));
        }
        let at_work = self.slots.iter().any(|slot| slot.gpu() == Some(gpu) && slot.job().is_some());
        if at_work || engines.iter().any(|engine| engine.runs() > 0) {
            let error = format!("a job runs on GPU {gpu}");
            return Err(refused(
                Because::Conflict,
                error,
                "wait for its end or cancel it; pause first, so that no other one begins",
            ));
        }
        let asking = futures_util::future::join_all(engines.iter().map(|engine| engine.connector.free_memory()));
        let Ok(answers) = tokio::time::timeout(ENGINES_LONGEST, asking).await else {
            let error = format!("an engine on GPU {gpu} does not answer");
            return Err(refused(Because::Unavailable, error, "look whether the engine is overloaded or frozen"));
        };
        let (mut freed, mut cannot) = (Vec::new(), Vec::new());
        for (engine, answer) in engines.iter().zip(answers) {
            match answer {
                Ok(Freed::Requested) => freed.push(engine.label.as_str()),
                Ok(Freed::NotSupported) => cannot.push(format!("{} has no such call", engine.label)),
                Err(failure) => cannot.push(format!("{}: {}", engine.label, failure.message)),
            }
        }
        if freed.is_empty() {
            return Err(refused(Because::Conflict, cannot.join("; "), "restart the engine to free its memory"));
        }
        let rest = if cannot.is_empty() { String::new() } else { format!("; {}", cannot.join("; ")) };
        Ok(format!("{} gave back the memory of GPU {gpu}{rest}", freed.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_workers_that_were_told_nevertheless() {
        let away = || Err(refused(Because::Unavailable, "Redis does not answer", "try again"));
        let error = |answers| all_told(answers).err().map(|refusal| refusal.error);
        assert_eq!(error(vec![("a", Ok(())), ("b", Ok(()))]), None);
        assert_eq!(error(vec![("a", away()), ("b", away())]).as_deref(), Some("Redis does not answer"));
        assert_eq!(
            error(vec![("a", Ok(())), ("b", away()), ("c", Ok(()))]).as_deref(),
            Some("Redis does not answer; only a, c heard of it")
        );
    }
}
