//! The last lines of the log, for whoever opens the dashboard after they were written.
//! In: events of this program, as the log's level lets them through. Out: the newest lines, each with a number of its own.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Lines that are kept.
pub const LINES: usize = 200;
/// Longest text of a line or a field, in characters.
const TEXT_MAX: usize = 500;
/// Other crates' words may hold what jobs contain.
const OURS: [&str; 3] = ["gpu_worker", "connectors", "stand_ins"];

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Line {
    /// Counts the lines of this process.
    #[serde(skip)]
    pub number: u64,
    /// Milliseconds since 1970.
    pub at: i64,
    /// `error`, `warn`, `info`, `debug`, `trace`.
    pub level: &'static str,
    /// The sentence.
    pub text: String,
    /// What it speaks of.
    pub fields: BTreeMap<&'static str, String>,
}

/// The newest lines.
#[derive(Debug, Default)]
pub struct Recent(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Line>,
    count: u64,
}

static OF_PROCESS: LazyLock<Recent> = LazyLock::new(Recent::default);

/// Those of this process.
pub fn of_process() -> &'static Recent {
    &OF_PROCESS
}

impl Recent {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the newest line; 0: there is none yet.
    pub fn newest(&self) -> u64 {
        self.lock().count
    }

    /// Lines after the one of number `after` up to that of number `up_to`, oldest first.
    pub fn between(&self, after: u64, up_to: u64) -> Vec<Line> {
        let kept = self.lock();
        kept.lines.iter().filter(|line| line.number > after && line.number <= up_to).cloned().collect()
    }

    fn add(&self, line: Line) {
        let mut kept = self.lock();
        kept.count += 1;
        let number = kept.count;
        if kept.lines.len() >= LINES {
            kept.lines.pop_front();
        }
        kept.lines.push_back(Line { number, ..line });
    }
}

/// Hears the log.
pub(super) struct Listener(pub &'static Recent);

impl<S: Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let target = event.metadata().target().split("::").next().unwrap_or_default();
        if !OURS.contains(&target) {
            return;
        }
        let level = match *event.metadata().level() {
            tracing::Level::ERROR => "error",
            tracing::Level::WARN => "warn",
            tracing::Level::INFO => "info",
            tracing::Level::DEBUG => "debug",
            tracing::Level::TRACE => "trace",
        };
        let mut read = Read::default();
        event.record(&mut read);
        let at = jiff::Timestamp::now().as_millisecond();
        self.0.add(Line { number: 0, at, level, text: read.text, fields: read.fields });
    }
}

#[derive(Default)]
struct Read {
    text: String,
    fields: BTreeMap<&'static str, String>,
}

impl Read {
    fn take(&mut self, field: &Field, text: String) {
        let text = cut(text);
        match field.name() {
            "message" => self.text = text,
            name => drop(self.fields.insert(name, text)),
        }
    }
}

impl Visit for Read {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let mut text = String::new();
        // A string takes all.
        let _ = write!(text, "{value:?}");
        self.take(field, text);
    }
}

/// Cuts a text to what people read.
pub(super) fn cut(mut text: String) -> String {
    if let Some((at, _)) = text.char_indices().nth(TEXT_MAX) {
        text.truncate(at);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn the_newest_lines_are_kept_with_their_fields_and_those_of_other_crates_are_not() {
        let recent: &'static Recent = Box::leak(Box::default());
        let log = tracing_subscriber::registry().with(Listener(recent));
        tracing::subscriber::with_default(log, || {
            for n in 0..LINES + 5 {
                tracing::info!(target: "gpu_worker::x", job = "j-1", n, "line {n}");
            }
            tracing::warn!(target: "gpu_worker", long = "ü".repeat(5000), "the last");
            tracing::error!(target: "hyper", "a prompt");
        });
        let newest = recent.newest();
        assert_eq!(newest, LINES as u64 + 6);
        let lines = recent.between(0, newest);
        assert_eq!((lines.len(), lines[0].number), (LINES, 7));
        assert_eq!((lines[0].text.as_str(), lines[0].level), ("line 6", "info"));
        assert_eq!((lines[0].fields["job"].as_str(), lines[0].fields["n"].as_str()), ("j-1", "6"));
        assert_eq!(lines[LINES - 1].fields["long"].chars().count(), TEXT_MAX + 1);
        assert_eq!(recent.between(newest - 1, newest).len(), 1);
        assert_eq!(recent.between(newest, newest + 9), []);
    }
}
