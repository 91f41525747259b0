//! What the reference's hub, monitor and machine aggregator listen for: worker and machine messages, exact in name and field.
//! In: what a worker is and does. Out: published hints; nobody's progress depends on them.

use super::link::Link;
use crate::protocol::Space;
use redis::RedisResult;
use serde_json::{Value, json};

/// A worker as the reference's readers see it.
#[derive(Debug, Clone)]
pub struct Announced {
    /// The worker's id.
    pub worker: String,
    /// Its machine.
    pub machine: String,
    /// Its capabilities in the reference's shape.
    pub capabilities: Value,
    /// This program's version.
    pub version: String,
}

/// `idle` or `busy`, with the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doing<'a> {
    /// The job at work.
    pub job: Option<&'a str>,
}

impl Doing<'_> {
    /// The word for it.
    pub fn status(&self) -> &'static str {
        if self.job.is_some() { "busy" } else { "idle" }
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// ISO-8601 UTC with milliseconds.
pub fn now_iso() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

impl Announced {
    fn member(&self, name: &str) -> Value {
        self.capabilities.get(name).cloned().unwrap_or(Value::Null)
    }

    fn machine_event(&self, kind: &str, data: Value) -> (String, Value) {
        (
            format!("machine:{}:worker:{}", self.machine, self.worker),
            json!({"worker_id": self.worker, "event_type": kind, "data": data, "timestamp": now_ms()}),
        )
    }

    fn status_data(&self, doing: Doing<'_>, connected: bool, status: &str) -> Value {
        json!({
            "status": status, "is_connected": connected, "current_job_id": doing.job, "last_activity": now_ms(),
            "version": self.version, "build_timestamp": self.version, "build_info": "gpu-worker",
            "capabilities": self.member("services"),
        })
    }

    fn own_status(&self, status: &str) -> (String, Value) {
        (
            format!("worker_status:{}", self.worker),
            json!({
                "worker_id": self.worker, "machine_id": self.machine, "status": status,
                "capabilities": {
                    "services": self.member("services"), "hardware": self.member("hardware"),
                    "performance": self.member("performance"), "customer_access": self.member("customer_access"),
                    "models": self.member("models"),
                },
                "timestamp": now_iso(), "last_heartbeat": now_ms(), "connected_at": now_iso(),
            }),
        )
    }

    /// What is said when a worker has registered.
    pub fn connected(&self) -> Vec<(String, Value)> {
        let hardware = self.member("hardware");
        let model_types: Vec<String> =
            self.member("models").as_object().map(|models| models.keys().cloned().collect()).unwrap_or_default();
        let connected = json!({
            "type": "worker_connected", "worker_id": self.worker, "machine_id": self.machine,
            "worker_data": {
                "id": self.worker, "status": "idle",
                "capabilities": {
                    "gpu_count": 1, "gpu_memory_gb": hardware["gpu_memory_gb"], "gpu_model": hardware["gpu_model"],
                    "cpu_cores": hardware["cpu_cores"], "ram_gb": hardware["ram_gb"], "services": self.member("services"),
                    "models": model_types, "customer_access": self.member("customer_access")["isolation"],
                    "max_concurrent_jobs": 1,
                },
                "connected_at": now_iso(), "jobs_completed": 0, "jobs_failed": 0,
            },
            "timestamp": now_ms(),
        });
        vec![
            ("worker:events".to_owned(), connected),
            self.own_status("idle"),
            self.machine_event("worker_status_changed", self.status_data(Doing { job: None }, true, "idle")),
        ]
    }

    /// What is said when a worker has left. No machine status may follow: it would bring the worker back.
    pub fn disconnected(&self) -> Vec<(String, Value)> {
        vec![
            (
                "machine:startup:events".to_owned(),
                json!({"event_type": "shutdown", "machine_id": self.machine, "worker_id": self.worker,
                       "reason": "Worker shutdown", "timestamp": now_ms()}),
            ),
            (
                "worker:events".to_owned(),
                json!({"type": "worker_disconnected", "worker_id": self.worker, "machine_id": self.machine,
                       "timestamp": now_ms()}),
            ),
            self.own_status("offline"),
            self.machine_event("worker_status_changed", self.status_data(Doing { job: None }, false, "offline")),
        ]
    }

    /// What is said when a worker begins or ends a job.
    pub fn changed(&self, before: Doing<'_>, now: Doing<'_>) -> Vec<(String, Value)> {
        vec![
            (
                "worker_status".to_owned(),
                json!({"worker_id": self.worker, "old_status": before.status(), "new_status": now.status(),
                       "current_job_id": now.job, "timestamp": now_ms()}),
            ),
            self.machine_event("worker_status_changed", self.status_data(now, true, now.status())),
        ]
    }

    /// Its part of a machine status: `structure.workers`, `structure.services`, `status.workers`, `status.services`.
    fn machine_parts(&self, gpu: u32, doing: Doing<'_>) -> [(String, Value); 2] {
        let services = self.member("services");
        let structure = json!({
            "worker_id": self.worker, "pm2_name": self.worker, "gpu_id": gpu, "worker_type": "gpu-worker",
            "resource_binding": "gpu", "services": services, "connectors": services,
        });
        let mut status = self.status_data(doing, true, doing.status());
        if let Some(object) = status.as_object_mut() {
            object.remove("capabilities");
        }
        [(self.worker.clone(), structure), (self.worker.clone(), status)]
    }
}

/// The whole machine, as `machine:status:{machine}` tells it.
pub fn machine_status(
    machine: &str,
    update_type: &str,
    uptime_ms: u64,
    gpu_count: usize,
    workers: &[(Announced, u32, Option<String>)],
) -> (String, Value) {
    let mut structure_workers = serde_json::Map::new();
    let mut structure_services = serde_json::Map::new();
    let mut status_workers = serde_json::Map::new();
    let mut status_services = serde_json::Map::new();
    let mut capabilities = std::collections::BTreeSet::new();
    for (worker, gpu, job) in workers {
        let [structure, status] = worker.machine_parts(*gpu, Doing { job: job.as_deref() });
        structure_workers.insert(structure.0, structure.1);
        status_workers.insert(status.0, status.1);
        for service in worker.member("services").as_array().into_iter().flatten().filter_map(Value::as_str) {
            let name = format!("{}.{service}", worker.worker);
            capabilities.insert(service.to_owned());
            structure_services.insert(
                name.clone(),
                json!({"worker_id": worker.worker, "service_type": service, "pm2_name": worker.worker,
                       "status": "active", "health": "healthy"}),
            );
            status_services.insert(
                name,
                json!({"worker_id": worker.worker, "service_type": service, "status": "active",
                       "health": "healthy", "pm2_status": "online"}),
            );
        }
    }
    (
        format!("machine:status:{machine}"),
        json!({
            "machine_id": machine, "timestamp": now_ms(), "update_type": update_type,
            "structure": {"gpu_count": gpu_count, "capabilities": capabilities, "workers": structure_workers,
                          "services": structure_services},
            "status": {"machine": {"phase": "ready", "uptime_ms": uptime_ms}, "workers": status_workers,
                       "services": status_services},
            "health_url": "",
        }),
    )
}

/// Publishes messages in order.
pub async fn publish(link: &Link, space: &Space, messages: &[(String, Value)]) -> RedisResult<()> {
    if messages.is_empty() || !space.reference_events {
        return Ok(());
    }
    link.call(async |con| {
        let mut pipe = redis::pipe();
        for (channel, message) in messages {
            pipe.cmd("PUBLISH").arg(space.key(channel)).arg(message.to_string()).ignore();
        }
        pipe.exec_async(con).await
    })
    .await
}
