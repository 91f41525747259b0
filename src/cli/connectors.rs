//! `connectors`: engines of one's own, without a queue: listed, checked, tried, held to the contract.
//! In: a file, and jobs for it. Out: what is wrong with it with line and column; what it made of a job; verdicts.

mod conformance;
mod trying;

use super::render::plain;
use super::{Chosen, Exit, Failed};
use crate::app::engine_files::surroundings;
use crate::telemetry::log;
use connectors::contract::Health;
use connectors::files::{self, Loaded, One, Unusable};
use connectors::folder::{self, Entry, Kind};
use connectors::process::guard;
use connectors::registry::CONNECTORS;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an engine may take to describe itself.
const DESCRIBE: Duration = Duration::from_secs(60);
/// How long one that has printed something else. The agent is more patient: there it is in use, here somebody waits.
const AFTER_PLAIN_TEXT: Duration = Duration::from_secs(2);
/// After this long whoever waits is told for what.
const STILL: Duration = Duration::from_secs(5);

/// What `connectors init` writes: name, text, whether it is executable.
const STARTER: &[(&str, &str, bool)] = &[
    ("gpu_worker_connector.py", include_str!("../../connectors/python/gpu_worker_connector.py"), false),
    ("hello.py", include_str!("../../connectors/python/hello.py"), true),
    ("README.md", include_str!("../../connectors/README.md"), false),
];

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Write the Python helper, an example and the guide into a folder
    Init {
        /// Made if it is not there; files that are there stay
        folder: PathBuf,
    },
    /// What is built in, and what is in CONNECTORS_DIR
    List {
        /// JSON for programs
        #[arg(long)]
        json: bool,
    },
    /// Say what is wrong with an engine's file
    Check {
        /// An executable, or a TOML file
        file: PathBuf,
    },
    /// Run one job on an engine, without a queue
    Try {
        /// An executable, or a TOML file
        file: PathBuf,
        /// A job file, or a payload alone; - reads standard input
        job: PathBuf,
        /// Where its files go [default: a new folder for temporary files, which is named at the end]
        #[arg(long, value_name = "FOLDER")]
        outputs: Option<PathBuf>,
    },
    /// Hold an engine to the contract that every connector keeps
    Conformance {
        /// An executable, or a TOML file
        path: PathBuf,
    },
    /// Stand between the agent and an engine's process
    #[command(hide = true)]
    Guard {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
}

pub(super) async fn run(chosen: &Chosen, args: Args) -> Result<Exit, Failed> {
    if matches!(args.action, Action::Check { .. } | Action::Try { .. } | Action::Conformance { .. }) {
        // What the engine prints, above all when it dies.
        log::install(tracing::Level::INFO, Some(false));
    }
    match args.action {
        Action::Init { folder } => init(&folder),
        Action::List { json } => list(chosen, json).await,
        Action::Check { file } => check(chosen, &file).await,
        Action::Try { file, job, outputs } => trying::run(chosen, &file, &job, outputs).await,
        Action::Conformance { path } => conformance::run(chosen, &path).await,
        Action::Guard { words } => {
            let Some(args) = guard::Args::parse(words) else {
                return Err(Failed::usage("this is for the agent's own use"));
            };
            let code = guard::run(args).await;
            // Nothing but this process's exit code tells the agent how the engine ended.
            #[expect(clippy::exit, reason = "the engine's exit code is passed on, whatever it is")]
            std::process::exit(i32::from(code));
        }
    }
}

fn init(folder: &Path) -> Result<Exit, Failed> {
    std::fs::create_dir_all(folder)?;
    for (name, text, executable) in STARTER {
        let path = folder.join(name);
        if path.exists() {
            say!("{} is there already and stays as it is", path.display());
            continue;
        }
        std::fs::write(&path, text)?;
        if *executable {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        }
        say!("wrote {}", path.display());
    }
    Ok(Exit::Done)
}

async fn list(chosen: &Chosen, as_json: bool) -> Result<Exit, Failed> {
    let config = chosen.load()?.config;
    let mut rows: Vec<Value> = CONNECTORS
        .iter()
        .map(
            |entry| json!({ "name": entry.name, "kind": "built in", "services": entry.services, "about": entry.about }),
        )
        .collect();
    if let Some(dir) = &config.engines.files.dir {
        let found = folder::scan(dir).map_err(|error| Failed::usage(format!("{}: {error}", dir.display())))?;
        for entry in &found.engines {
            let kind = if entry.kind == Kind::Process { "process" } else { "rest" };
            let (services, about) = match load(chosen, &entry.path).await {
                Ok((_, loaded, _scratch)) => (loaded.services, entry.path.display().to_string()),
                Err(failed) => (Vec::new(), failed.message),
            };
            rows.push(json!({ "name": entry.name, "kind": kind, "services": services, "about": about }));
        }
        for odd in &found.oddities {
            let name = odd.path.file_name().unwrap_or_default().to_string_lossy();
            rows.push(json!({ "name": name, "kind": "unusable", "services": [], "about": odd.why }));
        }
    }
    if as_json {
        say!("{:#}", Value::Array(rows));
        return Ok(Exit::Done);
    }
    for row in &rows {
        let text = |name: &str| plain(row[name].as_str().unwrap_or_default());
        let services: Vec<&str> = row["services"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        say!("{:<16} {:<9} {:<24} {}", text("name"), text("kind"), plain(&services.join(",")), text("about"));
    }
    if config.engines.files.dir.is_none() {
        say!("\nCONNECTORS_DIR is not set: it names a folder with engines of your own.");
    }
    Ok(Exit::Done)
}

fn entry(file: &Path) -> Result<Entry, Failed> {
    let at = |why: &str| Failed::usage(format!("{}: {why}", file.display()));
    match folder::look(file) {
        Ok(Some(entry)) => Ok(entry),
        Ok(None) => Err(at("it is neither an executable nor a TOML file; an executable needs chmod +x")),
        Err(why) => Err(at(&why)),
    }
}

async fn load(chosen: &Chosen, file: &Path) -> Result<(Entry, Loaded, super::temporary::Folder), Failed> {
    let (entry, mut around) = (entry(file)?, surroundings(&chosen.load()?.config));
    // Beside an agent that runs: its folders are its own.
    let scratch = super::temporary::Folder::new("gpu-worker-try")?;
    around.scratch = scratch.path().to_owned();
    around.timing.after_plain_text = Some(AFTER_PLAIN_TEXT);
    match patiently(entry.name, files::load(&entry, &[], &around, DESCRIBE)).await {
        Ok(loaded) => {
            for one in &loaded.connectors {
                one.offer(loaded.services.clone());
            }
            Ok((entry, loaded, scratch))
        }
        Err(Unusable::Faults(faults)) => {
            let lines: Vec<String> = faults.iter().map(|fault| format!("{}:{fault}", file.display())).collect();
            Err(Failed::usage(lines.join("\n")))
        }
        Err(Unusable::Silent(process, failure)) => {
            // Nobody waits here for its next start.
            let why = process.why_gone().await.unwrap_or(failure.message);
            Err(Failed::new(Exit::Failed, plain(&why)))
        }
        Err(Unusable::Failed(why)) => Err(Failed::new(Exit::Failed, format!("{}: {why}", file.display()))),
    }
}

/// Says what is waited for when that takes long.
async fn patiently<T>(name: &str, loading: impl Future<Output = T>) -> T {
    tokio::pin!(loading);
    match tokio::time::timeout(STILL, &mut loading).await {
        Ok(loaded) => loaded,
        Err(_) => {
            remark!("{name} has yet to answer `describe`; it has {} s for that", DESCRIBE.as_secs());
            loading.await
        }
    }
}

/// The first connector, once it is healthy.
async fn healthy(loaded: &Loaded) -> Result<One, Failed> {
    let one = loaded.connectors.first().cloned().ok_or_else(|| Failed::usage("it has no address"))?;
    match one.connector().probe().await.health {
        Health::Healthy => Ok(one),
        Health::Unhealthy(why) => Err(Failed::new(Exit::Failed, format!("it cannot take work: {}", plain(&why)))),
    }
}

async fn check(chosen: &Chosen, file: &Path) -> Result<Exit, Failed> {
    let (entry, loaded, _scratch) = load(chosen, file).await?;
    for warning in &loaded.warnings {
        remark!("{}:{warning}", file.display());
    }
    let gpu = if loaded.needs_gpu { ", one for each GPU" } else { "" };
    say!("{}: good; it offers {}{gpu}", entry.name, plain(&loaded.services.join(", ")));
    Ok(Exit::Done)
}
