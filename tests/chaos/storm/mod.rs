//! The kill storm: agents on a real Redis are killed by SIGKILL every 50 to 500 ms while their engines go on.
//! In: a plan. Out: a report. Everything that it started is gone when it returns.
//! Event logs are read at the end and live for an hour after a job's: a storm has to be shorter than that.

pub mod broken;
mod fleet;
mod gather;
mod history;
pub mod plan;
pub mod record;
mod report;

use crate::support::{Queue, RedisServer};
use fleet::Fleet;
use gpu_worker::queue::client::{self, JobRequest};
use plan::{Dice, Plan, graph};
use report::Report;
use stand_ins::comfyui::StandIn;
use std::time::{Duration, Instant};

/// A queue in which no job ends for so long is stuck: many leases, and the pause before a retry.
const SILENCE: Duration = Duration::from_secs(60);

/// Lets it storm, waits until every job has ended or nothing ends any more, and checks.
pub async fn run(plan: &Plan) -> Report {
    let began = Instant::now();
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut fleet = Fleet::start(&server.url, root.path(), plan.agents).await;
    let mut jobs = Jobs { queue: &queue, ids: Vec::new(), dice: Dice(plan.seed) };
    let mut dice = Dice(!plan.seed);
    jobs.submit_up_to(plan.submitted_after(0)).await;
    while fleet.kills < plan.kills {
        tokio::time::sleep(Duration::from_millis(dice.between(50, 500))).await;
        fleet.tend();
        fleet.kill_one(&mut dice);
        jobs.submit_up_to(plan.submitted_after(fleet.kills)).await;
    }
    jobs.submit_up_to(plan.jobs).await;
    calm(&server, &mut fleet, plan.jobs).await;
    let ids = jobs.ids;
    report(&server, &queue, fleet, &ids, root, began).await
}

/// Jobs as they are handed in.
struct Jobs<'a> {
    queue: &'a Queue,
    ids: Vec<String>,
    dice: Dice,
}

impl Jobs<'_> {
    async fn submit_up_to(&mut self, count: u64) {
        for number in self.ids.len() as u64..count {
            let body = graph(number, &mut self.dice);
            let request = JobRequest::from_json(&body).expect("a job");
            let request = JobRequest { id: Some(format!("job-{number:06}")), ..request };
            let Queue { link, space } = self.queue;
            self.ids.push(client::submit(link, space, &request, 1 << 20).await.expect("an accepted job"));
        }
    }
}

/// Waits for the ends of the jobs, with every agent back at its post.
async fn calm(server: &RedisServer, fleet: &mut Fleet, jobs: u64) {
    let (mut ended, mut since) = (0, Instant::now());
    let mut pulse = tokio::time::interval(Duration::from_millis(50));
    while ended < jobs && since.elapsed() < SILENCE {
        pulse.tick().await;
        fleet.tend();
        let completed: u64 = server.run(&["ZCARD", "jobs:finished"]).await;
        let dead: u64 = server.run(&["ZCARD", "jobs:dead"]).await;
        if completed + dead != ended {
            (ended, since) = (completed + dead, Instant::now());
        }
    }
}

async fn report(
    server: &RedisServer,
    queue: &Queue,
    fleet: Fleet,
    ids: &[String],
    root: tempfile::TempDir,
    began: Instant,
) -> Report {
    let took = began.elapsed();
    let leftovers = gather::leftovers(server).await;
    let mut histories = Vec::new();
    for id in ids {
        histories.push(gather::history(queue, id).await);
    }
    let findings = history::check(ids, &histories, &leftovers);
    let events = gather::counts(&histories);
    let events = |kind: &str| events.get(kind).copied().unwrap_or_default() as u64;
    let executions: Vec<_> = fleet.engines.iter().flat_map(StandIn::executions).collect();
    let whole = executions.iter().filter(|execution| execution.outcome == "success").count() as u64;
    let figures = vec![
        ("jobs", ids.len() as u64),
        ("agents", fleet.engines.len() as u64),
        ("kills", fleet.kills),
        ("  of which away for longer than a lease", fleet.long_absences),
        ("agents that ended by themselves", fleet.own_ends),
        ("claims", events("assigned")),
        ("reattached", events("reattached")),
        ("leases that ran out", events("stalled")),
        ("failures charged and tried again", events("retry_scheduled")),
        ("prompts that engines began", executions.len() as u64),
        ("  of which ran to their end", whole),
        ("  of which repeat a job (ran, less jobs)", whole.saturating_sub(ids.len() as u64)),
    ];
    let own_ends = fleet.own_ends;
    drop(fleet);
    let mut report = Report { figures, findings, own_ends, took, kept: None };
    if !report.is_sound() {
        report.kept = Some(root.keep());
    }
    report
}
