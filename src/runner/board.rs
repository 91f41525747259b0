//! What each worker is at, for whoever shows it here.
//! In: the stations of a run, its progress as the engine reports it. Out: one entry a worker, with a guess at what is left: by its
//! own steps while they go on, else by runs like it, else by what its steps were.
//!
//! ```text
//!   begin ──▶ taken (service, engine) ──▶ started (the engine has it) ──▶ reports ──▶ end: learned from if it went well
//! ```

use super::expected::{Expected, Guess, Trail};
use super::likeness;
use super::steady::Steady;
use crate::queue::announce::now_ms;
use connectors::contract::{Job, Progress, Stage};
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
    /// Its start was not seen: an earlier process made it.
    taken_up: bool,
    /// The same for jobs like it, once it has been read.
    kind: Option<u64>,
    trail: Trail,
    steady: Steady,
}

/// What each worker is at.
#[derive(Debug, Default)]
pub struct Board(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    by_worker: BTreeMap<String, AtWork>,
    expected: Expected,
}

impl Entries {
    fn guess(&self, at_work: &AtWork) -> Option<Guess> {
        let after = at_work.began?.elapsed();
        let own = at_work.steady.left(after);
        let by_pace = own.map(|own| Guess { left: own.left, runs: None });
        if own.is_some_and(|own| own.stepping) {
            return by_pace;
        }
        at_work.kind.and_then(|kind| self.expected.guess(kind, &at_work.trail, after)).or(by_pace)
    }
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this worker is at, and what is probably left of it.
    pub fn of(&self, worker: &str) -> Option<(AtWork, Option<Guess>)> {
        let entries = self.lock();
        let at_work = entries.by_worker.get(worker)?;
        Some((at_work.clone(), entries.guess(at_work)))
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
            taken_up: false,
            kind: None,
            trail: Trail::default(),
            steady: Steady::default(),
        };
        self.lock().by_worker.insert(worker.to_owned(), at_work);
    }

    fn change(&self, worker: &str, change: impl FnOnce(&mut AtWork)) {
        if let Some(at_work) = self.lock().by_worker.get_mut(worker) {
            change(at_work);
        }
    }

    /// It has been read, and an engine chosen.
    pub(super) fn taken(&self, worker: &str, job: &Job, customer: Option<&String>, engine: &str) {
        let kind = likeness::of(&job.service, &job.payload);
        self.change(worker, |at_work| {
            at_work.service = Some(job.service.clone());
            at_work.kind = Some(kind);
            at_work.customer = customer.filter(|name| !name.is_empty()).cloned();
            at_work.engine = Some(engine.to_owned());
        });
    }

    /// The engine is about to have it.
    pub(super) fn started(&self, worker: &str) {
        self.change(worker, |at_work| {
            at_work.started = Some(now_ms());
            (at_work.began, at_work.taken_up) = (Some(Instant::now()), false);
            (at_work.trail, at_work.steady) = Default::default();
        });
    }

    /// The engine has told how far it is.
    pub(super) fn report(&self, worker: &str, progress: &Progress) {
        self.change(worker, |at_work| {
            at_work.taken_up |= at_work.began.is_none();
            let after = at_work.began.get_or_insert_with(Instant::now).elapsed();
            // A wait in the engine's queue is none of the work.
            if progress.stage != Stage::Waiting {
                at_work.trail.note(progress.fraction, after);
            }
            at_work.steady.note(progress, after);
            // The work may have begun anew within the attempt; as in Redis, what was told of it stands.
            let before = at_work.progress.as_ref().map_or(0.0, |before| before.fraction);
            at_work.progress = Some(Progress { fraction: progress.fraction.max(before), ..progress.clone() });
        });
    }

    /// The worker holds it no more.
    pub(super) fn end(&self, worker: &str, went_well: bool) {
        let mut entries = self.lock();
        let Some(ended) = entries.by_worker.remove(worker) else { return };
        if let (true, Some(began), Some(kind)) = (went_well && !ended.taken_up, ended.began, ended.kind) {
            entries.expected.learn(kind, ended.trail, began.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn job(steps: u64) -> Job {
        let payload = serde_json::json!({ "steps": steps });
        Job { id: "j".into(), attempt: 1, service: "s".into(), payload, ctx: serde_json::Value::Null }
    }

    fn at(fraction: f64) -> Progress {
        Progress { fraction, ..Progress::default() }
    }

    #[test]
    fn a_run_is_learned_from_if_it_went_well_and_was_seen_to_start() {
        let board = Board::default();
        let live = |starts: bool, went_well| {
            board.begin("w", "j", 1);
            board.taken("w", &job(20), None, "e");
            if starts {
                board.started("w");
            }
            board.report("w", &at(0.0));
            board.end("w", went_well);
        };
        live(false, true);
        live(true, false);
        board.begin("w", "k", 2);
        board.taken("w", &job(20), Some(&"anna".to_owned()), "e");
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
    }

    #[test]
    fn runs_like_it_tell_what_is_left_and_others_do_not() {
        let board = Board::default();
        let learned = {
            let mut trail = Trail::default();
            trail.note(0.0, Duration::ZERO);
            trail
        };
        let kind = likeness::of("s", &job(20).payload);
        board.lock().expected.learn(kind, learned, Duration::from_secs(3600));
        let guess = |steps: u64, report: Option<Progress>| {
            board.begin("w", "l", 1);
            board.taken("w", &job(steps), None, "e");
            assert_eq!(board.of("w").unwrap().1, None, "what has not begun is not guessed at");
            board.started("w");
            report.iter().for_each(|report| board.report("w", report));
            board.of("w").unwrap().1.map(|guess| guess.runs)
        };
        assert_eq!(guess(20, Some(at(0.0))), Some(Some(1)));
        assert_eq!(guess(200, Some(at(0.0))), None);
        assert_eq!(guess(20, Some(Progress { stage: Stage::Waiting, ..at(0.0) })), None, "it waits for its turn");
    }

    #[test]
    fn a_run_that_an_earlier_process_began_has_a_pace_and_teaches_nothing() {
        let board = Board::default();
        board.begin("w", "j", 1);
        board.taken("w", &job(20), None, "e");
        for step in 10..=15 {
            board.report("w", &Progress { step: Some((step, 20)), ..at(step as f64 / 20.0) });
        }
        assert!(board.of("w").unwrap().1.is_some_and(|guess| guess.runs.is_none()));
        board.end("w", true);
        board.begin("w", "k", 1);
        board.taken("w", &job(20), None, "e");
        board.started("w");
        board.report("w", &at(0.5));
        assert_eq!(board.of("w").unwrap().1, None);
    }

    #[test]
    fn within_an_attempt_the_share_never_falls() {
        let board = Board::default();
        board.begin("w", "j", 1);
        board.started("w");
        let share = |fraction| {
            board.report("w", &at(fraction));
            board.of("w").unwrap().0.progress.unwrap().fraction
        };
        assert_eq!((share(0.4), share(0.1), share(0.5)), (0.4, 0.4, 0.5));
        board.started("w");
        assert_eq!(share(0.2), 0.5, "though memory ran out and the work began anew");
        board.begin("w", "j", 2);
        board.started("w");
        assert_eq!(share(0.2), 0.2, "another attempt");
    }
}
