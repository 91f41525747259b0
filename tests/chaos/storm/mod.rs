//! The storm: agents on a real Redis are killed every 50 to 500 ms while their engines go on, and whatever else the plan
//! asks for goes wrong. In: a plan. Out: a report. Everything that it started is gone when it returns.
//! Event logs are read at the end and live for an hour after a job's: a storm has to be shorter than that.

pub mod broken;
mod fleet;
mod gather;
mod gust;
mod history;
mod jobs;
pub mod outage;
pub mod plan;
pub mod record;
mod repeats;
mod report;
mod theirs;

use crate::support::{Queue, RedisServer};
use fleet::Fleet;
#[allow(unused_imports, reason = "the tests take it for granted; `make chaos` looks first")]
pub use fleet::{NO_FAKETIME, faketime};
use gust::{Gusts, spare};
use history::Fault;
use jobs::Jobs;
use plan::{Plan, Trouble};
use record::Recorder;
pub use report::Report;
use stand_ins::comfyui::StandIn;
use std::time::{Duration, Instant};

/// A queue in which no job ends for so long is stuck: many leases, and the pause before a retry.
const SILENCE: Duration = Duration::from_secs(60);

/// Lets it storm, waits until every job has ended or nothing ends any more, and checks.
pub async fn run(plan: &Plan) -> Report {
    let began = Instant::now();
    let durable = plan.has(Trouble::Redis);
    let mut server = if durable { RedisServer::start_durable().await } else { RedisServer::start().await };
    spare(&server).await;
    let recorder = Recorder::start(&server.url, "").await;
    let queue = Queue::of(&server);
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut fleet = Fleet::start(&server.url, root.path(), plan).await;
    let worker = plan.has(Trouble::Foreign).then(|| theirs::Worker::start(&server.url, plan.seed ^ 0x7e1));
    let (mut jobs, mut gusts) = (Jobs::new(&queue, plan), Gusts::new(plan));
    loop {
        // A gust that finds every agent frozen or away kills none, and does not count.
        let done = if plan.has(Trouble::Kill) { fleet.kills } else { gusts.done };
        jobs.submit_up_to(&server, plan.submitted_after(done)).await;
        if done >= plan.kills {
            break;
        }
        gusts.pause().await;
        gusts.blow(&mut server, &mut fleet).await;
        jobs.cancel_one(&server).await;
        jobs.look(&server, 200).await;
    }
    let by_theirs = match worker {
        Some(worker) => worker.end().await,
        None => (0, 0),
    };
    calm(&server, &mut fleet, &mut jobs, plan.jobs).await;
    let leftovers = gather::leftovers(&server).await;
    let entries = recorder.finish().await;
    let took = began.elapsed();
    let mut summary = record::check(&entries);
    let mut histories = Vec::new();
    // The storm may have cut the other one's connection.
    let queue = Queue::of(&server);
    for id in &jobs.ids {
        histories.push(gather::history(&queue, id, jobs.cancelled.contains(id)).await);
    }
    for history in &histories {
        summary.work.extend(history.prompts.iter().map(|prompt| (prompt.clone(), history.id.clone())));
    }
    let mut findings = history::check(&jobs.ids, &histories, &leftovers);
    let executions: Vec<_> = fleet.engines.iter().flat_map(StandIn::executions).collect();
    let repeats = repeats::repeats(plan, &executions, &summary.work, &histories, summary.gaps);
    findings.extend(repeats.findings);
    findings.extend(summary.breaches.iter().map(|breach| history::Finding {
        fault: Fault::Broken(breach.wrong),
        id: breach.id.clone(),
        why: breach.why.clone(),
    }));
    let events = gather::counts(&histories);
    let events = |kind: &str| events.get(kind).copied().unwrap_or_default() as u64;
    let ended = |state: &str| histories.iter().filter(|history| history.status == state).count() as u64;
    let mut figures = vec![
        ("jobs", jobs.ids.len() as u64),
        ("  completed", ended("completed")),
        ("  cancelled", ended("cancelled")),
        ("agents", fleet.engines.len() as u64),
        ("kills", fleet.kills),
        ("  of which away for longer than a lease", fleet.long_absences),
        ("agents frozen for up to three leases", fleet.freezes),
        ("agents that ended by themselves", fleet.own_ends),
    ];
    figures.extend(gusts.counts);
    figures.extend([
        ("agents whose clock was an hour off", if plan.has(Trouble::Clock) { plan.agents.min(2) } else { 0 }),
        ("jobs that the reference's hub added", jobs.added_by_theirs),
        ("jobs that a reference worker completed", by_theirs.0),
        ("  and put back to be tried again", by_theirs.1),
        ("cancellations asked for", jobs.cancelled.len() as u64),
        ("  of which by the reference's hub", jobs.cancelled_by_theirs),
        ("writes recorded, as steps", summary.steps),
        ("  gaps in them", summary.gaps),
        ("tokens granted", summary.granted),
        ("  handed over to a restarted agent", summary.handed_over),
        ("  taken up again behind a lost lease", summary.taken_up),
        ("  handed back", summary.handed_back),
        ("  lost with their lease", summary.reaped),
        ("failures charged and tried again", events("retry_scheduled")),
        ("prompts that engines began", repeats.begun),
        ("  of which ran to their end", repeats.whole),
        ("  of which began in a gap of the record", repeats.unknown),
        ("  of which repeat a job", repeats.by_reason.values().sum()),
    ]);
    figures.extend(repeats.by_reason.iter().map(|(reason, count)| (*reason, *count)));
    let (own_ends, logs) = (fleet.own_ends, fleet.logs());
    drop(fleet);
    let mut report = Report { figures, findings, own_ends, took, logs, kept: None };
    if !report.is_sound() {
        let folder = root.keep();
        report.write_record(&entries, &summary, &folder);
        report.kept = Some(folder);
    }
    report
}

/// Waits for the ends of the jobs, with every agent back at its post.
async fn calm(server: &RedisServer, fleet: &mut Fleet, jobs: &mut Jobs<'_>, count: u64) {
    let (mut ended, mut since) = (0, Instant::now());
    let mut pulse = tokio::time::interval(Duration::from_millis(50));
    while ended < count && since.elapsed() < SILENCE {
        pulse.tick().await;
        fleet.tend();
        jobs.look(server, 200).await;
        let completed: u64 = server.run(&["ZCARD", "jobs:finished"]).await;
        let dead: u64 = server.run(&["ZCARD", "jobs:dead"]).await;
        if completed + dead != ended {
            (ended, since) = (completed + dead, Instant::now());
        }
    }
    jobs.look(server, usize::MAX).await;
}
