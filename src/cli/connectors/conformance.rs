//! `connectors conformance`: an engine that is a file, held to the contract that every connector keeps.
//! In: an engine's file with payloads whose course is known. Out: a verdict a line.

use super::{healthy, load};
use crate::cli::render::plain;
use crate::cli::{Chosen, Exit, Failed};
use async_trait::async_trait;
use connectors::conformance::{self, Bounds, Subject};
use connectors::contract::{Connector, Job};
use connectors::failure::FailureType;
use connectors::files::One;
use connectors::process::Payloads;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// An engine that is a file, with the payloads that it gives for the suite.
struct Candidate {
    one: One,
    service: String,
    payloads: Payloads,
    kind: FailureType,
    /// Servers that know an idempotency key would answer a second suite with the first one's results.
    salt: String,
}

impl Candidate {
    fn job(&self, id: &str, payload: &Value) -> Job {
        conformance::job(&format!("{id}-{}", self.salt), &self.service, payload.clone())
    }
}

#[async_trait]
impl Subject for Candidate {
    fn connector(&self) -> Arc<dyn Connector> {
        self.one.connector()
    }

    fn ok_job(&self, id: &str) -> Job {
        self.job(id, &self.payloads.ok)
    }

    fn slow_job(&self, id: &str) -> Job {
        self.job(id, &self.payloads.slow)
    }

    fn failing_job(&self, id: &str) -> (Job, FailureType) {
        (self.job(id, &self.payloads.failing), self.kind)
    }

    async fn engine_works_on(&self, service_job_id: &str) -> bool {
        self.one.is_at_work(service_job_id)
    }

    async fn engine_jobs_taken(&self) -> u64 {
        self.one.jobs_taken()
    }
}

pub(super) async fn run(chosen: &Chosen, path: &Path) -> Result<Exit, Failed> {
    let (_, loaded, _scratch) = load(chosen, path).await?;
    let Some(payloads) = loaded.conformance.clone() else {
        return Err(Failed::usage(format!(
            "{}: the suite needs payloads whose course is known: `conformance` with ok, slow, failing and failure_type, \
             see connectors/README.md",
            path.display()
        )));
    };
    let one = healthy(&loaded).await?;
    let kind = FailureType::from_word(&payloads.failure_type).unwrap_or(FailureType::SystemError);
    let service = loaded.services.first().cloned().unwrap_or_default();
    let salt = uuid::Uuid::new_v4().simple().to_string();
    let verdicts = conformance::run(&Candidate { one, service, payloads, kind, salt }, &Bounds::default()).await;
    for verdict in &verdicts {
        match &verdict.fault {
            None => println!("ok      {}", verdict.check),
            Some(fault) => println!("FAULT   {}\n        {}", verdict.check, plain(fault)),
        }
    }
    let bad = verdicts.iter().filter(|verdict| verdict.fault.is_some()).count();
    println!("\n{} of {} checks passed", verdicts.len() - bad, verdicts.len());
    Ok(if bad == 0 { Exit::Done } else { Exit::Failed })
}
