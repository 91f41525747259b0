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
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// There is no other.
const ATTEMPT: u64 = 1;

struct Told;

impl ProgressSink for Told {
    fn report(&self, progress: Progress) {
        say!("{:>5.1} %  {}", progress.fraction * 100.0, plain(&progress.message.unwrap_or_default()));
    }
}

/// Shows a text as it is written.
struct Written;

impl TokenSink for Written {
    fn token(&self, text: &str, kind: &'static str) {
        say!("{kind:>9}  {}", plain(text));
    }
}

struct NoQueue;

#[async_trait]
impl Ledger for NoQueue {
    async fn record_service_job(&self, _: &str) -> Result<(), Lost> {
        Ok(())
    }
}

pub(super) async fn run(chosen: &Chosen, file: &Path, job: &Path, outputs: Option<PathBuf>) -> Result<Exit, Failed> {
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
    let id = format!("try-{:08x}", uuid::Uuid::new_v4().as_fields().0);
    let job = Job { id, attempt: ATTEMPT, service, payload, ctx: Value::Null };
    let place = Place::new(outputs, &job.id)?;
    let outputs = Outputs::in_folder(&place.root).of(&job).map_err(|failure| Failed::usage(failure.message))?;
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
    let kept = place.tidy();
    match ended {
        Ok(outcome) => {
            say!("{:#}", json!({ "outputs": outcome.outputs, "data": outcome.data, "timings": outcome.timings }));
            match kept {
                Some(folder) => remark!("its files are in {}", folder.display()),
                None => remark!("it made no files"),
            }
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

/// The folder for the files of one job.
struct Place {
    root: PathBuf,
    /// Of this job alone.
    of_job: PathBuf,
}

impl Place {
    /// Without a folder of the caller's a new one, which nobody else can look into.
    fn new(chosen: Option<PathBuf>, job: &str) -> Result<Self, Failed> {
        let root = match chosen {
            Some(root) => root,
            None => {
                let root = std::env::temp_dir().join(format!("gpu-worker-{job}-outputs"));
                std::fs::DirBuilder::new().mode(0o700).create(&root)?;
                root
            }
        };
        Ok(Self { of_job: root.join(job).join(ATTEMPT.to_string()), root })
    }

    /// Removes what is empty; answers where the files are, if there are any.
    fn tidy(self) -> Option<PathBuf> {
        // Only empty folders can be removed in this way.
        for folder in [Some(&*self.of_job), self.of_job.parent(), Some(&self.root)].into_iter().flatten() {
            let _ = std::fs::remove_dir(folder);
        }
        self.of_job.exists().then(|| std::path::absolute(&self.of_job).unwrap_or(self.of_job))
    }
}
