//! What a process writes beside its answers: into the log, but never more than a person can read.
//! In: its standard error, odd lines of its standard output. Out: log lines.

use super::lines::{Line, next_line};
use std::time::Duration;
use tokio::io::BufReader;
use tokio::process::ChildStderr;
use tokio::time::Instant;

/// Longest line that is shown; the rest of it comes as lines of its own.
const SHOWN: usize = 2000;
/// Lines that are shown within one window.
const LINES: u32 = 100;
const WINDOW: Duration = Duration::from_secs(1);

/// Shows lines of one engine until there are too many of them.
pub(super) struct Drain {
    name: &'static str,
    since: Instant,
    shown: u32,
    left_out: u64,
}

impl Drain {
    pub fn new(name: &'static str) -> Self {
        Self { name, since: Instant::now(), shown: 0, left_out: 0 }
    }

    pub fn line(&mut self, line: &[u8], what: &str) {
        if self.since.elapsed() >= WINDOW {
            self.tell_left_out();
            (self.since, self.shown) = (Instant::now(), 0);
        }
        if self.shown >= LINES {
            self.left_out += 1;
            return;
        }
        self.shown += 1;
        let text = String::from_utf8_lossy(&line[..line.len().min(SHOWN)]);
        let text: String = text.trim_end().chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect();
        if !text.is_empty() {
            tracing::info!(engine = self.name, "{what}{text}");
        }
    }

    pub fn tell_left_out(&mut self) {
        if self.left_out > 0 {
            tracing::warn!(engine = self.name, left_out = self.left_out, "the engine wrote more lines than are shown");
            self.left_out = 0;
        }
    }
}

/// Reads to the end, whatever comes: a full pipe would stop the engine.
pub(super) async fn drain(name: &'static str, stderr: ChildStderr) {
    let (mut from, mut drain, mut line) = (BufReader::new(stderr), Drain::new(name), Vec::new());
    while let Line::Read | Line::TooLong = next_line(&mut from, &mut line, SHOWN).await {
        drain.line(&line, "");
    }
    drain.tell_left_out();
}
