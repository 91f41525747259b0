//! The jobs that ended here, newest first.
//! In: the state. Out: a line a job, two more for one that failed: why, and what to do.

use super::{Row, below, fact, fit, pad, remark};
use crate::cli::top::figures::{clock, size, span};
use crate::cli::top::look::{BAD, BOLD, FAINT, GOOD, PLAIN, WARN};
use crate::cli::top::picture::{Ended, Failure};
use crate::cli::top::state::State;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

pub(super) fn title(state: &State) -> String {
    let count = state.picture.jobs.history.len();
    let failed = state.picture.jobs.history.iter().filter(|job| job.state == "failed").count();
    match (count, failed) {
        (0, _) => String::new(),
        (count, 0) => format!("{count}"),
        (count, failed) => format!("{count}, {failed} failed"),
    }
}

pub(super) fn rows(state: &State, width: usize) -> Vec<Row> {
    let history = &state.picture.jobs.history;
    if history.is_empty() {
        return remark("no job has ended here yet");
    }
    history.iter().map(|job| Row { key: Some(key(job)), lines: lines(state, job, width) }).collect()
}

/// A job may end here more than once.
fn key(job: &Ended) -> String {
    format!("{} {}", job.id, job.ended.unwrap_or_default())
}

/// The chosen job, if it is one that can be given a new life.
pub(in crate::cli::top) fn chosen(state: &State) -> Option<String> {
    let wanted = state.chosen(super::Panel::History)?;
    let job = state.picture.jobs.history.iter().find(|job| key(job) == wanted)?;
    matches!(job.state.as_str(), "failed" | "cancelled").then(|| job.id.clone())
}

fn style(state: &str) -> Style {
    match state {
        "completed" => GOOD,
        "failed" => BAD,
        _ => WARN,
    }
}

fn lines(state: &State, job: &Ended, width: usize) -> Vec<Line<'static>> {
    let time = job.ended.map_or_else(String::new, clock);
    let took = job.duration_ms.map_or_else(String::new, span);
    let made = job.outputs_count.unwrap_or(job.outputs.len() as f64);
    let made = match made {
        0.0 => String::new(),
        1.0 => "1 output".to_owned(),
        more => format!("{more:.0} outputs"),
    };
    let parts = vec![
        Span::styled(time, FAINT),
        Span::styled(pad(&job.state, 9), style(&job.state)),
        Span::styled(format!("{took:>12}"), PLAIN),
        Span::styled(pad(if job.service.is_empty() { "-" } else { &job.service }, 14), BOLD),
        Span::raw(job.id.clone()),
        Span::raw(made),
        Span::styled(job.note.clone().unwrap_or_default(), FAINT),
        Span::styled(job.worker.clone().unwrap_or_default(), FAINT),
    ];
    let mut lines = vec![fit(parts, width)];
    if let Some(failure) = &job.failure {
        lines.push(below(&format!("{}{}", class(failure), failure.message.as_deref().unwrap_or("")), 10, width, PLAIN));
        let again = failure.retry_at.map(|at| match at - state.now {
            left if left > 0.0 => format!("tried again in {}", crate::cli::top::figures::age(left)),
            _ => "tried again".to_owned(),
        });
        let next: Vec<String> = again.into_iter().chain(failure.remedy.clone()).collect();
        if !next.is_empty() {
            lines.push(below(&format!("→ {}", next.join("; ")), 10, width, WARN));
        }
    }
    lines
}

fn class(failure: &Failure) -> String {
    let word = failure.reason.as_deref().or(failure.r#type.as_deref()).unwrap_or_default().replace('_', " ");
    if word.is_empty() { word } else { format!("{word}: ") }
}

pub(super) fn details(state: &State, chosen: &str) -> Vec<Line<'static>> {
    let Some(job) = state.picture.jobs.history.iter().find(|job| key(job) == chosen) else { return Vec::new() };
    let failure = job.failure.clone().unwrap_or_default();
    let kind = [failure.r#type, failure.reason].into_iter().flatten().collect::<Vec<_>>().join("/");
    let mut lines: Vec<_> = [
        fact("job", Some(job.id.clone())),
        fact("service", Some(job.service.clone())),
        fact("state", Some(job.state.clone())),
        fact("worker", job.worker.clone()),
        fact("attempt", job.attempt.map(|attempt| format!("{attempt:.0}"))),
        fact("claimed", job.claimed.map(|at| clock(at) + " UTC")),
        fact("ended", job.ended.map(|at| clock(at) + " UTC")),
        fact("took", job.duration_ms.map(span)),
        fact("note", job.note.clone()),
        fact("failure", Some(kind)),
        fact("message", failure.message),
        fact("what to do", failure.remedy),
        fact("tried again", failure.retry_at.map(|at| clock(at) + " UTC")),
    ]
    .into_iter()
    .flatten()
    .collect();
    for output in &job.outputs {
        let kind = output.media_type.clone().or_else(|| output.kind.clone()).unwrap_or_default();
        let bytes = output.bytes.map(size).unwrap_or_default();
        lines.extend(fact("output", Some(format!("{}  {kind}  {bytes}", output.name.clone().unwrap_or_default()))));
    }
    lines
}
