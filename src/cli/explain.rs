//! `explain`: why a job waits.
//! In: its id. Out: how it stands, what it needs, and for each worker whether it fits, why not, and what else holds it up.

use super::render::{plain, remedy};
use super::session::{Session, redis_failed};
use super::{Chosen, Exit, Failed};
use crate::capabilities::{Capabilities, Fit, fit, fit_job, needs};
use crate::protocol::class::{Class, Unreadable};
use crate::protocol::ids::is_legal_job_id;
use crate::queue::client::{self, Standing, WorkerLine};
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The job's id
    job: String,
    /// JSON for programs
    #[arg(long)]
    json: bool,
}

type Fields = BTreeMap<String, String>;

/// What is to be said of one worker.
struct Verdict {
    worker: String,
    fits: bool,
    reasons: Vec<String>,
    codes: Vec<&'static str>,
}

pub(super) async fn run(chosen: &Chosen, args: Args) -> Result<Exit, Failed> {
    let id = &args.job;
    if !is_legal_job_id(id) {
        return Err(Failed::usage("a job id is 1 to 128 letters, digits, `_` or `-`"));
    }
    let session = Session::open(chosen).await?;
    let (link, space) = (&session.link, &session.space);
    let job = client::job(link, space, id).await.map_err(|error| redis_failed(&error))?;
    let Some(job) = job else {
        return Err(Failed::new(Exit::Failed, format!("there is no job {id}")));
    };
    let field = |name: &str| job.get(name).map(String::as_str).unwrap_or_default();
    if field("status") != "pending" {
        let state = state(&job);
        if args.json {
            say!("{}", json!({"job_id": id, "status": field("status"), "state": state}));
        } else {
            say!("{}", plain(&state));
        }
        return Ok(Exit::Done);
    }
    let standing = client::standing(link, space, id, field("class")).await.map_err(|error| redis_failed(&error))?;
    let workers = client::workers(link, space).await.map_err(|error| redis_failed(&error))?;
    let verdicts: Vec<Verdict> =
        workers.iter().filter(|worker| worker.alive).map(|worker| judge(worker, &job, &standing)).collect();
    let state = waits(&job, &standing, &verdicts);
    let needs = standing.definition.as_deref().and_then(|text| Class::parse(text).ok()).map(|class| needs(&class));
    let needs = needs.unwrap_or_default();
    if args.json {
        let workers: Vec<Value> = verdicts
            .iter()
            .map(|one| json!({"worker": one.worker, "fits": one.fits, "reasons": one.reasons, "codes": one.codes}))
            .collect();
        say!("{}", json!({"job_id": id, "status": "pending", "state": state, "needs": needs, "workers": workers}));
        return Ok(Exit::Done);
    }
    say!("{}", plain(&state));
    let service = Some(field("service_required")).filter(|service| !service.is_empty());
    let asked: Vec<String> = service.map(|service| format!("the service {service}")).into_iter().chain(needs).collect();
    if !asked.is_empty() {
        say!("it needs {}", plain(&asked.join(", ")));
    }
    for Verdict { worker, fits, reasons, .. } in verdicts {
        say!("\n{} {}", plain(&worker), if fits { "fits" } else { "does not fit" });
        for reason in reasons {
            say!("  {}", plain(&reason));
        }
    }
    Ok(Exit::Done)
}

/// A job that does not wait.
fn state(job: &Fields) -> String {
    let field = |name: &str| job.get(name).map(String::as_str).unwrap_or_default();
    let told = match field("error") {
        "" => String::new(),
        error => format!(": {error}"),
    };
    match field("status") {
        "in_progress" | "assigned" | "claimed" => {
            let progress = Some(field("progress")).filter(|progress| !progress.is_empty());
            let progress = progress.map_or_else(String::new, |percent| format!(", at {percent} %"));
            format!("it runs on {}{progress}", field("worker_id"))
        }
        status => {
            let remedy = remedy(field("failure_reason")).map_or_else(String::new, |remedy| format!("; {remedy}"));
            format!("it does not wait: it is {status}{told}{remedy}")
        }
    }
}

/// A job that waits, in a sentence.
fn waits(job: &Fields, standing: &Standing, verdicts: &[Verdict]) -> String {
    if let Some(due) = standing.due_ms.filter(|due| *due > standing.now_ms) {
        let seconds = (due - standing.now_ms).div_ceil(1000);
        let why = job.get("error").filter(|error| !error.is_empty());
        let why = why.map_or_else(String::new, |error| format!(", since its last attempt failed: {error}"));
        return format!("it waits for its time, {seconds} s from now{why}");
    }
    let fitting = verdicts.iter().filter(|one| one.fits).count();
    let free = verdicts.iter().filter(|one| one.fits && one.codes.is_empty()).count();
    match (verdicts.len(), fitting, free) {
        (0, ..) => "it waits, and no worker lives: start one with `gpu-worker run`".to_owned(),
        (all, 0, _) => format!("it waits for a worker that fits: none of the {all} that live does"),
        (_, _, 0) => format!("it waits for its turn: {fitting} fit, and none of them is free"),
        (_, _, free) => {
            format!("it waits for its turn: {free} that fit are free, so others come before it for a moment")
        }
    }
}

fn judge(worker: &WorkerLine, job: &Fields, standing: &Standing) -> Verdict {
    let (mut reasons, mut codes) = (Vec::new(), Vec::new());
    let of_worker = |name: &str| worker.record.get(name).map(String::as_str).unwrap_or_default();
    let told: Value = serde_json::from_str(of_worker("capabilities")).unwrap_or_default();
    let offer = Capabilities::told(told);
    let answer = judged(job, standing, &offer);
    let fits = matches!(answer, Ok(Fit::Fits | Fit::NeedsFields(_)));
    match answer {
        Ok(Fit::Fits | Fit::NeedsFields(_)) => {}
        Ok(Fit::Misfit(against)) => {
            for misfit in against {
                let unsure = if offer.is_sure(&misfit) { "" } else { " (as far as it advertises: it may have more)" };
                reasons.push(format!("{misfit}{unsure}"));
                codes.push(misfit.code());
            }
        }
        Err(unreadable) => {
            reasons.push(unreadable.to_string());
            codes.push("unreadable");
        }
    }
    if let Some(seconds) = avoids(job, &worker.id, standing.now_ms) {
        reasons.push(if has_failed_on(job, &worker.id) {
            format!("an attempt failed here: others have the first turn for {seconds} s more")
        } else {
            format!("is passed over for {seconds} s more: others have what the job needs")
        });
        codes.push("avoided");
    }
    if let desired @ ("paused" | "draining") = of_worker("desired") {
        reasons.push(format!("is {desired}: claims nothing until `gpu-worker resume {}`", worker.id));
        codes.push("paused");
    }
    if let Some(other) = Some(of_worker("current_job_id")).filter(|other| !other.is_empty()) {
        reasons.push(format!("is at work on {other}"));
        codes.push("busy");
    } else if let Some(engine) = Some(of_worker("no_place_in")).filter(|engine| !engine.is_empty()) {
        reasons.push(format!("its engine has no place free now: {engine}"));
        codes.push("engine_full");
    }
    Verdict { worker: worker.id.clone(), fits, reasons, codes }
}

/// By the class that the queue has sorted it into; by its fields where that does not tell enough.
fn judged(job: &Fields, standing: &Standing, offer: &Capabilities) -> Result<Fit, Unreadable> {
    let by_fields = || fit_job(|name| job.get(name).map(String::as_str), offer);
    match &standing.definition {
        None => by_fields(),
        Some(definition) => match fit(&Class::parse(definition)?, offer) {
            Fit::NeedsFields(_) => by_fields(),
            answer => Ok(answer),
        },
    }
}

/// For how many seconds it is not for this worker: `WORKER … TIME` stands in the job.
fn avoids(job: &Fields, worker: &str, now_ms: u64) -> Option<u64> {
    let (whom, till) = job.get("avoid")?.rsplit_once(' ')?;
    let till: u64 = till.parse().ok()?;
    (till > now_ms && whom.split(' ').any(|one| one == worker)).then(|| (till - now_ms).div_ceil(1000))
}

/// Whether it has had the job and failed: others are passed over with it, since they lack the same.
fn has_failed_on(job: &Fields, worker: &str) -> bool {
    let field = |name: &str| job.get(name).map(String::as_str).unwrap_or_default();
    field("last_failed_worker") == worker || field("refused_by").split(' ').any(|one| one == worker)
}
