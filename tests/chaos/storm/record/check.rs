//! The judge of a history: what the promise forbids, found in the writes themselves.
//! In: a history. Out: findings, and how tokens came and went. The rules for one step are in `judge`.

use super::Entry;
use super::findings::{Breach, Summary, Wrong};
use super::judge::Case;
use super::picture::{Effects, Job, Picture};
use super::step::Step;
use std::collections::{BTreeMap, BTreeSet};

/// What is known of a job beside its picture.
#[derive(Default)]
pub(super) struct Past {
    /// The life in which its `claim` was written.
    pub(super) claimed_in: String,
    /// Tokens that lost the job while their lease was good, and until when it was.
    pub(super) robbed: Vec<(String, f64)>,
    /// The life in which somebody else's program wrote to it.
    pub(super) theirs: Option<String>,
    /// Results by life.
    pub(super) accepted: BTreeMap<String, u64>,
}

/// Everything that is wrong with a history.
pub fn check(entries: &[Entry]) -> Summary {
    let mut judge = Judge {
        picture: Picture::default(),
        past: BTreeMap::new(),
        tokens: BTreeSet::new(),
        summary: Summary::default(),
        at: 0,
    };
    let mut begun = false;
    for (at, entry) in entries.iter().enumerate() {
        judge.at = at;
        match entry {
            Entry::Step(step) => judge.step(step),
            Entry::Seen(picture) => {
                if std::mem::replace(&mut begun, true) {
                    judge.summary.gaps += 1;
                    judge.gap(picture);
                }
                judge.picture = picture.clone();
                judge.know_claims();
            }
            Entry::End(picture) => judge.compare(picture),
        }
    }
    judge.summary
}

pub(super) struct Judge {
    picture: Picture,
    pub(super) past: BTreeMap<String, Past>,
    pub(super) tokens: BTreeSet<String>,
    pub(super) summary: Summary,
    pub(super) at: usize,
}

impl Judge {
    pub(super) fn note(&mut self, wrong: Wrong, id: &str, why: impl Into<String>) {
        self.summary.breaches.push(Breach { wrong, id: id.to_owned(), at: self.at, why: why.into() });
    }

    fn know_claims(&mut self) {
        for (id, job) in &self.picture.jobs {
            if !job.get("service_job_id").is_empty() {
                self.summary.work.insert(job.get("service_job_id").to_owned(), id.clone());
            }
            if !job.get("claim").is_empty() {
                self.past.entry(id.clone()).or_default().claimed_in = job.get("created_at").to_owned();
                self.tokens.insert(job.get("claim").to_owned());
            }
        }
    }

    /// What must have outlived a gap.
    fn gap(&mut self, now: &Picture) {
        let gone: Vec<(String, String)> = self
            .picture
            .jobs
            .iter()
            .filter(|(_, job)| job.recorded_end().is_some())
            .filter_map(|(id, job)| {
                let later = now.jobs.get(id)?;
                let same_life = later.get("created_at") == job.get("created_at");
                (same_life && later.get("final") != job.get("final"))
                    .then(|| (id.clone(), format!("{:?} became {:?}", job.get("final"), later.get("final"))))
            })
            .collect();
        for (id, why) in gone {
            self.note(Wrong::EndLost, &id, why);
        }
    }

    fn compare(&mut self, end: &Picture) {
        self.picture.tidy();
        let ids: BTreeSet<&String> = self.picture.jobs.keys().chain(end.jobs.keys()).collect();
        let none = Job::default();
        let mut differ = Vec::new();
        for id in ids {
            let (recorded, real) = (self.picture.jobs.get(id).unwrap_or(&none), end.jobs.get(id).unwrap_or(&none));
            if recorded != real {
                differ.push((id.clone(), format!("recorded {recorded:?}\n    real     {real:?}")));
            }
        }
        if self.picture.heads != end.heads {
            differ.push((String::new(), format!("heads {:?}, {:?}", self.picture.heads, end.heads)));
        }
        for (id, why) in differ {
            self.note(Wrong::Differs, &id, why);
        }
    }

    fn step(&mut self, step: &Step) {
        self.summary.steps += 1;
        let mut effects = Effects::default();
        for words in &step.commands {
            self.picture.apply(words, &mut effects);
        }
        let Effects { before, written, events, classes } = effects;
        for (id, before) in &before {
            let after = self.picture.jobs.get(id).cloned().unwrap_or_default();
            let events = events.get(id).map_or(&[][..], Vec::as_slice);
            let case = Case {
                id,
                before,
                after: &after,
                events,
                now: step.at_us as f64 / 1000.0,
                step,
                written: written.contains(id),
            };
            if step.script {
                self.judge(&case);
            } else {
                self.excuse(&case);
            }
            let past = self.past.entry(id.clone()).or_default();
            if after.get("claim") != before.get("claim") {
                past.claimed_in = after.get("created_at").to_owned();
            }
            if !after.get("service_job_id").is_empty() && after.get("service_job_id") != before.get("service_job_id") {
                self.summary.work.insert(after.get("service_job_id").to_owned(), id.clone());
            }
        }
        if step.script {
            for class in &classes {
                let (head, first) = (self.picture.heads.get(class).copied(), self.picture.first_of(class));
                if head != first {
                    self.note(Wrong::IndexMissing, class, format!("its head is {head:?}, its first job at {first:?}"));
                }
            }
        }
        self.picture.jobs.retain(|id, job| !before.contains_key(id) || *job != Job::default());
    }

    /// Somebody else's program wrote: from now on the job's indexes follow later.
    fn excuse(&mut self, case: &Case<'_>) {
        let left = case.before.pending && !case.after.pending;
        if (case.written && case.before.exists()) || left {
            let life = case.after.get("created_at").to_owned();
            self.past.entry(case.id.to_owned()).or_default().theirs = Some(life);
        }
    }
}
