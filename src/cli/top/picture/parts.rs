//! The sections of an agent's picture, field by field as its dashboard writes them.
//! In: JSON. Out: structs whose every field may be missing; times and sizes as numbers of JSON.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Points of a chart: 15 minutes at 2 s.
pub(in crate::cli::top) const POINTS: usize = 450;

/// Structs whose every field may be missing.
macro_rules! sections {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $kind:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(default)]
        pub(in crate::cli::top) struct $name { $(pub $field: $kind,)* }
    )*};
}

sections! {
    /// What it is doing, in words.
    Worker {
        machine_id: String, ids: Vec<String>, state: String, sentence: String, since: Option<f64>,
        started: Option<f64>, heartbeat: Option<f64>, redis: Redis, desired: Option<String>,
    }
    /// Its way to the queue.
    Redis { connected: Option<bool>, since: Option<f64>, round_trip_ms: Option<f64>, address: Option<String>, }
    /// A card.
    Gpu {
        index: Option<f64>, name: Option<String>, health: Option<String>, reason: Option<String>,
        remedy: Option<String>, utilisation: Option<f64>, memory: Option<Memory>, temperature_c: Option<f64>,
        temperature_limit_c: Option<f64>, power_w: Option<f64>, power_limit_w: Option<f64>, clock_mhz: Option<f64>,
        clock_max_mhz: Option<f64>, fan_percent: Option<f64>, throttled: Option<String>, ecc_errors: Option<f64>,
        mig: Vec<Mig>, workers: Vec<String>, uuid: Option<String>,
    }
    /// Memory of a card or of a part of it.
    Memory { total_bytes: Option<f64>, used_bytes: Option<f64>, job_bytes: Option<f64>, other_bytes: Option<f64>, }
    /// A part of a card.
    Mig { index: Option<f64>, name: Option<String>, memory: Option<Memory>, }
    /// The charts.
    Series { step_ms: Option<f64>, end: Option<f64>, gpus: Vec<Chart>, }
    /// The charts of one card, oldest point first.
    Chart { index: Option<f64>, utilisation: Vec<Option<f64>>, }
    /// One more point of each chart.
    Point { end: Option<f64>, gpus: Vec<Reading>, }
    /// One card's part of a point.
    Reading { index: Option<f64>, utilisation: Option<f64>, }
    /// A place where one job at a time runs.
    Slot { id: String, gpu: Option<f64>, engine: Option<String>, state: String, job: Option<Job>, }
    /// A job that runs.
    Job {
        id: String, service: String, attempt: Option<f64>, claimed: Option<f64>, started: Option<f64>,
        progress: Option<f64>, message: Option<String>, node: Option<Value>, step: Option<Vec<f64>>,
        stage: Option<String>, eta_ms: Option<f64>, eta_from_runs: Option<f64>, cancelling: bool,
    }
    /// What waits.
    Queue {
        waiting: Option<f64>, delayed: Option<f64>, unindexed: Option<f64>, truncated: bool, classes: Vec<Class>,
    }
    /// Jobs that are alike.
    Class {
        id: String, service: String, count: Option<f64>, oldest: Option<f64>, priority_best: Option<f64>,
        needs: Vec<String>, fits: Vec<String>, misfits: Vec<Misfit>,
    }
    /// Why a class is not for a worker.
    Misfit { worker: String, reasons: Vec<String>, }
    /// What ended.
    Jobs { history: Vec<Ended>, kept: Option<f64>, }
    /// A job that ended, or left this worker.
    Ended {
        id: String, service: String, worker: Option<String>, attempt: Option<f64>, state: String, claimed: Option<f64>,
        ended: Option<f64>, duration_ms: Option<f64>, failure: Option<Failure>, outputs: Vec<Output>,
        note: Option<String>, outputs_count: Option<f64>,
    }
    /// Why it failed.
    Failure {
        r#type: Option<String>, reason: Option<String>, message: Option<String>, remedy: Option<String>,
        retry_at: Option<f64>,
    }
    /// What it made.
    Output { name: Option<String>, kind: Option<String>, media_type: Option<String>, bytes: Option<f64>, }
    /// A way to an engine.
    Connector {
        label: String, connector: String, services: Vec<String>, healthy: Option<bool>, why: Option<String>,
        version: Option<String>, queue_remaining: Option<f64>, models: BTreeMap<String, f64>, left_out: Vec<LeftOut>,
        probed: Option<f64>,
    }
    /// What an engine is not offered for, for now.
    LeftOut { part: String, state: Option<String>, until: Option<f64>, why: Option<String>, remedy: Option<String>, }
    /// A loop of the agent.
    Loop { name: String, doing: Option<String>, ticked: Option<f64>, hanging: bool, }
    /// What was counted.
    Stats {
        since: Option<f64>, completed: Option<f64>, failed: Option<f64>, cancelled: Option<f64>,
        retried: Option<f64>, success_rate: Option<f64>, per_hour: Option<f64>, p50_ms: Option<f64>, p95_ms: Option<f64>,
        by_service: Vec<ByService>, by_reason: Vec<ByReason>,
    }
    /// Counted of one service.
    ByService {
        service: String, completed: Option<f64>, failed: Option<f64>, p50_ms: Option<f64>, p95_ms: Option<f64>,
    }
    /// Counted of one kind of failure.
    ByReason { r#type: Option<String>, reason: Option<String>, count: Option<f64>, }
    /// The machine and the agent on it.
    System {
        cpu_percent: Option<f64>, load: Vec<f64>, memory_total_bytes: Option<f64>, memory_used_bytes: Option<f64>,
        disk_total_bytes: Option<f64>, disk_free_bytes: Option<f64>, agent_rss_bytes: Option<f64>,
        agent_cpu_percent: Option<f64>, host: Option<String>, os: Option<String>,
    }
    /// A line of the log.
    LogLine { at: Option<f64>, level: String, text: String, fields: BTreeMap<String, Value>, }
}

impl Series {
    /// Takes one more point of each card.
    pub fn push(&mut self, point: Point) {
        self.end = point.end.or(self.end);
        for reading in point.gpus {
            let at = self.gpus.iter().position(|chart| chart.index == reading.index).unwrap_or_else(|| {
                self.gpus.push(Chart { index: reading.index, ..Chart::default() });
                self.gpus.len() - 1
            });
            if let Some(chart) = self.gpus.get_mut(at) {
                chart.utilisation.push(reading.utilisation);
                let over = chart.utilisation.len().saturating_sub(POINTS);
                chart.utilisation.drain(..over);
            }
        }
    }
}
