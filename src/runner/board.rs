//! What each worker is at, for whoever shows it here.
//! In: the stations of a run, its progress as the engine reports it. Out: one entry a worker, with a guess at what is left.
//!
//! ```text
//!   begin ──▶ taken (service, engine) ──▶ started (the engine has it) ──▶ reports ──▶ end: learned from if it went well
//! ```

use super::expected::{Expected, Guess, Trail};
use crate::queue::announce::now_ms;
use connectors::contract::Progress;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A job at work.
#[derive(Debug, Clone)]
pub struct AtWork {
    /// Its id.
    pub job: String,
    /// Count of claims.
    pub attempt: u64,
    /// In ms since 1970.
    pub claimed: i64,
    /// What it asks for, once it has been read; empty: anything.
    pub service: Option<String>,
    /// Whose job it is, where that was read.
    pub customer: Option<String>,
    /// The engine that has it.
    pub engine: Option<String>,
    /// When the engine got it, in ms since 1970; of a run of an earlier process nobody knows.
    pub started: Option<i64>,
    /// The latest report.
    pub progress: Option<Progress>,
    began: Option<Instant>,
    trail: Trail,
}

/// What each worker is at.
#[derive(Debug, Default)]
pub struct Board(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    by_worker: BTreeMap<String, AtWork>,
    expected: Expected,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this worker is at, and what is probably left of it.
    pub fn of(&self, worker: &str) -> Option<(AtWork, Option<Guess>)> {
        let entries = self.lock();
        let at_work = entries.by_worker.get(worker)?;
        let guess = at_work
            .began
            .zip(at_work.service.as_deref())
            .and_then(|(began, service)| entries.expected.guess(service, &at_work.trail, began.elapsed()));
        Some((at_work.clone(), guess))
    }

    /// The worker holds a job.
    pub(super) fn begin(&self, worker: &str, job: &str, attempt: u64) {
        let at_work = AtWork {
            job: job.to_owned(),
            attempt,
            claimed: now_ms(),
            service: None,
            customer: None,
            engine: None,
            started: None,
            progress: None,
            began: None,
            trail: Trail::default(),
        };
        self.lock().by_worker.insert(worker.to_owned(), at_work);
    }

    fn change(&self, worker: &str, change: impl FnOnce(&mut AtWork)) {
        if let Some(at_work) = self.lock().by_worker.get_mut(worker) {
            change(at_work);
        }
    }

    /// It has been read, and an engine chosen.
    pub(super) fn taken(&self, worker: &str, service: &str, customer: Option<&String>, engine: &str) {
        self.change(worker, |at_work| {
            at_work.service = Some(service.to_owned());
            at_work.customer = customer.filter(|name| !name.is_empty()).cloned();
            at_work.engine = Some(engine.to_owned());
        });
    }

    /// The engine is about to have it.
    pub(super) fn started(&self, worker: &str) {
        self.change(worker, |at_work| {
            at_work.started = Some(now_ms());
            at_work.began = Some(Instant::now());
        });
    }

    /// The engine has told how far it is.
    pub(super) fn report(&self, worker: &str, progress: &Progress) {
        self.change(worker, |at_work| {
            if let Some(began) = at_work.began {
                at_work.trail.note(progress.fraction, began.elapsed());
            }
            at_work.progress = Some(progress.clone());
        });
    }

    /// The worker holds it no more.
    pub(super) fn end(&self, worker: &str, went_well: bool) {
        let mut entries = self.lock();
        let Some(ended) = entries.by_worker.remove(worker) else { return };
        if let (true, Some(began), Some(service)) = (went_well, ended.began, ended.service) {
            entries.expected.learn(&service, ended.trail, began.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_learned_from_if_it_went_well_and_was_seen_to_start() {
        let board = Board::default();
        let at = |fraction| Progress { fraction, ..Progress::default() };
        let live = |starts: bool, went_well| {
            board.begin("w", "j", 1);
            board.taken("w", "s", None, "e");
            if starts {
                board.started("w");
            }
            board.report("w", &at(0.5));
            board.end("w", went_well);
        };
        live(false, true);
        live(true, false);
        board.begin("w", "k", 2);
        board.taken("w", "s", Some(&"anna".to_owned()), "e");
        board.started("w");
        board.report("w", &at(0.2));
        let (at_work, guess) = board.of("w").unwrap();
        assert_eq!((at_work.job.as_str(), at_work.attempt, guess), ("k", 2, None));
        assert_eq!((at_work.customer.as_deref(), at_work.progress), (Some("anna"), Some(at(0.2))));
        assert!(at_work.started >= Some(at_work.claimed));
        board.end("w", true);
        assert!(board.of("w").is_none());
        board.report("w", &at(0.9));
        assert!(board.of("w").is_none(), "a late report brings nothing back");
        board.begin("w", "l", 1);
        board.taken("w", "s", None, "e");
        assert_eq!(board.of("w").unwrap().1, None, "what has not begun is not guessed at");
        board.started("w");
        assert_eq!(board.of("w").unwrap().1.unwrap().runs, 1);
    }
}
