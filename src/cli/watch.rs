//! `watch`: follow a job to its end.
//! In: events of one job. Out: a progress bar on a terminal, lines elsewhere, JSON lines for programs.

use super::offer::Offer;
use super::render::Screen;
use super::session::{Session, redis_failed};
use super::{Chosen, Exit, Failed};
use crate::protocol::ids::is_legal_job_id;
use crate::queue::client::{self, Follower};
use crate::queue::link::is_passing;
use std::time::{Duration, Instant};

/// How long Redis may be away before the command gives up.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The job's id
    job: String,
    /// JSON lines for programs
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(chosen: &Chosen, args: Args) -> Result<Exit, Failed> {
    if !is_legal_job_id(&args.job) {
        return Err(Failed::usage("a job id is 1 to 128 letters, digits, `_` or `-`"));
    }
    let session = Session::open(chosen).await?;
    follow(&session, &args.job, args.json).await
}

/// Follows a job from its first event to its last.
pub(super) async fn follow(session: &Session, id: &str, json: bool) -> Result<Exit, Failed> {
    let mut follower = Follower::new(&session.space, id);
    let mut screen = Screen::new(json);
    let mut away_since: Option<Instant> = None;
    let mut offer = Offer::new(id);
    loop {
        offer.look(session, &mut screen).await;
        let heard = match follower.next(&session.link).await {
            // Quiet: has it ended without a word? The shared connection may have died where the follower's own lives.
            Ok(events) if events.is_empty() => match ended_silently(session, id, &mut screen).await {
                Err(Silent::Redis(error)) => Err(error),
                Err(Silent::Told(failed)) => return Err(failed),
                Ok(Some(exit)) => return Ok(exit),
                Ok(None) => Ok(events),
            },
            heard => heard,
        };
        match heard {
            Ok(events) => {
                away_since = None;
                for event in events {
                    screen.show(&event);
                    if let Some(state) = event.terminal() {
                        return Ok(exit_of(state));
                    }
                    // How it ends nobody will see here.
                    if super::out::is_unread() {
                        return Ok(Exit::Failed);
                    }
                }
            }
            Err(error) if is_passing(&error) => {
                let since = *away_since.get_or_insert_with(Instant::now);
                if since.elapsed() > PATIENCE {
                    return Err(redis_failed(&error));
                }
                screen.note("Redis is away; waiting for it");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            // Something else than an event log stands under its name: the job itself still tells how it ended.
            Err(error) => {
                return match ended_silently(session, id, &mut screen).await {
                    Ok(Some(exit)) => Ok(exit),
                    Err(Silent::Told(failed)) => Err(failed),
                    Ok(None) | Err(Silent::Redis(_)) => Err(redis_failed(&error)),
                };
            }
        }
    }
}

fn exit_of(state: &str) -> Exit {
    match state {
        "completed" => Exit::Done,
        "cancelled" => Exit::Cancelled,
        _ => Exit::Failed,
    }
}

/// Why it cannot be told how a job ended.
enum Silent {
    /// Redis did not say.
    Redis(redis::RedisError),
    /// There is nothing to tell.
    Told(Failed),
}

/// No events: the job may be unknown, or have ended so long ago that its log is gone.
async fn ended_silently(session: &Session, id: &str, screen: &mut Screen) -> Result<Option<Exit>, Silent> {
    let job = client::job(&session.link, &session.space, id).await;
    let Some(job) = job.map_err(Silent::Redis)? else {
        return Err(Silent::Told(Failed::new(Exit::Failed, format!("there is no job {id}"))));
    };
    let life = job.get("created_at").map(String::as_str).unwrap_or_default();
    let ended = job.get("final").and_then(|text| {
        let (state, rest) = text.split_once(' ')?;
        rest.ends_with(life).then(|| state.to_owned())
    });
    let status = job.get("status").cloned().unwrap_or_default();
    let ended = ended.or(matches!(status.as_str(), "completed" | "failed" | "cancelled").then_some(status));
    Ok(ended.map(|state| {
        screen.ended(id, &state, job.get("error").map(String::as_str));
        exit_of(&state)
    }))
}
