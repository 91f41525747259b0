//! `workers`: who works on this queue.
//! In: nothing. Out: a table, and below it why a GPU may not work and what to do; or JSON.

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
        say!("no workers are registered");
        return Ok(Exit::Done);
    }
    let (mut rows, mut remedies) = (Vec::new(), Vec::new());
    for worker in &workers {
        let field = |name: &str| worker.record.get(name).cloned().unwrap_or_default();
        let capabilities: Value = serde_json::from_str(&field("capabilities")).unwrap_or_default();
        if args.json {
            let mut record = serde_json::json!(worker.record);
            record["capabilities"] = capabilities;
            say!("{}", serde_json::json!({"id": worker.id, "alive": worker.alive, "record": record}));
            continue;
        }
        let services: Vec<&str> =
            capabilities["services"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let hardware = &capabilities["hardware"];
        let now: Value = serde_json::from_str(&field("gpu")).unwrap_or_default();
        let gpu = match (hardware["gpu_model"].as_str(), hardware["gpu_memory_gb"].as_f64()) {
            _ if now["fence"].is_object() => {
                let (index, fence) = (&now["index"], &now["fence"]);
                let word = |name: &str| fence[name].as_str().unwrap_or("unknown");
                let text = format!(
                    "{}: GPU {index} is {} since {}: {}",
                    worker.id,
                    word("state"),
                    word("since"),
                    word("reason")
                );
                remedies.push(format!("{}\n  -> {}", plain(&text), plain(word("remedy"))));
                format!("GPU {index} {}", word("state"))
            }
            (Some(model), Some(gb)) if gb > 0.0 => match now["memory_free_bytes"].as_f64() {
                Some(free) => format!("{model} ({:.1} of {gb} GB free)", free / f64::from(1 << 30)),
                None => format!("{model} ({gb} GB)"),
            },
            // Declared by their number alone, or by a driver that does not tell.
            (Some(model), _) if hardware["gpu_count"].as_u64() > Some(0) => format!("{model} (memory unknown)"),
            _ => "none".to_owned(),
        };
        let (status, desired) = (field("status"), field("desired"));
        let state = match desired.as_str() {
            _ if !worker.alive => "gone".to_owned(),
            "paused" | "draining" if status != "paused" && status != "drained" => format!("{status}, {desired}"),
            _ => status,
        };
        rows.push(
            [worker.id.clone(), state, services.join(","), gpu, field("current_job_id"), field("last_heartbeat")]
                .map(|text| plain(&text))
                .to_vec(),
        );
    }
    if !args.json {
        put!("{}", table(&["WORKER", "STATE", "SERVICES", "GPU", "JOB", "LAST HEARTBEAT"], &rows));
        for remedy in remedies {
            say!("{remedy}");
        }
    }
    Ok(Exit::Done)
}
