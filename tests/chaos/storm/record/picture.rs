//! The queue as its writes make it: what is known of each job, and the heads of the classes.
//! In: commands. Out: the picture behind them, and what each job was before the step.

use std::collections::{BTreeMap, BTreeSet};

/// The fields of a job that say how it stands.
pub const FIELDS: [&str; 11] = [
    "status",
    "claim",
    "worker_id",
    "created_at",
    "final",
    "class",
    "order",
    "life",
    "attempt",
    "done",
    "service_job_id",
];

/// One job, its hash and every index.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Job {
    /// Empty if there is no hash.
    pub fields: BTreeMap<String, String>,
    /// Until when it is leased, in ms.
    pub lease: Option<f64>,
    pub pending: bool,
    pub delayed: bool,
    pub classes: BTreeMap<String, f64>,
    /// Worker to the token that its entry names.
    pub active: BTreeMap<String, String>,
}

impl Job {
    pub fn get(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    pub fn exists(&self) -> bool {
        !self.fields.is_empty()
    }

    /// State and token of the end that is recorded for this life.
    pub fn recorded_end(&self) -> Option<(&str, &str)> {
        let mut parts = self.get("final").splitn(3, ' ');
        let (state, token, life) = (parts.next()?, parts.next()?, parts.next()?);
        (life == self.get("created_at")).then_some((state, token))
    }

    /// Whether it has ended, recorded or not.
    pub fn ended(&self) -> bool {
        let ends = ["completed", "failed", "cancelled", "timeout", "unworkable"];
        self.recorded_end().is_some() || ends.contains(&self.get("status"))
    }

    /// The token that holds it.
    pub fn holder(&self) -> Option<&str> {
        let claim = self.get("claim");
        let at_work = matches!(self.get("status"), "assigned" | "in_progress");
        (at_work && !claim.is_empty() && worker_of(claim) == self.get("worker_id") && !self.ended()).then_some(claim)
    }
}

/// Whose a token is.
pub fn worker_of(token: &str) -> &str {
    token.split('|').next().unwrap_or(token)
}

/// The queue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Picture {
    pub prefix: String,
    pub jobs: BTreeMap<String, Job>,
    pub heads: BTreeMap<String, f64>,
    /// The members of each class, in order. Orders are never negative, so that their bits sort as they do.
    members: BTreeMap<String, BTreeSet<(u64, String)>>,
}

/// What a step has done.
#[derive(Default)]
pub struct Effects {
    /// Each job that it touched, as it was.
    pub before: BTreeMap<String, Job>,
    /// Jobs whose hash or event log it wrote.
    pub written: BTreeSet<String>,
    /// Events of each job: type, worker, attempt.
    pub events: BTreeMap<String, Vec<[String; 3]>>,
    pub classes: BTreeSet<String>,
}

impl Picture {
    /// Nothing is left.
    pub fn clear(&mut self) {
        self.jobs.clear();
        self.heads.clear();
        self.members.clear();
    }

    /// Puts the job into a class at this order, or out of it.
    pub fn place(&mut self, class: &str, id: &str, order: Option<f64>) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let members = self.members.entry(class.to_owned()).or_default();
        if let Some(old) = job.classes.remove(class) {
            members.remove(&(old.to_bits(), id.to_owned()));
        }
        if let Some(order) = order {
            job.classes.insert(class.to_owned(), order);
            members.insert((order.to_bits(), id.to_owned()));
        }
        if members.is_empty() {
            self.members.remove(class);
        }
    }

    /// The order of the class's first job.
    pub fn first_of(&self, class: &str) -> Option<f64> {
        Some(f64::from_bits(self.members.get(class)?.first()?.0))
    }

    /// Jobs that are nothing any more are not worth a difference.
    pub fn tidy(&mut self) {
        self.jobs.retain(|_, job| *job != Job::default());
    }
}

/// The token in an entry of `jobs:active`; the reference's entries have none.
pub fn claim_in(json: &str) -> String {
    let entry: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
    entry["claim"].as_str().unwrap_or_default().to_owned()
}
