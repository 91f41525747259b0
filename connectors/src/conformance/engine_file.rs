//! An engine that is a file, as the suite's subject: the payloads that it gives, and how it looks from outside.
//! In: a loaded engine. Out: jobs; what the server says when it is polled, what the process reports and writes.

use super::{Aftermath, Subject, job};
use crate::contract::{Connector, Job};
use crate::failure::FailureType;
use crate::files::One;
use crate::process::Payloads;
use async_trait::async_trait;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// An engine that is a file, with the payloads that it gives for the suite.
pub struct EngineFile {
    one: One,
    service: String,
    payloads: Payloads,
    kind: FailureType,
    /// Servers that know an idempotency key would answer a second suite with the first one's results.
    salt: String,
}

impl EngineFile {
    /// `service` is one that it offers.
    pub fn new(one: One, service: String, payloads: Payloads) -> Self {
        let kind = FailureType::from_word(&payloads.failure_type).unwrap_or(FailureType::SystemError);
        Self { one, service, payloads, kind, salt: uuid::Uuid::new_v4().simple().to_string() }
    }

    fn job(&self, id: &str, payload: &Value) -> Job {
        job(&format!("{id}-{}", self.salt), &self.service, payload.clone())
    }
}

#[async_trait]
impl Subject for EngineFile {
    fn connector(&self) -> Arc<dyn Connector> {
        self.one.connector()
    }

    fn ok_job(&self, id: &str) -> Job {
        self.job(id, &self.payloads.ok)
    }

    fn other_job(&self, id: &str) -> Job {
        self.job(id, self.payloads.other.as_ref().unwrap_or(&self.payloads.ok))
    }

    fn slow_job(&self, id: &str) -> Job {
        self.job(id, &self.payloads.slow)
    }

    fn failing_job(&self, id: &str) -> (Job, FailureType) {
        (self.job(id, &self.payloads.failing), self.kind)
    }

    async fn engine_works_on(&self, service_job_id: &str) -> bool {
        match &self.one {
            One::Process(process) => process.is_at_work(service_job_id),
            One::Rest(rest) => rest.is_under_way(service_job_id).await,
        }
    }

    async fn aftermath(&self, service_job_id: &str, watch: Duration) -> Aftermath {
        match &self.one {
            One::Process(process) => process.aftermath(service_job_id, watch).await,
            One::Rest(rest) => rest.aftermath(service_job_id, watch).await,
        }
    }

    fn oddities(&self) -> Vec<String> {
        match &self.one {
            One::Process(process) => process.oddities(),
            One::Rest(_) => Vec::new(),
        }
    }

    async fn engine_jobs_taken(&self) -> u64 {
        self.one.jobs_taken()
    }
}
