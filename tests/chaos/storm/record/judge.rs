//! The rules for one job in one step of one script.
//! In: the job before and behind it, its events, who spoke. Out: findings.
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

use super::check::Judge;
use super::findings::Wrong;
use super::picture::{Job, worker_of};
use super::step::Step;
use std::collections::BTreeMap;

/// One job in one step.
pub(super) struct Case<'a> {
    pub id: &'a str,
    pub before: &'a Job,
    pub after: &'a Job,
    pub events: &'a [[String; 3]],
    pub now: f64,
    pub step: &'a Step,
    pub written: bool,
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
    /// Whether this token may come back to a job that waits.
    fn is_late(&self, case: &Case<'_>, token: &str) -> bool {
        let claimed_in = self.past.get(case.id).map_or("", |past| past.claimed_in.as_str());
        let job = case.before;
        job.get("status") == "pending"
            && !job.ended()
            && job.get("claim") == token
            && claimed_in == job.get("created_at")
    }

    pub(super) fn judge(&mut self, case: &Case<'_>) {
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
