//! Engines that take only so many jobs at once, below agents with more slots than that.
//! In: an engine that works on each job until that one is let go. Out: which worker has which job, and which waits for anybody.
//!
//! Nobody polls here: whatever begins has been told to.

use super::Engines;
use crate::dashboard;
use crate::outputs::BUCKET;
use crate::outputs::agent::{borrowed, bucket_of};
use crate::support::proxy::{Fault, FaultProxy};
use crate::support::s3::S3Server;
use crate::support::{Agent, Queue, RedisServer, cli, until};
use serde_json::{Value, json};

/// Works on each job until the file of its name is there; `all` lets everything go.
const PATIENT: &str = r#"#!/usr/bin/env python3
import os
from gpu_worker_connector import serve

HERE = os.path.dirname(os.path.abspath(__file__))

def run(job):
    names = [os.path.join(HERE, name + ".go") for name in ("all", job.payload["name"])]
    while not any(os.path.exists(name) for name in names):
        job.sleep(0.01)

serve(run, services=["patient"], concurrency=1)
"#;

/// Is done with each job at once, and has a file to be stored.
const QUICK: &str = r#"#!/usr/bin/env python3
import os
from gpu_worker_connector import serve

HERE = os.path.dirname(os.path.abspath(__file__))

def run(job):
    open(os.path.join(HERE, job.payload["name"] + ".began"), "w").close()
    job.output("a.txt").write_text("a")

serve(run, services=["patient"], concurrency=1)
"#;

const NO_POLLING: (&str, &str) = ("POLL_INTERVAL_MS", "600000");

struct Scene {
    server: RedisServer,
    queue: Queue,
    engines: Engines,
}

impl Scene {
    async fn start(concurrency: usize) -> Self {
        let (server, engines) = (RedisServer::start().await, Engines::new());
        let queue = Queue::of(&server);
        let engine = PATIENT.replace("concurrency=1", &format!("concurrency={concurrency}"));
        std::fs::remove_file(engines.path("hello.py")).unwrap();
        engines.write("patient.py", &engine, 0o755);
        Self { server, queue, engines }
    }

    /// An agent with three workers, `NAME-0` to `NAME-2`, and these engines beside the files'.
    async fn agent(&self, name: &str, services: &str) -> Agent {
        self.agent_with(name, services, &[]).await
    }

    async fn agent_with(&self, name: &str, services: &str, more: &[(&str, &str)]) -> Agent {
        let dir = self.engines.folder.path().to_str().unwrap();
        let slots = [("CONNECTORS_DIR", dir), ("GPU_COUNT", "0"), ("CONCURRENT_JOBS", "3"), NO_POLLING];
        let page = [("WORKER_DASHBOARD_ENABLED", "true"), ("WORKER_DASHBOARD_PORT", "0")];
        let env = [&slots[..], &page, &[("SERVICES", services)], more].concat();
        let agent = Agent::spawn(&self.server, name, &env);
        for at in 0..3 {
            let worker = format!("{name}-{at}");
            agent.registered(&self.server, &worker).await;
            until("it offers the engine", || async {
                let record = self.server.hget(&format!("worker:{worker}"), "capabilities").await?;
                record.contains("patient").then_some(())
            })
            .await;
        }
        agent
    }

    async fn submit(&self, name: &str) -> String {
        self.queue.submit(json!({ "service_required": "patient", "payload": { "name": name } })).await
    }

    fn let_go(&self, name: &str) {
        self.engines.write(&format!("{name}.go"), "", 0o644);
    }

    async fn statuses(&self, ids: &[String]) -> Vec<String> {
        let mut statuses = Vec::new();
        for id in ids {
            statuses.push(self.queue.field(id, "status").await);
        }
        statuses
    }

    /// Waits until so many of these are at work, and answers whose they are. The others have not been claimed by anybody.
    async fn at_work(&self, ids: &[String], count: usize) -> Vec<String> {
        until(&format!("{count} of {ids:?} are at work"), || async {
            let mut workers = Vec::new();
            for id in ids {
                let job = self.queue.job(id).await;
                match job["status"].as_str() {
                    "in_progress" => workers.push(job["worker_id"].clone()),
                    "pending" => assert!(job.get("attempt").is_none_or(|n| n == "0"), "{id} was claimed: {job:?}"),
                    _ => {}
                }
            }
            assert!(workers.len() <= count, "too many are at work: {workers:?}");
            (workers.len() == count).then_some(workers)
        })
        .await
    }

    /// Whoever would claim what nobody has room for has had every reason and the time to do so: one job after the other has
    /// gone through all of this agent's idle workers.
    async fn others_have_asked(&self) {
        for _ in 0..6 {
            let id = self.simulated().await;
            self.queue.reaches(&id, "completed").await;
        }
    }

    async fn simulated(&self) -> String {
        self.queue.submit(json!({ "service_required": "simulation", "payload": { "steps": 1, "step_ms": 0 } })).await
    }

    /// All end well, at the first attempt.
    async fn all_end(&self, ids: &[String]) {
        for id in ids {
            let job = self.queue.reaches(id, "completed").await;
            assert_eq!(job["attempt"], "1", "{job:?}");
            self.queue.ended_once(id).await;
        }
    }
}

#[tokio::test]
async fn a_job_that_an_engine_has_no_place_for_is_left_to_others() {
    let scene = Scene::start(1).await;
    let first = scene.agent("first", "").await;
    let ids = [scene.submit("a").await, scene.submit("b").await, scene.submit("c").await];
    let workers = scene.at_work(&ids, 1).await;
    assert!(workers[0].starts_with("first-"), "{workers:?}\n{}", first.log());
    let at = dashboard::address(&first).await;
    let snapshot = async || serde_json::from_str::<Value>(&dashboard::get(at, "/api/snapshot").await.body).ok();
    until("the page says why the others are idle", || async {
        let snapshot = snapshot().await?;
        let mut states: Vec<_> = snapshot["slots"].as_array()?.iter().map(|slot| slot["state"].clone()).collect();
        states.sort_by_key(Value::to_string);
        let loops = snapshot["loops"].as_array()?.iter();
        let full = loops.filter(|beat| beat["doing"] == "waits for a place in patient");
        (states == ["engine_full", "engine_full", "running"] && full.count() == 2).then_some(())
    })
    .await;
    // Another machine has room for one of the others.
    let other = scene.agent("other", "").await;
    let mut workers = scene.at_work(&ids, 2).await;
    workers.sort();
    assert!(workers[0].starts_with("first-") && workers[1].starts_with("other-"), "{workers:?}\n{}", other.log());
    assert_eq!(scene.statuses(&ids).await.iter().filter(|status| *status == "pending").count(), 1);
    scene.let_go("all");
    scene.all_end(&ids).await;
}

#[tokio::test]
async fn a_worker_that_waits_for_a_place_in_its_engine_is_not_explained_as_free() {
    let scene = Scene::start(1).await;
    let _agent = scene.agent_with("first", "", &[("HEARTBEAT_INTERVAL_SECONDS", "0.1")]).await;
    let ids = [scene.submit("a").await, scene.submit("b").await];
    scene.at_work(&ids, 1).await;
    let mut waits = None;
    for id in &ids {
        waits = (scene.queue.field(id, "status").await == "pending").then_some(id).or(waits);
    }
    let waits = waits.unwrap();
    until("it is said of both idle workers", || async {
        let told = cli(&scene.server, &["explain", waits, "--json"]).await;
        let told: Value = serde_json::from_slice(&told.stdout).ok()?;
        let reasons = told["workers"].to_string();
        let full = reasons.matches("its engine has no place free now: patient").count();
        (full == 2 && told["state"].as_str()?.contains("3 fit, and none of them is free")).then_some(())
    })
    .await;
    scene.let_go("all");
    scene.all_end(&ids).await;
}

#[tokio::test]
async fn jobs_for_an_engine_with_room_are_claimed_at_once_beside_one_that_is_full() {
    let scene = Scene::start(1).await;
    let first = scene.agent("first", "simulation").await;
    let ids = [scene.submit("a").await, scene.submit("b").await, scene.submit("c").await];
    scene.at_work(&ids, 1).await;
    scene.others_have_asked().await;
    assert_eq!(scene.at_work(&ids, 1).await.len(), 1, "{}", first.log());
    let other = scene.agent("other", "").await;
    let mut workers = scene.at_work(&ids, 2).await;
    workers.sort();
    assert!(workers[1].starts_with("other-"), "{workers:?}\n{}", other.log());
    scene.let_go("all");
    scene.all_end(&ids).await;
}

#[tokio::test]
async fn a_place_that_becomes_free_is_taken_at_once_by_whichever_worker_can() {
    let scene = Scene::start(1).await;
    let agent = scene.agent("first", "simulation").await;
    let ids = [scene.submit("a").await, scene.submit("b").await, scene.submit("c").await];
    let first = scene.at_work(&ids, 1).await.remove(0);
    scene.others_have_asked().await;
    // The worker that has the place goes no further: another one takes it over, although nothing new comes.
    assert_eq!(cli(&scene.server, &["pause", &first]).await.status.code(), Some(0), "{}", agent.log());
    scene.let_go("a");
    scene.queue.reaches(&ids[0], "completed").await;
    let second = scene.at_work(&ids[1..], 1).await.remove(0);
    assert_ne!(first, second);
    // And this one goes on with the next by itself.
    scene.let_go("b");
    scene.queue.reaches(&ids[1], "completed").await;
    scene.at_work(&ids[2..], 1).await;
    scene.let_go("c");
    scene.all_end(&ids).await;
}

#[tokio::test]
async fn an_engine_for_two_has_two_side_by_side_and_the_third_waits_for_anybody() {
    let scene = Scene::start(2).await;
    let agent = scene.agent("first", "simulation").await;
    let ids = [scene.submit("a").await, scene.submit("b").await, scene.submit("c").await];
    let workers = scene.at_work(&ids, 2).await;
    assert_ne!(workers[0], workers[1]);
    scene.others_have_asked().await;
    assert_eq!(scene.at_work(&ids, 2).await, workers, "{}", agent.log());
    scene.let_go("a");
    scene.at_work(&ids[1..], 2).await;
    scene.let_go("all");
    scene.all_end(&ids).await;
}

#[tokio::test]
async fn an_engine_whose_file_says_another_number_has_as_many_places_from_then_on() {
    let scene = Scene::start(1).await;
    let agent = scene.agent("first", "").await;
    let ids = [scene.submit("a").await, scene.submit("b").await, scene.submit("c").await, scene.submit("d").await];
    scene.at_work(&ids, 1).await;
    scene.engines.replace("patient.py", &PATIENT.replace("concurrency=1", "concurrency=2"), 0o755);
    agent.logged("its file has changed").await;
    scene.let_go("a");
    scene.queue.reaches(&ids[0], "completed").await;
    scene.at_work(&ids[1..], 2).await;
    scene.let_go("all");
    scene.all_end(&ids).await;
}

#[tokio::test]
async fn a_job_that_a_restarted_agent_takes_up_has_its_place() {
    let scene = Scene::start(1).await;
    let mut agent = scene.agent("first", "simulation").await;
    let ids = [scene.submit("a").await, scene.submit("b").await];
    let worker = scene.at_work(&ids, 1).await;
    agent.child.kill().unwrap();
    agent.child.wait().unwrap();
    let again = scene.agent("first", "simulation").await;
    scene.others_have_asked().await;
    assert_eq!(scene.at_work(&ids, 1).await, worker, "{}", again.log());
    scene.let_go("all");
    scene.all_end(&ids).await;
}

#[tokio::test]
async fn workers_that_want_the_same_places_come_to_rest_when_there_is_nothing_to_do() {
    let scene = Scene::start(1).await;
    scene.engines.write("second.py", &PATIENT.replace("[\"patient\"]", "[\"second\"]"), 0o755);
    let agent = scene.agent("first", "").await;
    scene.let_go("all");
    let mut ids = Vec::new();
    for service in ["patient", "second", "patient", "second", "patient", "second"] {
        let job = json!({ "service_required": service, "payload": { "name": "a" } });
        ids.push(scene.queue.submit(job).await);
    }
    scene.all_end(&ids).await;
    let last = std::cell::Cell::new(0);
    until(&format!("all three wait, and go on waiting; log:\n{}", agent.log()), || async {
        let info: String = scene.server.run(&["INFO", "everything"]).await;
        let number = |name: &str| {
            let rest = info.split(name).nth(1).unwrap_or("0");
            rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u64>().unwrap_or(0)
        };
        let waits = number("cmdstat_blpop:calls=");
        (number("blocked_clients:") == 3 && last.replace(waits) == waits).then_some(())
    })
    .await;
    let job = json!({ "service_required": "second", "payload": { "name": "a" } });
    scene.all_end(&[scene.queue.submit(job).await]).await;
}

#[tokio::test]
async fn a_burst_goes_through_one_place_while_others_work_elsewhere() {
    let scene = Scene::start(1).await;
    let agent = scene.agent("first", "simulation").await;
    scene.let_go("all");
    let mut ids = Vec::new();
    for _ in 0..15 {
        ids.push(scene.submit("a").await);
        ids.push(scene.simulated().await);
    }
    scene.all_end(&ids).await;
    drop(agent);
}

#[tokio::test]
async fn while_a_file_is_stored_the_engine_has_the_next_job() {
    let (scene, bucket) = (Scene::start(1).await, S3Server::start(&[BUCKET]).await);
    scene.engines.write("patient.py", QUICK, 0o755);
    let proxy = FaultProxy::before(bucket.address).await;
    let _agent = scene.agent_with("first", "", &borrowed(&bucket_of(proxy.address()))).await;
    proxy.both(Fault::Stall);
    let first = scene.submit("a").await;
    let has_begun = async |name: &str| scene.engines.path(&format!("{name}.began")).exists().then_some(());
    until("the first one has begun", || has_begun("a")).await;
    let second = scene.submit("b").await;
    until("the second one has begun", || has_begun("b")).await;
    assert_eq!(scene.statuses(std::slice::from_ref(&first)).await, ["in_progress"], "its file has nowhere to go yet");
    proxy.heal().await;
    scene.all_end(&[first, second]).await;
}
