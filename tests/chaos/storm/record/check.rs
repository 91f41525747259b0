//! The judge of a history: what the promise forbids, found in the writes themselves.
//! In: a history. Out: findings, and how tokens came and went.
//!
//! ```text
//!                 granted (assigned)            handed back, reaped
//!   waiting ───────────────────────────▶ held ───────────────────────▶ waiting
//!      │ ▲      taken up (reattached)     │ └─ handed over in the same worker
//!      │ └────── a new life ──────┐       │
//!      └────────────────────▶ ended ◀─────┘   once, by its holder or, while nobody holds it, by its last one
//! ```
//!
//! Other programs ask nobody: what they do to a job excuses its indexes in that life, and nothing else.

use super::Entry;
use super::picture::{Effects, Job, Picture, worker_of};
use super::step::Step;
use std::collections::{BTreeMap, BTreeSet};

/// What the promise forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// Two tokens are live at one time of Redis.
    TwoLive,
    /// A token was granted although the job did not wait.
    GrantedUnwaiting,
    /// A token was granted that had been granted before.
    TokenReused,
    /// A job was taken from a live token that nobody had given back.
    TakenAway,
    /// Something was written for a token that did not hold.
    WrittenByLoser,
    /// A result was accepted from a token that did not hold.
    AcceptedFromLoser,
    /// A second result in one life.
    AcceptedTwice,
    /// A second end in one life.
    EndedTwice,
    /// Something was written behind the end.
    WrittenAfterEnd,
    /// An end without its record or its event.
    EndUntold,
    /// Held without a lease.
    NoLease,
    /// A lease that nobody holds by.
    LeaseLeft,
    /// In an index, and does not wait there or is not held there.
    IndexLeft,
    /// Waits, and is not where a claim looks.
    IndexMissing,
    /// Deleted before its end.
    Gone,
    /// An end that Redis had told of is no more behind a gap.
    EndLost,
    /// The record and Redis differ in the end: the record is no good.
    Differs,
}

/// One finding.
#[derive(Debug, Clone)]
pub struct Breach {
    pub wrong: Wrong,
    /// A job, or a class.
    pub id: String,
    /// Which entry of the history.
    pub at: usize,
    pub why: String,
}

/// How tokens came and went.
#[derive(Debug, Default)]
pub struct Summary {
    pub breaches: Vec<Breach>,
    pub steps: u64,
    pub gaps: u64,
    pub granted: u64,
    pub handed_over: u64,
    pub taken_up: u64,
    pub handed_back: u64,
    pub reaped: u64,
    pub ended: BTreeMap<String, u64>,
    /// Jobs that lost a lease, were handed over, or were handed back.
    pub reaped_jobs: BTreeSet<String>,
    pub handed_over_jobs: BTreeSet<String>,
    pub handed_back_jobs: BTreeSet<String>,
    /// The engine's id for the work, to the job.
    pub work: BTreeMap<String, String>,
}

/// What is known of a job beside its picture.
#[derive(Default)]
struct Past {
    /// The life in which its `claim` was written.
    claimed_in: String,
    /// Tokens that lost the job while their lease was good, and until when it was.
    robbed: Vec<(String, f64)>,
    /// The life in which somebody else's program wrote to it.
    theirs: Option<String>,
    /// Results by life.
    accepted: BTreeMap<String, u64>,
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

struct Judge {
    picture: Picture,
    past: BTreeMap<String, Past>,
    tokens: BTreeSet<String>,
    summary: Summary,
    at: usize,
}

/// One job in one step.
struct Case<'a> {
    id: &'a str,
    before: &'a Job,
    after: &'a Job,
    events: &'a [[String; 3]],
    now: f64,
    step: &'a Step,
    written: bool,
}

impl Case<'_> {
    fn told(&self, kind: &str) -> bool {
        self.events.iter().any(|[told, ..]| told == kind)
    }

    /// Whether the lease that the job had is good now.
    fn leased(&self) -> bool {
        self.before.lease.is_some_and(|until| until > self.now)
    }
}

fn is_last(kind: &str) -> bool {
    matches!(kind, "completion" | "failure" | "cancellation")
}

impl Judge {
    fn note(&mut self, wrong: Wrong, id: &str, why: impl Into<String>) {
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

    /// Whether this token may come back to a job that waits.
    fn is_late(&self, case: &Case<'_>, token: &str) -> bool {
        let claimed_in = self.past.get(case.id).map_or("", |past| past.claimed_in.as_str());
        let job = case.before;
        job.get("status") == "pending"
            && !job.ended()
            && job.get("claim") == token
            && claimed_in == job.get("created_at")
    }

    fn judge(&mut self, case: &Case<'_>) {
        let Case { id, before, after, .. } = *case;
        if !after.exists() {
            if before.exists() && !before.ended() {
                self.note(Wrong::Gone, id, format!("was {:?}", before.get("status")));
            }
            if after.lease.is_some() {
                self.note(Wrong::LeaseLeft, id, "has no hash and a lease");
            }
            return;
        }
        let new_life = before.exists() && before.get("created_at") != after.get("created_at");
        if before.recorded_end().is_some() && !new_life {
            self.judge_ended(case);
        } else {
            self.judge_grant(case, new_life);
            self.judge_loss(case, new_life);
            self.judge_end(case);
            self.judge_speaker(case);
        }
        self.judge_indexes(case);
    }

    /// What has ended stays as it is.
    fn judge_ended(&mut self, case: &Case<'_>) {
        let Case { id, before, after, .. } = *case;
        let (was, is) = (before.get("final"), after.get("final"));
        if was != is || case.events.iter().any(|[kind, ..]| is_last(kind)) {
            self.note(Wrong::EndedTwice, id, format!("{was:?}, then {is:?}, {:?}", case.events));
            if is.starts_with("completed") && was.starts_with("completed") {
                self.note(Wrong::AcceptedTwice, id, format!("{was:?}, then {is:?}"));
            }
        } else if !case.events.is_empty()
            || after.holder() != before.holder()
            || after.get("claim") != before.get("claim")
        {
            self.note(Wrong::WrittenAfterEnd, id, format!("{:?} behind {was:?}", case.events));
        } else if before.get("status") != after.get("status") && !is.starts_with(after.get("status")) {
            self.note(Wrong::WrittenAfterEnd, id, format!("{was:?} became {:?}", after.get("status")));
        }
    }

    fn judge_grant(&mut self, case: &Case<'_>, new_life: bool) {
        let Case { id, before, after, now, .. } = *case;
        let (held_by, holds) = (before.holder().filter(|_| !new_life), after.holder());
        let Some(token) = holds.filter(|token| held_by != Some(token)) else { return };
        let assigned = case.told("assigned");
        let handed_over = held_by.is_some_and(|old| worker_of(old) == worker_of(token)) && !assigned;
        if handed_over {
            self.summary.handed_over += 1;
            self.summary.handed_over_jobs.insert(id.to_owned());
        } else if let Some(old) = held_by {
            let wrong = if case.leased() { Wrong::TwoLive } else { Wrong::GrantedUnwaiting };
            self.note(wrong, id, format!("{token} while {old} held it until {:?}", before.lease));
        } else if before.ended() || before.get("status") != "pending" || !(before.pending || before.delayed) {
            self.note(Wrong::GrantedUnwaiting, id, format!("{token}, and it was {:?}", before.get("status")));
        } else if assigned {
            self.summary.granted += 1;
        } else if self.is_late(case, token) {
            self.summary.taken_up += 1;
        } else {
            self.note(Wrong::WrittenByLoser, id, format!("{token} took it up, and was not the last to hold it"));
        }
        let fresh = self.tokens.insert(token.to_owned());
        if assigned && !fresh {
            self.note(Wrong::TokenReused, id, token);
        }
        let past = self.past.entry(id.to_owned()).or_default();
        past.robbed.retain(|(_, until)| *until > now);
        if let Some((other, until)) = past.robbed.iter().find(|(robbed, _)| robbed != token).cloned() {
            self.note(Wrong::TwoLive, id, format!("{token} while {other} was good until {until}"));
        }
    }

    fn judge_loss(&mut self, case: &Case<'_>, new_life: bool) {
        let Case { id, before, after, .. } = *case;
        let Some(old) = before.holder() else { return };
        if new_life || after.holder().is_some() || after.ended() {
            return;
        }
        if after.get("done") == old && before.get("done") != old {
            self.summary.handed_back += 1;
            self.summary.handed_back_jobs.insert(id.to_owned());
        } else if case.told("stalled") && !case.leased() {
            self.summary.reaped += 1;
            self.summary.reaped_jobs.insert(id.to_owned());
        } else {
            self.note(Wrong::TakenAway, id, format!("from {old}, whose lease is good until {:?}", before.lease));
            let until = before.lease.unwrap_or(0.0);
            self.past.entry(id.to_owned()).or_default().robbed.push((old.to_owned(), until));
        }
    }

    fn judge_end(&mut self, case: &Case<'_>) {
        let Case { id, before, after, .. } = *case;
        let lasts = case.events.iter().filter(|[kind, ..]| is_last(kind)).count();
        let Some((state, token)) = after.recorded_end() else {
            if after.ended() && !before.ended() {
                self.note(Wrong::EndUntold, id, format!("{:?} and no record of it", after.get("status")));
            } else if lasts > 0 {
                self.note(Wrong::EndUntold, id, format!("{:?} and it goes on", case.events));
            }
            return;
        };
        *self.summary.ended.entry(state.to_owned()).or_default() += 1;
        match lasts {
            0 => self.note(Wrong::EndUntold, id, format!("{state} and no event of it")),
            1 => {}
            _ => self.note(Wrong::EndedTwice, id, format!("{:?}", case.events)),
        }
        let theirs = before.ended();
        let holder = before.holder();
        if state == "completed" {
            let results = self
                .past
                .entry(id.to_owned())
                .or_default()
                .accepted
                .entry(after.get("created_at").to_owned())
                .or_default();
            *results += 1;
            if *results > 1 {
                self.note(Wrong::AcceptedTwice, id, token);
            }
            let known = holder == Some(token) || self.is_late(case, token);
            if !(known || theirs && token == "-") {
                self.note(Wrong::AcceptedFromLoser, id, format!("{token}, and {holder:?} held it"));
            }
        } else if token != "-" {
            if holder != Some(token) {
                self.note(Wrong::WrittenByLoser, id, format!("{state} by {token}, and {holder:?} held it"));
            }
        } else if let Some(holder) = holder
            && case.leased()
        {
            self.note(Wrong::TakenAway, id, format!("{state} under {holder}, whose lease is good"));
        }
    }

    /// Whoever speaks for a job holds it, or held it last and nobody has it.
    fn judge_speaker(&mut self, case: &Case<'_>) {
        let Case { id, before, .. } = *case;
        let speakers: Vec<&str> =
            case.step.spoken.iter().filter(|(of, _)| of == id).map(|(_, token)| token.as_str()).collect();
        let leased = case.after.lease != before.lease && case.after.lease.is_some();
        if speakers.is_empty() || before.ended() || !(case.written || leased) {
            return;
        }
        let may = |token: &&str| before.holder() == Some(token) || self.is_late(case, token);
        // Said already, and more exactly.
        let said =
            self.summary.breaches.iter().rev().take_while(|breach| breach.at == self.at).any(|breach| breach.id == *id);
        if !said && !speakers.iter().any(may) {
            self.note(Wrong::WrittenByLoser, id, format!("by {speakers:?}, and {:?} holds it", before.holder()));
        }
    }

    fn judge_indexes(&mut self, case: &Case<'_>) {
        let Case { id, after, .. } = *case;
        let theirs = self.past.get(id).is_some_and(|past| past.theirs.as_deref() == Some(after.get("created_at")));
        let (ended, holder) = (after.ended(), after.holder());
        // A lease that others' writes left behind goes with the next script that meets it.
        if after.lease.is_some() && (after.recorded_end().is_some() || holder.is_none() && !theirs) {
            self.note(Wrong::LeaseLeft, id, format!("is {:?}", after.get("status")));
        }
        if theirs {
            return;
        }
        let expected: BTreeMap<String, String> =
            holder.into_iter().map(|token| (worker_of(token).to_owned(), token.to_owned())).collect();
        if holder.is_some() && after.lease.is_none() {
            self.note(Wrong::NoLease, id, "is held");
        }
        if after.active != expected {
            let wrong = if after.active.is_empty() { Wrong::NoLease } else { Wrong::IndexLeft };
            self.note(wrong, id, format!("is {:?}'s, and is in the list of {:?}", holder, after.active));
        }
        let waits = after.get("status") == "pending" && !ended;
        if !waits {
            if after.pending || after.delayed || !after.classes.is_empty() {
                self.note(Wrong::IndexLeft, id, format!("is {:?} and waits", after.get("status")));
            }
            return;
        }
        if after.pending == after.delayed {
            let (wrong, how) = if after.pending { (Wrong::IndexLeft, "both") } else { (Wrong::IndexMissing, "none") };
            self.note(wrong, id, format!("waits in {how} of pending and delayed"));
            return;
        }
        let indexed = after.pending && !after.get("class").is_empty() && after.get("life") == after.get("created_at");
        let order = after.get("order").parse::<f64>().unwrap_or(-1.0);
        let at: BTreeMap<String, f64> = indexed.then(|| (after.get("class").to_owned(), order)).into_iter().collect();
        if after.classes != at {
            let wrong = if after.classes.is_empty() { Wrong::IndexMissing } else { Wrong::IndexLeft };
            self.note(wrong, id, format!("is in the classes {:?}, and belongs into {at:?}", after.classes));
        }
    }
}
