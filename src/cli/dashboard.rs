//! `dashboard`: a link that opens the page of this machine's agent in a browser.
//! In: the agent of this machine. Out: its URL with a code that is good once, for two minutes.

use super::local::LocalAgent;
use super::{Chosen, Exit, Failed};
use crate::dashboard::Place;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which agent, by its WORKER_ID (default: the configured one, else the only one here)
    worker: Option<String>,
    /// JSON for programs
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(chosen: &Chosen, args: Args) -> Result<Exit, Failed> {
    const NOBODY: &str = "no agent with a dashboard runs here; `gpu-worker run` starts one";
    let mut config = chosen.load()?.config;
    if let Some(worker) = &args.worker {
        config.identity.worker_id.clone_from(worker);
    }
    let nobody = || Failed::new(Exit::Failed, NOBODY);
    let agent = LocalAgent::find(&config)?.ok_or_else(nobody)?;
    // The only one here is meant where nobody is named, and only there.
    if let Some(worker) = args.worker.filter(|worker| Place::of(&config.state_dir, worker).name() != agent.name) {
        let why = format!("no agent {worker} runs here; the one at {} is {}", agent.url, agent.name);
        return Err(Failed::new(Exit::Failed, super::render::plain(&why)));
    }
    let said = agent.post("api/launch").await?.ok_or_else(nobody)?;
    said.result()?;
    let (path, expires_s) = (said.told["path"].as_str().unwrap_or("/"), &said.told["expires_s"]);
    let link = format!("{}{path}", agent.url.trim_end_matches('/'));
    let elsewhere = said.told["elsewhere"].as_str();
    if args.json {
        say!("{}", serde_json::json!({"url": link, "elsewhere": elsewhere, "expires_s": expires_s}));
        return Ok(Exit::Done);
    }
    say!("{link}");
    remark!("It opens the dashboard in one browser, within {expires_s} s.");
    match (elsewhere, agent.url.trim_end_matches('/').rsplit_once(':')) {
        (Some(elsewhere), _) => remark!("From another machine: {}", super::render::plain(elsewhere)),
        (None, Some((_, port))) => {
            remark!("From another machine: ssh -L {port}:127.0.0.1:{port} THIS_MACHINE, then open it there.");
        }
        (None, None) => {}
    }
    Ok(Exit::Done)
}
