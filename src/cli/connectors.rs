//! `connectors`: engines of one's own, without a queue: listed, checked, tried, held to the contract.
//! In: a file, and jobs for it. Out: what is wrong with it with line and column; what it made of a job; verdicts.

use super::render::plain;
use super::{Chosen, Exit, Failed, submit};
use crate::app::engine_files::surroundings;
use crate::input::{Inputs, Limits};
use crate::output::Outputs;
use crate::telemetry::log;
use async_trait::async_trait;
use connectors::conformance::{self, Bounds, Subject};
use connectors::contract::{
    Connector, Health, Job, Ledger, Lost, Progress, ProgressSink, RunContext, RunError, TokenSink,
};
use connectors::failure::FailureType;
use connectors::files::{self, Loaded, One, Unusable};
use connectors::folder::{self, Entry, Kind};
use connectors::process::{Payloads, guard};
use connectors::registry::CONNECTORS;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long an engine may take to describe itself.
const DESCRIBE: Duration = Duration::from_secs(60);

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
        /// Where its files go
        #[arg(long, value_name = "FOLDER", default_value = "outputs")]
        outputs: PathBuf,
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
        Action::Try { file, job, outputs } => try_one(chosen, &file, &job, outputs).await,
        Action::Conformance { path } => conform(chosen, &path).await,
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
            println!("{} is there already and stays as it is", path.display());
            continue;
        }
        std::fs::write(&path, text)?;
        if *executable {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        }
        println!("wrote {}", path.display());
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
    match files::load(&entry, &[], &around, DESCRIBE).await {
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
        Err(Unusable::Silent(_, failure)) => Err(Failed::new(Exit::Failed, plain(&failure.message))),
        Err(Unusable::Failed(why)) => Err(Failed::new(Exit::Failed, format!("{}: {why}", file.display()))),
    }
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
        println!("{:#}", Value::Array(rows));
        return Ok(Exit::Done);
    }
    for row in &rows {
        let text = |name: &str| plain(row[name].as_str().unwrap_or_default());
        let services: Vec<&str> = row["services"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        println!("{:<16} {:<9} {:<24} {}", text("name"), text("kind"), plain(&services.join(",")), text("about"));
    }
    if config.engines.files.dir.is_none() {
        println!("\nCONNECTORS_DIR is not set: it names a folder with engines of your own.");
    }
    Ok(Exit::Done)
}

async fn check(chosen: &Chosen, file: &Path) -> Result<Exit, Failed> {
    let (entry, loaded, _scratch) = load(chosen, file).await?;
    for warning in &loaded.warnings {
        eprintln!("{}:{warning}", file.display());
    }
    let gpu = if loaded.needs_gpu { ", one for each GPU" } else { "" };
    println!("{}: good; it offers {}{gpu}", entry.name, plain(&loaded.services.join(", ")));
    Ok(Exit::Done)
}

struct Told;

impl ProgressSink for Told {
    fn report(&self, progress: Progress) {
        println!("{:>5.1} %  {}", progress.fraction * 100.0, plain(&progress.message.unwrap_or_default()));
    }
}

/// Shows a text as it is written.
struct Written;

impl TokenSink for Written {
    fn token(&self, text: &str, kind: &'static str) {
        println!("{kind:>9}  {}", plain(text));
    }
}

struct NoQueue;

#[async_trait]
impl Ledger for NoQueue {
    async fn record_service_job(&self, _: &str) -> Result<(), Lost> {
        Ok(())
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

async fn try_one(chosen: &Chosen, file: &Path, job: &Path, outputs: PathBuf) -> Result<Exit, Failed> {
    let config = chosen.load()?.config;
    let body = submit::read_job(job, config.jobs.max_payload_bytes)?;
    let limits = Limits::new(config.inputs.max_bytes, config.inputs.timeout);
    let (_, loaded, scratch) = load(chosen, file).await?;
    let is_job = body.get("service_required").is_some() && body.get("payload").is_some();
    let service = body.get("service_required").and_then(Value::as_str).filter(|_| is_job);
    let service = service.map(str::to_owned).or_else(|| loaded.services.first().cloned()).unwrap_or_default();
    if !loaded.services.contains(&service) {
        return Err(Failed::usage(format!("it offers {}, not {service}", loaded.services.join(", "))));
    }
    let payload = if is_job { body["payload"].clone() } else { body };
    let one = healthy(&loaded).await?;
    let id = format!("try-{}", uuid::Uuid::new_v4().simple());
    let job = Job { id, attempt: 1, service, payload, ctx: Value::Null };
    let outputs = Outputs::in_folder(&outputs).of(&job).map_err(|failure| Failed::usage(failure.message))?;
    let cancel = CancellationToken::new();
    let ctx = RunContext {
        cancel: cancel.clone(),
        progress: Arc::new(Told),
        ledger: Arc::new(NoQueue),
        inputs: Arc::new(Inputs::new(
            limits,
            config.inputs.allowed,
            &scratch.path().join("inputs"),
            &config.output_dir,
        )),
        outputs,
        tokens: Arc::new(Written),
    };
    let connector = one.connector();
    let running = connector.run(&job, &ctx);
    tokio::pin!(running);
    let ended = tokio::select! {
        ended = &mut running => ended,
        _ = tokio::signal::ctrl_c() => {
            cancel.cancel();
            running.await
        }
    };
    match ended {
        Ok(outcome) => {
            println!("{:#}", json!({ "outputs": outcome.outputs, "data": outcome.data, "timings": outcome.timings }));
            Ok(Exit::Done)
        }
        Err(RunError::Cancelled) => Ok(Exit::Cancelled),
        Err(RunError::Lost(lost)) => Err(Failed::new(Exit::Failed, lost.to_string())),
        Err(RunError::Failed(failure)) => {
            let kind = format!("{}/{}", failure.kind(), failure.reason);
            Err(Failed::new(Exit::Failed, format!("{kind}: {}", plain(&failure.message))))
        }
    }
}

/// An engine that is a file, with the payloads that it gives for the suite.
struct Candidate {
    one: One,
    service: String,
    payloads: Payloads,
    kind: FailureType,
    /// Servers that know an idempotency key would answer a second suite with the first one's results.
    salt: String,
}

impl Candidate {
    fn job(&self, id: &str, payload: &Value) -> Job {
        conformance::job(&format!("{id}-{}", self.salt), &self.service, payload.clone())
    }
}

#[async_trait]
impl Subject for Candidate {
    fn connector(&self) -> Arc<dyn Connector> {
        self.one.connector()
    }

    fn ok_job(&self, id: &str) -> Job {
        self.job(id, &self.payloads.ok)
    }

    fn slow_job(&self, id: &str) -> Job {
        self.job(id, &self.payloads.slow)
    }

    fn failing_job(&self, id: &str) -> (Job, FailureType) {
        (self.job(id, &self.payloads.failing), self.kind)
    }

    async fn engine_works_on(&self, service_job_id: &str) -> bool {
        self.one.is_at_work(service_job_id)
    }

    async fn engine_jobs_taken(&self) -> u64 {
        self.one.jobs_taken()
    }
}

async fn conform(chosen: &Chosen, path: &Path) -> Result<Exit, Failed> {
    let (_, loaded, _scratch) = load(chosen, path).await?;
    let Some(payloads) = loaded.conformance.clone() else {
        return Err(Failed::usage(format!(
            "{}: the suite needs payloads whose course is known: `conformance` with ok, slow, failing and failure_type, \
             see connectors/README.md",
            path.display()
        )));
    };
    let one = healthy(&loaded).await?;
    let kind = FailureType::from_word(&payloads.failure_type).unwrap_or(FailureType::SystemError);
    let service = loaded.services.first().cloned().unwrap_or_default();
    let salt = uuid::Uuid::new_v4().simple().to_string();
    let verdicts = conformance::run(&Candidate { one, service, payloads, kind, salt }, &Bounds::default()).await;
    for verdict in &verdicts {
        match &verdict.fault {
            None => println!("ok      {}", verdict.check),
            Some(fault) => println!("FAULT   {}\n        {}", verdict.check, plain(fault)),
        }
    }
    let bad = verdicts.iter().filter(|verdict| verdict.fault.is_some()).count();
    println!("\n{} of {} checks passed", verdicts.len() - bad, verdicts.len());
    Ok(if bad == 0 { Exit::Done } else { Exit::Failed })
}
