//! What was counted, how the machine is, and whether the loops come round.
//! In: the state. Out: a few lines of numbers, then a line a loop.

use super::{Row, fact, fit, pad};
use crate::cli::top::figures::{age, gib, memory_size, number, span};
use crate::cli::top::look::{BAD, BOLD, FAINT, GOOD, PLAIN};
use crate::cli::top::picture::{ByService, Loop};
use crate::cli::top::state::State;
use ratatui::text::{Line, Span};

pub(super) fn title(state: &State) -> String {
    let hanging = state.picture.loops.iter().filter(|one| one.hanging).count();
    match hanging {
        0 => String::new(),
        1 => "1 loop hangs".to_owned(),
        more => format!("{more} loops hang"),
    }
}

pub(super) fn rows(state: &State, width: usize) -> Vec<Row> {
    let picture = &state.picture;
    let stats = &picture.stats;
    let mut rows = vec![Row { key: Some("stats".to_owned()), lines: vec![fit(counts(state), width)] }];
    for service in stats.by_service.iter().filter(|_| stats.by_service.len() > 1) {
        rows.push(Row { key: Some(format!("service {}", service.service)), lines: vec![of_service(service, width)] });
    }
    let reasons: Vec<String> = stats
        .by_reason
        .iter()
        .map(|row| {
            let reason = row.reason.clone().or_else(|| row.r#type.clone()).unwrap_or_default().replace('_', " ");
            format!("{:.0} × {reason}", row.count.unwrap_or_default())
        })
        .collect();
    if !reasons.is_empty() {
        let parts = vec![Span::styled("failures", BOLD), Span::raw(reasons.join(", "))];
        rows.push(Row { key: Some("reasons".to_owned()), lines: vec![fit(parts, width)] });
    }
    rows.push(Row { key: Some("system".to_owned()), lines: vec![fit(machine(state), width)] });
    // Hanging ones first: the panel may show a few alone.
    let mut loops: Vec<&Loop> = picture.loops.iter().collect();
    loops.sort_by_key(|one| !one.hanging);
    rows.extend(loops.into_iter().map(|one| Row {
        key: Some(format!("loop {}", one.name)),
        lines: vec![fit(
            vec![
                Span::raw(pad(&one.name, 18)),
                if one.hanging { Span::styled("HANGS", BAD) } else { Span::raw("") },
                Span::styled(one.doing.clone().unwrap_or_default(), FAINT),
            ],
            width,
        )],
    }));
    rows
}

fn counts(state: &State) -> Vec<Span<'static>> {
    let stats = &state.picture.stats;
    let told = |value: Option<f64>, what: &str| value.map_or_else(String::new, |value| format!("{value:.0} {what}"));
    let failed = stats.failed.unwrap_or_default() > 0.0;
    let some = |value: Option<f64>| value.filter(|value| *value > 0.0);
    if some(stats.completed).or(some(stats.failed)).is_none() {
        return vec![Span::styled("no job has ended here yet", FAINT)];
    }
    vec![
        Span::styled(told(stats.completed, "completed"), GOOD),
        Span::styled(told(stats.failed, "failed"), if failed { BAD } else { PLAIN }),
        Span::raw(stats.success_rate.map_or_else(String::new, |rate| format!("{} % well", number(rate * 100.0)))),
        Span::raw(stats.per_hour.map_or_else(String::new, |rate| format!("{} an hour", number(rate)))),
        Span::raw(stats.p50_ms.map_or_else(String::new, |ms| format!("half within {}", span(ms)))),
        Span::raw(stats.p95_ms.map_or_else(String::new, |ms| format!("95 % within {}", span(ms)))),
        Span::raw(told(some(stats.cancelled), "cancelled")),
        Span::raw(told(some(stats.retried), "retried")),
    ]
}

fn of_service(service: &ByService, width: usize) -> Line<'static> {
    let told = |value: Option<f64>, what: &str| value.map_or_else(String::new, |value| format!("{value:.0} {what}"));
    let parts = vec![
        Span::raw(pad(&service.service, 18)),
        Span::raw(told(service.completed, "completed")),
        Span::raw(told(service.failed.filter(|failed| *failed > 0.0), "failed")),
        Span::raw(service.p50_ms.map_or_else(String::new, |ms| format!("half within {}", span(ms)))),
        Span::raw(service.p95_ms.map_or_else(String::new, |ms| format!("95 % within {}", span(ms)))),
    ];
    fit(parts, width)
}

fn machine(state: &State) -> Vec<Span<'static>> {
    let system = &state.picture.system;
    let of = |used: Option<f64>, total: Option<f64>| Some(format!("{} of {} GiB", gib(used?), gib(total?)));
    let words =
        |text: Option<String>, name: &str| Span::raw(text.map_or_else(String::new, |text| format!("{name} {text}")));
    let load = system.load.first().map(|load| number(*load));
    let mut parts = vec![
        words(system.cpu_percent.map(|percent| format!("{percent:.0} %")), "cpu"),
        words(load, "load"),
        words(of(system.memory_used_bytes, system.memory_total_bytes), "memory"),
        words(system.disk_free_bytes.map(|bytes| format!("{} GiB", gib(bytes))), "disk free"),
    ];
    let agent = [
        system.agent_rss_bytes.map(memory_size),
        system.agent_cpu_percent.map(|percent| format!("{} %", number(percent))),
    ];
    let agent: Vec<String> = agent.into_iter().flatten().collect();
    parts.push(words(Some(agent.join(", ")).filter(|text| !text.is_empty()), "agent"));
    parts
}

pub(super) fn details(state: &State, chosen: &str) -> Vec<Line<'static>> {
    let (picture, system) = (&state.picture, &state.picture.system);
    if let Some(one) = chosen.strip_prefix("loop ").and_then(|name| picture.loops.iter().find(|one| one.name == name)) {
        let facts = [
            fact("loop", Some(one.name.clone())),
            fact("doing", one.doing.clone()),
            fact("came round", one.ticked.map(|at| format!("{} ago", age(state.now - at)))),
            fact("hanging", one.hanging.then(|| "it should have come round since".to_owned())),
        ];
        return facts.into_iter().flatten().collect();
    }
    let plain = |spans: Vec<Span<'static>>| {
        let texts = spans.into_iter().map(|span| span.content.into_owned()).filter(|text| !text.is_empty());
        Some(texts.collect::<Vec<_>>().join(", "))
    };
    let mut lines: Vec<_> = [
        fact("jobs", plain(counts(state))),
        fact("since", picture.stats.since.map(|at| format!("{} ago", age(state.now - at)))),
        fact("host", system.host.clone()),
        fact("system", system.os.clone()),
        fact("machine", plain(machine(state))),
        fact("version", Some(picture.version.clone())),
        fact("machine id", Some(picture.worker.machine_id.clone())),
    ]
    .into_iter()
    .flatten()
    .collect();
    lines.extend(picture.stats.by_service.iter().map(|service| of_service(service, 100)));
    lines
}
