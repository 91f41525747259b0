//! The dashboard for Grafana and the alerts for Prometheus, held against the table of metrics.
//! In: packaging/grafana. Out: each name, label and word in an expression that no agent tells; metrics that nobody looks at.

mod expression;

use expression::{faults, read, row};
use gpu_worker::telemetry::metrics::{Row, TABLE};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Told, and on purpose in no panel and no alert.
const UNUSED: [&str; 0] = [];

fn file(name: &str) -> String {
    std::fs::read_to_string(format!("{}/packaging/grafana/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// `{{label}}` in a text.
fn named(text: &str) -> Vec<String> {
    let parts = text.split("{{").skip(1).filter_map(|part| part.split_once("}}"));
    parts.map(|(name, _)| name.trim().trim_start_matches("$labels.").to_owned()).collect()
}

fn panels() -> (Value, Vec<Value>) {
    let dashboard: Value = serde_json::from_str(&file("gpu-worker.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().clone();
    (dashboard, panels)
}

/// Expression and the labels that are shown beside it.
fn queries() -> Vec<(String, Vec<String>)> {
    let mut queries = Vec::new();
    for panel in panels().1 {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let of = |name: &str| target[name].as_str().unwrap().to_owned();
            queries.push((of("expr"), named(&of("legendFormat"))));
        }
    }
    queries
}

/// Expression and what its texts name.
fn alerts() -> Vec<(String, Vec<String>)> {
    let text = file("alerts.yaml");
    let rules: Vec<&str> = text.split("- alert: ").skip(1).collect();
    let rule = |rule: &&str| {
        let line = |name: &str| rule.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::to_owned);
        let expression = line("expr: ").expect("an expression in one line");
        assert!(line("summary: ").is_some() && line("description: ").is_some() && line("labels: ").is_some(), "{rule}");
        (expression, named(rule))
    };
    let alerts: Vec<_> = rules.iter().map(rule).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    alerts
}

#[test]
fn every_expression_names_what_agents_tell() {
    let faults: Vec<String> =
        queries().iter().chain(&alerts()).flat_map(|(expression, shown)| faults(expression, shown)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let (dashboard, _) = panels();
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if let Some(query) = variable["definition"].as_str() {
            assert_eq!(read(query).metrics.iter().filter(|name| row(name).is_none()).count(), 0, "{query}");
        }
    }
}

#[test]
fn every_metric_is_looked_at_by_a_panel_or_an_alert() {
    let looked: BTreeSet<String> =
        queries().iter().chain(&alerts()).flat_map(|(expression, _)| read(expression).metrics).collect();
    let is_looked_at = |one: &&Row| looked.iter().any(|name| row(name).is_some_and(|known| known.name == one.name));
    let unused: Vec<&str> = TABLE.iter().filter(|one| !is_looked_at(one)).map(|one| one.name).collect();
    assert_eq!(unused, UNUSED);
}

#[test]
fn panels_are_of_grafana_itself_have_units_and_words_and_do_not_overlap() {
    let (dashboard, panels) = panels();
    assert_eq!((&dashboard["id"], &dashboard["uid"]), (&Value::Null, &Value::from("gpu-worker")));
    let names: Vec<_> =
        dashboard["templating"]["list"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["datasource", "job", "instance"]);
    let own = ["row", "stat", "timeseries", "table", "bargauge", "state-timeline"];
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeMap::new());
    for panel in &panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        assert!(own.contains(&panel["type"].as_str().unwrap()), "{title}");
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(x < 24, "{title} is too wide");
                assert_eq!(taken.insert((x, y), title), None, "{title}");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(
            panel["description"].as_str().unwrap().len() > 10 && panel["fieldConfig"]["defaults"]["unit"].is_string()
        );
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            let chosen = ["job=~\"$job\"", "instance=~\"$instance\""];
            let expression = target["expr"].as_str().unwrap();
            let metrics = expression.matches("gpu_worker_").count();
            assert_eq!(chosen.map(|part| expression.matches(part).count()), [metrics; 2], "{title}: {expression}");
            let legend = target["legendFormat"].as_str().unwrap();
            assert!(panel["type"] == "table" || !legend.is_empty(), "{title}");
        }
    }
    assert!(panels.len() > 40);
}
