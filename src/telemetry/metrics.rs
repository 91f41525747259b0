//! Numbers about the agent, in one registry: counted from notices, or looked at when somebody asks.
//! In: notices, and what the agent says of itself at that moment. Out: text in the OpenMetrics format.
//!
//! The number of series is bounded: labels are words of this program, or names that the configuration gives; of names that
//! jobs bring the first 50 are kept, and all further ones are `other`. No label holds an id of a job.

mod count;
mod observed;
mod page;
mod process;
mod readiness;
mod shown;
mod single;
mod table;

pub use observed::{Gauges, GpuSeen, LoopSeen, Observed};
pub use page::page;
pub use process::Process;
pub use readiness::{EngineSeen, Readiness, RedisSeen};
pub use shown::{NUMBERS, Number, Told};
pub use table::STATES;
pub use table::{Metric, Row, TABLE};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What a metric is.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Values in buckets with these upper bounds.
    Histogram(&'static [f64]),
}

/// The format of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Different names that jobs may bring.
const NAMES_MAX: usize = 50;

type Labels = Vec<(&'static str, String)>;
type Buckets = Box<dyn Fn() -> Histogram + Send + Sync>;

enum Kept {
    Counter(Family<Labels, Counter<f64, AtomicU64>>),
    Gauge(Family<Labels, gauge::Gauge<f64, AtomicU64>>),
    Histogram(Family<Labels, Histogram, Constructor>),
    /// Without labels there is one series, from the beginning.
    OneCounter(Counter<f64, AtomicU64>),
    OneGauge(single::Single),
}

#[derive(Clone)]
struct Constructor(std::sync::Arc<Buckets>);

impl prometheus_client::metrics::family::MetricConstructor<Histogram> for Constructor {
    fn new_metric(&self) -> Histogram {
        (self.0)()
    }
}

/// The registry.
pub struct Metrics {
    registry: Registry,
    /// In the order of the table.
    kept: Vec<Kept>,
    names: Mutex<BTreeSet<String>>,
    /// What is looked at is written by one at a time.
    rendering: Mutex<()>,
    began: Instant,
}

static OF_PROCESS: LazyLock<Metrics> = LazyLock::new(Metrics::default);

/// The registry of this process.
pub fn of_process() -> &'static Metrics {
    &OF_PROCESS
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let kept = TABLE.iter().map(|row| row.kept(&mut registry)).collect();
        Self { registry, kept, names: Mutex::default(), rendering: Mutex::default(), began: Instant::now() }
    }
}

impl Row {
    fn kept(&self, registry: &mut Registry) -> Kept {
        // The format puts the full stop itself.
        let help = self.help.trim_end_matches('.');
        match self.kind {
            Kind::Counter if self.labels.is_empty() => {
                let one = Counter::default();
                registry.register(self.name, help, one.clone());
                Kept::OneCounter(one)
            }
            Kind::Gauge if self.labels.is_empty() => {
                let one = single::Single::default();
                registry.register(self.name, help, one.clone());
                Kept::OneGauge(one)
            }
            Kind::Counter => {
                let family = Family::default();
                registry.register(self.name, help, family.clone());
                Kept::Counter(family)
            }
            Kind::Gauge => {
                let family = Family::default();
                registry.register(self.name, help, family.clone());
                Kept::Gauge(family)
            }
            Kind::Histogram(bounds) => {
                let new: Buckets = Box::new(move || Histogram::new(bounds.iter().copied()));
                let family = Family::new_with_constructor(Constructor(std::sync::Arc::new(new)));
                registry.register(self.name, help, family.clone());
                Kept::Histogram(family)
            }
        }
    }
}

impl Metrics {
    /// Adds to a counter, sets a gauge, or puts a value into its bucket. `labels` are in the order of the table.
    pub fn note(&self, metric: Metric, labels: &[&str], value: f64) {
        let row = &TABLE[metric as usize];
        debug_assert_eq!(row.labels.len(), labels.len(), "{}", row.name);
        let labels = row.labels.iter().zip(labels).map(|(name, value)| (*name, (*value).to_owned())).collect();
        match &self.kept[metric as usize] {
            Kept::Counter(family) => drop(family.get_or_create(&labels).inc_by(value)),
            Kept::Gauge(family) => drop(family.get_or_create(&labels).set(value)),
            Kept::Histogram(family) => family.get_or_create(&labels).observe(value),
            Kept::OneCounter(one) => drop(one.inc_by(value)),
            Kept::OneGauge(one) => one.set(value),
        }
    }

    /// Adds one.
    pub fn count(&self, metric: Metric, labels: &[&str]) {
        self.note(metric, labels, 1.0);
    }

    /// Has these counters of one label show 0 until something is counted: who sees a series begin at 1 sees no rise.
    fn begin(&self, counters: &[Metric], label: &str) {
        counters.iter().for_each(|counter| self.note(*counter, &[label], 0.0));
    }

    /// Forgets every series of a metric; one without labels has no value then.
    fn clear(&self, at: usize) {
        match &self.kept[at] {
            Kept::Counter(family) => family.clear(),
            Kept::Gauge(family) => family.clear(),
            Kept::Histogram(family) => family.clear(),
            Kept::OneCounter(one) => one.inner().store(0, Ordering::Relaxed),
            Kept::OneGauge(one) => one.forget(),
        }
    }

    /// A name that a job brings, as a label: plain, and one of few.
    pub fn name(&self, name: &str) -> String {
        if name.is_empty() {
            return "unknown".to_owned();
        }
        let mut names = locked(&self.names);
        if is_plain(name) && (names.contains(name) || names.len() < NAMES_MAX) {
            names.insert(name.to_owned());
            return name.to_owned();
        }
        "other".to_owned()
    }

    /// All of it as text; `observed`: how the agent is now.
    pub fn render(&self, observed: &Observed) -> String {
        let _one_at_a_time = locked(&self.rendering);
        self.look(observed);
        let mut text = String::new();
        // Only a writer can fail, and a string does not.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn is_plain(name: &str) -> bool {
    name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

/// A name from outside as a label where something else says how many there can be: nothing is remembered of it.
pub fn plain(name: &str) -> &str {
    if is_plain(name) { name } else { "other" }
}

#[cfg(test)]
mod tests;
