//! Submit to start: one job at a time for an agent that waits.
//! In: a real agent process with the simulated engine. Out: microseconds from the call until the events are seen.

use crate::stage::{NO_GPU, Stage, quick, settle};
use crate::support::Agent;
use crate::table::Table;
use crate::yardstick;
use std::time::Duration;

const JOBS: usize = 600;
const WARM_UP: usize = 20;
/// Before each job, so that the agent is idle again.
pub const REST: Duration = Duration::from_millis(5);

pub async fn run(table: &mut Table) {
    let stage = Stage::set().await;
    let _agent = Agent::start(&stage.server, "idle", &NO_GPU).await;
    let bare = table.yardstick("BLPOP ping-pong", "us", &yardstick::ping_pong(&stage, JOBS, REST).await);
    let [assigned, started, completed] = measure(&stage, JOBS).await;
    table.spread("submit to claimed (`assigned` is read)", "us", &assigned, Some(&bare));
    table.spread("submit to start (`started` is read)", "us", &started, Some(&bare));
    table.spread("submit to end of a job without work", "us", &completed, Some(&bare));
}

/// Microseconds from the submission until `assigned`, `started` and `completion` are read, job by job.
pub async fn measure(stage: &Stage, jobs: usize) -> [Vec<f64>; 3] {
    let mut reader = stage.connection().await;
    let mut samples: [Vec<f64>; 3] = Default::default();
    for at in 0..jobs + WARM_UP {
        settle(REST).await;
        let seen = stage.submit_and_see(&mut reader, quick(), ["assigned", "started", "completion"]).await;
        if at >= WARM_UP {
            samples.iter_mut().zip(seen).for_each(|(samples, seen)| samples.push(seen));
        }
    }
    samples
}
