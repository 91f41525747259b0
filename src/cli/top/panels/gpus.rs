//! The cards: load, memory, heat, and why one may not work.
//! In: the state. Out: two lines a card and one more for each thing that is wrong with it.

use super::{Row, below, fact, fit, pad, remark};
use crate::cli::top::bars::{bar, load, memory, spark, stacked};
use crate::cli::top::figures::number;
use crate::cli::top::look::{BAD, BOLD, FAINT, GOOD, PLAIN, WARN};
use crate::cli::top::picture::{Gpu, Mig};
use crate::cli::top::state::State;
use ratatui::text::{Line, Span};

pub(super) fn title(state: &State) -> String {
    let gpus = &state.picture.gpus;
    let off = gpus.iter().filter(|gpu| is_off(gpu)).count();
    if off > 0 { format!("{}, {off} may not work", gpus.len()) } else { format!("{}", gpus.len()) }
}

pub(super) fn rows(state: &State, width: usize, tight: bool) -> Vec<Row> {
    if state.picture.gpus.is_empty() {
        return remark("no GPU is known on this machine");
    }
    state.picture.gpus.iter().map(|gpu| Row { key: key(gpu), lines: lines(state, gpu, width, tight) }).collect()
}

/// The card that an order is meant for.
pub(in crate::cli::top) fn chosen(state: &State) -> Option<u32> {
    state.chosen(super::Panel::Gpus)?.parse().ok()
}

fn key(gpu: &Gpu) -> Option<String> {
    gpu.index.map(|index| format!("{index:.0}"))
}

fn is_off(gpu: &Gpu) -> bool {
    matches!(gpu.health.as_deref(), Some("fenced" | "lost"))
}

fn lines(state: &State, gpu: &Gpu, width: usize, tight: bool) -> Vec<Line<'static>> {
    let (name_width, bar_width) = match (width, tight) {
        (..60, _) => (8, 8),
        (_, true) => (12, 8),
        (110.., _) => (26, 24),
        _ => (18, 12),
    };
    let name = gpu.name.as_deref().unwrap_or("GPU");
    let short = width < 110 || tight;
    let name = if short { name.trim_start_matches("NVIDIA ").trim_start_matches("GeForce ") } else { name };
    let mut first = vec![
        Span::styled(pad(&key(gpu).unwrap_or_default(), 3), BOLD),
        Span::styled(pad(name, name_width), BOLD),
        Span::raw(" "),
    ];
    if tight && is_off(gpu) {
        first.extend(fit(vec![off(gpu)], width.saturating_sub(name_width + 4)).spans);
        return [Some(Line::from(first)), remedy(gpu, width)].into_iter().flatten().collect();
    }
    match gpu.utilisation {
        Some(percent) => {
            first.extend(bar(percent, bar_width, load(percent)));
            first.push(Span::raw(format!(" {percent:>3.0} %  ")));
        }
        None => first.push(Span::styled(pad("load unknown", bar_width + 8), FAINT)),
    }
    let left = width.saturating_sub(name_width + bar_width + 12);
    if tight {
        first.extend(gpu.memory.as_ref().map(|memory| stacked(memory, 8)).unwrap_or_default());
        first.push(Span::raw(" "));
        let parts = [vec![amount(gpu, true)], heat(gpu, false), rest(gpu)].concat();
        first.extend(whole(parts, left.saturating_sub(9)).spans);
        return vec![Line::from(first)];
    }
    let points = state.picture.series.gpus.iter().find(|chart| chart.index == gpu.index);
    let points = points.map_or(&[][..], |chart| chart.utilisation.as_slice());
    first.push(Span::styled(spark(points, 100.0, left), GOOD));

    // Below the name what the card feels, below the load its memory.
    let felt = whole(heat(gpu, !short), name_width);
    let mut second = vec![Span::raw("   ")];
    let missing = (name_width + 1).saturating_sub(felt.width());
    second.extend(felt.spans);
    second.push(Span::raw(" ".repeat(missing)));
    second.extend(gpu.memory.as_ref().map(|memory| stacked(memory, bar_width)).unwrap_or_default());
    second.push(Span::raw(" "));
    let parts = [vec![amount(gpu, false)], rest(gpu)].concat();
    second.extend(whole(parts, width.saturating_sub(name_width + bar_width + 5)).spans);
    let mut lines = vec![Line::from(first), Line::from(second)];
    lines.extend(gpu.mig.iter().map(|part| instance(part, name_width, bar_width)));
    if is_off(gpu) {
        lines.push(fit(vec![Span::raw(" "), off(gpu)], width));
        lines.extend(remedy(gpu, width));
    }
    lines
}

/// Why it may not work.
fn off(gpu: &Gpu) -> Span<'static> {
    let health = gpu.health.as_deref().unwrap_or("unknown");
    Span::styled(format!("{health}: {}", gpu.reason.as_deref().unwrap_or("nobody knows why")), BAD)
}

fn remedy(gpu: &Gpu, width: usize) -> Option<Line<'static>> {
    gpu.remedy.as_ref().map(|remedy| below(&format!("→ {remedy}"), 3, width, WARN))
}

fn amount(gpu: &Gpu, short: bool) -> Span<'static> {
    Span::raw(gpu.memory.as_ref().and_then(|part| memory(part, short)).unwrap_or_default())
}

/// A reading, with its limit if there is room for it.
fn reading(value: Option<f64>, limit: Option<f64>, unit: &str) -> String {
    match (value, limit) {
        (Some(value), Some(limit)) => format!("{value:.0}/{limit:.0} {unit}"),
        (Some(value), None) => format!("{value:.0} {unit}"),
        _ => String::new(),
    }
}

/// Temperature and power.
fn heat(gpu: &Gpu, limits: bool) -> Vec<Span<'static>> {
    let is_hot = gpu.temperature_c.zip(gpu.temperature_limit_c).is_some_and(|(now, limit)| now >= limit - 3.0);
    let limit = |limit: Option<f64>| limit.filter(|_| limits);
    let style = if is_hot || gpu.throttled.as_deref() == Some("thermal") { WARN } else { PLAIN };
    vec![
        Span::styled(reading(gpu.temperature_c, limit(gpu.temperature_limit_c), "°C"), style),
        Span::raw(reading(gpu.power_w, limit(gpu.power_limit_w), "W")),
    ]
}

/// What is wrong, then what is good to know.
fn rest(gpu: &Gpu) -> Vec<Span<'static>> {
    let errors = gpu.ecc_errors.filter(|errors| *errors > 0.0);
    let throttled = gpu.throttled.as_ref().map_or_else(String::new, |why| format!("throttled: {why}"));
    vec![
        Span::styled(throttled, WARN),
        Span::styled(errors.map_or_else(String::new, |errors| format!("{errors:.0} memory errors")), BAD),
        Span::raw(reading(gpu.clock_mhz, gpu.clock_max_mhz, "MHz")),
        Span::raw(reading(gpu.fan_percent, None, "% fan")),
    ]
}

/// The parts that fit, each of them whole: half a number is a wrong number.
fn whole(mut parts: Vec<Span<'static>>, room: usize) -> Line<'static> {
    let mut taken = 0;
    parts.retain(|part| {
        let fits = part.width() > 0 && taken + part.width() <= room;
        taken += if fits { part.width() + 2 } else { 0 };
        fits
    });
    fit(parts, room)
}

fn instance(part: &Mig, name_width: usize, bar_width: usize) -> Line<'static> {
    let name = part.name.clone().or_else(|| part.index.map(|index| format!("{index:.0}"))).unwrap_or_default();
    let mut spans = vec![Span::raw(format!("   {} ", pad(&format!("MIG {name}"), name_width)))];
    if let Some(parts) = &part.memory {
        spans.extend(stacked(parts, bar_width));
        spans.push(Span::raw(format!(" {}", memory(parts, false).unwrap_or_default())));
    }
    Line::from(spans)
}

pub(super) fn details(state: &State, chosen: &str) -> Vec<Line<'static>> {
    let Some(gpu) = state.picture.gpus.iter().find(|gpu| key(gpu).as_deref() == Some(chosen)) else {
        return Vec::new();
    };
    let text = |value: Option<f64>, unit: &str| value.map(|value| format!("{} {unit}", number(value)));
    let of = |value: Option<f64>, limit: Option<f64>, unit: &str| {
        let limit = text(limit, unit).map_or_else(String::new, |limit| format!(" of {limit}"));
        text(value, unit).map(|value| value + &limit)
    };
    let mut lines: Vec<_> = [
        fact("GPU", Some(format!("{chosen} {}", gpu.name.clone().unwrap_or_default()))),
        fact("id", gpu.uuid.clone()),
        fact("health", gpu.health.clone()),
        fact("reason", gpu.reason.clone()),
        fact("what to do", gpu.remedy.clone()),
        fact("load", text(gpu.utilisation, "%")),
        fact("memory", gpu.memory.as_ref().and_then(|part| memory(part, false))),
        fact("temperature", of(gpu.temperature_c, gpu.temperature_limit_c, "°C")),
        fact("power", of(gpu.power_w, gpu.power_limit_w, "W")),
        fact("clock", of(gpu.clock_mhz, gpu.clock_max_mhz, "MHz")),
        fact("fan", text(gpu.fan_percent, "%")),
        fact("throttled", gpu.throttled.clone()),
        fact("memory errors", text(gpu.ecc_errors, "")),
        fact("workers", Some(gpu.workers.join(", "))),
    ]
    .into_iter()
    .flatten()
    .collect();
    lines.extend(gpu.mig.iter().map(|part| instance(part, 12, 20)));
    lines
}
