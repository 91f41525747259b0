//! Every number that a page can be given has its row in the metrics' list of them.
//! In: a source that knows everything. Out: nothing; this is a test. Structs are written out in full: a new field must be added here.

use super::connections::Limits;
use super::live::Live;
use super::source::Source;
use super::view::connectors::{Connector, LeftOut};
use super::view::gpus::{Gpu, Memory, Mig};
use super::view::queue::{Class, Misfit, Queue};
use super::view::series::{Point, Ring};
use super::view::slots::{Job, Slot};
use super::view::system::System;
use super::view::worker::{Redis, Sibling, Worker};
use crate::telemetry::Notice;
use crate::telemetry::history::{self, Made};
use crate::telemetry::metrics::{LoopSeen, NUMBERS, Observed};
use crate::telemetry::recent::Line;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

struct Everything(Ring);

fn text() -> String {
    "x".to_owned()
}

fn memory() -> Memory {
    Memory { total_bytes: Some(1), used_bytes: Some(1), job_bytes: Some(1), other_bytes: Some(1) }
}

impl Source for Everything {
    fn observe(&self) -> Observed {
        Observed::default()
    }

    fn loops(&self) -> Vec<LoopSeen> {
        vec![LoopSeen { name: text(), age: Duration::ZERO, hangs: false }]
    }

    fn worker(&self) -> Worker {
        Worker {
            id: text(),
            host: Some(text()),
            machine_id: text(),
            ids: vec![text()],
            state: "x",
            sentence: text(),
            since: 1,
            started: 1,
            heartbeat: Some(1),
            redis: Redis { connected: true, since: 1, round_trip_ms: Some(1.0), address: Some(text()) },
            desired: "x",
            siblings: vec![Sibling { url: text(), worker: text() }],
        }
    }

    fn slots(&self) -> Vec<Slot> {
        let job = Job {
            id: text(),
            service: Some(text()),
            attempt: 1,
            claimed: 1,
            started: Some(1),
            progress: Some(1.0),
            message: Some(text()),
            node: Some(text()),
            step: Some((1, 1)),
            stage: "x",
            eta_ms: Some(1),
            eta_from: Some("x"),
            eta_from_runs: Some(1),
            preview: Some(text()),
            cancelling: true,
            customer: Some(text()),
        };
        let engine = Some(text());
        vec![Slot { id: text(), gpu: Some(1), engine, state: "x", services: vec![text()], job: Some(job) }]
    }

    fn gpus(&self) -> Vec<Gpu> {
        vec![Gpu {
            index: 1,
            uuid: Some(text()),
            name: Some(text()),
            vendor: Some("x"),
            driver: Some(text()),
            health: "x",
            reason: Some(text()),
            remedy: Some(text()),
            utilisation: Some(1),
            memory: memory(),
            temperature_c: Some(1),
            temperature_limit_c: Some(1),
            power_w: Some(1.0),
            power_limit_w: Some(1.0),
            clock_mhz: Some(1),
            clock_max_mhz: Some(1),
            fan_percent: Some(1),
            throttled: Some("x"),
            ecc_errors: Some(1),
            can_free: true,
            mig: vec![Mig { index: 1, name: Some(text()), memory: memory() }],
            workers: vec![text()],
        }]
    }

    fn series(&self) -> Option<&Ring> {
        Some(&self.0)
    }

    fn queue(&self) -> Queue {
        let class = Class {
            id: text(),
            service: Some(text()),
            count: 1,
            oldest: Some(1),
            priority_best: Some(1),
            needs: vec![text()],
            fits: vec![text()],
            misfits: vec![Misfit { worker: text(), reasons: vec![text()], codes: vec!["x"] }],
        };
        Queue {
            read: Some(1),
            waiting: Some(1),
            delayed: Some(1),
            unindexed: Some(1),
            fitting: Some(1),
            truncated: true,
            classes: vec![class],
        }
    }

    fn connectors(&self) -> Vec<Connector> {
        let left_out =
            LeftOut { part: text(), kind: "x", state: "open", until: Some(1), failures: 1, why: text(), remedy: "x" };
        vec![Connector {
            label: text(),
            connector: text(),
            services: vec![text()],
            healthy: true,
            why: Some(text()),
            version: Some(text()),
            queue_remaining: Some(1),
            runs: 1,
            models: [(text(), 1)].into(),
            model_names: [(text(), vec![text()])].into(),
            left_out: vec![left_out],
            probed: Some(1),
        }]
    }

    fn system(&self) -> System {
        System {
            cpu_percent: Some(1.0),
            cpu_cores: Some(1),
            load: Some([1.0; 3]),
            memory_total_bytes: Some(1),
            memory_used_bytes: Some(1),
            disk_total_bytes: Some(1),
            disk_free_bytes: Some(1),
            agent_rss_bytes: Some(1),
            agent_cpu_percent: Some(1.0),
            host: Some(text()),
            os: Some(text()),
            kernel: Some(text()),
            gpu_driver: Some(text()),
            pid: 1,
        }
    }
}

/// Where numbers and yes-or-no values stand; whatever is null can hide one.
fn numbers(value: &Value, path: &str, found: &mut BTreeSet<String>, nulls: &mut BTreeSet<String>) {
    match value {
        Value::Number(_) | Value::Bool(_) => drop(found.insert(path.to_owned())),
        Value::Null => drop(nulls.insert(path.to_owned())),
        Value::String(_) => {}
        Value::Array(entries) => entries.iter().for_each(|entry| numbers(entry, &format!("{path}[]"), found, nulls)),
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            let name = if ["connectors[].models", "log[].fields"].contains(&path) { "*" } else { name };
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            numbers(value, &path, found, nulls);
        }),
    }
}

#[test]
fn every_number_that_a_page_can_be_given_is_in_the_list_of_who_tells_it() {
    let ring = Ring::default();
    let point = Point {
        utilisation: Some(1.0),
        memory_mib: Some(1),
        memory_job_mib: Some(1),
        temperature_c: Some(1),
        power_w: Some(1.0),
        clock_mhz: Some(1),
    };
    ring.add(&[(1, point)]);
    let (worker, job, service, took) = ("w", "j", "s", Duration::from_secs(100));
    let made = [Made { name: text(), kind: text(), media_type: "image/png".into(), bytes: 1, file: Some("x".into()) }];
    let ends = history::of_process();
    ends.hear(&Notice::Claimed { worker, job, attempt: 1 });
    ends.hear(&Notice::Completed { worker, job, service, outputs: 1, bytes: 1, took, made: &made });
    ends.hear(&Notice::Failed {
        worker,
        job,
        service,
        kind: "k",
        reason: "r",
        message: "m",
        remedy: "",
        retry_in: Some(took),
        took,
    });
    let live = Live::new(Arc::new(Everything(ring)), Limits::default(), CancellationToken::new());
    let picture = live.snapshot(false, |_| false).1.unwrap();
    let (mut found, mut nulls) = (BTreeSet::new(), BTreeSet::new());
    numbers(&serde_json::from_slice(&picture).unwrap(), "", &mut found, &mut nulls);
    // No log is kept in this test: a line by itself.
    let line = Line { number: 1, at: 1, level: "info", text: text(), fields: [("x", text())].into() };
    numbers(&serde_json::json!([line]), "log", &mut found, &mut nulls);
    // Null in one entry and told in another; of two words; what comes after a minute; a word.
    let hidden = nulls.iter().filter(|path| !found.contains(*path) && !NO_NUMBER.contains(&path.as_str()));
    assert_eq!(hidden.collect::<Vec<_>>(), Vec::<&String>::new(), "nothing is known of these");
    found.insert("stats.per_hour".to_owned());
    let listed: BTreeSet<String> = NUMBERS.iter().map(|number| number.path.to_owned()).collect();
    let lost: Vec<_> = found.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&found).collect();
    assert!(lost.is_empty() && gone.is_empty(), "not listed (telemetry/metrics/shown.rs): {lost:?}; gone: {gone:?}");
    assert_eq!(listed.len(), NUMBERS.len(), "a number has two rows");
}

/// Null here, and objects and texts where they are not.
const NO_NUMBER: [&str; 3] = ["jobs.history[].failure", "jobs.history[].note", "stats.per_hour"];
