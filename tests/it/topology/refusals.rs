//! Every answer by which Redis refuses to serve, and every way to lose a connection without losing the server: one row each.
//! An agent with a job at work and an idle one live through it; the log tells it once at each end, or not at all.

use super::super::agent::{engine_by_hand, picture, quick};
use super::super::support::{Agent, Queue, RedisServer, until};
use super::agent_of;
use redis::aio::MultiplexedConnection;
use std::time::Duration;

const LOST: Told = Some(("Redis cannot be reached", "Redis is back"));
const REFUSED: Told = Some(("Redis refuses what the agent asks", "Redis takes what it refused before"));

/// What the log says when it begins and when it ends.
type Told = Option<(&'static str, &'static str)>;

/// What is wrong with Redis.
enum Fault {
    /// These commands do it, those mend it.
    Commands(&'static [&'static [&'static str]], &'static [&'static [&'static str]]),
    /// A script that runs until it is killed.
    LongScript,
    /// Its snapshots fail.
    SnapshotFails,
    /// It restarts and takes its time to read what it had.
    Loading,
}
use Fault::*;

/// One test a row: its name, the fault, what is told.
macro_rules! table {
    ($($name:ident: $fault:expr, $code:literal, $told:expr;)*) => {
        $(#[tokio::test]
        async fn $name() { live_through($fault, $code, $told).await; })*
    };
}

table! {
    a_master_that_becomes_a_replica: Commands(&[&["REPLICAOF", "127.0.0.1", "1"]], &[&["REPLICAOF", "NO", "ONE"]]),
        "replica", LOST;
    a_replica_that_serves_nothing: Commands(
            &[&["CONFIG", "SET", "replica-serve-stale-data", "no"], &["REPLICAOF", "127.0.0.1", "1"]],
            &[&["REPLICAOF", "NO", "ONE"]]),
        // A write is answered with READONLY even now, all else with MASTERDOWN.
        "replica", LOST;
    memory_that_is_full: Commands(&[&["CONFIG", "SET", "maxmemory", "1"]], &[&["CONFIG", "SET", "maxmemory", "0"]]),
        "OOM", REFUSED;
    replicas_that_are_missing: Commands(
            &[&["CONFIG", "SET", "min-replicas-to-write", "1"]], &[&["CONFIG", "SET", "min-replicas-to-write", "0"]]),
        "NOREPLICAS", REFUSED;
    a_disk_that_takes_no_snapshot: SnapshotFails, "MISCONF", REFUSED;
    a_script_that_does_not_end: LongScript, "BUSY", REFUSED;
    a_restart_that_takes_its_time: Loading, "", LOST;
    scripts_that_are_forgotten: Commands(&[&["SCRIPT", "FLUSH"]], &[]), "", None;
    answers_that_take_seconds: Commands(&[&["CLIENT", "PAUSE", "1500", "ALL"]], &[]), "", None;
    every_connection_is_closed: Commands(
            &[&["CLIENT", "KILL", "TYPE", "pubsub"], &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]], &[]),
        "", LOST;
}

async fn live_through(fault: Fault, code: &str, told: Told) {
    let mut server = RedisServer::start_durable().await;
    let engine = engine_by_hand().await;
    let busy = agent_of(&server.url, "busy", &engine, &[]).await;
    let idle = Agent::spawn_at(&server.url, "idle", &[]);
    idle.logged("\"registered\"").await;
    let id = Queue::of(&server).submit(picture()).await;
    engine.starving().await;

    let broken = fault.begin(&mut server).await;
    engine.step_by_hand(false);
    if let Some((begin, _)) = told {
        for agent in [&busy, &idle] {
            agent.logged(begin).await;
            agent.logged(code).await;
        }
    }
    // The engine ends while nothing can be handed in.
    until("the engine is done", || async { (engine.executions()[0].outcome == "success").then_some(()) }).await;
    fault.end(&mut server, broken).await;
    let queue = Queue::of(&server);
    let job = queue.reaches(&id, "completed").await;
    let after = queue.reaches(&queue.submit(quick()).await, "completed").await;

    assert_eq!((job["attempt"].as_str(), job["worker_id"].as_str()), ("1", "busy"));
    assert_eq!(engine.executions().len(), 1);
    assert_eq!(after["worker_id"], "idle");
    queue.ended_once(&id).await;
    for agent in [&busy, &idle] {
        let Some((begin, end)) = told else {
            let log = agent.log();
            assert!(!log.contains("Redis cannot") && !log.contains("Redis refuses"), "{log}");
            continue;
        };
        agent.logged(end).await;
        let count = |text: &str| agent.log().matches(text).count();
        assert_eq!((count(begin), count(end)), (1, 1), "{}", agent.log());
    }
}

impl Fault {
    /// Begins; answers what must stay open until it ends.
    async fn begin(&self, server: &mut RedisServer) -> Option<tokio::task::JoinHandle<()>> {
        match self {
            Commands(words, _) => all(&mut server.con, words).await,
            LongScript => {
                all(&mut server.con, &[&["CONFIG", "SET", "lua-time-limit", "20"]]).await;
                let client = redis::Client::open(server.url.as_str()).unwrap();
                let mut con = client.get_multiplexed_async_connection().await.unwrap();
                return Some(tokio::spawn(async move {
                    let mut script = redis::cmd("EVAL");
                    let _: redis::RedisResult<()> = script.arg("while true do end").arg(0).query_async(&mut con).await;
                }));
            }
            SnapshotFails => {
                // A folder where the file belongs.
                std::fs::create_dir(server.folder.path().join("dump.rdb")).unwrap();
                all(&mut server.con, &[&["CONFIG", "SET", "save", "3600 1"], &["BGSAVE"]]).await;
            }
            Loading => {
                // Redis looks at its clients after each 1024 commands that it reads back.
                let mut filler = redis::pipe();
                for _ in 0..5000 {
                    filler.cmd("INCR").arg("filler").ignore();
                }
                let () = filler.query_async(&mut server.con).await.unwrap();
                server.kill();
                server.settings.extend(["--key-load-delay", "300"].map(str::to_owned));
            }
        }
        None
    }

    async fn end(&self, server: &mut RedisServer, open: Option<tokio::task::JoinHandle<()>>) {
        match self {
            Commands(_, words) => all(&mut server.con, words).await,
            LongScript => all(&mut server.con, &[&["SCRIPT", "KILL"]]).await,
            SnapshotFails => {
                std::fs::remove_dir(server.folder.path().join("dump.rdb")).unwrap();
                // The one that failed may not be done with failing.
                until("a snapshot is made", || async {
                    let _: redis::RedisResult<()> = redis::cmd("BGSAVE").query_async(&mut server.con.clone()).await;
                    let info: String = server.run(&["INFO", "persistence"]).await;
                    info.contains("rdb_last_bgsave_status:ok").then_some(())
                })
                .await;
            }
            Loading => server.revive().await,
        }
        if let Some(open) = open {
            tokio::time::timeout(Duration::from_secs(10), open).await.unwrap().unwrap();
        }
    }
}

async fn all(con: &mut MultiplexedConnection, commands: &[&[&str]]) {
    for words in commands {
        redis::cmd(words[0])
            .arg(&words[1..])
            .exec_async(con)
            .await
            .unwrap_or_else(|error| panic!("{words:?}: {error}"));
    }
}

#[tokio::test]
async fn an_answer_from_before_the_loss_does_not_say_that_redis_is_back() {
    let server = RedisServer::start().await;
    let link = server.link();
    let (asked, answered) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
    let slow = link.call(async |_| {
        asked.notify_one();
        answered.notified().await;
        Ok(())
    });
    let quick = async {
        asked.notified().await;
        let lost = link.call(async |_| Err::<(), _>(std::io::Error::from(std::io::ErrorKind::BrokenPipe).into())).await;
        assert!(lost.is_err());
        answered.notify_one();
    };
    let (late, ()) = tokio::join!(slow, quick);
    late.unwrap();
    assert!(!link.standing().is_up && link.standing().away.is_some(), "{:?}", link.standing());
    link.call(async |con| gpu_worker::queue::link::ping(con).await).await.unwrap();
    assert!(link.standing().is_up && link.standing().away.is_none(), "{:?}", link.standing());
}
