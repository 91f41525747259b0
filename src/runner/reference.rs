//! A job's end as the reference's readers expect it: its JobResult and its attestations.
//! In: our result or failure and the job's small fields. Out: JSON in their shape.

use super::fetch::Fetched;
use super::shared::Shared;
use crate::protocol::outcome::Attestation;
use crate::queue::announce::{now_iso, now_ms};
use connectors::contract::Outcome;
use connectors::failure::Failure;
use serde_json::{Value, json};

/// A run, as far as its records tell of it.
pub struct Record<'a> {
    /// What all slots share.
    pub shared: &'a Shared,
    /// The worker.
    pub worker: &'a str,
    /// The job.
    pub fetched: &'a Fetched,
    /// How long it ran, in ms.
    pub took_ms: u64,
}

/// `{success, data: {image_url, mime_type, ...}, output_files, ...}`.
pub fn job_result(record: &Record<'_>, outcome: &Outcome, result: &Value, service_job_id: Option<&str>) -> Value {
    let first = outcome.outputs.first();
    let mut data = result["data"].clone();
    if let (Some(output), Some(object)) = (first, data.as_object_mut()) {
        object.insert("image_url".to_owned(), json!(output.url));
        object.insert("mime_type".to_owned(), json!(output.media_type));
        object.insert("content_type".to_owned(), json!(output.media_type));
    }
    let files: Vec<Value> = outcome
        .outputs
        .iter()
        .map(|output| {
            json!({"filename": output.name, "path": output.url, "type": output.kind, "size_bytes": output.bytes,
                   "mime_type": output.media_type, "metadata": {"sha256": output.sha256}})
        })
        .collect();
    json!({
        "success": true, "data": data, "processing_time_ms": record.took_ms, "output_files": files,
        "service_metadata": {"service_type": record.fetched.job.service, "service_job_id": service_job_id},
    })
}

impl Record<'_> {
    fn field(&self, name: &str) -> Option<&str> {
        self.fetched.fields.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// Which attempt this was by the reference's count, from 0; the workflow's own count goes first.
    fn retry_count(&self) -> u64 {
        let ctx = &self.fetched.job.ctx;
        let counted = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
        counted(&ctx["workflow_context"]["retry_attempt"])
            .or_else(|| counted(&self.fetched.job.payload["ctx"]["retry_count"]))
            .or_else(|| counted(&self.fetched.job.payload["ctx"]["retryCount"]))
            .or_else(|| self.field("retry_count")?.parse().ok())
            .unwrap_or(0)
    }

    fn step_key(&self) -> String {
        let id = &self.fetched.job.id;
        let step = id.strip_prefix("step-").unwrap_or(id);
        match self.field("workflow_id") {
            Some(workflow) => format!("job-id:{workflow}:step-id:{step}"),
            None => format!("step-id:{step}"),
        }
    }

    /// The attestation of a success.
    pub fn completion(&self, job_result: &Value) -> Attestation {
        let attempt = self.retry_count() + 1;
        let json = json!({
            "job_id": self.fetched.job.id, "worker_id": self.worker, "status": "completed", "completed_at": now_iso(),
            "result": job_result.to_string(), "raw_service_output": job_result["data"].to_string(),
            "raw_service_request": null, "retry_count": self.retry_count(), "workflow_id": self.field("workflow_id"),
            "current_step": self.field("current_step"), "total_steps": self.field("total_steps"),
            "machine_id": self.shared.machine, "worker_version": self.shared.version,
            "attestation_created_at": now_ms(),
        });
        (format!("worker:completion:{}:attempt:{attempt}", self.step_key()), json.to_string())
    }

    /// Where older readers look for a final failure.
    pub fn final_copy(&self) -> String {
        format!("worker:completion:{}", self.step_key())
    }

    /// The attestations of a failure: if it is tried again, if it is final, and both for the workflow.
    pub fn failure(&self, failure: &Failure) -> [Attestation; 4] {
        let retries = self.retry_count() + 1;
        let (step, workflow) = (self.step_key(), self.field("workflow_id"));
        let record = |last: bool| {
            json!({
                "attestation_type": if last { "failure_permanent" } else { "failure_retry" },
                "job_id": self.fetched.job.id, "worker_id": self.worker,
                "status": if last { "failed_permanent" } else { "failed_retrying" }, "failed_at": now_iso(),
                "error_message": failure.message, "failure_type": failure.kind().as_str(),
                "failure_reason": failure.reason.as_str(), "failure_description": failure.message,
                "raw_service_output": null, "raw_service_request": null, "retry_count": retries, "will_retry": !last,
                "max_retries": self.field("max_retries").and_then(|text| text.parse::<u64>().ok()).unwrap_or(3),
                "workflow_id": workflow, "current_step": self.field("current_step"),
                "total_steps": self.field("total_steps"),
                "workflow_impact": workflow.map(|_| if last { "workflow_terminated" } else { "workflow_interrupted" }),
                "machine_id": self.shared.machine, "worker_version": self.shared.version,
                "attestation_created_at": now_ms(),
            })
        };
        let of_workflow = |last: bool| match workflow {
            None => Attestation::default(),
            Some(workflow) => {
                let mut copy = record(last);
                copy["workflow_attestation_type"] = json!("job_failure");
                copy["failed_job_id"] = json!(self.fetched.job.id);
                copy["workflow_status"] = copy["status"].clone();
                let suffix = if last { "permanent".to_owned() } else { format!("attempt:{retries}") };
                (format!("workflow:failure:{workflow}:{suffix}"), copy.to_string())
            }
        };
        [
            (format!("worker:failure:{step}:attempt:{retries}"), record(false).to_string()),
            (format!("worker:failure:{step}:permanent"), record(true).to_string()),
            of_workflow(false),
            of_workflow(true),
        ]
    }
}
