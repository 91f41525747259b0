//! Redis back after an outage: from its first answer until an idle agent has claimed.
//! In: an agent that was idle when Redis was killed, frozen, or cut off without a word. Out: milliseconds.

use crate::stage::{NO_GPU, quick, see, settle};
use crate::support::proxy::{Door, FaultProxy};
use crate::support::{Agent, Queue, RedisServer, until};
use crate::table::{Table, us};
use std::time::{Duration, Instant};

const ROUNDS: u32 = 12;

#[derive(Clone, Copy)]
enum Gone {
    Killed,
    Frozen,
    HalfOpen,
}

/// Milliseconds: of a plain client that connects anew and asks PING, and until the agent's claim.
type Times = [Vec<f64>; 2];

pub async fn run(table: &mut Table) {
    // Side by side: most of it is waiting for outages to end.
    let long = [("POLL_INTERVAL_MS", "600000"), NO_GPU[0]];
    let (killed, frozen, half_open, patient) = tokio::join!(
        rounds(Gone::Killed, &NO_GPU),
        rounds(Gone::Frozen, &NO_GPU),
        rounds(Gone::HalfOpen, &NO_GPU),
        rounds(Gone::HalfOpen, &long),
    );
    let rows = [
        ("killed", killed),
        ("frozen (SIGSTOP)", frozen),
        ("out of reach, connections half-open", half_open),
        ("the same, POLL_INTERVAL_MS=600000", patient),
    ];
    for (what, [bare, claimed]) in rows {
        let bare = table.yardstick(&format!("{what}: a plain client connects and asks PING"), "ms", &bare);
        table.spread("  back until a waiting job is `assigned`", "ms", &claimed, Some(&bare));
    }
}

async fn rounds(gone: Gone, env: &[(&str, &str)]) -> Times {
    let mut server = RedisServer::start_durable().await;
    let proxy = FaultProxy::before(server.address()).await;
    let agent = Agent::spawn_at(&format!("redis://{}/", proxy.address()), "idle", env);
    agent.registered(&server, "idle").await;
    let mut times = Times::default();
    for round in 0..ROUNDS {
        is_idle(&server).await;
        match gone {
            Gone::Killed => server.kill(),
            Gone::Frozen => server.signal("STOP"),
            Gone::HalfOpen => {
                proxy.door(Door::Deaf).await;
                proxy.strand();
            }
        }
        // Two to five seconds and a half, so that the agent is met in every phase of its waiting.
        settle(Duration::from_millis(2000 + 3500 * u64::from(round) / u64::from(ROUNDS))).await;
        match gone {
            Gone::Killed => server.revive().await,
            Gone::Frozen => server.signal("CONT"),
            Gone::HalfOpen => proxy.heal().await,
        }
        let began = Instant::now();
        let plain = redis::Client::open(format!("redis://{}/", proxy.address())).expect("a client");
        let mut plain = plain.get_multiplexed_async_connection().await.expect("a connection");
        redis::cmd("PING").exec_async(&mut plain).await.expect("an answer");
        times[0].push(us(began.elapsed()) / 1000.0);
        let answered = Instant::now();
        let queue = Queue::of(&server);
        let id = queue.submit(quick()).await;
        let mut reader = queue.link.dedicated().await.expect("a connection");
        let [assigned] = see(&mut reader, &queue.space, &id, ["assigned"]).await;
        times[1].push(us(assigned.duration_since(answered)) / 1000.0);
        queue.reaches(&id, "completed").await;
    }
    times
}

/// Blocked on its tokens.
async fn is_idle(server: &RedisServer) {
    until("the agent is idle", || async {
        let clients: String = server.run(&["CLIENT", "LIST"]).await;
        clients.lines().any(|line| line.contains(" flags=b ") && line.contains(" cmd=blpop ")).then_some(())
    })
    .await;
}
