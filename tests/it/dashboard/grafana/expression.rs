//! An expression of Prometheus's language, as far as names go.
//! In: its text. Out: the metrics, labels and words in it; what of that no agent tells.

use gpu_worker::telemetry::metrics::{Kind, Row, STATES, TABLE};
use std::collections::BTreeSet;

/// Of Prometheus itself.
const FOREIGN: [&str; 1] = ["up"];

/// Words of the language.
const WORDS: [&str; 28] = [
    "sum",
    "min",
    "max",
    "count",
    "topk",
    "rate",
    "increase",
    "delta",
    "histogram_quantile",
    "time",
    "by",
    "on",
    "ignoring",
    "group_left",
    "and",
    "or",
    "unless",
    "bool",
    "label_values",
    "avg",
    "without",
    "group_right",
    "abs",
    "clamp_min",
    "avg_over_time",
    "max_over_time",
    "changes",
    "resets",
];

/// Labels with few values, and these.
const VALUES: [(&str, &[&str]); 6] = [
    ("desired", &["running", "paused", "draining"]),
    ("end", &["completed", "failed", "final", "retried", "cancelled"]),
    ("part", &["engine", "runs", "model", "memory", "class"]),
    ("why", &["thermal", "power"]),
    ("percentile", &["50", "95"]),
    ("period", &["1m", "5m", "15m"]),
];

pub fn row(metric: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| match row.kind {
        Kind::Histogram(_) => {
            ["_bucket", "_sum", "_count"].iter().any(|end| metric.strip_suffix(end) == Some(row.name))
        }
        _ => row.sample() == metric,
    })
}

/// What stands in an expression.
#[derive(Default, Debug)]
pub struct Read {
    pub metrics: BTreeSet<String>,
    /// Metric, label, value; the value of a comparison for equality alone.
    selected: Vec<(String, String, Option<String>)>,
    /// In `by (…)` and the like.
    grouped: BTreeSet<String>,
    unknown: Vec<String>,
}

/// Names, selectors and groups; what the language allows beyond that is Prometheus's to say.
pub fn read(expression: &str) -> Read {
    let (mut found, mut rest, mut last) = (Read::default(), expression, String::new());
    while let Some(first) = rest.chars().next() {
        let is_in_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        match first {
            '"' => rest = rest[1..].split_once('"').expect("a string has an end").1,
            '[' => rest = rest.split_once(']').expect("a range has an end").1,
            '{' => {
                let (matchers, after) = rest[1..].split_once('}').expect("a selector has an end");
                for matcher in matchers.split(',') {
                    let (label, value) = matcher.split_once(['=', '!']).expect("label and value");
                    let is = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
                    let words = value.strip_prefix("~\"").and_then(|value| value.strip_suffix('"'));
                    let words: Vec<_> =
                        is.into_iter().chain(words.into_iter().flat_map(|all| all.split('|'))).collect();
                    for word in words.iter().filter(|word| !word.starts_with('$') && !word.contains(['*', '\\'])) {
                        found.selected.push((last.clone(), label.to_owned(), Some((*word).to_owned())));
                    }
                    found.selected.push((last.clone(), label.to_owned(), None));
                }
                rest = after;
            }
            '(' if ["by", "on", "ignoring", "group_left", "without"].contains(&last.as_str()) => {
                let (labels, after) = rest[1..].split_once(')').expect("a group has an end");
                found
                    .grouped
                    .extend(labels.split(',').map(str::trim).filter(|label| !label.is_empty()).map(str::to_owned));
                (rest, last) = (after, String::new());
            }
            c if c.is_ascii_alphabetic() => {
                let (name, after) = rest.split_at(rest.find(|c| !is_in_name(c)).unwrap_or(rest.len()));
                if name.starts_with("gpu_worker_") {
                    found.metrics.insert(name.to_owned());
                } else if !WORDS.contains(&name) && !FOREIGN.contains(&name) {
                    found.unknown.push(name.to_owned());
                }
                (rest, last) = (after, name.to_owned());
            }
            // Numbers with what follows them, and signs.
            c if c.is_ascii_digit() => rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.'),
            c => rest = &rest[c.len_utf8()..],
        }
    }
    found
}

/// Labels that series of these metrics have when they have been scraped.
fn labels(metrics: &BTreeSet<String>) -> BTreeSet<&str> {
    let of_rows = metrics.iter().filter_map(|metric| row(metric)).flat_map(|row| row.labels.iter().copied());
    of_rows
        .chain(["job", "instance"])
        .chain(metrics.iter().any(|name| name.ends_with("_bucket")).then_some("le"))
        .collect()
}

/// What is wrong with it; `shown`: labels that a legend or a text names.
pub fn faults(expression: &str, shown: &[String]) -> Vec<String> {
    let found = read(expression);
    let mut faults: Vec<String> = found.unknown.iter().map(|name| format!("{name}?")).collect();
    faults.extend(found.metrics.iter().filter(|name| row(name).is_none()).map(|name| format!("{name} is no metric")));
    let known = labels(&found.metrics);
    let named = found.grouped.iter().chain(shown);
    faults
        .extend(named.filter(|label| !known.contains(label.as_str())).map(|label| format!("no {label} in {known:?}")));
    for (metric, label, value) in &found.selected {
        if value.is_none()
            && !FOREIGN.contains(&metric.as_str())
            && !labels(&[metric.clone()].into()).contains(label.as_str())
        {
            faults.push(format!("{metric} has no label {label}"));
        }
        let states = [&STATES[..], &["busy", "drained", "waiting_for_engine", "engine_full"]].concat();
        let values = match label.as_str() {
            "state" => Some(&states[..]),
            label => VALUES.iter().find(|(name, _)| *name == label).map(|(_, values)| *values),
        };
        if let (Some(values), Some(value)) = (values, value)
            && !values.contains(&value.as_str())
        {
            faults.push(format!("{label} is never {value}"));
        }
    }
    faults.into_iter().map(|fault| format!("{fault}\n    in {expression}")).collect()
}

#[test]
fn an_expression_that_no_agent_answers_is_found() {
    for (bad, fault) in [
        ("gpu_worker_gpu_temperature", "is no metric"),
        ("gpu_worker_jobs_completed", "is no metric"),
        ("gpu_worker_job_duration_seconds", "is no metric"),
        ("sum(rate(gpu_worker_jobs_completed_total{gpu=\"0\"}[5m]))", "has no label gpu"),
        ("sum by (engine) (gpu_worker_gpu_power_watts)", "no engine in"),
        ("gpu_worker_slots{state=\"bussy\"}", "state is never bussy"),
        ("gpu_worker_state{state=~\"idle|workin\"} == 1", "state is never workin"),
        ("average(gpu_worker_gpu_power_watts)", "average?"),
    ] {
        let found = faults(bad, &[]);
        assert!(found.len() == 1 && found[0].contains(fault), "{bad}: {found:?}");
    }
    let good =
        "histogram_quantile(0.5, sum by (le) (rate(gpu_worker_job_duration_seconds_bucket{end=\"final\"}[$x]))) > 1e3";
    assert_eq!(faults(good, &["le".to_owned()]), Vec::<String>::new());
    assert_eq!(faults("gpu_worker_gpu_power_watts", &["worker".to_owned()]).len(), 1, "a legend");
}
