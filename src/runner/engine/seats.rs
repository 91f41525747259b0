//! Seats in engines that take only so many jobs at once: nothing is claimed that would wait inside the agent, where its
//! time runs and no other worker can take it. In: slots about to claim, engines chosen. Out: seats, and what has none.
//!
//! ```text
//!   take ──▶ a seat in each engine that has one ──claimed──▶ one seat, in the job's engine, kept up to the next claim
//!    ▲                       │ nothing there
//!    │                       ▼
//!    └──────── given back; waits for work, and in line for a seat in each engine that it could not ask for
//! ```
//!
//! A seat that becomes free goes to one slot, the first in line; if that one finds nothing for it, to the next. So a free
//! engine with work never waits: whoever is not in its line has asked for it, and is woken by what has come since.

use super::Engine;
use crate::queue::claim::LeftOut;
use futures_util::future::select_all;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

/// One seat, for as long as this lives.
pub struct Seat {
    engine: Arc<Engine>,
    _taken: Option<OwnedSemaphorePermit>,
    /// A job that is held already, where no seat is free: the next one counts as its own.
    owed: Option<AbortOnDropHandle<()>>,
}

impl Engine {
    /// Its seats; `None`: it takes any number.
    fn seats(&self) -> Option<Arc<Semaphore>> {
        let count = self.connector.seats()?;
        Some(self.seats.get_or_init(|| Arc::new(Semaphore::new(count))).clone())
    }

    fn seat(self: &Arc<Self>, taken: OwnedSemaphorePermit) -> Seat {
        Seat { engine: self.clone(), _taken: Some(taken), owed: None }
    }

    fn try_seat(self: &Arc<Self>) -> Option<Seat> {
        Some(self.seat(self.seats()?.try_acquire_owned().ok()?))
    }
}

/// What a slot holds from before its claim until it knows that it needs it no longer.
#[derive(Default)]
pub struct Seats {
    held: Vec<Seat>,
    /// Engines that could work when seats were last taken.
    able: Vec<Arc<Engine>>,
    /// Asked for without a job, since the slot last began to look for work.
    covered: Vec<Arc<Engine>>,
    /// The last one was waited for.
    is_handed: bool,
}

fn is_among(engines: &[Arc<Engine>], engine: &Arc<Engine>) -> bool {
    engines.iter().any(|known| Arc::ptr_eq(known, engine))
}

impl Seats {
    /// Takes a seat in each of these that has one; what is held already counts.
    pub fn take(&mut self, engines: &[Arc<Engine>]) {
        self.able = engines.iter().filter(|engine| engine.is_healthy()).cloned().collect();
        self.fill();
        // Slots that ask one after the other because of each other must come to an end: each asks for an engine once.
        if !std::mem::take(&mut self.is_handed) {
            self.covered.clear();
        }
    }

    /// Takes them for a job that is held already, whatever its engine; they need not be up yet.
    pub fn reserve(engines: &[Arc<Engine>]) -> Self {
        let mut seats = Self { able: engines.to_vec(), ..Self::default() };
        seats.fill();
        seats
    }

    fn fill(&mut self) {
        // What is owed is no seat to claim another job for.
        self.held.retain(|seat| seat.owed.is_none() && is_among(&self.able, &seat.engine));
        for engine in &self.able {
            if !self.holds(engine)
                && let Some(seat) = engine.try_seat()
            {
                self.held.push(seat);
            }
        }
    }

    fn holds(&self, engine: &Arc<Engine>) -> bool {
        self.held.iter().any(|seat| Arc::ptr_eq(&seat.engine, engine))
    }

    fn is_open(&self, engine: &Arc<Engine>) -> bool {
        engine.connector.seats().is_none() || self.holds(engine)
    }

    /// What cannot be asked for now.
    pub fn full(&self) -> LeftOut {
        self.without(|engine| self.is_open(engine))
    }

    /// Nothing can: there are engines, and each is full.
    pub fn none(&self) -> bool {
        !self.able.is_empty() && !self.able.iter().any(|engine| self.is_open(engine))
    }

    /// Nothing came of asking: whoever waits takes nobody's place.
    pub fn cover(&mut self) {
        self.covered.extend(self.held.drain(..).map(|seat| seat.engine));
    }

    /// The engines that could not be asked for yet, and what is not to be waited for because of that.
    pub fn missed(&self) -> (Vec<Arc<Engine>>, LeftOut) {
        let is_reached = |engine: &Arc<Engine>| self.is_open(engine) || is_among(&self.covered, engine);
        let missed = self.able.iter().filter(|engine| !is_reached(engine)).cloned().collect();
        (missed, self.without(is_reached))
    }

    fn without(&self, is_reached: impl Fn(&Arc<Engine>) -> bool) -> LeftOut {
        let (open, closed): (Vec<_>, Vec<_>) = self.able.iter().partition(|engine| is_reached(engine));
        let is_served = |service: &&String| open.iter().any(|engine| engine.connector.services().contains(service));
        let services = closed.iter().flat_map(|engine| engine.connector.services());
        let services = services.filter(|service| !is_served(service)).cloned().collect();
        LeftOut { services, unnamed: open.is_empty() && !closed.is_empty() }
    }

    /// Gives all back.
    pub fn release(&mut self) {
        self.held.clear();
        self.is_handed = false;
    }

    /// A seat that was waited for.
    pub fn hand(&mut self, seat: Seat) {
        self.held.push(seat);
        self.is_handed = true;
    }

    /// The job asks for this service: the others need not wait until its engine is chosen.
    pub fn narrow(&mut self, service: Option<&str>) {
        let serves = |engine: &&Arc<Engine>| {
            service.is_none_or(|service| engine.connector.services().iter().any(|one| one == service))
        };
        let Some(chosen) = self.able.iter().filter(serves).find(|engine| self.is_open(engine)).cloned() else { return };
        self.held.retain(|seat| Arc::ptr_eq(&seat.engine, &chosen));
    }

    /// Whether this engine would take a job at once.
    pub fn has_room(&self, engine: &Arc<Engine>) -> bool {
        self.is_open(engine) || engine.seats().is_none_or(|seats| seats.available_permits() > 0)
    }

    /// The job is this engine's: the others have their seats back, and this one counts it, full or not.
    pub fn settle(&mut self, engine: &Arc<Engine>) {
        self.held.retain(|seat| Arc::ptr_eq(&seat.engine, engine));
        let Some(seats) = engine.seats().filter(|_| self.held.is_empty()) else { return };
        self.held.push(engine.try_seat().unwrap_or_else(|| {
            let owed = tokio::spawn(async move {
                let _taken = seats.acquire_owned().await;
                std::future::pending::<()>().await;
            });
            Seat { engine: engine.clone(), _taken: None, owed: Some(AbortOnDropHandle::new(owed)) }
        }));
    }
}

/// Waits in line for a seat in any of these.
pub async fn freed(engines: &[Arc<Engine>]) -> Seat {
    let lines = engines.iter().filter_map(|engine| {
        let seats = engine.seats()?;
        Some(Box::pin(async move {
            match seats.acquire_owned().await {
                Ok(taken) => engine.seat(taken),
                Err(_) => std::future::pending().await,
            }
        }))
    });
    let lines: Vec<_> = lines.collect();
    match lines.is_empty() {
        true => std::future::pending().await,
        false => select_all(lines).await.0,
    }
}

#[cfg(test)]
#[path = "seats_tests.rs"]
mod tests;
