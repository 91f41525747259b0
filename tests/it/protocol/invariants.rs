//! What holds after every step, whoever did it: each index says what the hashes say.

use super::scene::Scene;
use std::collections::{BTreeMap, BTreeSet};

type Scores = BTreeMap<String, f64>;

/// All of the queue at one moment.
struct Picture {
    jobs: BTreeMap<String, BTreeMap<String, String>>,
    pending: Scores,
    delayed: Scores,
    leases: Scores,
    heads: Scores,
    idle: Scores,
    finished: Scores,
    dead: Scores,
    classes: BTreeMap<String, String>,
    members: BTreeMap<String, Vec<(String, f64)>>,
    /// Worker to job to claim.
    active: BTreeMap<String, BTreeMap<String, String>>,
    /// Job to the types of its events.
    events: BTreeMap<String, Vec<String>>,
}

async fn picture(scene: &Scene) -> Picture {
    let keys: Vec<String> = scene.run(&["KEYS", &scene.space.key("*")]).await;
    let strip = |key: &str| key.strip_prefix(&scene.space.prefix).unwrap().to_owned();
    let scores = async |name: &str| -> Scores {
        let pairs: Vec<(String, f64)> = scene.run(&["ZRANGE", &scene.space.key(name), "0", "-1", "WITHSCORES"]).await;
        pairs.into_iter().collect()
    };
    let mut picture = Picture {
        jobs: BTreeMap::new(),
        pending: scores("jobs:pending").await,
        delayed: scores("jobs:delayed").await,
        leases: scores("jobs:leases").await,
        heads: scores("jobs:heads").await,
        idle: scores("jobs:classes:idle").await,
        finished: scores("jobs:finished").await,
        dead: scores("jobs:dead").await,
        classes: scene.run(&["HGETALL", &scene.space.key("jobs:classes")]).await,
        members: BTreeMap::new(),
        active: BTreeMap::new(),
        events: BTreeMap::new(),
    };
    picture.classes.remove("_v");
    for key in &keys {
        let name = strip(key);
        if let Some(id) = name.strip_prefix("job:events:") {
            picture.events.insert(id.to_owned(), scene.events(id).await);
        } else if let Some(id) = name.strip_prefix("job:") {
            let kind: String = scene.run(&["TYPE", key]).await;
            if kind == "hash" {
                picture.jobs.insert(id.to_owned(), scene.run(&["HGETALL", key]).await);
            }
        } else if let Some(class) = name.strip_prefix("jobs:class:").filter(|class| *class != "fields") {
            let members: Vec<(String, f64)> = scene.run(&["ZRANGE", key, "0", "-1", "WITHSCORES"]).await;
            picture.members.insert(class.to_owned(), members);
        } else if let Some(worker) = name.strip_prefix("jobs:active:") {
            let held: BTreeMap<String, String> = scene.run(&["HGETALL", key]).await;
            let claims = held.into_iter().map(|(id, json)| {
                let entry: serde_json::Value = serde_json::from_str(&json).unwrap_or_default();
                (id, entry["claim"].as_str().unwrap_or_default().to_owned())
            });
            picture.active.insert(worker.to_owned(), claims.collect());
        }
    }
    picture
}

/// Panics unless the queue is in order.
pub async fn check(scene: &Scene) {
    let found = violations(scene, &BTreeSet::new()).await;
    assert!(found.is_empty(), "the queue is out of order:\n{}", found.join("\n"));
}

/// What is out of order. Jobs that other programs have written to are excused: their indexes follow later.
pub async fn violations(scene: &Scene, excused: &BTreeSet<String>) -> Vec<String> {
    let picture = picture(scene).await;
    let mut found = Vec::new();
    for (id, job) in picture.jobs.iter().filter(|(id, _)| !excused.contains(*id)) {
        for problem in picture.job_problems(id, job) {
            found.push(format!("{id} ({}): {problem}", job.get("status").map_or("", String::as_str)));
        }
    }
    picture.class_problems(excused, &mut found);
    picture.stray_ids(excused, &mut found);
    found
}

/// How the job ended in this life, and whether one of our scripts recorded it.
pub fn end_of(job: &BTreeMap<String, String>) -> Option<(String, bool)> {
    let life = job.get("created_at").map_or("", String::as_str);
    if let Some(last) = job.get("final") {
        let mut parts = last.splitn(3, ' ');
        let (state, of_life) = (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default());
        if of_life == life {
            return Some((state.to_owned(), true));
        }
    }
    let status = job.get("status").map_or("", String::as_str);
    ["completed", "failed", "cancelled"].contains(&status).then(|| (status.to_owned(), false))
}

impl Picture {
    fn in_classes(&self, id: &str) -> Vec<(&str, f64)> {
        let mut found = Vec::new();
        for (class, members) in &self.members {
            found.extend(members.iter().filter(|(member, _)| member == id).map(|(_, order)| (class.as_str(), *order)));
        }
        found
    }

    fn holders(&self, id: &str) -> Vec<(&str, &str)> {
        self.active.iter().filter_map(|(worker, held)| Some((worker.as_str(), held.get(id)?.as_str()))).collect()
    }

    fn job_problems(&self, id: &str, job: &BTreeMap<String, String>) -> Vec<String> {
        let get = |name: &str| job.get(name).map_or("", String::as_str);
        let mut problems = Vec::new();
        let mut expect = |holds: bool, what: &str| {
            if !holds {
                problems.push(what.to_owned());
            }
        };
        let (pending, delayed) = (self.pending.contains_key(id), self.delayed.contains_key(id));
        let (leased, classes, holders) = (self.leases.contains_key(id), self.in_classes(id), self.holders(id));
        let terminal = ["completion", "failure", "cancellation"];
        let events = self.events.get(id).map_or(&[][..], Vec::as_slice);
        let ends = events.iter().filter(|kind| terminal.contains(&kind.as_str())).count();

        if let Some((state, recorded)) = end_of(job) {
            expect(!pending && !delayed, "has ended and still waits");
            expect(!leased, "has ended and still has a lease");
            expect(classes.is_empty(), "has ended and is still in a class");
            expect(holders.is_empty(), "has ended and is still somebody's");
            expect(recorded, "has ended, and no script has recorded it");
            expect(get("status") == state, "its status is not its recorded end");
            let (home, other) =
                if state == "failed" { (&self.dead, &self.finished) } else { (&self.finished, &self.dead) };
            expect(home.contains_key(id) && !other.contains_key(id), "is not on the one list that deletes it");
            expect(ends == 1, "has not exactly one last event");
            expect(
                events.last().is_some_and(|kind| terminal.contains(&kind.as_str())),
                "its last event is not the last",
            );
            return problems;
        }
        expect(ends == 0, "goes on after its last event");
        expect(
            !self.finished.contains_key(id) && !self.dead.contains_key(id),
            "goes on and is on a list to be deleted",
        );
        match get("status") {
            "pending" => {
                expect(pending != delayed, "is not in exactly one of pending and delayed");
                expect(!leased, "waits and has a lease");
                expect(holders.is_empty(), "waits and is somebody's");
                expect(get("worker_id").is_empty(), "waits and names a worker");
                let indexed = !get("class").is_empty() && get("life") == get("created_at");
                if indexed && pending {
                    let order: f64 = get("order").parse().unwrap_or(-1.0);
                    expect(classes == [(get("class"), order)], "is indexed and not in its class at its order");
                    expect(self.classes.contains_key(get("class")), "its class is not defined");
                } else {
                    expect(classes.is_empty(), "is not indexed and yet in a class");
                }
            }
            "assigned" | "in_progress" => {
                expect(!pending && !delayed, "is held and waits");
                expect(classes.is_empty(), "is held and in a class");
                let claim = get("claim");
                let ours = !claim.is_empty() && claim.split('|').next() == Some(get("worker_id"));
                expect(ours == leased, "a lease is not there exactly when one of ours holds it");
                expect(!ours || holders == [(get("worker_id"), claim)], "is not its holder's alone");
                expect(job.get("done").map(String::as_str) != Some(claim), "is held by a claim that is done");
            }
            other => expect(false, &format!("unknown status {other}")),
        }
        problems
    }

    fn class_problems(&self, excused: &BTreeSet<String>, found: &mut Vec<String>) {
        let first = |members: &Vec<(String, f64)>| members.first().map(|(_, order)| *order);
        let heads: Scores =
            self.members.iter().filter_map(|(class, members)| Some((class.clone(), first(members)?))).collect();
        if heads != self.heads {
            found.push(format!("heads are {:?}, and the classes begin with {heads:?}", self.heads));
        }
        for class in self.members.keys().filter(|class| !self.classes.contains_key(*class)) {
            if self.members[class].iter().all(|(id, _)| !excused.contains(id)) {
                found.push(format!("class {class} has members and no definition"));
            }
        }
        for class in self.classes.keys() {
            if self.members.contains_key(class) == self.idle.contains_key(class) {
                found.push(format!("class {class} is not either used or on its way out"));
            }
        }
    }

    /// Ids in an index without a hash.
    fn stray_ids(&self, excused: &BTreeSet<String>, found: &mut Vec<String>) {
        let classes = self.members.values().flatten().map(|(id, _)| id);
        let held = self.active.values().flat_map(BTreeMap::keys);
        let indexes = [&self.pending, &self.delayed, &self.leases].into_iter().flat_map(BTreeMap::keys);
        for id in indexes.chain(classes).chain(held) {
            if !self.jobs.contains_key(id) && !excused.contains(id) {
                found.push(format!("{id} is in an index and has no hash"));
            }
        }
    }
}
