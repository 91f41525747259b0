//! `dashboard`: a link that opens the page of this machine's agent in a browser.
//! In: the agent of this machine. Out: its URL with a code that is good once, for two minutes.

use super::local::LocalAgent;
use super::{Chosen, Exit, Failed};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// JSON for programs
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(chosen: &Chosen, args: Args) -> Result<Exit, Failed> {
    const NOBODY: &str = "no agent with a dashboard runs here; `gpu-worker run` starts one";
    let config = chosen.load()?.config;
    let nobody = || Failed::new(Exit::Failed, NOBODY);
    let agent = LocalAgent::find(&config)?.ok_or_else(nobody)?;
    let said = agent.post("api/launch").await?.ok_or_else(nobody)?;
    said.result()?;
    let (path, expires_s) = (said.told["path"].as_str().unwrap_or("/"), &said.told["expires_s"]);
    let link = format!("{}{path}", agent.url.trim_end_matches('/'));
    if args.json {
        println!("{}", serde_json::json!({"url": link, "expires_s": expires_s}));
        return Ok(Exit::Done);
    }
    println!("{link}");
    eprintln!("It opens the dashboard in one browser, within {expires_s} s.");
    if let Some(port) = agent.url.trim_end_matches('/').rsplit(':').next() {
        eprintln!("From another machine: ssh -L {port}:127.0.0.1:{port} THIS_MACHINE, then open it there.");
    }
    Ok(Exit::Done)
}
