//! `jobs`: list jobs, show one, replay one.
//! In: nothing, or an id. Out: a table, fields, or JSON.

use super::render::{plain, remedy, table};
use super::session::{Session, redis_failed};
use super::{Chosen, Exit, Failed};
use crate::protocol::event::Event;
use crate::protocol::ids::is_legal_job_id;
use crate::protocol::submit::Replayed;
use crate::queue::client;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// JSON lines for programs
    #[arg(long, global = true)]
    json: bool,
    /// At most this many of each kind
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show one job: its fields and events
    Show {
        /// The job's id
        job: String,
    },
    /// Give a failed or cancelled job a new life
    Replay {
        /// The job's id
        job: String,
    },
}

pub(super) async fn run(chosen: &Chosen, args: Args) -> Result<Exit, Failed> {
    if let Some(Action::Show { job } | Action::Replay { job }) = &args.action
        && !is_legal_job_id(job)
    {
        return Err(Failed::usage("a job id is 1 to 128 letters, digits, `_` or `-`"));
    }
    let session = Session::open(chosen).await?;
    match &args.action {
        None => list(&session, &args).await,
        Some(Action::Show { job }) => show(&session, job, args.json).await,
        Some(Action::Replay { job }) => replay(&session, job, args.json).await,
    }
}

async fn list(session: &Session, args: &Args) -> Result<Exit, Failed> {
    let jobs = client::jobs(&session.link, &session.space, args.limit.max(1)).await.map_err(|e| redis_failed(&e))?;
    if args.json {
        for job in &jobs {
            say!("{}", serde_json::json!(job));
        }
        return Ok(Exit::Done);
    }
    if jobs.is_empty() {
        say!("no jobs");
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<String>> = jobs
        .iter()
        .map(|job| {
            let progress = if job.progress.is_empty() { String::new() } else { format!("{} %", job.progress) };
            let error: String = plain(&job.error).chars().take(60).collect();
            let reason = &job.failure_reason;
            [&job.id, &job.status, &job.service, &job.priority, &job.attempt, &progress, &job.worker, reason, &error]
                .map(|text| plain(text))
                .to_vec()
        })
        .collect();
    put!(
        "{}",
        table(&["JOB", "STATUS", "SERVICE", "PRIORITY", "ATTEMPT", "PROGRESS", "WORKER", "REASON", "ERROR"], &rows)
    );
    Ok(Exit::Done)
}

async fn show(session: &Session, id: &str, json: bool) -> Result<Exit, Failed> {
    let job = client::job(&session.link, &session.space, id).await.map_err(|error| redis_failed(&error))?;
    let Some(job) = job else {
        return Err(Failed::new(Exit::Failed, format!("there is no job {id}")));
    };
    let events = client::events(&session.link, &session.space, id).await.map_err(|error| redis_failed(&error))?;
    if json {
        let events: Vec<_> = events.iter().map(Event::to_json).collect();
        say!("{}", serde_json::json!({"job": job, "events": events}));
        return Ok(Exit::Done);
    }
    for (name, value) in &job {
        say!("{name:<20} {}", plain(value));
    }
    if let Some(remedy) = job.get("failure_reason").and_then(|reason| remedy(reason)) {
        say!("{:<20} {remedy}", "what to do");
    }
    let rows: Vec<Vec<String>> = events
        .iter()
        .map(|event| {
            ["timestamp", "type", "worker_id", "progress", "message"]
                .map(|name| plain(event.get(name).unwrap_or_default()))
                .to_vec()
        })
        .collect();
    say!("");
    put!("{}", table(&["TIME", "EVENT", "WORKER", "PROGRESS", "MESSAGE"], &rows));
    Ok(Exit::Done)
}

async fn replay(session: &Session, id: &str, json: bool) -> Result<Exit, Failed> {
    let replayed = session.link.call(async |con| session.space.replay(con, id).await).await;
    match replayed.map_err(|error| redis_failed(&error))? {
        Replayed::Waiting { created_at } if json => {
            say!("{}", serde_json::json!({"job_id": id, "status": "pending", "created_at": created_at}));
        }
        Replayed::Waiting { .. } => say!("{id} waits again"),
        Replayed::NotEnded { status } => {
            let why = format!("only failed and cancelled jobs can be replayed; {id} is {status}");
            return Err(Failed::new(Exit::Failed, why));
        }
        Replayed::Unknown => return Err(Failed::new(Exit::Failed, format!("there is no job {id}"))),
    }
    Ok(Exit::Done)
}
