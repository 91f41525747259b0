//! `workers`: who works on this queue.
//! In: nothing. Out: a table or JSON.

use super::render::{plain, table};
use super::session::{Session, redis_failed};
use super::{Chosen, Exit, Failed};
use crate::queue::client;
use serde_json::Value;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// JSON lines for programs
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(chosen: &Chosen, args: Args) -> Result<Exit, Failed> {
    let session = Session::open(chosen).await?;
    let workers = client::workers(&session.link, &session.space).await.map_err(|error| redis_failed(&error))?;
    if workers.is_empty() && !args.json {
        println!("no workers are registered");
        return Ok(Exit::Done);
    }
    let mut rows = Vec::new();
    for worker in &workers {
        let field = |name: &str| worker.record.get(name).cloned().unwrap_or_default();
        let capabilities: Value = serde_json::from_str(&field("capabilities")).unwrap_or_default();
        if args.json {
            let mut record = serde_json::json!(worker.record);
            record["capabilities"] = capabilities;
            println!("{}", serde_json::json!({"id": worker.id, "alive": worker.alive, "record": record}));
            continue;
        }
        let services: Vec<&str> =
            capabilities["services"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let hardware = &capabilities["hardware"];
        let gpu = match (hardware["gpu_model"].as_str(), hardware["gpu_memory_gb"].as_f64()) {
            (Some(model), Some(gb)) if gb > 0.0 => {
                let now: Value = serde_json::from_str(&field("gpu")).unwrap_or_default();
                match now["memory_free_bytes"].as_f64() {
                    Some(free) => format!("{model} ({:.1} of {gb} GB free)", free / f64::from(1 << 30)),
                    None => format!("{model} ({gb} GB)"),
                }
            }
            _ => "none".to_owned(),
        };
        let state = if worker.alive { field("status") } else { "gone".to_owned() };
        rows.push(
            [worker.id.clone(), state, services.join(","), gpu, field("current_job_id"), field("last_heartbeat")]
                .map(|text| plain(&text))
                .to_vec(),
        );
    }
    if !args.json {
        print!("{}", table(&["WORKER", "STATE", "SERVICES", "GPU", "JOB", "LAST HEARTBEAT"], &rows));
    }
    Ok(Exit::Done)
}
