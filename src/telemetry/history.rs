//! How the last jobs ended, and how long such jobs take.
//! In: notices. Out: the last hundred ends, counts and times of all since the start; bounded, whatever jobs bring.

pub use super::ended::{Ended, Made, Why};
pub use super::tally::{Counts, Tally, Timed};

use super::Notice;
use super::recent::cut;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Ends that are kept.
pub const ENDS: usize = 100;
/// Outputs of one end that are kept.
const OUTPUTS: usize = 24;
/// Services of which counts are kept apart; further ones are counted as `other`.
const SERVICES: usize = 50;
/// Jobs at work of which the claim is remembered.
const AT_WORK: usize = 1024;
/// Over which throughput is told.
const HOUR: Duration = Duration::from_secs(3600);

/// What is kept of this process's jobs.
#[derive(Debug)]
pub struct History(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    since: i64,
    began: Instant,
    count: u64,
    ends: VecDeque<Ended>,
    /// When and with which count of claims.
    at_work: BTreeMap<String, (i64, u64)>,
    all: Timed,
    by_service: BTreeMap<String, Timed>,
    by_reason: BTreeMap<(String, String), u64>,
    /// Completed jobs by minute, newest last.
    minutes: VecDeque<(u64, usize)>,
}

impl Default for History {
    fn default() -> Self {
        Self(Mutex::new(Kept {
            since: now_ms(),
            began: Instant::now(),
            count: 0,
            ends: VecDeque::new(),
            at_work: BTreeMap::new(),
            all: Timed::default(),
            by_service: BTreeMap::new(),
            by_reason: BTreeMap::new(),
            minutes: VecDeque::new(),
        }))
    }
}

static OF_PROCESS: LazyLock<History> = LazyLock::new(History::default);

/// That of this process.
pub fn of_process() -> &'static History {
    &OF_PROCESS
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn in_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl History {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the newest end; 0: there is none yet.
    pub fn newest(&self) -> u64 {
        self.lock().count
    }

    /// Ends after the one of number `after` up to that of number `up_to`, oldest first.
    pub fn between(&self, after: u64, up_to: u64) -> Vec<Ended> {
        let kept = self.lock();
        kept.ends.iter().filter(|end| end.number > after && end.number <= up_to).cloned().collect()
    }

    /// Where the `n`th output lies of the job's end of this number, if it is a file of this machine.
    pub fn file(&self, job: &str, number: u64, n: usize) -> Option<PathBuf> {
        let kept = self.lock();
        let end = kept.ends.iter().find(|end| end.number == number && end.job == job)?;
        end.outputs.get(n)?.file.clone()
    }

    /// All counts.
    pub fn tally(&self) -> Tally {
        let mut kept = self.lock();
        let minute = kept.began.elapsed().as_secs() / 60;
        kept.forget_minutes(minute);
        Tally {
            since: kept.since,
            all: kept.all.clone(),
            by_service: kept.by_service.clone(),
            by_reason: kept.by_reason.clone(),
            last_hour: kept.minutes.iter().map(|(_, count)| count).sum(),
            counted: kept.began.elapsed().min(HOUR),
        }
    }

    /// Hears what concerns jobs.
    pub fn hear(&self, notice: &Notice<'_>) {
        let mut kept = self.lock();
        match *notice {
            Notice::Claimed { job, attempt, .. } if kept.at_work.len() < AT_WORK => {
                kept.at_work.insert(job.to_owned(), (now_ms(), attempt));
            }
            Notice::Completed { worker, job, service, outputs, took, made, .. } => {
                let end = Ended {
                    outputs: made.iter().take(OUTPUTS).cloned().collect(),
                    outputs_count: outputs,
                    ..kept.end(worker, job, service, "completed", Some(took))
                };
                kept.add(end);
            }
            Notice::Failed { worker, job, service, kind, reason, message, remedy, retry_in, took } => {
                let why = Why {
                    kind: kind.to_owned(),
                    reason: reason.to_owned(),
                    message: cut(message.to_owned()),
                    remedy: remedy.to_owned(),
                    retry_at: retry_in.map(|pause| now_ms().saturating_add(in_ms(pause))),
                };
                *kept.by_reason.entry((kind.to_owned(), reason.to_owned())).or_default() += 1;
                let end = Ended { failure: Some(why), ..kept.end(worker, job, service, "failed", Some(took)) };
                kept.add(end);
            }
            Notice::Cancelled { worker, job, service, took } => {
                let end = kept.end(worker, job, service, "cancelled", Some(took));
                kept.add(end);
            }
            Notice::Released { worker, job, service, why } => {
                let end = Ended { note: Some(cut(why.to_owned())), ..kept.end(worker, job, service, "released", None) };
                kept.add(end);
            }
            Notice::Lost { worker, job, service, state } => {
                let note = Some(format!("it is {state} elsewhere; the work was thrown away"));
                let end = Ended { note, ..kept.end(worker, job, service, "lost", None) };
                kept.add(end);
            }
            _ => {}
        }
    }
}

impl Kept {
    fn end(&mut self, worker: &str, job: &str, service: &str, state: &'static str, took: Option<Duration>) -> Ended {
        let claimed = self.at_work.remove(job);
        let ended = now_ms();
        // The clock may have been set meanwhile: what was measured counts.
        let began = took.map(|took| ended.saturating_sub(in_ms(took))).or(claimed.map(|(at, _)| at));
        let took = took.or_else(|| Some(Duration::from_millis(u64::try_from(ended - claimed?.0).ok()?)));
        Ended {
            number: 0,
            job: job.to_owned(),
            service: service.to_owned(),
            worker: worker.to_owned(),
            attempt: claimed.map(|(_, attempt)| attempt),
            state,
            claimed: began,
            ended,
            took,
            failure: None,
            note: None,
            outputs: Vec::new(),
            outputs_count: 0,
        }
    }

    fn add(&mut self, end: Ended) {
        let name = match end.service.as_str() {
            "" => "unknown",
            name if self.by_service.contains_key(name) || self.by_service.len() < SERVICES => name,
            _ => "other",
        };
        let of_service = self.by_service.entry(name.to_owned()).or_default();
        for Timed { counts, durations } in [of_service, &mut self.all] {
            match end.state {
                "completed" => counts.completed += 1,
                "failed" if end.failure.as_ref().is_some_and(|why| why.retry_at.is_some()) => counts.retried += 1,
                "failed" => counts.failed += 1,
                "cancelled" => counts.cancelled += 1,
                "released" => counts.released += 1,
                _ => counts.lost += 1,
            }
            if let (Some(took), "completed") = (end.took, end.state) {
                durations.add(took);
            }
        }
        if end.state == "completed" {
            let minute = self.began.elapsed().as_secs() / 60;
            self.forget_minutes(minute);
            match self.minutes.back_mut() {
                Some((at, count)) if *at == minute => *count += 1,
                _ => self.minutes.push_back((minute, 1)),
            }
        }
        self.count += 1;
        if self.ends.len() >= ENDS {
            self.ends.pop_front();
        }
        self.ends.push_back(Ended { number: self.count, ..end });
    }

    fn forget_minutes(&mut self, now: u64) {
        while self.minutes.front().is_some_and(|(minute, _)| minute + 60 <= now) {
            self.minutes.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed<'a>(job: &'a str, service: &'a str, retry_in: Option<Duration>) -> Notice<'a> {
        Notice::Failed {
            worker: "w",
            job,
            service,
            kind: "timeout",
            reason: "job_timeout",
            message: "too long",
            remedy: "wait",
            retry_in,
            took: Duration::from_secs(2),
        }
    }

    fn completed<'a>(job: &'a str, made: &'a [Made]) -> Notice<'a> {
        let took = Duration::from_secs(1);
        Notice::Completed { worker: "w", job, service: "s", outputs: made.len(), bytes: 0, took, made }
    }

    #[test]
    fn ends_are_numbered_and_tell_what_became_of_each_attempt() {
        let history = History::default();
        history.hear(&Notice::Claimed { worker: "w", job: "a", attempt: 3 });
        history.hear(&failed("a", "s", Some(Duration::from_secs(60))));
        history.hear(&Notice::Claimed { worker: "w", job: "a", attempt: 4 });
        let file = Some(PathBuf::from("/outputs/a/4/x.png"));
        let made = Made { name: "x.png".into(), kind: "images".into(), media_type: "image/png".into(), bytes: 9, file };
        history.hear(&completed("a", std::slice::from_ref(&made)));
        history.hear(&Notice::Lost { worker: "w", job: "b", service: "", state: "lost" });
        let ends = history.between(0, history.newest());
        assert_eq!(
            ends.iter().map(|end| (end.number, end.state)).collect::<Vec<_>>(),
            [(1, "failed"), (2, "completed"), (3, "lost")]
        );
        assert_eq!((ends[0].attempt, ends[1].attempt, ends[2].attempt), (Some(3), Some(4), None));
        assert!(ends[0].failure.as_ref().unwrap().retry_at.unwrap() > ends[0].ended + 50_000);
        assert_eq!(ends[0].claimed, Some(ends[0].ended - 2000));
        assert_eq!((ends[2].took, ends[2].claimed), (None, None), "nothing is made up");
        assert_eq!(history.file("a", 2, 0), made.file);
        assert_eq!((history.file("a", 2, 1), history.file("b", 2, 0), history.file("a", 1, 0)), (None, None, None));
        assert_eq!(history.between(2, 3).len(), 1);
        let tally = history.tally();
        let all = tally.all.counts;
        assert_eq!((all.completed, all.retried, all.failed, all.lost), (1, 1, 0, 1));
        assert_eq!(tally.by_reason[&("timeout".to_owned(), "job_timeout".to_owned())], 1);
        assert_eq!((tally.last_hour, tally.by_service["unknown"].counts.lost), (1, 1));
        assert_eq!(tally.all.durations.quantile(0.5), Some(Duration::from_secs(1)));
    }

    #[test]
    fn each_end_of_a_job_has_its_own_files() {
        let history = History::default();
        for at in ["/outputs/a/1/x.png", "/outputs/a/2/x.png"] {
            let made = Made {
                name: "x.png".into(),
                kind: "images".into(),
                media_type: "image/png".into(),
                bytes: 9,
                file: Some(PathBuf::from(at)),
            };
            history.hear(&completed("a", &[made]));
        }
        let file = |number| history.file("a", number, 0).unwrap();
        assert_eq!((file(1), file(2)), ("/outputs/a/1/x.png".into(), "/outputs/a/2/x.png".into()));
    }

    #[test]
    fn whatever_comes_little_is_kept() {
        let history = History::default();
        for n in 0..5000 {
            let (job, service) = (format!("j-{n}"), format!("s-{n}"));
            history.hear(&Notice::Claimed { worker: "w", job: &job, attempt: 1 });
            if n % 2 == 0 {
                history.hear(&failed(&job, &service, None));
            }
        }
        let kept = history.lock();
        assert_eq!((kept.ends.len(), kept.at_work.len()), (ENDS, AT_WORK));
        assert_eq!(kept.by_service.len(), SERVICES + 1);
        assert_eq!(kept.by_service["other"].counts.failed, 2500 - SERVICES as u64);
    }
}
