//! What a soak showed.
//! In: samples and accounts. Out: slopes over the second half, latencies, and a verdict in plain words.

use super::accounts::Accounts;
use super::sample::{Held, Sample};
use super::slope::Slope;
use std::fmt;

pub struct Report {
    pub accounts: Accounts,
    /// What, unit, how much is too much a minute, how it grows.
    slopes: Vec<(String, &'static str, f64, Option<Slope>)>,
    pub open: usize,
}

/// What is left to allocators and caches: half a megabyte an hour.
const LEAST_KIB: f64 = 8.0;
/// Memory grows in steps of some pages: what is less over all that was measured is no slope.
const STEPS_KIB: f64 = 128.0;
/// One in five minutes.
const LEAST_COUNT: f64 = 0.2;
/// Redis' memory moves with what it keeps at the moment.
const LEAST_REDIS_KIB: f64 = 256.0;

impl Report {
    pub fn of(samples: &[Sample], accounts: Accounts) -> Self {
        let minutes = |of: Option<&Sample>| of.map_or(0.0, |sample| sample.at.as_secs_f64() / 60.0);
        let span = (minutes(samples.last()) - minutes(samples.get(samples.len() / 2))).max(0.01);
        let least_kib = LEAST_KIB.max(STEPS_KIB / span);
        // The first half warms up: caches fill, the first jobs are forgotten.
        let warm = &samples[samples.len() / 2..];
        let line = |of: &dyn Fn(&Sample) -> f64| {
            let points: Vec<(f64, f64)> =
                warm.iter().map(|sample| (sample.at.as_secs_f64() / 60.0, of(sample))).collect();
            Slope::of(&points)
        };
        let mut slopes = Vec::new();
        for agent in 0..warm.first().map_or(0, |sample| sample.agents.len()) {
            let mut add = |what: &str, unit, least, of: fn(&Held) -> f64| {
                slopes.push((format!("agent {agent}, {what}"), unit, least, line(&|sample| of(&sample.agents[agent]))));
            };
            add("memory", "KiB", least_kib, |held| held.kib);
            add("file descriptors", "", LEAST_COUNT, |held| held.descriptors);
            add("threads", "", LEAST_COUNT, |held| held.threads);
        }
        slopes.push(("Redis, memory".to_owned(), "KiB", LEAST_REDIS_KIB, line(&|sample| sample.redis_kib)));
        Self { open: accounts.open(), accounts, slopes }
    }

    pub fn lost(&self) -> u64 {
        self.accounts.gone + self.open as u64
    }

    pub fn failed(&self) -> u64 {
        self.accounts.done() - self.accounts.ended.get("completed").copied().unwrap_or_default()
    }

    /// Memory is judged by whoever reads it: a verdict stands beside each slope.
    #[allow(dead_code, reason = "a few seconds, as in the tests, are too short for slopes")]
    pub fn is_sound(&self) -> bool {
        let counted = self.slopes.iter().filter(|(_, unit, ..)| unit.is_empty());
        let piles_up =
            counted.filter_map(|(_, _, least, slope)| Some(slope.as_ref()?.grows(*least))).any(|grows| grows);
        self.lost() == 0 && self.failed() == 0 && !piles_up
    }
}

/// Nearest rank.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "over the second half, a minute:")?;
        for (what, unit, least, slope) in &self.slopes {
            let Some(slope) = slope else {
                writeln!(f, "  {what:<28} too few samples")?;
                continue;
            };
            let verdict = if slope.grows(*least) { "GROWS" } else { "does not grow" };
            writeln!(f, "  {what:<28} {:>+9.2} +- {:<8.2} {unit:<4} {verdict}", slope.slope, slope.error)?;
        }
        let mut latencies = self.accounts.latencies.clone();
        latencies.sort_by(f64::total_cmp);
        let [p50, p99, most] = [0.5, 0.99, 1.0].map(|share| percentile(&latencies, share));
        writeln!(f, "submission to start: p50 {p50:.0} ms, p99 {p99:.0} ms, longest {most:.0} ms")?;
        let Accounts { submitted, ended, .. } = &self.accounts;
        write!(f, "jobs {submitted}, {ended:?}; lost {}, failed {}", self.lost(), self.failed())
    }
}
