//! Cancelling a job at work: from the request until the engine has stopped.
//! In: jobs that hang until they are told to stop. Out: microseconds until `cancellation` is read.

use crate::stage::{NO_GPU, Stage, see, settle};
use crate::support::Agent;
use crate::table::{Table, us};
use crate::{latency, yardstick};
use serde_json::json;
use std::time::Instant;

const JOBS: usize = 300;

pub async fn run(table: &mut Table) {
    let stage = Stage::set().await;
    let _agent = Agent::start(&stage.server, "idle", &NO_GPU).await;
    let bare = table.yardstick("BLPOP ping-pong", "us", &yardstick::ping_pong(&stage, JOBS, latency::REST).await);
    let mut reader = stage.connection().await;
    let mut samples = Vec::new();
    for _ in 0..JOBS {
        let job = json!({"service_required": "simulation", "payload": {"steps": 1, "hang_at_step": 0}});
        let id = stage.submit(job).await;
        see(&mut reader, &stage.space, &id, ["started"]).await;
        settle(latency::REST).await;
        let mut con = stage.con.clone();
        let began = Instant::now();
        let asked = stage.space.cancel(&mut con, &id, "bench");
        let (asked, [ended]) = tokio::join!(asked, see(&mut reader, &stage.space, &id, ["cancellation"]));
        asked.expect("cancelled");
        samples.push(us(ended.duration_since(began)));
    }
    table.spread("cancel to stopped (`cancellation` is read)", "us", &samples, Some(&bare));
}
