//! `pause`, `resume`, `drain`: what a worker is to do from now on.
//! In: the agent of this machine, or a worker by name. Out: told by the agent itself, or written into Redis for it; for a
//! drain, waited for.

use super::local::LocalAgent;
use super::session::{Session, redis_failed};
use super::{Chosen, Exit, Failed};
use crate::config::Config;
use crate::protocol::control::Desired;
use crate::queue::client::{self, WorkerLine};
use std::collections::BTreeMap;
use std::time::Duration;

/// Between two looks at who still works.
const LOOK: Duration = Duration::from_millis(300);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A worker, or an agent or machine with all its workers; without: the agent of this machine
    worker: Option<String>,
    /// JSON for programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct DrainArgs {
    #[command(flatten)]
    args: Args,
    /// Do not wait until nothing runs any more
    #[arg(long)]
    no_wait: bool,
}

pub(super) async fn run(chosen: &Chosen, args: Args, desired: Desired) -> Result<Exit, Failed> {
    let config = chosen.load()?.config;
    let (message, _) = order(chosen, &config, args.worker.as_deref(), desired).await?;
    tell(args.json, &message);
    Ok(Exit::Done)
}

pub(super) async fn drain(chosen: &Chosen, DrainArgs { args, no_wait }: DrainArgs) -> Result<Exit, Failed> {
    let config = chosen.load()?.config;
    let (message, told) = order(chosen, &config, args.worker.as_deref(), Desired::Draining).await?;
    if !args.json || no_wait {
        tell(args.json, &message);
    }
    if no_wait {
        return Ok(Exit::Done);
    }
    let ordered = match told {
        Told::Workers(workers) => workers,
        Told::Agent(local) => local.workers().await?,
    };
    let session = Session::open(chosen).await?;
    let mut shown = BTreeMap::new();
    let mut seen = false;
    loop {
        let all = client::workers(&session.link, &session.space).await.map_err(|error| redis_failed(&error))?;
        let workers: Vec<WorkerLine> = all.into_iter().filter(|worker| ordered.contains(&worker.id)).collect();
        seen |= !workers.is_empty();
        if !seen {
            let what = format!("told to drain, but this Redis knows no worker {}", ordered.join(", "));
            return Err(Failed::new(Exit::Failed, super::render::plain(&what)));
        }
        for worker in &workers {
            let asking = session.link.call(async |con| session.space.wanted(con, &worker.id).await).await;
            let wanted = asking.map_err(|error| redis_failed(&error))?;
            if wanted.desired != Desired::Draining {
                let what = format!("{} is to be {} by now: somebody else said so", worker.id, wanted.desired.word());
                return Err(Failed::new(Exit::Failed, super::render::plain(&what)));
            }
        }
        // One that has gone works no more; its lease gives its job to others.
        let left: Vec<&WorkerLine> =
            workers.iter().filter(|worker| worker.alive && field(worker, "status") != "drained").collect();
        if left.is_empty() {
            tell(args.json, "drained: nothing runs any more");
            return Ok(Exit::Done);
        }
        for worker in left {
            let job = field(worker, "current_job_id").to_owned();
            if !args.json && !job.is_empty() && shown.insert(worker.id.clone(), job.clone()).as_ref() != Some(&job) {
                say!("{}: {job} still runs", super::render::plain(&worker.id));
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn tell(json: bool, message: &str) {
    if json {
        say!("{}", serde_json::json!({"ok": true, "message": message}));
    } else {
        say!("{message}");
    }
}

fn field<'a>(worker: &'a WorkerLine, name: &str) -> &'a str {
    worker.record.get(name).map(String::as_str).unwrap_or_default()
}

/// Whom an order reached.
enum Told {
    /// All workers of the agent of this machine.
    Agent(LocalAgent),
    Workers(Vec<String>),
}

/// Gives the order; answers what was done, in a sentence, and whom it reached.
async fn order(
    chosen: &Chosen,
    config: &Config,
    worker: Option<&str>,
    desired: Desired,
) -> Result<(String, Told), Failed> {
    let verb = match desired {
        Desired::Running => "resume",
        Desired::Paused => "pause",
        Desired::Draining => "drain",
    };
    let local = match (LocalAgent::find(config), worker) {
        (Ok(local), _) => local,
        // Another machine's worker needs nothing of this one.
        (Err(_), Some(_)) => None,
        (Err(failed), None) => return Err(failed),
    };
    if let Some(local) = local {
        // The only agent here need not be the one of this configuration: its own name decides.
        let one = worker.filter(|worker| *worker != local.name);
        let path = match one {
            Some(worker) => format!("api/control/{verb}/{}", encoded(worker)),
            None => format!("api/control/{verb}"),
        };
        match local.post(&path).await? {
            // Not a worker of this agent, perhaps of another one.
            Some(said) if said.status == 404 && worker.is_some() => {}
            Some(said) => {
                let told = one.map_or_else(|| Told::Agent(local), |worker| Told::Workers(vec![worker.to_owned()]));
                return said.result().map(|message| (message, told));
            }
            None => {}
        }
    }
    let session = Session::open(chosen).await?;
    let workers = named(&session, config, worker).await?;
    if workers.is_empty() {
        return Err(Failed::new(
            Exit::Failed,
            match worker {
                Some(worker) => format!("there is no worker {worker}; `gpu-worker workers` lists them"),
                None => "no agent runs here; name a worker, `gpu-worker workers` lists them".to_owned(),
            },
        ));
    }
    let by = format!("gpu-worker {verb} on {}", config.identity.machine_id);
    for worker in &workers {
        let ordering = session.link.call(async |con| session.space.control(con, &worker.id, desired, &by).await);
        ordering.await.map_err(|error| redis_failed(&error))?;
    }
    let names: Vec<String> = workers.iter().map(|worker| super::render::plain(&worker.id)).collect();
    let names = names.join(", ");
    let message = match desired {
        Desired::Running => format!("{names}: told by Redis that jobs may be claimed again"),
        _ => format!("{names}: told by Redis to claim no more jobs; what runs goes on"),
    };
    Ok((message, Told::Workers(workers.into_iter().map(|worker| worker.id).collect())))
}

/// Every byte that is not plain: what it is in a path is the agent's business alone.
fn encoded(worker: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    worker.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// The registered workers of this name: one, all of an agent (`ID-0`, `ID-1`), or all of a machine.
async fn named(session: &Session, config: &Config, name: Option<&str>) -> Result<Vec<WorkerLine>, Failed> {
    let all = client::workers(&session.link, &session.space).await.map_err(|error| redis_failed(&error))?;
    let base = name.unwrap_or(&config.identity.worker_id);
    let is_slot = |id: &str| {
        let number = id.strip_prefix(base).and_then(|rest| rest.strip_prefix('-'));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let of_machine = |worker: &WorkerLine| name.is_some() && field(worker, "machine_id") == base;
    for choose in [&|worker: &WorkerLine| worker.id == base, &|worker: &WorkerLine| is_slot(&worker.id), &of_machine]
        as [&dyn Fn(&WorkerLine) -> bool; 3]
    {
        let chosen: Vec<WorkerLine> = all.iter().filter(|worker| choose(worker)).cloned().collect();
        if !chosen.is_empty() {
            return Ok(chosen);
        }
    }
    Ok(Vec::new())
}
