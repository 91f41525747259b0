//! What each command of Redis does to the picture.
//! In: a command as MONITOR tells it. Out: the picture behind it; each job as it was before is kept.

use super::picture::{Effects, FIELDS, Job, Picture, claim_in};
use std::collections::BTreeMap;

/// What a key is for.
enum Key<'a> {
    Job(&'a str),
    Events(&'a str),
    Leases,
    Pending,
    Delayed,
    Heads,
    Class(&'a str),
    Active(&'a str),
    Other,
}

fn kind_of(key: &str) -> Key<'_> {
    match key {
        "jobs:leases" => Key::Leases,
        "jobs:pending" => Key::Pending,
        "jobs:delayed" => Key::Delayed,
        "jobs:heads" => Key::Heads,
        "jobs:class:fields" => Key::Other,
        _ => {
            if let Some(id) = key.strip_prefix("job:events:") {
                Key::Events(id)
            } else if let Some(id) = key.strip_prefix("job:") {
                if id.contains(':') { Key::Other } else { Key::Job(id) }
            } else if let Some(class) = key.strip_prefix("jobs:class:") {
                Key::Class(class)
            } else if let Some(worker) = key.strip_prefix("jobs:active:") {
                Key::Active(worker)
            } else {
                Key::Other
            }
        }
    }
}

impl Picture {
    /// Does what the command does.
    pub fn apply(&mut self, words: &[String], effects: &mut Effects) {
        let Some((verb, words)) = words.split_first() else { return };
        match verb.to_ascii_uppercase().as_str() {
            "FLUSHALL" | "FLUSHDB" => {
                self.clear();
            }
            "DEL" | "UNLINK" => words.iter().for_each(|key| self.delete(key, effects)),
            "HSET" | "HMSET" | "HSETNX" => self.set(words, effects),
            "HDEL" => self.unset(words, effects),
            "ZADD" => self.add(words, effects),
            "ZREM" => self.remove(words, effects),
            "XADD" => self.tell(words, effects),
            _ => {}
        }
    }

    fn bare<'a>(&self, key: &'a str) -> &'a str {
        key.strip_prefix(&self.prefix).unwrap_or("")
    }

    /// The job, kept as it was if it is touched for the first time.
    fn touch(&mut self, id: &str, effects: &mut Effects) -> &mut Job {
        let job = self.jobs.entry(id.to_owned()).or_default();
        if !effects.before.contains_key(id) {
            effects.before.insert(id.to_owned(), job.clone());
        }
        job
    }

    fn delete(&mut self, key: &str, effects: &mut Effects) {
        match kind_of(self.bare(key)) {
            Key::Job(id) => {
                self.touch(id, effects).fields.clear();
                effects.written.insert(id.to_owned());
            }
            // A new life begins with a log of its own.
            Key::Events(id) => {
                effects.events.remove(id);
            }
            Key::Active(worker) => {
                let held: Vec<String> = self
                    .jobs
                    .iter()
                    .filter(|(_, job)| job.active.contains_key(worker))
                    .map(|(id, _)| id.clone())
                    .collect();
                for id in held {
                    self.touch(&id, effects).active.remove(worker);
                }
            }
            _ => {}
        }
    }

    fn set(&mut self, words: &[String], effects: &mut Effects) {
        let Some((key, pairs)) = words.split_first() else { return };
        match kind_of(self.bare(key)) {
            Key::Job(id) => {
                let job = self.touch(id, effects);
                for pair in pairs.chunks_exact(2).filter(|pair| FIELDS.contains(&pair[0].as_str())) {
                    job.fields.insert(pair[0].clone(), pair[1].clone());
                }
                effects.written.insert(id.to_owned());
            }
            Key::Active(worker) => {
                for pair in pairs.chunks_exact(2) {
                    let claim = claim_in(&pair[1]);
                    self.touch(&pair[0], effects).active.insert(worker.to_owned(), claim);
                }
            }
            _ => {}
        }
    }

    fn unset(&mut self, words: &[String], effects: &mut Effects) {
        let Some((key, names)) = words.split_first() else { return };
        match kind_of(self.bare(key)) {
            Key::Job(id) => {
                let job = self.touch(id, effects);
                let known = job.exists();
                job.fields.retain(|name, _| !names.contains(name));
                if known {
                    effects.written.insert(id.to_owned());
                }
            }
            Key::Active(worker) => {
                for id in names {
                    self.touch(id, effects).active.remove(worker);
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, words: &[String], effects: &mut Effects) {
        let Some((key, rest)) = words.split_first() else { return };
        let is_flag =
            |word: &&String| ["NX", "XX", "GT", "LT", "CH"].iter().any(|flag| word.eq_ignore_ascii_case(flag));
        let flags: Vec<String> = rest.iter().take_while(is_flag).map(|flag| flag.to_ascii_uppercase()).collect();
        let has = |flag: &str| flags.iter().any(|given| given == flag);
        for pair in rest[flags.len()..].chunks_exact(2) {
            let (Ok(score), member) = (pair[0].parse::<f64>(), pair[1].as_str()) else { continue };
            let takes = |present: Option<f64>| match present {
                None => !has("XX"),
                Some(old) if has("GT") => score > old,
                Some(old) if has("LT") => score < old,
                Some(_) => !has("NX"),
            };
            match kind_of(self.bare(key)) {
                Key::Heads => {
                    self.heads.insert(member.to_owned(), score);
                    effects.classes.insert(member.to_owned());
                }
                Key::Leases => {
                    let job = self.touch(member, effects);
                    if takes(job.lease) {
                        job.lease = Some(score);
                    }
                }
                Key::Pending => self.touch(member, effects).pending = true,
                Key::Delayed => {
                    let job = self.touch(member, effects);
                    job.delayed |= !has("XX");
                }
                Key::Class(class) => {
                    effects.classes.insert(class.to_owned());
                    self.touch(member, effects);
                    self.place(class, member, Some(score));
                }
                _ => {}
            }
        }
    }

    fn remove(&mut self, words: &[String], effects: &mut Effects) {
        let Some((key, members)) = words.split_first() else { return };
        for member in members {
            match kind_of(self.bare(key)) {
                Key::Heads => {
                    self.heads.remove(member);
                    effects.classes.insert(member.clone());
                }
                Key::Leases => self.touch(member, effects).lease = None,
                Key::Pending => self.touch(member, effects).pending = false,
                Key::Delayed => self.touch(member, effects).delayed = false,
                Key::Class(class) => {
                    effects.classes.insert(class.to_owned());
                    self.touch(member, effects);
                    self.place(class, member, None);
                }
                _ => {}
            }
        }
    }

    fn tell(&mut self, words: &[String], effects: &mut Effects) {
        let Some((key, rest)) = words.split_first() else { return };
        let Key::Events(id) = kind_of(self.bare(key)) else { return };
        let Some(star) = rest.iter().position(|word| word == "*") else { return };
        let pairs: BTreeMap<&str, &str> =
            rest[star + 1..].chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
        let of = |name: &str| pairs.get(name).copied().unwrap_or_default().to_owned();
        self.touch(id, effects);
        effects.written.insert(id.to_owned());
        effects.events.entry(id.to_owned()).or_default().push([of("type"), of("worker_id"), of("attempt")]);
    }
}
