//! The picture of one agent as its dashboard tells it, kept whole by what comes in after it.
//! In: a snapshot, then sections, points, ended jobs, log lines. Out: typed fields; unknown ones are absent.
//!
//! The structs are tolerant on purpose, and not those that the agent writes: this program may be older or newer than
//! the agent it looks at. A section that cannot be read is named in `unread` and leaves the others alone.

mod parts;

pub(super) use parts::*;

use super::clean;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeSet;

/// Log lines that are kept, as the agent does.
const LINES: usize = 200;

/// Everything that is known of one agent.
#[derive(Debug, Clone, Default)]
pub(super) struct Picture {
    /// The agent's clock when it told this.
    pub now: Option<f64>,
    pub read_only: bool,
    pub version: String,
    pub worker: Worker,
    pub gpus: Vec<Gpu>,
    pub series: Series,
    pub slots: Vec<Slot>,
    pub queue: Queue,
    pub jobs: Jobs,
    pub connectors: Vec<Connector>,
    pub loops: Vec<Loop>,
    pub stats: Stats,
    pub system: System,
    pub log: Vec<LogLine>,
    /// Sections that were told in a way that is not understood.
    pub unread: BTreeSet<String>,
}

impl Picture {
    /// The picture that a snapshot is.
    pub fn of(snapshot: Value) -> Self {
        let mut picture = Self::default();
        if let Value::Object(sections) = snapshot {
            for (name, value) in sections {
                picture.tell(&name, value);
            }
        }
        picture
    }

    /// Whether this is an agent's picture at all.
    pub fn is_one(&self) -> bool {
        self.now.is_some() && !self.worker.state.is_empty()
    }

    /// One section, whole, by its name; names that are not known are for newer programs.
    pub fn tell(&mut self, name: &str, value: Value) {
        let value = clean::value(value);
        let read = match name {
            "now" => take(value, |now| self.now = Some(now)),
            "read_only" => take(value, |read_only| self.read_only = read_only),
            "version" => take(value, |version| self.version = version),
            "worker" => take(value, |worker| self.worker = worker),
            "gpus" => take(value, |gpus| self.gpus = gpus),
            "series" => take(value, |series| self.series = series),
            "slots" => take(value, |slots| self.slots = slots),
            "queue" => take(value, |queue| self.queue = queue),
            "jobs" => take(value, |jobs| self.jobs = jobs),
            "connectors" => take(value, |connectors| self.connectors = connectors),
            "loops" => take(value, |loops| self.loops = loops),
            "stats" => take(value, |stats| self.stats = stats),
            "system" => take(value, |system| self.system = system),
            "log" => take(value, |log| self.log = log),
            _ => true,
        };
        if read {
            self.unread.remove(name);
        } else {
            self.unread.insert(name.to_owned());
        }
    }

    /// What a later event says; `event` is its name.
    pub fn hear(&mut self, event: &str, value: Value) {
        match event {
            "snapshot" => *self = Self::of(value),
            "beat" => {
                if let Some(now) = value["now"].as_f64() {
                    self.now = Some(now);
                }
            }
            "point" => {
                take(clean::value(value), |point| self.series.push(point));
            }
            "job" => {
                take(clean::value(value), |ended: Ended| {
                    self.jobs.history.retain(|older| older.id != ended.id || older.ended != ended.ended);
                    self.jobs.history.insert(0, ended);
                    let kept = self.jobs.kept.map_or(100, |kept| kept as usize);
                    self.jobs.history.truncate(kept);
                });
            }
            "log" => {
                take(clean::value(value), |lines: Vec<LogLine>| {
                    self.log.extend(lines);
                    let over = self.log.len().saturating_sub(LINES);
                    self.log.drain(..over);
                });
            }
            section => self.tell(section, value),
        }
    }
}

fn take<T: DeserializeOwned>(value: Value, put: impl FnOnce(T)) -> bool {
    let read = if value.is_null() { return true } else { serde_json::from_value(value) };
    read.map(put).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_section_that_is_not_understood_leaves_the_others_alone() {
        let mut picture =
            Picture::of(json!({"now": 5, "gpus": "many", "worker": {"state": "idle", "ids": null}, "new": 1}));
        assert_eq!(picture.unread.iter().collect::<Vec<_>>(), ["gpus"]);
        assert!(picture.is_one() && picture.worker.ids.is_empty());
        picture.hear("gpus", json!([{"index": 3, "utilisation": null}]));
        assert!(picture.unread.is_empty() && picture.gpus[0].index == Some(3.0));
    }

    #[test]
    fn what_comes_after_a_snapshot_is_kept_within_bounds() {
        let mut picture = Picture::of(json!({"jobs": {"history": [], "kept": 2}, "series": {"step_ms": 2000}}));
        for n in 0..500 {
            picture.hear("job", json!({"id": format!("j{n}"), "state": "completed", "ended": n}));
            picture.hear("log", json!([{"at": n, "text": "x"}]));
            picture.hear("point", json!({"end": n, "gpus": [{"index": 0, "utilisation": n}]}));
        }
        let ids: Vec<&str> = picture.jobs.history.iter().map(|job| job.id.as_str()).collect();
        assert_eq!(ids, ["j499", "j498"]);
        assert_eq!(picture.log.len(), LINES);
        assert_eq!(picture.series.gpus[0].utilisation.len(), POINTS);
        assert_eq!(picture.series.gpus[0].utilisation.last(), Some(&Some(499.0)));
    }
}
