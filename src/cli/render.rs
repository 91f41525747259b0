//! How events look: a bar that moves on a terminal, one line each elsewhere, JSON for programs.
//! In: events. Out: stdout.

use crate::protocol::event::Event;
use crate::runner::retry::row;
use connectors::failure::Reason;
use serde_json::Value;
use std::io::IsTerminal;

/// Columns of the bar.
const BAR: usize = 30;

/// Where a job's events are shown.
pub(super) struct Screen {
    json: bool,
    moving: bool,
    bar_shown: bool,
    last_note: Option<String>,
}

impl Screen {
    pub(super) fn new(json: bool) -> Self {
        let moving = !json && std::io::stdout().is_terminal() && std::env::var("TERM").is_ok_and(|term| term != "dumb");
        Self { json, moving, bar_shown: false, last_note: None }
    }

    pub(super) fn show(&mut self, event: &Event) {
        self.last_note = None;
        if self.json {
            self.line(&event.to_json().to_string());
            return;
        }
        let message = plain(event.get("message").unwrap_or_default());
        match event.kind() {
            "progress" if self.moving => self.bar(event, &message),
            "progress" => {
                let percent = event.get("progress").unwrap_or("0");
                self.line(&format!("{percent:>5} %  {message}"));
            }
            "job_submitted" => self.line("submitted"),
            "assigned" => self.line(&format!("claimed by {}", plain(event.get("worker_id").unwrap_or_default()))),
            "started" => self.line("started"),
            "completion" => {
                self.clear();
                self.line("completed");
                for line in outputs(event.get("result")) {
                    self.line(&line);
                }
            }
            "failure" => {
                self.line(&format!("failed: {message}{}", class_of(event)));
                self.remedy(event);
            }
            "cancellation" => self.line("cancelled"),
            "retry_scheduled" => {
                let seconds = |name: &str| event.get(name).and_then(|text| text.parse::<f64>().ok());
                let pause = seconds("due").zip(seconds("timestamp")).map_or(0.0, |(due, now)| (due - now).max(0.0));
                let uncharged = if event.get("charged") == Some("false") { ", uncharged" } else { "" };
                let class = class_of(event);
                self.line(&format!("attempt failed: {message}{class}; trying again in {pause:.1} s{uncharged}"));
                self.remedy(event);
            }
            other => self.line(&format!(
                "{}{}{message}",
                plain(other).replace('_', " "),
                if message.is_empty() { "" } else { ": " }
            )),
        }
    }

    /// A job whose log is gone.
    pub(super) fn ended(&mut self, id: &str, state: &str, error: Option<&str>) {
        if self.json {
            self.line(
                &serde_json::json!({"type": state, "event_type": state, "job_id": id, "error": error}).to_string(),
            );
        } else {
            let error = error.filter(|text| !text.is_empty()).map(|text| format!(": {}", plain(text)));
            self.line(&format!("{state}{}", error.unwrap_or_default()));
        }
    }

    /// Something for the person, not for programs; said once.
    pub(super) fn note(&mut self, text: &str) {
        if self.last_note.as_deref() != Some(text) {
            self.clear();
            remark!("{text}");
            self.last_note = Some(text.to_owned());
        }
    }

    fn remedy(&mut self, event: &Event) {
        if let Some(remedy) = event.get("failure_reason").and_then(remedy) {
            self.line(&format!("  what to do: {remedy}"));
        }
    }

    fn bar(&mut self, event: &Event, message: &str) {
        let percent: f64 = event.get("progress").and_then(|text| text.parse().ok()).unwrap_or(0.0);
        let full = ((percent / 100.0) * BAR as f64).round().clamp(0.0, BAR as f64) as usize;
        let message: String = message.chars().take(40).collect();
        put!("\r\x1b[2K{}{} {percent:>5.1} %  {message}", "█".repeat(full), "░".repeat(BAR - full));
        self.bar_shown = true;
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.bar_shown) {
            put!("\r\x1b[2K");
        }
    }

    fn line(&mut self, text: &str) {
        self.clear();
        say!("{text}");
    }
}

/// Type and reason of a failure, for the end of a sentence.
fn class_of(event: &Event) -> String {
    match (event.get("failure_type"), event.get("failure_reason")) {
        (None, None) => String::new(),
        (kind, reason) => format!(" ({}/{})", plain(kind.unwrap_or("unknown")), plain(reason.unwrap_or("unknown"))),
    }
}

/// What a person can do about a failure of this reason.
pub(super) fn remedy(reason: &str) -> Option<&'static str> {
    match reason {
        "worker_lost" => Some("see what its workers died of, then `gpu-worker jobs replay`"),
        word => Reason::from_word(word).map(|reason| row(reason).remedy),
    }
}

fn outputs(result: Option<&str>) -> Vec<String> {
    let result: Value = result.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let text = |value: &Value| plain(value.as_str().unwrap_or_default());
    let outputs = result["outputs"].as_array().cloned().unwrap_or_default();
    outputs
        .iter()
        .map(|output| {
            let size = size(output["bytes"].as_u64().unwrap_or(0));
            format!("  {}  {}  {size}", text(&output["url"]), text(&output["media_type"]))
        })
        .collect()
}

/// A size for people.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// Foreign text without what a terminal would obey.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Rows as a table: columns as wide as they must be.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(head.to_vec());
    for row in rows {
        text += &line(row.iter().map(String::as_str).collect());
    }
    text
}
