//! `connectors try`: one job on an engine, without a queue.
//! In: an engine's file, a job. Out: its progress and result on the screen; its files in a folder.

use super::{healthy, load};
use crate::cli::render::plain;
use crate::cli::{Chosen, Exit, Failed, submit};
use crate::input::{Inputs, Limits};
use crate::output::Outputs;
use async_trait::async_trait;
use connectors::contract::{Job, Ledger, Lost, Progress, ProgressSink, RunContext, RunError, TokenSink};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

struct Told;

impl ProgressSink for Told {
    fn report(&self, progress: Progress) {
        println!("{:>5.1} %  {}", progress.fraction * 100.0, plain(&progress.message.unwrap_or_default()));
    }
}

/// Shows a text as it is written.
struct Written;

impl TokenSink for Written {
    fn token(&self, text: &str, kind: &'static str) {
        println!("{kind:>9}  {}", plain(text));
    }
}

struct NoQueue;

#[async_trait]
impl Ledger for NoQueue {
    async fn record_service_job(&self, _: &str) -> Result<(), Lost> {
        Ok(())
    }
}

pub(super) async fn run(chosen: &Chosen, file: &Path, job: &Path, outputs: PathBuf) -> Result<Exit, Failed> {
    let config = chosen.load()?.config;
    let body = submit::read_job(job, config.jobs.max_payload_bytes)?;
    let limits = Limits::new(config.inputs.max_bytes, config.inputs.timeout);
    let (_, loaded, scratch) = load(chosen, file).await?;
    let is_job = body.get("service_required").is_some() && body.get("payload").is_some();
    let service = body.get("service_required").and_then(Value::as_str).filter(|_| is_job);
    let service = service.map(str::to_owned).or_else(|| loaded.services.first().cloned()).unwrap_or_default();
    if !loaded.services.contains(&service) {
        return Err(Failed::usage(format!("it offers {}, not {service}", loaded.services.join(", "))));
    }
    let payload = if is_job { body["payload"].clone() } else { body };
    let one = healthy(&loaded).await?;
    let id = format!("try-{}", uuid::Uuid::new_v4().simple());
    let job = Job { id, attempt: 1, service, payload, ctx: Value::Null };
    let outputs = Outputs::in_folder(&outputs).of(&job).map_err(|failure| Failed::usage(failure.message))?;
    let cancel = CancellationToken::new();
    let ctx = RunContext {
        cancel: cancel.clone(),
        progress: Arc::new(Told),
        ledger: Arc::new(NoQueue),
        inputs: Arc::new(Inputs::new(
            limits,
            config.inputs.allowed,
            &scratch.path().join("inputs"),
            &config.output_dir,
        )),
        outputs,
        tokens: Arc::new(Written),
    };
    let connector = one.connector();
    let running = connector.run(&job, &ctx);
    tokio::pin!(running);
    let ended = tokio::select! {
        ended = &mut running => ended,
        _ = tokio::signal::ctrl_c() => {
            cancel.cancel();
            running.await
        }
    };
    match ended {
        Ok(outcome) => {
            println!("{:#}", json!({ "outputs": outcome.outputs, "data": outcome.data, "timings": outcome.timings }));
            Ok(Exit::Done)
        }
        Err(RunError::Cancelled) => Ok(Exit::Cancelled),
        Err(RunError::Lost(lost)) => Err(Failed::new(Exit::Failed, lost.to_string())),
        Err(RunError::Failed(failure)) => {
            let kind = format!("{}/{}", failure.kind(), failure.reason);
            Err(Failed::new(Exit::Failed, format!("{kind}: {}", plain(&failure.message))))
        }
    }
}
