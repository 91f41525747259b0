//! Redis gone for longer than the leases last, under running jobs: none is lost, none runs twice, claims go on at once.
//! In: how many jobs run, for how long Redis is away, and in which way. Out: a verdict, and how soon work went on.
//!
//! ```text
//!   every engine at work ─▶ Redis gone ─▶ half of the engines end ─▶ Redis back, as many jobs more ─▶ the others end
//! ```

use super::plan::{Dice, graph};
use crate::support::proxy::{Door, FaultProxy};
use crate::support::{Agent, PATIENCE, Queue, RedisServer};
use gpu_worker::protocol::event::Event;
use serde_json::json;
use stand_ins::comfyui::{Options, StandIn};
use std::fmt;
use std::time::{Duration, Instant};

/// How Redis goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Killed, and started again with what it had on disk.
    Killed,
    /// It lives, and the wire to it is dead without a word; connections of before never work again.
    Unreachable,
}

/// An outage. Jobs are shared out among the agents, each with as many engines as it has jobs.
pub struct Outage {
    pub jobs: usize,
    pub agents: usize,
    pub away: Duration,
    /// Shorter than that, and longer than a loaded machine holds up an agent.
    pub lease: Duration,
    pub gone: Gone,
}

/// What it showed.
pub struct Verdict {
    pub figures: Vec<(&'static str, u64)>,
    pub faults: Vec<String>,
}

/// Ends of jobs are waited for as long as any is still missing and something moves.
const SILENCE: Duration = Duration::from_secs(60);

impl Outage {
    /// Plays it. Everything that it started is gone when it returns.
    pub async fn run(&self) -> Verdict {
        let mut server = RedisServer::start_durable().await;
        let mut queue = Queue::of(&server);
        let proxy = FaultProxy::before(server.address()).await;
        let url = format!("redis://{}/", proxy.address());
        let (mut engines, mut agents) = (Vec::new(), Vec::new());
        for number in 0..self.agents {
            let share = (self.jobs + self.agents - 1 - number) / self.agents;
            let own = start_engines(share).await;
            agents.push(self.agent(&url, &format!("outage-{number}"), &own));
            engines.extend(own);
        }
        let mut dice = Dice(1);
        let first = submit(&queue, 0..self.jobs, &mut dice).await;
        for engine in &engines {
            tokio::time::timeout(PATIENCE * 2, engine.starving()).await.expect("every engine is at work");
        }
        // One that has nothing to do when Redis goes.
        let spare = start_engines(1).await;
        agents.push(self.agent(&url, "outage-spare", &spare));
        agents[self.agents].registered(&server, "outage-spare").await;
        engines.extend(spare);

        match self.gone {
            Gone::Killed => server.kill(),
            Gone::Unreachable => {
                proxy.door(Door::Deaf).await;
                proxy.strand();
            }
        }
        let (ending, going_on): (Vec<_>, Vec<_>) = engines.iter().enumerate().partition(|(at, _)| at % 2 == 0);
        for (_, engine) in ending {
            engine.step_by_hand(false);
        }
        tokio::time::sleep(self.away).await;
        match self.gone {
            Gone::Killed => server.revive().await,
            Gone::Unreachable => proxy.heal().await,
        }
        let back: (u64, u64) = server.run(&["TIME"]).await;
        let back = back.0 * 1000 + back.1 / 1000;
        if self.gone == Gone::Killed {
            queue = Queue::of(&server);
        }
        engines[self.jobs].step_by_hand(false);
        let more = submit(&queue, self.jobs..self.jobs + self.jobs / 2, &mut dice).await;
        all_end(&server, self.jobs.div_ceil(2) + more.len()).await;
        for (_, engine) in going_on {
            engine.step_by_hand(false);
        }
        all_end(&server, first.len() + more.len()).await;

        let mut verdict = Verdict { figures: Vec::new(), faults: Vec::new() };
        let (mut claims, mut hand_ins) = (Vec::new(), Vec::new());
        for id in first.iter().chain(&more) {
            let log = Log::of(&queue, id).await;
            verdict.faults.extend(log.fault());
            claims.extend(log.at("assigned").filter(|_| more.contains(id)));
            hand_ins.extend(log.at("completion").filter(|_| first.contains(id)));
        }
        let runs: Vec<_> = engines.iter().flat_map(StandIn::executions).collect();
        if runs.len() != first.len() + more.len() || runs.iter().any(|run| run.outcome != "success") {
            verdict.faults.push(format!("{} runs of engines for {} jobs", runs.len(), first.len() + more.len()));
        }
        let told = agents.iter().filter(|agent| agent.log().matches("Redis cannot be reached").count() == 1).count();
        if told != agents.len() {
            verdict.faults.push(format!("{told} of {} agents told the outage once", agents.len()));
        }
        hand_ins.sort_unstable();
        let since = |at: Option<&u64>| at.map_or(u64::MAX, |at| at.saturating_sub(back));
        verdict.figures = vec![
            ("jobs at work when Redis went", first.len() as u64),
            ("agents, one of them idle", agents.len() as u64),
            ("away, ms", self.away.as_millis() as u64),
            ("  with leases of, ms", self.lease.as_millis() as u64),
            ("jobs submitted at its return", more.len() as u64),
            ("from its return to the first claim, ms", since(claims.iter().min())),
            ("  to the last claim", since(claims.iter().max())),
            ("  until all that had ended is handed in", since(hand_ins.get(first.len().div_ceil(2) - 1))),
            ("runs of engines", runs.len() as u64),
        ];
        verdict
    }

    /// One slot for each engine.
    fn agent(&self, redis_url: &str, worker: &str, engines: &[StandIn]) -> Agent {
        let urls: Vec<String> = engines.iter().map(StandIn::url).collect();
        let env = [
            ("SERVICES", "comfyui"),
            ("COMFYUI_URL", &urls.join(",")),
            ("GPU_COUNT", "0"),
            ("LEASE_SECONDS", &self.lease.as_secs().to_string()),
            ("REFERENCE_EVENTS", "false"),
        ];
        Agent::spawn_at(redis_url, worker, &env)
    }
}

async fn start_engines(count: usize) -> Vec<StandIn> {
    let mut engines = Vec::new();
    for _ in 0..count {
        let engine = StandIn::start(Options::default()).await.expect("an engine");
        engine.step_by_hand(true);
        engines.push(engine);
    }
    engines
}

async fn submit(queue: &Queue, numbers: std::ops::Range<usize>, dice: &mut Dice) -> Vec<String> {
    let mut ids = Vec::new();
    for number in numbers {
        let workflow = graph(number as u64, dice);
        ids.push(queue.submit(json!({"type": "comfyui", "payload": {"workflow": workflow}})).await);
    }
    ids
}

/// Waits until so many jobs have ended, or nothing ends any more.
async fn all_end(server: &RedisServer, count: usize) {
    let (mut ended, mut since) = (0, Instant::now());
    let mut pulse = tokio::time::interval(Duration::from_millis(20));
    while ended < count && since.elapsed() < SILENCE {
        pulse.tick().await;
        let now: usize = server.run(&["ZCARD", "jobs:finished"]).await;
        if now != ended {
            (ended, since) = (now, Instant::now());
        }
    }
}

/// What became of one job: the kinds of its events, and when Redis wrote them.
struct Log {
    id: String,
    status: String,
    attempt: String,
    events: Vec<(String, u64)>,
}

impl Log {
    async fn of(queue: &Queue, id: &str) -> Self {
        let at = |event: &Event| event.id.split('-').next().and_then(|ms| ms.parse().ok()).unwrap_or_default();
        let events = queue.events(id).await.iter().map(|event| (event.kind().to_owned(), at(event))).collect();
        let (status, attempt) = (queue.field(id, "status").await, queue.field(id, "attempt").await);
        Self { id: id.to_owned(), status, attempt, events }
    }

    fn at(&self, kind: &str) -> Option<u64> {
        self.events.iter().find(|event| event.0 == kind).map(|event| event.1)
    }

    fn fault(&self) -> Option<String> {
        let ends = self.events.iter().filter(|event| event.0 == "completion").count();
        let is_last = self.events.last().is_some_and(|event| event.0 == "completion");
        let sound = self.status == "completed" && self.attempt == "1" && ends == 1 && is_last;
        (!sound).then(|| format!("{} is {} on attempt {}: {:?}", self.id, self.status, self.attempt, self.events))
    }
}

impl Verdict {
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.figures {
            writeln!(f, "  {name:<44} {value:>8}")?;
        }
        for fault in &self.faults {
            writeln!(f, "  {fault}")?;
        }
        write!(f, "{}", if self.is_sound() { "none lost, none run twice" } else { "broken" })
    }
}
