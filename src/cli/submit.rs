//! `submit`: hand in a job.
//! In: a job file or standard input. Out: the job's id, and with `--watch` its events.

use super::session::{Session, redis_failed};
use super::{Chosen, Exit, Failed, watch};
use crate::queue::client::{self, JobRequest, SubmitError};
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A job file, or a ComfyUI graph in API format; `-` reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The service that is to run it, over what the file says
    #[arg(long)]
    service: Option<String>,
    /// 0 to 1023, higher first
    #[arg(long)]
    priority: Option<u64>,
    /// An id of your choice; a job can be handed in once under it
    #[arg(long)]
    id: Option<String>,
    /// Follow the job to its end
    #[arg(long)]
    watch: bool,
    /// JSON lines for programs
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(chosen: &Chosen, args: Args) -> Result<Exit, Failed> {
    let config = chosen.load()?.config;
    let mut body = read_job(&args.file, config.jobs.max_payload_bytes)?;
    overrule(&mut body, &args)?;
    let mut request = JobRequest::from_json(&body).map_err(|error| explain(&error))?;
    if args.id.is_some() {
        request.id = args.id;
    }
    let session = Session::open(chosen).await?;
    let id = client::submit(&session.link, &session.space, &request, session.config.jobs.max_payload_bytes)
        .await
        .map_err(|error| explain(&error))?;
    if args.json {
        say!("{}", serde_json::json!({"job_id": id}));
    } else if args.watch {
        say!("job {id}");
    } else {
        say!("{id}");
    }
    if args.watch { watch::follow(&session, &id, args.json).await } else { Ok(Exit::Done) }
}

/// Reads and parses a job file.
pub(super) fn read_job(file: &Path, max_payload_bytes: u64) -> Result<Value, Failed> {
    let name = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
    // The envelope around the payload is small.
    let most = max_payload_bytes + 1024 * 1024;
    let mut text = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(most + 1).read_to_end(&mut text)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(most + 1).read_to_end(&mut text))
    };
    read.map_err(|error| Failed::usage(format!("{name}: {error}")))?;
    if text.len() as u64 > most {
        return Err(Failed::usage(format!("{name} is larger than a job may be ({most} bytes)")));
    }
    if text.trim_ascii().is_empty() {
        return Err(Failed::usage(format!(
            "{name} is empty; a job is a JSON object such as examples/simulation-job.json"
        )));
    }
    serde_json::from_slice(&text).map_err(|error| Failed::usage(format!("{name} is not JSON: {error}")))
}

fn overrule(body: &mut Value, args: &Args) -> Result<(), Failed> {
    if args.service.is_none() && args.priority.is_none() {
        return Ok(());
    }
    let looks_like_job = ["service_required", "service_type", "job_type", "type", "payload"];
    if !looks_like_job.iter().any(|name| body.get(name).is_some()) {
        // A bare payload: the flags make a job of it.
        let service = args.service.clone().unwrap_or_else(|| "comfyui".to_owned());
        let payload = if service == "comfyui" { serde_json::json!({"workflow": body}) } else { body.take() };
        *body = serde_json::json!({"service_required": service, "payload": payload});
    }
    let Some(object) = body.as_object_mut() else {
        return Err(Failed::usage("a job is a JSON object"));
    };
    if let Some(service) = &args.service {
        object.insert("service_required".to_owned(), Value::String(service.clone()));
    }
    if let Some(priority) = args.priority {
        object.insert("priority".to_owned(), priority.into());
    }
    Ok(())
}

/// What a person is told.
pub(super) fn explain(error: &SubmitError) -> Failed {
    match error {
        SubmitError::Invalid(message) => Failed::usage(message.clone()),
        SubmitError::Redis(error) => redis_failed(error),
        other => Failed::new(Exit::Failed, other.to_string()),
    }
}
