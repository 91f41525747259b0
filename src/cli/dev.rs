//! `dev`: everything on this machine, to try it out. With `--demo` one job from queue to files.
//! In: nothing but this program and `redis-server`. Out: a running queue; nothing stays behind.

use super::local_redis::LocalRedis;
use super::session::Session;
use super::temporary::Folder;
use super::{Chosen, Exit, Failed, submit, watch};
use crate::app::{self, Built};
use crate::config::Config;
use crate::output::Outputs;
use crate::queue::client::{self, JobRequest};
use crate::service::shutdown::{Shutdown, follow_signals};
use crate::telemetry::{Notice, log, tell};
use connectors::contract::Health;
use serde_json::Value;
use stand_ins::comfyui::{Options, StandIn};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Invented card of the agent: count and GB.
const SIMULATED_GPU: (u32, f64) = (1, 24.0);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Submit this job, follow it, and end
    #[arg(long, value_name = "FILE")]
    demo: Option<PathBuf>,
    /// Keep outputs here (default: a temporary folder that is removed at the end)
    #[arg(long, value_name = "FOLDER")]
    outputs: Option<PathBuf>,
}

pub(super) async fn run(chosen: &Chosen, args: Args) -> Result<Exit, Failed> {
    let folder = Folder::new("gpu-worker-dev")?;
    let shutdown = Shutdown::default();
    tokio::spawn(follow_signals(shutdown.clone()));
    let redis = LocalRedis::start(folder.path()).await?;
    let result = with_redis(chosen, &args, folder.path(), &redis.url, &shutdown).await;
    redis.stop().await;
    result
}

async fn with_redis(
    chosen: &Chosen,
    args: &Args,
    folder: &Path,
    redis_url: &str,
    shutdown: &Shutdown,
) -> Result<Exit, Failed> {
    let own_engine = std::env::var("COMFYUI_URL").ok().filter(|url| !url.is_empty());
    let stand_in = match own_engine {
        Some(_) => None,
        None => {
            let (step_time, folder) = (Duration::from_millis(60), Some(folder.join("comfyui")));
            Some(StandIn::start(Options { step_time, folder, ..Options::default() }).await?)
        }
    };
    let mut chosen = Chosen { redis: Some(redis_url.to_owned()), ..chosen.clone() };
    let outputs = args.outputs.clone().unwrap_or_else(|| folder.join("outputs"));
    let mut set = |name: &str, value: &str| chosen.set.push(format!("{name}={value}"));
    set("SERVICES", "comfyui,simulation");
    set("WORKER_ID", "dev");
    set("OUTPUT_DIR", &outputs.to_string_lossy());
    set("STATE_DIR", &folder.join("state").to_string_lossy());
    if args.demo.is_some() {
        // Over in seconds: nobody looks at its dashboard, and another agent may want the port.
        set("WORKER_DASHBOARD_ENABLED", "false");
    }
    if let Some(stand_in) = &stand_in {
        set("COMFYUI_URL", &stand_in.url());
    }
    let loaded = chosen.load()?;
    let config = loaded.config;
    let level = if args.demo.is_some() { tracing::Level::WARN } else { config.log.level };
    log::install(level, config.log.json);
    for warning in &loaded.warnings {
        tell(Notice::Config { warning: warning.to_string() });
    }
    match (&stand_in, &config.engines.comfyui) {
        (Some(_), _) => say!("engine  stand-in ComfyUI (set COMFYUI_URL to use a real one)"),
        (None, Some(engine)) => {
            let urls: Vec<&str> = engine.urls.iter().map(url::Url::as_str).collect();
            say!("engine  ComfyUI at {}", urls.join(", "));
        }
        (None, None) => {}
    }
    let driven = app::drivers(&config).map_err(|failure| Failed::usage(failure.message))?;
    let built = Built::new(&config, driven, stand_in.is_some().then_some(SIMULATED_GPU)).await?;
    let agent = {
        let (config, link, shutdown) = (config.clone(), super::session::link(&config)?, shutdown.clone());
        let outputs = Outputs::new(&config);
        tokio::spawn(async move { app::run(&config, built, outputs, link, shutdown).await })
    };
    let result = match &args.demo {
        Some(file) => tokio::select! {
            result = demo(&chosen, &config, file, stand_in.is_some()) => result,
            () = shutdown.drain.cancelled() => Ok(Exit::Cancelled),
        },
        None => {
            say!("redis   {redis_url}");
            say!("\nIn another terminal:\n");
            say!("  export HUB_REDIS_URL={redis_url}");
            let me =
                std::env::current_exe().map_or_else(|_| "gpu-worker".to_owned(), |path| path.display().to_string());
            say!("  {me} submit examples/comfyui-workflow.json --watch");
            say!("  {me} workers\n\nCtrl-C ends it and leaves nothing behind.");
            shutdown.drain.cancelled().await;
            Ok(Exit::Done)
        }
    };
    shutdown.drain.cancel();
    if args.demo.is_some() {
        shutdown.now.cancel();
    }
    let _ = agent.await;
    if let Some(stand_in) = stand_in {
        stand_in.stop().await;
    }
    result
}

async fn demo(chosen: &Chosen, config: &Config, file: &Path, is_stand_in: bool) -> Result<Exit, Failed> {
    let mut body = submit::read_job(file, config.jobs.max_payload_bytes)?;
    if !is_stand_in {
        use_present_checkpoint(&mut body, config).await?;
    }
    let request = JobRequest::from_json(&body).map_err(|error| submit::explain(&error))?;
    let session = Session::open(chosen).await?;
    let id = client::submit(&session.link, &session.space, &request, config.jobs.max_payload_bytes)
        .await
        .map_err(|error| submit::explain(&error))?;
    say!("job     {id}\n");
    let exit = watch::follow(&session, &id, false).await?;
    if exit == Exit::Done {
        say!("\nWhat to try next:\n");
        let me = std::env::current_exe().map_or_else(|_| "gpu-worker".to_owned(), |path| path.display().to_string());
        say!("  {me} dev      a queue of your own to play with");
        say!("  {me} probe    what this machine has");
        say!("  COMFYUI_URL=http://127.0.0.1:8188 make demo    the same on your ComfyUI");
        say!("  cp .env.worker.example .env.worker             then edit it, and start {me}");
    }
    Ok(exit)
}

/// A ComfyUI of one's own rarely has just the checkpoint that the example names: one that it has is as good for a demo.
async fn use_present_checkpoint(body: &mut Value, config: &Config) -> Result<(), Failed> {
    let driven = app::drivers(config).map_err(|failure| Failed::usage(failure.message))?;
    let Some(connector) = driven.iter().find(|driven| driven.name == "comfyui").and_then(|d| d.connectors.first())
    else {
        return Ok(());
    };
    let probe = connector.probe().await;
    if let Health::Unhealthy(why) = &probe.health {
        return Err(Failed::new(Exit::Failed, why.clone()));
    }
    let present = probe.models.get("checkpoints").cloned().unwrap_or_default();
    for node in body.as_object_mut().into_iter().flat_map(|graph| graph.values_mut()) {
        let Some(wanted) = node.pointer_mut("/inputs/ckpt_name") else { continue };
        if wanted.as_str().is_some_and(|name| present.iter().any(|there| there == name)) {
            continue;
        }
        let Some(first) = present.first() else {
            let message = "this ComfyUI has no checkpoint; put one into its folder models/checkpoints and try again";
            return Err(Failed::new(Exit::Failed, message));
        };
        say!("model   {first} (the example's own is not there)");
        *wanted = Value::String(first.clone());
    }
    Ok(())
}
