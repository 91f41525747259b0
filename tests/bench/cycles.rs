//! Full cycles: claim, start, run, complete, for an agent that has plenty to do.
//! In: jobs that take no time, all waiting before the agent starts. Out: jobs a second, for one slot and for eight.

use crate::stage::{Stage, quick};
use crate::support::Agent;
use crate::table::{Table, Yardstick};
use crate::yardstick::pop_script;
use redis::Script;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const JOBS: u64 = 2000;
const ROUNDS: u64 = 10;

pub async fn run(table: &mut Table) {
    let bare = bare(table).await;
    let step = json!({"service_required": "simulation", "payload": {"steps": 1, "step_ms": 0, "outputs": 0}});
    let file = json!({"service_required": "simulation", "payload": {"steps": 1, "step_ms": 0, "outputs": 1}});
    for slots in ["1", "8"] {
        for (job, what) in [(quick(), "no step"), (step.clone(), "one step"), (file.clone(), "one step and one file")] {
            let rate = cycles(&job, slots).await;
            table.single(&format!("cycles, {slots} slot(s), {what}"), "jobs/s", JOBS as usize, rate, Some(&bare));
        }
    }
}

async fn cycles(job: &Value, slots: &str) -> f64 {
    let stage = Stage::set().await;
    for _ in 0..JOBS {
        stage.submit(job.clone()).await;
    }
    let _agent = Agent::spawn(&stage.server, "busy", &[("GPU_COUNT", "0"), ("CONCURRENT_JOBS", slots)]);
    let mut first: Option<(Instant, u64)> = None;
    loop {
        let done: u64 = stage.ask(redis::cmd("ZCARD").arg("jobs:finished")).await;
        let now = Instant::now();
        // Start-up does not count.
        let (began, before) = match first {
            Some(first) => first,
            None if done > 0 => *first.insert((now, done)),
            None => (now, 0),
        };
        let spent = now.duration_since(began);
        // A slow one is not waited for to its end.
        if done >= JOBS || spent > Duration::from_secs(15) {
            return (done - before) as f64 / spent.as_secs_f64();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The same steps with the least scripts that keep state and an event log, one after the other over one connection.
async fn bare(table: &mut Table) -> Yardstick {
    let stage = Stage::set().await;
    let mut con = stage.con.clone();
    let mut pipe = redis::pipe();
    for at in 0..JOBS {
        pipe.cmd("ZADD").arg("bare:queue").arg(at).arg(format!("bare-{at}")).ignore();
        pipe.cmd("HSET").arg(format!("bare:bare-{at}")).arg("payload").arg("{}").ignore();
    }
    pipe.exec_async(&mut con).await.expect("bare jobs");
    let pop = pop_script();
    let set = Script::new(
        "redis.call('HSET', 'bare:' .. KEYS[1], 'status', ARGV[1])
         redis.call('XADD', 'bare:events:' .. KEYS[1], '*', 'type', ARGV[1])",
    );
    // Several rounds: one alone may meet a busy moment of the machine.
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for _ in 0..JOBS / ROUNDS {
            let id: String = pop.key("bare:queue").arg("w").invoke_async(&mut con).await.expect("a bare job");
            let _: redis::Value = stage.ask(redis::cmd("HGETALL").arg(format!("bare:{id}"))).await;
            for state in ["started", "completed"] {
                let () = set.key(&id).arg(state).invoke_async(&mut con).await.expect("a bare state");
            }
        }
        rates.push((JOBS / ROUNDS) as f64 / began.elapsed().as_secs_f64());
    }
    table.yardstick("pop, read, start, complete in bare scripts, one connection", "jobs/s", &rates)
}
