//! The master is replaced again and again under work, alive and dead, and agents are killed beside: no accepted job is lost.
//! In: a size and a seed. Out: a report of what the last master holds and of what the engines ran.
//!
//! Replication is asynchronous: a claim, a start or an end may be lost with a master. What was lost of a job that then ran
//! twice is its reason; a job that the replica had confirmed has to end once, whatever happened.

use super::fleet::Fleet;
use super::intake::Intake;
use super::masters::Masters;
use super::plan::{Dice, Plan, Trouble};
use super::repeats::repeats;
use super::{Report, SILENCE, gather, history};
use crate::support::{Queue, until};
use serde_json::Value;
use stand_ins::comfyui::StandIn;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub struct Failovers {
    pub jobs: u64,
    /// The first of a master that is killed, the second of a live one, and so on in turn.
    pub failovers: u64,
    pub kills: u64,
    pub agents: u64,
    pub seed: u64,
    pub sentinels: usize,
    /// Longer than a failover takes: what runs twice then does so because of what was lost.
    pub lease: Duration,
}

/// How far it is. Jobs and kills are dealt out evenly over the failovers.
#[derive(Default)]
struct Course {
    begun: Cell<u64>,
    over: Cell<bool>,
}

impl Failovers {
    /// The command that repeats it.
    pub fn command(&self) -> String {
        let Self { jobs, failovers, kills, agents, seed, .. } = self;
        format!(
            "make chaos SCENARIO=failover JOBS={jobs} FAILOVERS={failovers} KILLS={kills} AGENTS={agents} SEED={seed}"
        )
    }

    /// How many of these are due.
    fn share(&self, all: u64, course: &Course) -> u64 {
        if course.over.get() { all } else { all * course.begun.get() / self.failovers.max(1) }
    }

    /// Plays it. Everything that it started is gone when it returns.
    pub async fn run(&self) -> Report {
        let began = Instant::now();
        let mut masters = Masters::start(self.sentinels).await;
        let url = masters.url();
        let root = tempfile::tempdir().expect("a temporary folder");
        let Self { jobs, kills, agents, seed, .. } = *self;
        let plan = Plan { jobs, kills, agents, seed, troubles: [Trouble::Kill].into() };
        let mut fleet = Fleet::start(&url, root.path(), &plan, self.lease).await;
        let (intake, course) = (Intake::new(&url), Course::default());
        let work = Box::pin(async {
            tokio::join!(
                self.replace(&mut masters, &course),
                self.kill(&mut fleet, &course),
                intake.submit(jobs, seed, || self.share(jobs, &course)),
                intake.confirm(jobs),
            );
            self.calm(&mut masters, &mut fleet).await;
        });
        tokio::select! {
            () = work => {}
            () = Box::pin(intake.follow()) => {}
        }
        let took = began.elapsed();
        let (findings, figures) = Box::pin(self.judge(&plan, &mut masters, &fleet, &intake)).await;
        let (own_ends, logs) = (fleet.own_ends, fleet.logs());
        drop(fleet);
        let mut report = Report { figures, findings, own_ends, took, logs, kept: None, recorded: false };
        if !report.is_sound() {
            report.kept = Some(root.keep());
        }
        report
    }

    /// One failover after the other, each a moment after master and replica are in step.
    async fn replace(&self, masters: &mut Masters, course: &Course) {
        let mut dice = Dice(self.seed ^ 0xfa11);
        for number in 0..self.failovers {
            masters.in_step().await;
            course.begun.set(number + 1);
            tokio::time::sleep(Duration::from_millis(dice.between(300, 2000))).await;
            if number % 2 == 1 {
                masters.replace_alive().await;
            } else {
                masters.replace_dead(number % 8 == 6).await;
            }
        }
        course.over.set(true);
    }

    async fn kill(&self, fleet: &mut Fleet, course: &Course) {
        let mut dice = Dice(!self.seed);
        while !course.over.get() || fleet.kills < self.kills {
            fleet.tend();
            if fleet.kills < self.share(self.kills, course) {
                tokio::time::sleep(Duration::from_millis(dice.between(50, 1500))).await;
                fleet.kill_one(&mut dice);
            } else {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Waits until all jobs have ended on the last master, or nothing ends any more. The one before it may still take
    /// itself for the master, and ends that it alone was told do not count.
    async fn calm(&self, masters: &mut Masters, fleet: &mut Fleet) {
        let (mut ended, mut since) = (0, Instant::now());
        let mut pulse = tokio::time::interval(Duration::from_millis(100));
        while ended < self.jobs && since.elapsed() < SILENCE {
            pulse.tick().await;
            fleet.tend();
            let master = masters.master().await;
            let finished: u64 = master.run(&["ZCARD", "jobs:finished"]).await;
            let dead: u64 = master.run(&["ZCARD", "jobs:dead"]).await;
            if finished + dead != ended {
                (ended, since) = (finished + dead, Instant::now());
            }
        }
    }

    async fn judge(
        &self,
        plan: &Plan,
        masters: &mut Masters,
        fleet: &Fleet,
        intake: &Intake,
    ) -> (Vec<history::Finding>, Vec<(&'static str, u64)>) {
        let master = masters.master().await;
        let leftovers = gather::leftovers(master).await;
        let queue = Queue::of(master);
        let mut histories = Vec::new();
        let accepted = intake.accepted.borrow().clone();
        for id in &accepted {
            histories.push(gather::history(&queue, id, false).await);
        }
        let work = prompts(&fleet.engines).await;
        for history in &mut histories {
            history.resubmitted = intake.lost.borrow().contains(&history.id);
            let own = work.iter().filter(|(_, id)| **id == history.id);
            history.forgotten = own.filter(|(prompt, _)| !history.prompts.contains(prompt)).count();
        }
        let mut findings = history::check(&accepted, &histories, &leftovers);
        let executions: Vec<_> = fleet.engines.iter().flat_map(StandIn::executions).collect();
        let repeats = repeats(plan, &executions, &work, &histories, 0);
        findings.extend(repeats.findings);
        let events = gather::counts(&histories);
        let events = |kind: &str| events.get(kind).copied().unwrap_or_default() as u64;
        let told_again = told_again(&fleet.logs());
        let mut figures = vec![
            ("jobs accepted, on master and replica", accepted.len() as u64),
            ("  of which a master lost, submitted again", intake.lost.borrow().len() as u64),
            ("  times that no replica confirmed", intake.unanswered.get()),
            ("agents", plan.agents),
            ("failovers of a live master", masters.replaced_alive),
            ("failovers of a master that was killed", masters.replaced_dead),
            ("  that came back as a master", masters.came_back_as_master),
            ("failovers that nobody asked for", masters.unasked),
            ("kills of agents", fleet.kills),
            ("  of which away for longer than a lease", fleet.long_absences),
            ("agents that ended by themselves", fleet.own_ends),
            ("claims in the logs of jobs", events("assigned")),
            ("  reattached", events("reattached")),
            ("  lost with their lease", events("stalled")),
            ("  handed back", events("released")),
            ("times that an agent told a new master again", told_again.len() as u64),
            ("  ends that it had lost", told_again.iter().sum()),
            ("prompts that engines began", repeats.begun),
            ("  of which ran to their end", repeats.whole),
            ("  of which no log tells any more", histories.iter().map(|history| history.forgotten as u64).sum()),
            ("  of which repeat a job", repeats.by_reason.values().sum()),
        ];
        figures.extend(repeats.by_reason.iter().map(|(reason, count)| (*reason, *count)));
        (findings, figures)
    }
}

/// Which job each prompt was for, as the engines know it: the logs of jobs may have lost it.
async fn prompts(engines: &[StandIn]) -> BTreeMap<String, String> {
    // The client wants one, although nothing here is encrypted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut work = BTreeMap::new();
    for engine in engines {
        until("no engine works any more", || async {
            engine.executions().iter().all(|run| run.outcome != "running").then_some(())
        })
        .await;
        let answer = reqwest::get(format!("{}/history", engine.url())).await.expect("the engine answers");
        let entries: BTreeMap<String, Value> = answer.json().await.expect("a history");
        for (prompt, entry) in entries {
            let job = entry["prompt"][3]["gpu_worker"]["job_id"].as_str().unwrap_or_default();
            work.insert(prompt, job.to_owned());
        }
    }
    work
}

/// From the logs of agents: how many ends a new master learned anew, each time that it was told again.
fn told_again(logs: &[String]) -> Vec<u64> {
    let lines = logs.iter().flat_map(|log| log.lines());
    let read = lines.filter(|line| line.contains("told it again")).filter_map(|line| serde_json::from_str(line).ok());
    read.map(|line: Value| line["restored"].as_u64().or(line["fields"]["restored"].as_u64()).unwrap_or_default())
        .collect()
}
