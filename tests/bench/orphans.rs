//! The jobs of an agent that never returns: from its death until each of them runs elsewhere.
//! In: agents that hold jobs without end, and are killed. Out: multiples of the lease.

use crate::stage::{NO_GPU, Stage, see, settle};
use crate::support::{Agent, until};
use crate::table::Table;
use gpu_worker::queue::client;
use serde_json::json;
use std::time::Duration;

const LEASE: Duration = Duration::from_secs(5);
const ROUNDS: usize = 4;
const JOBS: usize = 4;

pub async fn run(table: &mut Table) {
    let bare = table.yardstick("the lease", "s", &[LEASE.as_secs_f64()]);
    let mut samples = Vec::new();
    for round in 0..ROUNDS {
        // A queue of its own each time: what an earlier agent left must not count.
        let stage = Stage::set().await;
        let lease = LEASE.as_secs().to_string();
        let env = [&NO_GPU[..], &[("LEASE_SECONDS", &*lease), ("CONCURRENT_JOBS", "4")]].concat();
        let mut gone = Agent::spawn(&stage.server, "gone", &env);
        let mut ids = Vec::new();
        for _ in 0..JOBS {
            let id = stage
                .submit(json!({"service_required": "simulation", "payload": {"steps": 1, "hang_at_step": 0}}))
                .await;
            see(&mut stage.connection().await, &stage.space, &id, ["started"]).await;
            ids.push(id);
        }
        let heir = Agent::spawn(&stage.server, "heir", &env);
        heir.registered(&stage.server, "heir-3").await;
        // At another moment between two renewals each time.
        settle(LEASE / 3 * round as u32 / ROUNDS as u32).await;
        let (seconds, micros): (f64, f64) = stage.ask(&redis::cmd("TIME")).await;
        gone.signal("KILL");
        gone.ended().await;
        for id in &ids {
            let runs_elsewhere = async || {
                let events = client::events(&stage.link, &stage.space, id).await.expect("events");
                // By Redis' own clock.
                events.iter().filter(|event| event.kind() == "assigned").nth(1)?.get("timestamp")?.parse::<f64>().ok()
            };
            let at = until("the job runs elsewhere", runs_elsewhere).await;
            samples.push(at - seconds - micros / 1e6);
        }
    }
    table.spread("death of an agent to `assigned` elsewhere", "s", &samples, Some(&bare));
}
