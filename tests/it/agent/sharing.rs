//! Several workers, several engines: who gets a job, and how soon it is noticed.

use super::super::support::{Agent, Queue, RedisServer, cli, free_port, until};
use super::{endless, picture, quick};
use serde_json::{Value, json};
use stand_ins::comfyui::{Options, serve};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn two_jobs_at_once_are_two_workers_side_by_side() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let agent = Agent::spawn(&server, "pair", &[("CONCURRENT_JOBS", "2")]);
    agent.registered(&server, "pair-0").await;
    agent.registered(&server, "pair-1").await;
    let ids = [queue.submit(endless()).await, queue.submit(endless()).await];
    let mut workers = Vec::new();
    for id in &ids {
        workers.push(queue.reaches(id, "in_progress").await["worker_id"].clone());
    }
    workers.sort();
    assert_eq!(workers, ["pair-0", "pair-1"]);
    for id in &ids {
        assert_eq!(queue.field(id, "status").await, "in_progress", "side by side");
        assert_eq!(cli(&server, &["cancel", id]).await.status.code(), Some(0));
        queue.reaches(id, "cancelled").await;
    }
}

#[tokio::test]
async fn an_engine_that_comes_up_later_is_offered_then() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    for _ in 0..10 {
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let agent = Agent::start(&server, "patient", &[("SERVICES", "comfyui"), ("COMFYUI_URL", &url)]).await;
        agent.logged("nothing answers at").await;
        let record = server.hget("worker:patient", "capabilities").await.unwrap();
        let record: Value = serde_json::from_str(&record).unwrap();
        assert_eq!(record["services"], json!([]), "{record}");
        let id = queue.submit(picture()).await;
        let Ok(listener) = tokio::net::TcpListener::bind(("127.0.0.1", port)).await else { continue };
        let stop = CancellationToken::new();
        let engine = tokio::spawn(serve(listener, Options::default(), stop.clone()));
        let job = queue.reaches(&id, "completed").await;
        assert_eq!(job["attempt"], "1", "never claimed while the engine was down");
        until("the service is offered", || async {
            let record = server.hget("worker:patient", "capabilities").await?;
            record.contains(r#""services":["comfyui"]"#).then_some(())
        })
        .await;
        stop.cancel();
        engine.await.unwrap().unwrap();
        return;
    }
    panic!("no port stays free");
}

#[tokio::test]
async fn an_idle_agent_is_woken_by_what_it_hears() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    // Ten minutes: only hints can start these jobs within the test's patience.
    let _agent = Agent::start(&server, "dozing", &[("POLL_INTERVAL_MS", "600000")]).await;
    for kind in ["a class unknown so far", "a class known by now", "one more of that class"] {
        let id = queue.submit(quick()).await;
        assert_eq!(queue.reaches(&id, "completed").await["attempt"], "1", "{kind}");
    }
    let mut other_class = quick();
    other_class["requirements"] = json!({"timeout_minutes": 5});
    queue.reaches(&queue.submit(other_class).await, "completed").await;
    // A retry is due, and nobody says so.
    let failing =
        json!({"type": "simulation", "payload": {"steps": 1, "step_ms": 1, "fail_at_step": 0, "fail_attempts": 1}});
    queue.reaches(&queue.submit(failing).await, "completed").await;
    // The reference's producers write by hand and publish, or do not.
    for (id, hint) in [("by-hand-with-hint", true), ("by-hand-without-hint", false)] {
        let key = format!("job:{id}");
        let fields = ["HSET", &key, "id", id, "service_required", "simulation", "payload", "{}", "status", "pending"];
        let _: u64 = server.run(&[&fields[..], &["created_at", "2026-01-02T03:04:05.678Z"]].concat()).await;
        let _: u64 = server.run(&["ZADD", "jobs:pending", "49999998232676755", id]).await;
        if hint {
            let _: u64 = server.run(&["PUBLISH", "job_submitted", &format!(r#"{{"job_id":"{id}"}}"#)]).await;
        }
        queue.reaches(id, "completed").await;
    }
}

#[tokio::test]
async fn one_job_before_five_idle_agents_is_claimed_once() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let names = ["five-a", "five-b", "five-c", "five-d", "five-e"];
    let agents: Vec<Agent> = names.iter().map(|name| Agent::spawn(&server, name, &[])).collect();
    for agent in &agents {
        agent.registered(&server, &agent.worker).await;
    }
    let ids: Vec<String> = futures_util::future::join_all((0..10).map(|_| queue.submit(quick()))).await;
    for id in &ids {
        let job = queue.reaches(id, "completed").await;
        assert_eq!(job["attempt"], "1");
        let kinds = queue.kinds(id).await;
        assert_eq!(kinds.iter().filter(|kind| *kind == "assigned").count(), 1, "{kinds:?}");
        queue.ended_once(id).await;
        let claims: usize = agents.iter().map(|agent| agent.log().matches(id.as_str()).count().min(1)).sum();
        assert_eq!(claims, 1, "one agent only has heard of {id}");
    }
}

#[tokio::test]
async fn a_failed_job_wakes_another_agent_than_the_one_that_failed_it() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let env = [("POLL_INTERVAL_MS", "600000"), ("RETRY_BACKOFF_MS", "3000")];
    let _agents = [Agent::start(&server, "left", &env).await, Agent::start(&server, "right", &env).await];
    // Both have seen the class and wait for it.
    queue.reaches(&queue.submit(quick()).await, "completed").await;
    let failing =
        json!({"type": "simulation", "payload": {"steps": 1, "step_ms": 1, "fail_at_step": 0, "fail_attempts": 1}});
    let id = queue.submit(failing).await;
    queue.reaches(&id, "completed").await;
    let events = queue.events(&id).await;
    let workers: Vec<_> =
        events.iter().filter(|event| event.kind() == "assigned").filter_map(|event| event.get("worker_id")).collect();
    assert_eq!(workers.len(), 2, "{workers:?}");
    assert_ne!(workers[0], workers[1]);
}

#[tokio::test]
async fn jobs_that_wait_for_another_worker_do_not_slow_the_others_of_their_class_here() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    // Ten minutes to the next poll, and four until the failed jobs may come back here.
    let env = [("POLL_INTERVAL_MS", "600000"), ("RETRY_BACKOFF_MS", "1")];
    let _shunned = Agent::start(&server, "shunned", &env).await;
    let mut failing = quick();
    failing["payload"]["fail_at_step"] = 0.into();
    failing["payload"]["fail_attempts"] = 1.into();
    failing["payload"]["failure"] = "daily_quota_exceeded".into();
    let mut left = Vec::new();
    for n in 0..12 {
        left.push(queue.submit(failing.clone()).await);
        let waits = || async {
            let due: Option<f64> = server.run(&["ZSCORE", "jobs:pending", &left[n]]).await;
            let token: u64 =
                server.run(&["LLEN", &format!("jobs:wake:{}", queue.field(&left[n], "class").await)]).await;
            (due.is_some() && token == 1).then_some(())
        };
        until("it waits for another worker, and its token, too", waits).await;
        let others = [queue.submit(quick()).await, queue.submit(quick()).await];
        for other in &others {
            assert_eq!(queue.reaches(other, "completed").await["worker_id"], "shunned", "behind {} jobs", n + 1);
        }
        assert_eq!(queue.field(&left[n], "status").await, "pending", "not for this worker yet");
    }
    let _heir = Agent::start(&server, "heir", &env).await;
    for id in &left {
        let job = queue.reaches(id, "completed").await;
        assert_eq!((job["worker_id"].as_str(), job["attempt"].as_str()), ("heir", "2"));
    }
}

#[tokio::test]
async fn a_worker_that_jobs_avoided_waits_for_the_class_again_once_these_are_gone() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    // Ten minutes to the next poll, and four until the failed job may come back here.
    let env = [("POLL_INTERVAL_MS", "600000"), ("RETRY_BACKOFF_MS", "1")];
    let _agent = Agent::start(&server, "forgiven", &env).await;
    let mut failing = quick();
    failing["payload"]["fail_at_step"] = 0.into();
    failing["payload"]["fail_attempts"] = 1.into();
    failing["payload"]["failure"] = "daily_quota_exceeded".into();
    let failed = queue.submit(failing).await;
    until("it stands by", || async {
        let class = queue.field(&failed, "class").await;
        let bystanders: Vec<String> = server.run(&["SMEMBERS", &format!("jobs:bystanders:{class}")]).await;
        (bystanders == ["forgiven"]).then_some(())
    })
    .await;
    assert_eq!(cli(&server, &["cancel", &failed]).await.status.code(), Some(0));
    queue.reaches(&failed, "cancelled").await;
    for _ in 0..3 {
        queue.reaches(&queue.submit(quick()).await, "completed").await;
    }
}

/// A class of the only agent, which has run a job of it and is blocked on its token by now.
async fn waited_for(server: &RedisServer, queue: &Queue) -> String {
    let done = queue.submit(quick()).await;
    let class = queue.reaches(&done, "completed").await["class"].clone();
    until("it waits", || async {
        let clients: String = server.run(&["CLIENT", "LIST"]).await;
        clients.lines().any(|line| line.contains(" flags=b ") && line.contains(" cmd=blpop ")).then_some(())
    })
    .await;
    class
}

#[tokio::test]
async fn the_token_of_a_class_outlives_a_claim_from_another_class() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let env = [("POLL_INTERVAL_MS", "600000"), ("RETRY_BACKOFF_MS", "60000")];
    let _agent = Agent::start(&server, "picky", &env).await;
    // It fails, is to be tried again much later, and hangs then.
    let mut other = endless();
    other["requirements"] = json!({"timeout_minutes": 9});
    other["payload"]["fail_at_step"] = 0.into();
    other["payload"]["fail_attempts"] = 1.into();
    let other = queue.submit(other).await;
    until("it is delayed", || async { server.run::<Option<f64>>(&["ZSCORE", "jobs:delayed", &other]).await }).await;
    let class = waited_for(&server, &queue).await;
    // At once due, so that the claim which the token of the one class brings about finds the job of the other.
    let script = "redis.call('HDEL', 'job:' .. ARGV[2], 'avoid') redis.call('ZADD', 'jobs:delayed', 1, ARGV[2]) \
        redis.call('RPUSH', 'jobs:wake:' .. ARGV[1], ARGV[1]) return 1";
    let _: u64 = server.run(&["EVAL", script, "0", &class, &other]).await;
    queue.reaches(&other, "in_progress").await;
    until("the token is back", || async {
        let left: u64 = server.run(&["LLEN", &format!("jobs:wake:{class}")]).await;
        (left == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_token_of_a_class_that_its_taker_no_longer_fits_goes_to_the_others() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let _agent = Agent::start(&server, "changed", &[("POLL_INTERVAL_MS", "600000")]).await;
    let class = waited_for(&server, &queue).await;
    // The class is no longer one of the agent's, which learns it with the claim that the token brings about.
    let script = "redis.call('HDEL', 'jobs:classes', ARGV[1]) redis.call('HSET', 'jobs:classes', '_v', 'new') \
        redis.call('RPUSH', 'jobs:wake:' .. ARGV[1], ARGV[1]) return 1";
    let _: u64 = server.run(&["EVAL", script, "0", &class]).await;
    until("the token is back", || async {
        let left: u64 = server.run(&["LLEN", &format!("jobs:wake:{class}")]).await;
        (left == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_engine_that_hangs_holds_up_neither_start_nor_the_other_engine() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let engine = stand_ins::comfyui::StandIn::start(Options::default()).await.unwrap();
    engine.freeze();
    let env = [("SERVICES", "comfyui,simulation"), ("COMFYUI_URL", &engine.url())];
    let agent = Agent::start(&server, "unimpressed", &env).await;
    let (waiting, simulated) = (queue.submit(picture()).await, queue.submit(quick()).await);
    queue.reaches(&simulated, "completed").await;
    assert_eq!(queue.field(&waiting, "status").await, "pending");
    engine.thaw();
    queue.reaches(&waiting, "completed").await;
    assert!(!agent.log().contains("ERROR"), "{}", agent.log());
}

#[tokio::test]
async fn what_is_said_while_nobody_listens_is_made_up_for() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    // Neither the poll nor the lease comes round within the test's patience.
    let env =
        [("POLL_INTERVAL_MS", "600000"), ("LEASE_SECONDS", "3600"), ("CONCURRENT_JOBS", "2"), ("MACHINE_ID", "ears")];
    let agent = Agent::spawn(&server, "deaf", &env);
    agent.registered(&server, "deaf-0").await;
    agent.registered(&server, "deaf-1").await;
    let running = queue.submit(endless()).await;
    queue.reaches(&running, "in_progress").await;
    let mut other_class = quick();
    other_class["requirements"] = json!({"timeout_minutes": 7});
    // The agent hears that its ears are gone, and rests before it opens new ones.
    // All progress is told, the other worker is blocked, and the agent listens: only what it hears can move it now.
    until("nothing more happens", || async {
        let told = queue.field(&running, "progress").await == "100";
        let clients: String = server.run(&["CLIENT", "LIST"]).await;
        let blocked = clients.lines().any(|line| line.contains(" flags=b ") && line.contains(" cmd=blpop "));
        // The last channel that it subscribes to.
        let (_, listeners): (String, u64) = server.run(&["PUBSUB", "NUMSUB", "machine:status:ears"]).await;
        (told && blocked && listeners > 0).then_some(())
    })
    .await;
    let killed: u64 = server.run(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    assert!(killed > 0);
    let asked = queue.link.call(async |con| queue.space.cancel(con, &running, "unheard").await).await.unwrap();
    assert!(matches!(asked, gpu_worker::protocol::operate::Cancelled::Requested { .. }));
    let born = queue.submit(other_class).await;
    queue.reaches(&born, "completed").await;
    queue.reaches(&running, "cancelled").await;
}
