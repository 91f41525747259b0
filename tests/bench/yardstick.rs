//! Bare Redis on the same server: what the figures are judged beside.
//! In: a stage. Out: microseconds of round trips, of the smallest script that pops a job, of a wake-up over BLPOP.

use crate::stage::{Stage, settle};
use crate::table::us;
use redis::Script;
use std::time::{Duration, Instant};

/// Round trips of PING.
pub async fn ping(stage: &Stage, count: usize) -> Vec<f64> {
    let mut samples = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        let () = stage.ask(&redis::cmd("PING")).await;
        samples.push(us(began.elapsed()));
    }
    samples
}

/// The least that a queue with state and an event log can do: pop, write the state, append an event.
pub fn pop_script() -> Script {
    Script::new(
        "local id = redis.call('ZPOPMIN', KEYS[1])[1]
         redis.call('HSET', 'bare:' .. id, 'status', 'assigned', 'worker_id', ARGV[1])
         redis.call('XADD', 'bare:events:' .. id, '*', 'type', 'assigned', 'worker_id', ARGV[1])
         return id",
    )
}

/// That script: time on the server, round trip.
pub async fn pop(stage: &Stage, count: usize) -> (Vec<f64>, Vec<f64>) {
    let script = pop_script();
    let mut pipe = redis::pipe();
    for at in 0..count {
        pipe.cmd("ZADD").arg("bare:queue").arg(at).arg(format!("bare-{at}")).ignore();
        pipe.cmd("HSET").arg(format!("bare:bare-{at}")).arg("status").arg("pending").ignore();
    }
    let mut con = stage.con.clone();
    pipe.exec_async(&mut con).await.expect("bare jobs");
    let (mut server, mut round_trip) = (Vec::new(), Vec::new());
    for at in 0..count {
        let before = stage.script_time().await;
        let began = Instant::now();
        let _: String = script.key("bare:queue").arg("w").invoke_async(&mut con).await.expect("a bare job");
        round_trip.push(us(began.elapsed()));
        let after = stage.script_time().await;
        // The first call loads the script.
        if at > 0 {
            server.push(after - before);
        }
    }
    (server, round_trip)
}

/// A push that wakes a waiter, which pushes back: two wake-ups, nothing else. With a rest before each, because waking
/// what has slept for a while takes longer.
pub async fn ping_pong(stage: &Stage, count: usize, rest: Duration) -> Vec<f64> {
    let url = stage.server.url.clone();
    // A thread of its own, as another process would be.
    let partner = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let link = gpu_worker::queue::link::Link::new(&url, "").expect("the URL is good");
            let mut con = link.dedicated().await.expect("a connection");
            loop {
                let ball: (String, String) =
                    redis::cmd("BLPOP").arg("bare:ping").arg(0).query_async(&mut con).await.expect("a ball");
                if ball.1 == "end" {
                    return;
                }
                redis::cmd("RPUSH").arg("bare:pong").arg(ball.1).exec_async(&mut con).await.expect("back");
            }
        });
    });
    let mut samples = Vec::with_capacity(count);
    for _ in 0..count {
        settle(rest).await;
        let began = Instant::now();
        let _: u64 = stage.ask(redis::cmd("RPUSH").arg("bare:ping").arg("x")).await;
        let _: (String, String) = stage.ask(redis::cmd("BLPOP").arg("bare:pong").arg(0)).await;
        samples.push(us(began.elapsed()));
    }
    let _: u64 = stage.ask(redis::cmd("RPUSH").arg("bare:ping").arg("end")).await;
    let _ = partner.join();
    samples
}
