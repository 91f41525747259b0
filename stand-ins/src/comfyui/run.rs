//! The runner: takes one prompt after the other from the queue and brings each to its end in history.
//! In: prompts, requests to free memory, the end of the process's life. Out: one history entry per run, and the news of it.
//!
//! ```text
//!  idle -> taken -> execute (see its file) -> [delay] -> history entry -> status -> executing(null) -> idle
//!  At any point: the life ends (restart, kill) -> nothing more, no entry -> idle
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::execute::execute;
use super::ledger::Ended;
use super::messages;
use super::options::OutOfMemory;
use super::server::{Execution, Server};

pub(crate) async fn run_forever(server: Arc<Server>) {
    loop {
        server.wire.thawed().await;
        free(&server);
        let stands_still = server.quirks().queue_stands_still;
        let taken = if stands_still { None } else { server.ledger().take() };
        let Some((item, life)) = taken else {
            server.work.notified().await;
            continue;
        };
        server.spans.send_modify(|spans| spans.push((Instant::now(), None)));
        server.executions().push(Execution { prompt_id: item.id.clone(), nodes: vec![], outcome: "running" });
        let outcome = tokio::select! {
            biased;
            () = life.cancelled() => "lost",
            ended = execute(&server, &item) => match ended {
                Some(ended) => conclude(&server, ended, &life).await,
                None => "lost",
            },
        };
        if let Some(execution) = server.executions().last_mut() {
            execution.outcome = outcome;
        }
        server.spans.send_modify(|spans| {
            if let Some((_, ended)) = spans.last_mut() {
                *ended = Some(Instant::now());
            }
        });
    }
}

fn free(server: &Server) {
    let freeing = std::mem::take(&mut *server.freeing());
    if freeing.unload_models {
        server.model_loaded.store(false, Ordering::SeqCst);
    }
    let mut quirks = server.quirks();
    if freeing.unload_models && freeing.free_memory && quirks.out_of_memory == OutOfMemory::UntilFreed {
        quirks.out_of_memory = OutOfMemory::Never;
    }
    drop(quirks);
    if freeing.free_memory {
        server.cache().clear();
    }
}

/// Between the last event and the history entry lies the gap that a client must not fall into.
async fn conclude(server: &Server, ended: Ended, life: &CancellationToken) -> &'static str {
    let (client, id) = (ended.item.client_id.clone(), ended.item.id.clone());
    let outcome = match (ended.success, ended.messages.last()) {
        (true, _) => "success",
        (false, Some((event, _))) if event == "execution_interrupted" => "interrupted",
        _ => "error",
    };
    let delay = server.quirks().history_delay;
    if !delay.is_zero() {
        tokio::select! {
            biased;
            () = life.cancelled() => return "lost",
            () = server.pace.step(delay) => {}
        }
    }
    server.wire.thawed().await;
    let mut ended = ended;
    if server.quirks().outputs_unnamed {
        ended.outputs = json!({});
    }
    if !server.ledger().finish(ended, life) {
        return "lost";
    }
    server.tell_queue_length();
    server.hub.running_node(None);
    let withheld = server.quirks().withhold_endings;
    if let Some(client) = client.filter(|_| !withheld) {
        server.hub.client(&client, messages::text("executing", json!({"node": null, "prompt_id": id})));
    }
    outcome
}
