//! The machine's status for the reference's hub and monitor, unless somebody else already publishes it.
//! In: the slots. Out: `machine:status:{machine}` every ten seconds, none once the agent leaves.

use crate::config::MachineStatus;
use crate::queue::announce::{machine_status, publish};
use crate::queue::link::unless;
use crate::runner::shared::Shared;
use crate::runner::slot::Slot;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The reference's hub takes a machine for gone after 30 s.
const PERIOD: Duration = Duration::from_secs(10);

/// Publishes the machine's status.
pub struct Publisher {
    mode: MachineStatus,
    slots: Vec<Arc<Slot>>,
    began: Instant,
    sent: Mutex<BTreeSet<i64>>,
    heard: Mutex<Option<Instant>>,
}

impl Publisher {
    /// A publisher for these slots.
    pub fn new(mode: MachineStatus, slots: Vec<Arc<Slot>>) -> Self {
        Self { mode, slots, began: Instant::now(), sent: Mutex::default(), heard: Mutex::default() }
    }

    /// Hears a status of this machine: our own comes back, too, and is told by its time and sender.
    pub fn hear(&self, json: &str) {
        let message: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
        let ours = message["status"]["workers"].as_object().is_some_and(|workers| {
            !workers.is_empty() && workers.values().all(|worker| worker["build_info"] == "gpu-worker")
        }) && message["timestamp"]
            .as_i64()
            .is_some_and(|at| self.sent.lock().unwrap_or_else(std::sync::PoisonError::into_inner).contains(&at));
        if !ours {
            *self.heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Instant::now());
        }
    }

    fn is_silent(&self) -> bool {
        match self.mode {
            MachineStatus::On => false,
            MachineStatus::Off => true,
            MachineStatus::Auto => self
                .heard
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .is_some_and(|at| at.elapsed() < PERIOD * 3),
        }
    }

    /// Publishes until the agent leaves.
    pub async fn keep(&self, shared: &Shared, beat: impl Fn(), stop: CancellationToken) {
        let mut update_type = "initial";
        while !shared.shutdown.drain.is_cancelled() {
            beat();
            if !self.is_silent() {
                let workers: Vec<_> =
                    self.slots.iter().map(|slot| (slot.announced(), slot.gpu().unwrap_or(0), slot.job())).collect();
                let gpus: BTreeSet<u32> = self.slots.iter().filter_map(|slot| slot.gpu()).collect();
                let uptime = self.began.elapsed().as_millis() as u64;
                let message = machine_status(&shared.machine, update_type, uptime, gpus.len(), &workers);
                {
                    let mut sent = self.sent.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    sent.extend(message.1["timestamp"].as_i64());
                    while sent.len() > 8 {
                        sent.pop_first();
                    }
                }
                if publish(&shared.link, &shared.space, &[message]).await.is_ok() {
                    update_type = "periodic";
                }
            }
            tokio::select! {
                () = shared.shutdown.drain.cancelled() => return,
                gone = unless(&stop, tokio::time::sleep(PERIOD)) => if gone.is_none() { return },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEIRS: &str = r#"{"timestamp": 7, "status": {"workers": {"w1": {"build_info": "status-events-v2"}}}}"#;
    const OURS: &str = r#"{"timestamp": 7, "status": {"workers": {"w1": {"build_info": "gpu-worker"}}}}"#;

    #[test]
    fn auto_falls_silent_when_another_publisher_of_the_machine_is_heard() {
        let publisher = Publisher::new(MachineStatus::Auto, Vec::new());
        assert!(!publisher.is_silent());
        publisher.sent.lock().unwrap().insert(7);
        publisher.hear(OURS);
        assert!(!publisher.is_silent(), "what it said itself comes back to it");
        publisher.hear(THEIRS);
        assert!(publisher.is_silent());
    }

    #[test]
    fn another_agent_of_the_same_machine_is_another_publisher() {
        let publisher = Publisher::new(MachineStatus::Auto, Vec::new());
        publisher.hear(OURS);
        assert!(publisher.is_silent());
    }

    #[test]
    fn on_and_off_hear_nobody() {
        for (mode, silent) in [(MachineStatus::On, false), (MachineStatus::Off, true)] {
            let publisher = Publisher::new(mode, Vec::new());
            publisher.hear(THEIRS);
            assert_eq!(publisher.is_silent(), silent);
        }
    }
}
