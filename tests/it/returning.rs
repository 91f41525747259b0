//! The return of an agent: killed at work and started again, it takes up what it held; no GPU work is repeated.

use super::support::{Agent, Queue, RedisServer, cli, until};
use serde_json::{Value, json};
use stand_ins::comfyui::{Options, StandIn};
use std::time::Duration;

fn workflow() -> Value {
    json!({
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-pruned-emaonly.safetensors"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lighthouse", "clip": ["1", 1]}},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "4": {"class_type": "KSampler", "inputs": {"model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0],
              "latent_image": ["3", 0], "seed": 7, "steps": 100, "cfg": 7.0, "sampler_name": "euler",
              "scheduler": "normal", "denoise": 1.0}},
        "5": {"class_type": "VAEDecode", "inputs": {"samples": ["4", 0], "vae": ["1", 2]}},
        "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "returning"}},
    })
}

/// A stand-in whose sampler waits for the test, a Redis, and a job at work on an agent.
struct AtWork {
    server: RedisServer,
    engine: StandIn,
    agent: Agent,
    id: String,
}

async fn at_work() -> AtWork {
    at_work_on(RedisServer::start().await, None).await
}

async fn at_work_on(server: RedisServer, state_dir: Option<&str>) -> AtWork {
    let engine = StandIn::start(Options { step_time: Duration::from_millis(1), ..Options::default() }).await.unwrap();
    engine.step_by_hand(true);
    let url = engine.url();
    let mut env = env(&url).to_vec();
    env.extend(state_dir.map(|folder| ("STATE_DIR", folder)));
    let agent = Agent::start(&server, "w1", &env).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("graph.json");
    std::fs::write(&file, workflow().to_string()).unwrap();
    let output = cli(&server, &["submit", file.to_str().unwrap()]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let id = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    engine.starving().await;
    AtWork { server, engine, agent, id }
}

fn env(url: &str) -> [(&'static str, &str); 3] {
    [("SERVICES", "comfyui"), ("COMFYUI_URL", url), ("LEASE_SECONDS", "30")]
}

impl AtWork {
    async fn prompt(&self) -> String {
        self.server.hget(&format!("job:{}", self.id), "service_job_id").await.unwrap()
    }

    async fn completed(&self) {
        until("the job is completed", || async {
            let status = self.server.hget(&format!("job:{}", self.id), "status").await;
            (status.as_deref() == Some("completed")).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_prompt_that_runs_on_is_followed_and_ran_once() {
    let mut work = at_work().await;
    let prompt = work.prompt().await;

    work.agent.child.kill().unwrap();
    work.agent.child.wait().unwrap();
    let _again = Agent::start(&work.server, "w1", &env(&work.engine.url())).await;
    until("the job is taken over", || async {
        let claims: Vec<String> = work.server.run(&["HVALS", "jobs:active:w1"]).await;
        let token = work.server.hget(&format!("job:{}", work.id), "claim").await.unwrap();
        (claims.len() == 1 && !claims[0].contains("\"attempt\":2") && claims[0].contains(&token)).then_some(())
    })
    .await;
    work.engine.step_by_hand(false);
    work.completed().await;

    assert_eq!(work.prompt().await, prompt, "the same prompt, not another one");
    assert_eq!(work.engine.runs_of(&prompt), 1);
    assert_eq!(work.engine.executions().len(), 1);
    assert_eq!(work.server.hget(&format!("job:{}", work.id), "attempt").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn a_prompt_that_ended_meanwhile_is_collected() {
    let mut work = at_work().await;
    let prompt = work.prompt().await;

    work.agent.child.kill().unwrap();
    work.agent.child.wait().unwrap();
    work.engine.step_by_hand(false);
    until("the engine is done", || async { (work.engine.executions()[0].outcome == "success").then_some(()) }).await;
    let _again = Agent::start(&work.server, "w1", &env(&work.engine.url())).await;
    work.completed().await;

    assert_eq!(work.engine.executions().len(), 1);
    assert_eq!(work.engine.runs_of(&prompt), 1);
}

#[tokio::test]
async fn a_prompt_that_the_engine_lost_is_submitted_again() {
    let mut work = at_work().await;
    let prompt = work.prompt().await;

    work.agent.child.kill().unwrap();
    work.agent.child.wait().unwrap();
    work.engine.restart();
    work.engine.step_by_hand(false);
    let _again = Agent::start(&work.server, "w1", &env(&work.engine.url())).await;
    work.completed().await;

    assert_ne!(work.prompt().await, prompt);
    assert_eq!(work.server.hget(&format!("job:{}", work.id), "retry_count").await.as_deref(), Some("0"));
}

impl AtWork {
    /// The agent dies, and its lease runs out before it is back.
    async fn dies_and_loses_its_lease(&mut self) {
        self.agent.child.kill().unwrap();
        self.agent.child.wait().unwrap();
        let _: i64 = self.server.run(&["ZADD", "jobs:leases", "1", &self.id]).await;
        let done = self.server.space().tick(&mut self.server.con.clone(), 3_600_000, 3, &[]).await.unwrap();
        assert_eq!(done.reaped, 1);
    }

    async fn field(&self, name: &str) -> Option<String> {
        self.server.hget(&format!("job:{}", self.id), name).await
    }
}

#[tokio::test]
async fn a_prompt_whose_lease_ran_out_is_taken_back_if_nobody_else_has_the_job() {
    let mut work = at_work().await;
    let prompt = work.prompt().await;

    work.dies_and_loses_its_lease().await;
    assert_eq!(work.field("status").await.as_deref(), Some("pending"));
    work.engine.step_by_hand(false);
    let again = Agent::start(&work.server, "w1", &env(&work.engine.url())).await;
    work.completed().await;

    assert_eq!(work.prompt().await, prompt, "{}", again.log());
    assert_eq!(work.engine.executions().len(), 1);
    assert_eq!(work.field("attempt").await.as_deref(), Some("1"));
    let started: i64 = work.server.run(&["EXISTS", "jobs:started:w1"]).await;
    assert_eq!(started, 0);
}

#[tokio::test]
async fn a_prompt_whose_job_another_has_taken_is_stopped_and_the_other_completes_it() {
    let mut work = at_work().await;
    let prompt = work.prompt().await;

    work.dies_and_loses_its_lease().await;
    let elsewhere = StandIn::start(Options::default()).await.unwrap();
    elsewhere.step_by_hand(true);
    let _other = Agent::start(&work.server, "w2", &env(&elsewhere.url())).await;
    elsewhere.starving().await;
    let again = Agent::start(&work.server, "w1", &env(&work.engine.url())).await;
    // The sampler looks at interrupts between steps; there must be some left when the agent comes to look.
    let looks = std::cell::Cell::new(0);
    until("the earlier run is stopped", || async {
        looks.set(looks.get() + 1);
        if looks.get() % 40 == 0 {
            work.engine.allow_steps(1);
        }
        again.log().contains("stopped the engine's work of an earlier run").then_some(())
    })
    .await;
    let stopped: Vec<_> = work.engine.executions().into_iter().map(|run| (run.prompt_id, run.outcome)).collect();
    elsewhere.step_by_hand(false);
    work.completed().await;

    assert_eq!(stopped, [(prompt, "interrupted")]);
    assert_eq!(work.field("worker_id").await.as_deref(), Some("w2"));
    assert_eq!(elsewhere.executions().len(), 1);
    until("the start is forgotten", || async {
        let started: i64 = work.server.run(&["EXISTS", "jobs:started:w1"]).await;
        (started == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_newer_process_of_the_same_id_takes_the_work_over_while_the_older_one_lives() {
    let mut work = at_work().await;
    let prompt = work.prompt().await;

    let _newer = Agent::start(&work.server, "w1", &env(&work.engine.url())).await;
    let ended = work.agent.ended().await;
    work.engine.step_by_hand(false);
    work.completed().await;

    assert_eq!(ended, Some(0), "{}", work.agent.log());
    assert_eq!(work.prompt().await, prompt);
    assert_eq!(work.engine.executions().len(), 1, "the older process left the engine alone");
}

#[tokio::test]
async fn a_result_that_redis_did_not_take_survives_the_agents_death() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().to_str().unwrap();
    let mut work = at_work_on(RedisServer::start_durable().await, Some(folder)).await;

    work.server.kill();
    work.engine.step_by_hand(false);
    let is_entry = |file: &std::fs::DirEntry| file.path().extension().is_some_and(|name| name == "json");
    let kept = state.path().join("journal").join("w1");
    let files = || std::fs::read_dir(&kept).into_iter().flatten().flatten().filter(is_entry);
    until("the end of the job is on disk", || async { (files().count() == 1).then_some(()) }).await;
    work.agent.child.kill().unwrap();
    work.agent.child.wait().unwrap();
    // Nothing can be collected from the engine any more: only the journal knows the result.
    work.engine.kill().await;
    work.server.revive().await;
    let url = work.engine.url();
    let env = [env(&url).as_slice(), &[("STATE_DIR", folder)]].concat();
    let _again = Agent::start(&work.server, "w1", &env).await;
    work.completed().await;

    assert_eq!(work.engine.executions().len(), 1);
    let result = work.server.hget(&format!("job:{}", work.id), "result").await.unwrap();
    assert!(result.contains("returning"), "{result}");
    until("the journal is empty", || async { (files().count() == 0).then_some(()) }).await;
}

#[tokio::test]
async fn a_result_that_redis_refuses_for_a_while_is_kept_and_counts() {
    let state = tempfile::tempdir().unwrap();
    let work = at_work_on(RedisServer::start().await, Some(state.path().to_str().unwrap())).await;

    // What a Redis whose replicas are gone, whose disk is full or whose rights have changed answers to every write.
    let _: String = work.server.run(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    work.engine.step_by_hand(false);
    let kept = state.path().join("journal").join("w1");
    let journal = || std::fs::read_dir(&kept).map_or(0, Iterator::count);
    until("the end of the job is on disk", || async { (journal() > 0).then_some(()) }).await;
    let _: String = work.server.run(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
    work.completed().await;

    assert_eq!(work.engine.executions().len(), 1);
    assert_eq!(work.server.hget(&format!("job:{}", work.id), "attempt").await.as_deref(), Some("1"));
    assert_eq!(work.server.hget(&format!("job:{}", work.id), "stalled").await, None);
    until("the journal is empty", || async { (journal() == 0).then_some(()) }).await;
}

#[tokio::test]
async fn a_job_cancelled_while_its_agent_waits_for_the_engine_leaves_no_work_there() {
    let server = RedisServer::start().await;
    let options = Options { step_time: Duration::from_millis(60), ..Options::default() };
    let engine = StandIn::start(options).await.unwrap();
    let url = engine.url();
    let mut agent = Agent::start(&server, "w1", &env(&url)).await;
    let queue = Queue::of(&server);
    let mut long = workflow();
    long["4"]["inputs"]["steps"] = 1000.into();
    let id = queue.submit(json!({"type": "comfyui", "payload": {"workflow": long}})).await;
    until("the engine is at work", || async { (!engine.executions().is_empty()).then_some(()) }).await;
    agent.signal("KILL");
    agent.ended().await;

    // It does its work and hears orders, but it never says how it is.
    engine.quirks(|quirks| quirks.hanging_routes = ["GET /system_stats".to_owned()].into());
    let again = Agent::start(&server, "w1", &env(&url)).await;
    again.logged("taken up after a restart").await;
    assert_eq!(cli(&server, &["cancel", &id]).await.status.code(), Some(0));
    queue.reaches(&id, "cancelled").await;

    assert_eq!(engine.executions()[0].outcome, "interrupted");
    queue.ended_once(&id).await;
}
