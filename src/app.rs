//! The agent put together: what is built in which order, what runs beside what, and how it all ends.
//! In: a checked configuration, connectors, orders to stop. Out: an agent that has left in order.
//!
//! ```text
//!   hardware ─▶ engines ─▶ slots ─▶ loops (heartbeat, leases, tick, sweep, hints, probes) ─▶ claims
//!   drain: no claims ─▶ running jobs end or are given back ─▶ deregistered ─▶ loops end
//! ```

mod beats;
mod build;
mod check;
mod controls;
mod drivers;
pub mod engine_files;
mod gpus;
mod machine;
mod observer;
mod places;
mod roster;
mod settling;
mod siblings;

pub use build::{Built, gpu_facts, limits, space};
pub use drivers::{Driven, drivers};

use crate::config::Config;
use crate::input::Inputs;
use crate::output::Outputs;
use crate::queue::hints::{self, Hint};
use crate::queue::holds::{Holds, Stop};
use crate::queue::journal::Journal;
use crate::queue::link::{Link, unless};
use crate::queue::{lease, reassert, sweep, tick, wake};
use crate::runner::board::Board;
use crate::runner::previews::Previews;
use crate::runner::shared::{Shared, publish_announcements};
use crate::runner::slot::Slot;
use crate::service::loops::Loops;
use crate::service::shutdown::Shutdown;
use crate::service::systemd;
use crate::telemetry::{Notice, tell};
use machine::Publisher;
use observer::Parts;
use siblings::Siblings;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Time that the last goodbyes to Redis may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// Loops come round at least this often, whatever Redis does: each call has a deadline of its own.
const LOOP_LONGEST: Duration = Duration::from_secs(60);

/// How the agent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// As it was told to.
    InOrder,
    /// A newer process has its id.
    Superseded,
}

/// Runs the agent until it is told to stop, or superseded.
pub async fn run(config: &Config, built: Built, outputs: Outputs, link: Link, shutdown: Shutdown) -> Left {
    let (announcements, to_publish) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        link,
        space: space(config),
        holds: Holds::default(),
        inputs: Arc::new(Inputs::configured(config)),
        journal: Journal::at(&config.state_dir),
        limits: limits(config),
        outputs,
        board: Board::default(),
        previews: Previews::default(),
        looking: tokio::sync::watch::Sender::new(0),
        shutdown,
        machine: config.identity.machine_id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        announcements,
    });
    let slots = built.slots(config, &shared);
    let workers: Vec<String> = slots.iter().map(|slot| slot.worker.clone()).collect();
    tell(Notice::Started { workers: &workers, machine: &shared.machine, version: &shared.version });
    Agent { shared, slots, loops: Loops::default(), to_publish: Some(to_publish) }.run(config, built).await
}

struct Agent {
    shared: Arc<Shared>,
    slots: Vec<Arc<Slot>>,
    loops: Loops,
    to_publish: Option<mpsc::UnboundedReceiver<crate::runner::shared::Announcement>>,
}

impl Agent {
    async fn run(mut self, config: &Config, mut built: Built) -> Left {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let superseded = CancellationToken::new();
        self.start_services(config, &mut built, &tasks, &stop, &superseded);
        let siblings = Arc::new(Siblings::default());
        if config.dashboard.enabled {
            let beat = self.loops.add("dashboards", LOOP_LONGEST);
            let (shared, known, until) = (self.shared.clone(), siblings.clone(), stop.clone());
            let me = config.identity.worker_id.clone();
            tasks.spawn(async move { known.keep(&shared, &me, || beat.tick(), until).await });
        }
        let observed = Parts {
            siblings,
            id: config.identity.worker_id.clone(),
            shared: self.shared.clone(),
            slots: self.slots.clone(),
            hardware: built.hardware(),
            sampler: built.sampler(),
            loops: self.loops.clone(),
            output_dir: config.output_dir.clone(),
        };
        tasks.spawn(observer::answer(config.clone(), observed, stop.clone()));
        built.watch_engines(&self.slots, config, &tasks, &stop);
        systemd::ready(&format!("{} worker(s)", self.slots.len()));

        let working = TaskTracker::new();
        for slot in &self.slots {
            let beat = self.loops.add(format!("slot {}", slot.worker), LOOP_LONGEST);
            let (slot, loops) = (slot.clone(), self.loops.clone());
            working.spawn(async move {
                slot.run(beat.clone()).await;
                loops.remove(&beat);
            });
        }
        working.close();
        self.shared.shutdown.drain.cancelled().await;
        self.drain(config, &working).await;
        let goodbye = tokio::time::timeout(GOODBYE, self.say_goodbye(&superseded)).await;
        drop(goodbye);
        stop.cancel();
        self.shared.shutdown.now.cancel();
        tasks.close();
        self.shared.outputs.settle(GOODBYE).await;
        // What still hangs on an engine or a half-open connection ends with the process.
        let _ = tokio::time::timeout(GOODBYE, tasks.wait()).await;
        tell(Notice::Stopped);
        if superseded.is_cancelled() { Left::Superseded } else { Left::InOrder }
    }

    fn start_services(
        &mut self,
        config: &Config,
        built: &mut Built,
        tasks: &TaskTracker,
        stop: &CancellationToken,
        superseded: &CancellationToken,
    ) {
        let (lease, max_stalls) = (config.jobs.lease, config.jobs.max_stalls);
        let named = |name: &str| {
            let beat = self.loops.add(name, LOOP_LONGEST);
            (self.shared.clone(), move || beat.tick(), stop.clone())
        };
        let (shared, beat, until) = named("leases");
        tasks.spawn(async move { lease::keep(&shared.link, &shared.space, &shared.holds, lease, beat, until).await });
        let (shared, until) = (self.shared.clone(), stop.clone());
        tasks.spawn(async move { shared.link.follow_guides(until).await });
        let (shared, slots, until) = (self.shared.clone(), self.slots.clone(), stop.clone());
        tasks.spawn(async move {
            let controls: Vec<_> = slots.iter().map(|slot| slot.control.clone()).collect();
            let known = reassert::Known { controls: &controls, holds: &shared.holds, journal: &shared.journal, lease };
            let register = || slots.iter().for_each(|slot| slot.beat_now.notify_one());
            reassert::keep(&shared.link, &shared.space, known, register, until).await;
        });
        let (shared, beat, until) = named("tick");
        let controls: Vec<_> = self.slots.iter().map(|slot| slot.control.clone()).collect();
        tasks.spawn(async move {
            tick::keep(&shared.link, &shared.space, lease, max_stalls, &controls, beat, until).await;
        });
        let (shared, beat, until) = named("sweep");
        let who = format!("{}-{}", config.identity.worker_id, uuid::Uuid::new_v4().simple());
        tasks.spawn(async move { sweep::keep(&shared.link, &shared.space, &who, beat, until).await });

        let publisher = Arc::new(Publisher::new(config.identity.machine_status, self.slots.clone()));
        let (shared, beat, until) = named("hints");
        let (slots, hearing) = (self.slots.clone(), publisher.clone());
        tasks.spawn(async move {
            let machine = shared.space.reference_events.then(|| shared.machine.clone());
            let hear = |hint| heard(&shared, &slots, &hearing, hint);
            hints::listen(&shared.link, &shared.space, machine.as_deref(), beat, until, hear).await;
        });
        let (shared, beat, until) = named("machine status");
        tasks.spawn(async move { publisher.keep(&shared, beat, until).await });

        if let Some(gpus) = built.take_gpus() {
            let (_, beat, until) = named("GPUs");
            let period = config.jobs.heartbeat_interval;
            tasks.spawn(async move { gpus.keep(period, beat, until).await });
        }
        for slot in &self.slots {
            let (shared, beat, until) = named("heartbeat");
            let beats = beats::Heartbeat::new(slot.clone(), config.jobs.heartbeat_interval, built.hardware());
            let gone = superseded.clone();
            tasks.spawn(async move {
                beats
                    .keep(beat, until, || {
                        gone.cancel();
                        // The newer process takes the jobs over, and the engine's work with them.
                        for hold in shared.holds.all() {
                            hold.stop(Stop::Moved);
                        }
                        shared.shutdown.drain.cancel();
                        shared.shutdown.now.cancel();
                    })
                    .await;
            });
        }
        if let Some(to_publish) = self.to_publish.take() {
            let shared = self.shared.clone();
            let until = stop.clone();
            tasks.spawn(async move { unless(&until, publish_announcements(&shared, to_publish)).await });
        }
        let feeding = self.loops.add("watchdog", LOOP_LONGEST);
        tasks.spawn(systemd::feed_watchdog(self.loops.clone(), feeding, stop.clone()));
    }

    /// Running jobs may finish; what does not in time is given back.
    async fn drain(&self, config: &Config, working: &TaskTracker) {
        systemd::stopping();
        let shutdown = &self.shared.shutdown;
        tell(Notice::Draining { running: self.shared.holds.len(), allowed: config.jobs.drain });
        let finished = unless(&shutdown.now, tokio::time::timeout(config.jobs.drain, working.wait())).await;
        if !matches!(finished, Some(Ok(()))) {
            for hold in self.shared.holds.all() {
                hold.stop(Stop::Released);
            }
            // An engine that does not stop is left behind; the release must still reach Redis.
            let _ = tokio::time::timeout(STOP_LONGEST, working.wait()).await;
        }
    }

    async fn say_goodbye(&self, superseded: &CancellationToken) {
        for slot in &self.slots {
            if superseded.is_cancelled() {
                return;
            }
            beats::leave(slot).await;
        }
    }
}

/// Longest time from the order to stop until a job has been given back.
const STOP_LONGEST: Duration = Duration::from_secs(75);

fn heard(shared: &Arc<Shared>, slots: &[Arc<Slot>], publisher: &Publisher, hint: Hint) {
    match hint {
        // What was said before has not been heard: look for classes that were born and cancels that were asked for.
        Hint::Listening => {
            for slot in slots {
                // A newer process of this id may have said that it has started.
                slot.beat_now.notify_one();
                let (shared, worker) = (shared.clone(), slot.worker.clone());
                tokio::spawn(async move { wake::call(&shared.link, &shared.space, &worker).await });
            }
            let shared = shared.clone();
            tokio::spawn(
                async move { lease::renew(&shared.link, &shared.space, &shared.holds, shared.limits.lease).await },
            );
        }
        Hint::Born(birth) => {
            for slot in slots.iter().filter(|slot| slot.hear_birth(&birth)) {
                let (shared, worker) = (shared.clone(), slot.worker.clone());
                tokio::spawn(async move { wake::call(&shared.link, &shared.space, &worker).await });
            }
        }
        // A heartbeat asks what is wanted.
        Hint::Started { worker } | Hint::Control { worker } => {
            for slot in slots.iter().filter(|slot| slot.worker == worker) {
                slot.beat_now.notify_one();
            }
        }
        // The hint may be forged or late: what Redis says of the lease decides.
        Hint::Cancel { job_id } => {
            if shared.holds.of_job(&job_id).is_some() {
                let shared = shared.clone();
                tokio::spawn(async move {
                    lease::renew(&shared.link, &shared.space, &shared.holds, shared.limits.lease).await
                });
            }
        }
        Hint::MachineStatus { json } => publisher.hear(&json),
    }
}
