//! Counts and times of all jobs since the agent started.
//! In: what telemetry counts. Out: the section `stats`.

use super::in_ms;
use crate::telemetry::history::{Counts, Tally, Timed};
use serde::Serialize;

/// The section.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stats {
    /// When counting began.
    pub since: i64,
    /// How jobs ended.
    #[serde(flatten)]
    pub counts: Counts,
    /// Completed among completed and failed, 0 to 1.
    pub success_rate: Option<f64>,
    /// Completed within the last hour, or since the start if that is less.
    pub completed_last_hour: usize,
    /// The same as a rate, which within the first hour is a guess; `None` within the first minute.
    pub per_hour: Option<f64>,
    /// Half of the newest 512 completed jobs took at most this long.
    pub p50_ms: Option<u64>,
    /// 95 of 100 of them did.
    pub p95_ms: Option<u64>,
    /// Each service.
    pub by_service: Vec<Service>,
    /// Failed attempts, most frequent first.
    pub by_reason: Vec<Reason>,
}

/// One service.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Service {
    /// Its name; `unknown`: the jobs were never read; `other`: too many names.
    pub service: String,
    /// Accepted results.
    pub completed: u64,
    /// Failed for good.
    pub failed: u64,
    /// Failed attempts that another one follows.
    pub retried: u64,
    /// Cancelled while they were held.
    pub cancelled: u64,
    /// Half of the newest took at most this long.
    pub p50_ms: Option<u64>,
    /// 95 of 100 did.
    pub p95_ms: Option<u64>,
}

/// Failures of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Failure type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Failure reason.
    pub reason: String,
    /// Failed attempts.
    pub count: u64,
}

/// The section.
pub fn section(tally: &Tally) -> Stats {
    let quantile = |of: &Timed, share| of.durations.quantile(share).map(in_ms);
    let counts = tally.all.counts;
    let ended = counts.completed + counts.failed;
    let hours = tally.counted.as_secs_f64() / 3600.0;
    let mut by_reason: Vec<Reason> = tally
        .by_reason
        .iter()
        .map(|((kind, reason), count)| Reason { kind: kind.clone(), reason: reason.clone(), count: *count })
        .collect();
    by_reason.sort_by_key(|reason| std::cmp::Reverse(reason.count));
    let service = |(name, timed): (&String, &Timed)| Service {
        service: name.clone(),
        completed: timed.counts.completed,
        failed: timed.counts.failed,
        retried: timed.counts.retried,
        cancelled: timed.counts.cancelled,
        p50_ms: quantile(timed, 0.5),
        p95_ms: quantile(timed, 0.95),
    };
    Stats {
        since: tally.since,
        counts,
        success_rate: (ended > 0).then(|| (counts.completed as f64 / ended as f64 * 1e4).round() / 1e4),
        completed_last_hour: tally.last_hour,
        per_hour: (hours * 60.0 >= 1.0).then(|| super::tenths(tally.last_hour as f64 / hours)),
        p50_ms: quantile(&tally.all, 0.5),
        p95_ms: quantile(&tally.all, 0.95),
        by_service: tally.by_service.iter().map(service).collect(),
        by_reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    #[test]
    fn rates_are_told_once_there_is_something_to_tell() {
        let mut tally = Tally {
            since: 7,
            all: Timed::default(),
            by_service: BTreeMap::new(),
            by_reason: BTreeMap::new(),
            last_hour: 0,
            counted: Duration::from_secs(59),
        };
        let nothing = section(&tally);
        assert_eq!((nothing.success_rate, nothing.per_hour, nothing.p50_ms), (None, None, None));
        let counts = Counts { completed: 3, failed: 1, retried: 9, cancelled: 2, released: 5, lost: 4 };
        tally.all.counts = counts;
        tally.all.durations.add(Duration::from_millis(1500));
        (tally.last_hour, tally.counted) = (3, Duration::from_secs(1800));
        for (reason, count) in [("a", 1), ("b", 5)] {
            tally.by_reason.insert(("t".to_owned(), reason.to_owned()), count);
        }
        let told = section(&tally);
        assert_eq!((told.success_rate, told.per_hour, told.p95_ms), (Some(0.75), Some(6.0), Some(1500)));
        assert_eq!(told.completed_last_hour, 3, "a count, whatever the rate");
        assert_eq!(told.by_reason[0].reason, "b");
        let json = serde_json::to_value(&told).unwrap();
        let of = |name: &str| json[name].as_u64().unwrap();
        let flat = ["completed", "failed", "retried", "cancelled", "released", "lost"].map(of);
        assert_eq!((flat, json["since"].as_i64(), json.get("counts")), ([3, 1, 9, 2, 5, 4], Some(7), None));
    }
}
