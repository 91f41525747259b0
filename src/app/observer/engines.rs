//! The engines, as last probed.
//! In: an engine. Out: its entry for the page and for the metrics.

use crate::dashboard::view::connectors::{Connector, LeftOut, NAMES};
use crate::dashboard::view::{in_ms, now_ms};
use crate::runner::breaker::{Part, Shown, State};
use crate::runner::engine::Engine;
use crate::telemetry::metrics::EngineSeen;
use connectors::contract::Health;
use std::collections::BTreeMap;
use std::time::Instant;

/// For the metrics.
pub(super) fn seen(engine: &Engine) -> EngineSeen {
    let (shown, is_healthy) = (engine.snapshot(), engine.is_healthy());
    let (open, rest): (Vec<_>, Vec<_>) = shown.iter().partition(|shown| matches!(shown.state, State::Open { .. }));
    let on_trial = rest.iter().filter(|shown| shown.state == State::Trial);
    EngineSeen {
        label: engine.label.clone(),
        is_healthy,
        why: if is_healthy { String::new() } else { why(engine, &shown) },
        queue: engine.probe_with(|probe| probe.queue_remaining),
        on_trial: on_trial.map(|shown| shown.part.word()).collect(),
        left_out: open.iter().map(|shown| shown.part.word()).collect(),
    }
}

/// Of what is left out or on trial, by kind of part: failures in a row, and until when it is left out at least.
pub(super) fn left_out_by_kind(engine: &Engine) -> BTreeMap<&'static str, (u32, Option<i64>)> {
    let mut kinds: BTreeMap<_, (u32, Option<i64>)> = BTreeMap::new();
    for part in engine.snapshot().iter().filter_map(left_out) {
        let (failures, until) = kinds.entry(part.kind).or_default();
        (*failures, *until) = (part.failures.max(*failures), part.until.max(*until));
    }
    kinds
}

fn why(engine: &Engine, shown: &[Shown]) -> String {
    let open = shown.iter().filter(|shown| matches!(shown.state, State::Open { .. }));
    let resting = open.into_iter().find(|shown| matches!(shown.part, Part::Whole | Part::Runs));
    match (&engine.probe_with(|probe| probe.health.clone()), engine.fence().and_then(|fence| fence.fenced()), resting) {
        (Health::Unhealthy(why), ..) => why.clone(),
        (Health::Healthy, Some(fenced), _) => format!("its GPU may not work: {}", fenced.reason),
        (Health::Healthy, None, Some(resting)) => format!("left out for a while: {}", resting.why),
        (Health::Healthy, None, None) => String::new(),
    }
}

/// For the page.
pub(super) fn connector(engine: &Engine) -> Connector {
    let (probe, shown) = (engine.latest(), engine.snapshot());
    let why = why(engine, &shown);
    let first = |names: &Vec<String>| names.iter().take(NAMES).cloned().collect();
    Connector {
        label: engine.label.clone(),
        connector: engine.connector.name().to_owned(),
        services: engine.connector.services().to_vec(),
        healthy: engine.is_healthy(),
        why: (!why.is_empty()).then_some(why),
        version: probe.version,
        queue_remaining: probe.queue_remaining,
        runs: engine.runs(),
        models: probe.models.iter().map(|(folder, names)| (folder.clone(), names.len())).collect(),
        model_names: probe.models.iter().map(|(folder, names)| (folder.clone(), first(names))).collect(),
        left_out: shown.iter().filter_map(left_out).collect(),
        probed: engine.probed(),
    }
}

fn left_out(shown: &Shown) -> Option<LeftOut> {
    let (state, until) = match shown.state {
        State::Closed => return None,
        State::Open { until } => ("open", Some(until)),
        State::Trial => ("trial", None),
    };
    // To the second: the clocks that this is told by drift against each other.
    let epoch = |until: Instant| {
        let left = in_ms(until.saturating_duration_since(Instant::now()));
        now_ms().saturating_add_unsigned(left) / 1000 * 1000
    };
    Some(LeftOut {
        part: shown.part.describe(),
        kind: shown.part.word(),
        state,
        until: until.map(epoch),
        failures: shown.failures,
        why: shown.why.clone(),
        remedy: shown.part.remedy(),
    })
}
