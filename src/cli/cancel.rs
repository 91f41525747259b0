//! `cancel`: stop a job.
//! In: its id. Out: what became of it.

use super::session::{Session, redis_failed};
use super::{Chosen, Exit, Failed};
use crate::protocol::ids::is_legal_job_id;
use crate::protocol::operate::Cancelled;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The job's id
    job: String,
    /// Why, for whoever reads its events
    #[arg(long, default_value = "cancelled by its owner")]
    reason: String,
    /// JSON for programs
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(chosen: &Chosen, args: Args) -> Result<Exit, Failed> {
    let id = &args.job;
    if !is_legal_job_id(id) {
        return Err(Failed::usage("a job id is 1 to 128 letters, digits, `_` or `-`"));
    }
    let session = Session::open(chosen).await?;
    let cancelled = session.link.call(async |con| session.space.cancel(con, id, &args.reason).await).await;
    let (state, text, exit) = match cancelled.map_err(|error| redis_failed(&error))? {
        Cancelled::Now => ("cancelled".to_owned(), "cancelled".to_owned(), Exit::Done),
        Cancelled::Requested { worker } => {
            ("cancel_requested".to_owned(), format!("{worker} has been asked to stop it"), Exit::Done)
        }
        Cancelled::Ended { state } => (state.clone(), format!("it has ended already: {state}"), Exit::Failed),
        Cancelled::Unknown => return Err(Failed::new(Exit::Failed, format!("there is no job {id}"))),
    };
    if args.json {
        say!("{}", serde_json::json!({"job_id": id, "status": state}));
    } else {
        say!("{text}");
    }
    Ok(exit)
}
