//! The lines at the top: who this is, how it is, how fresh that is; and the line of keys at the bottom.
//! In: the state. Out: styled lines of a given width.

use super::client::LOCKED;
use super::figures::{age, clock, number};
use super::look::{BAD, BOLD, FAINT, GOOD, JOB, PLAIN, WARN};
use super::panels::{below, fit};
use super::state::{Feed, State};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// Two lines, another for a long sentence, another where something is not as it should be.
pub(super) fn lines(state: &State, width: usize) -> Vec<Line<'static>> {
    let mut lines = sentence(state, width);
    lines.push(facts(state, width));
    if let Some((text, style)) = remark(state) {
        // What to do is worth a second line.
        let (begin, end) = match Span::raw(text.as_str()).width() <= width {
            true => (text.as_str(), ""),
            false => broken(&text, width),
        };
        lines.push(fit(vec![Span::styled(begin.to_owned(), style)], width));
        if !end.is_empty() {
            lines.push(below(end, 2, width, style));
        }
    }
    lines
}

fn sentence(state: &State, width: usize) -> Vec<Line<'static>> {
    let worker = &state.picture.worker;
    let name = state.picture.system.host.clone().unwrap_or_else(|| worker.machine_id.clone());
    if !state.picture.is_one() {
        return vec![fit(vec![Span::styled("gpu-worker", BOLD), Span::raw(state.place.2.clone())], width)];
    }
    let style = match worker.state.as_str() {
        "working" => GOOD,
        "idle" | "starting" => JOB,
        "fenced" | "redis_away" | "no_engine" | "no_store" => BAD,
        _ => WARN,
    };
    let word = worker.state.replace('_', " ");
    let name = Span::styled(if name.is_empty() { "gpu-worker".to_owned() } else { name }, BOLD);
    let word = Span::styled(word, style.patch(BOLD));
    let room = width.saturating_sub(name.width() + word.width() + 4);
    if Span::raw(worker.sentence.as_str()).width() <= room {
        return vec![fit(vec![name, word, Span::raw(worker.sentence.clone())], width)];
    }
    let (begin, end) = broken(&worker.sentence, room);
    vec![fit(vec![name, word, Span::raw(begin.to_owned())], width), below(end, 2, width, PLAIN)]
}

/// A text in two, between words: what fits into these columns, and the rest.
fn broken(text: &str, columns: usize) -> (&str, &str) {
    let gaps = text.char_indices().filter(|(_, c)| *c == ' ').map(|(at, _)| text.split_at(at));
    let fitting = gaps.take_while(|(begin, _)| Span::raw(*begin).width() <= columns).last();
    fitting.map_or(("", text), |(begin, end)| (begin, end.trim_start()))
}

fn facts(state: &State, width: usize) -> Line<'static> {
    let (picture, worker) = (&state.picture, &state.picture.worker);
    if !picture.is_one() {
        return Line::raw("");
    }
    let mut parts = Vec::new();
    if let Some(started) = worker.started {
        parts.push(Span::raw(format!("up {}", age(state.now - started))));
    }
    match worker.heartbeat {
        Some(at) => parts.push(Span::styled(format!("heartbeat {} ago", age(state.now - at)), late(state.now - at))),
        None => parts.push(Span::styled("no heartbeat yet", WARN)),
    }
    parts.push(redis(state));
    if let Some(desired) = worker.desired.as_deref().filter(|desired| *desired != "run") {
        parts.push(Span::styled(format!("told to {desired}"), WARN));
    }
    if picture.read_only {
        parts.push(Span::styled("read-only", WARN));
    }
    if state.place.1 > 1 {
        parts.push(Span::styled(format!("agent {} of {} (n: next)", state.place.0 + 1, state.place.1), JOB));
    }
    parts.push(Span::styled(format!("gpu-worker {}", picture.version), FAINT));
    parts.push(Span::styled(state.place.2.clone(), FAINT));
    fit(parts, width)
}

/// Heartbeats come every 30 s.
fn late(ms: f64) -> Style {
    if ms > 95_000.0 { BAD } else { PLAIN }
}

fn redis(state: &State) -> Span<'static> {
    let redis = &state.picture.worker.redis;
    let address = redis.address.as_deref().map_or_else(String::new, |address| format!(" {address}"));
    match redis.connected {
        Some(true) => {
            let took = redis.round_trip_ms.map_or_else(String::new, |ms| format!(" in {} ms", number(ms)));
            Span::raw(format!("Redis{address} answers{took}"))
        }
        Some(false) => {
            let since = redis.since.map_or_else(String::new, |since| format!(" for {}", age(state.now - since)));
            Span::styled(format!("Redis{address} AWAY{since}"), BAD)
        }
        None => Span::styled(format!("Redis{address} unknown"), WARN),
    }
}

/// How fresh the picture is, if it is not live and whole.
fn remark(state: &State) -> Option<(String, Style)> {
    match &state.feed {
        Feed::Connecting => Some((format!("asking the agent at {} …", state.place.2), WARN)),
        Feed::Away { since, why } if state.picture.is_one() => {
            let (clock, age) = (clock(*since), age(state.now - since));
            Some((format!("STALE since {clock} UTC ({age}): {why}; trying again"), BAD))
        }
        Feed::Away { why, .. } if why.starts_with(LOCKED) => Some((why.clone(), BAD)),
        Feed::Away { since, why } => {
            Some((format!("no answer for {}: {why}; trying again", age(state.now - since)), BAD))
        }
        Feed::Polling => Some(("the live stream does not get through: asked for every 2 s".to_owned(), WARN)),
        Feed::Live if !state.picture.unread.is_empty() => {
            let names: Vec<&str> = state.picture.unread.iter().map(String::as_str).collect();
            Some((format!("not understood, so not shown: {}; is this program older?", names.join(", ")), WARN))
        }
        Feed::Live => None,
    }
}

/// What became of the last order, else the keys.
pub(super) fn footer(state: &State, width: usize) -> Line<'static> {
    if let Some(outcome) = &state.outcome {
        return fit(vec![Span::styled(outcome.text.clone(), if outcome.good { GOOD } else { BAD })], width);
    }
    let orders = [("p", "pause"), ("r", "resume"), ("d", "drain"), ("c", "cancel"), ("R", "retry"), ("f", "free VRAM")];
    let mut keys = vec![("q", "quit"), ("?", "help"), ("tab", "panel"), ("enter", "details")];
    if state.picture.read_only {
        keys.push(("read-only:", "takes no orders"));
    } else {
        keys.extend(orders);
    }
    let mut line = Line::default();
    for (key, what) in keys {
        let gap = if line.spans.is_empty() { "" } else { "  " };
        let parts = [Span::raw(gap), Span::styled(key, BOLD), Span::styled(format!(" {what}"), FAINT)];
        if line.width() + parts.iter().map(Span::width).sum::<usize>() > width {
            break;
        }
        line.spans.extend(parts);
    }
    line
}
