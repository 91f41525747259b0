//! An AUTOMATIC1111 job from the queue to its picture, its cancellation, and the return of an agent that was killed.

use super::super::support::{Agent, Queue, RedisServer, cli, until};
use serde_json::{Value, json};
use stand_ins::a1111::{Options, StandIn};
use std::time::Duration;

const JOB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/a1111-txt2img.json");

async fn engine() -> StandIn {
    StandIn::start(Options { step_time: Duration::from_millis(1), ..Options::default() }).await.unwrap()
}

fn env(url: &str) -> [(&'static str, &str); 2] {
    [("SERVICES", "a1111"), ("A1111_URL", url)]
}

fn fox(steps: u64) -> Value {
    json!({"type": "a1111", "payload": {"prompt": "a red fox", "steps": steps, "width": 64, "height": 64, "seed": 42}})
}

fn outcomes(engine: &StandIn) -> Vec<&'static str> {
    engine.executions().iter().map(|run| run.outcome).collect()
}

#[tokio::test]
async fn the_example_becomes_a_picture_with_its_seed_and_infotext() {
    let server = RedisServer::start().await;
    let engine = engine().await;
    let agent = Agent::start(&server, "painter", &env(&engine.url())).await;
    let output = cli(&server, &["submit", JOB, "--watch", "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}\n{}", String::from_utf8_lossy(&output.stderr), agent.log());
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let id = lines[0]["job_id"].as_str().unwrap();
    let result = &lines.last().unwrap()["result"];
    let picture = &result["outputs"][0];
    assert_eq!((&picture["media_type"], &picture["kind"]), (&json!("image/png"), &json!("images")), "{result}");
    let path = url::Url::parse(picture["url"].as_str().unwrap()).unwrap().to_file_path().unwrap();
    assert!(path.starts_with(agent.folder.path().join("outputs")), "{}", path.display());
    let bytes = std::fs::read(&path).unwrap();
    assert!(bytes.starts_with(b"\x89PNG") && bytes[16..24] == [0, 0, 2, 0, 0, 0, 2, 0]);
    assert_eq!(result["data"]["seeds"], json!([42]));
    assert!(result["data"]["infotexts"][0].as_str().unwrap().contains("Seed: 42"), "{result}");
    let recorded = server.hget(&format!("job:{id}"), "service_job_id").await;
    assert_eq!(recorded.as_deref(), Some(engine.executions()[0].task.as_str()));
    Queue::of(&server).ended_once(id).await;
}

#[tokio::test]
async fn a_cancelled_job_is_interrupted_on_the_server_and_leaves_nothing() {
    let server = RedisServer::start().await;
    let (queue, engine) = (Queue::of(&server), engine().await);
    let agent = Agent::start(&server, "painter", &env(&engine.url())).await;
    let id = queue.submit(fox(1_000_000)).await;
    let at_work = || engine.executions().first().is_some_and(|run| run.steps > 0);
    until("the server is at work", || async { at_work().then_some(()) }).await;
    assert_eq!(cli(&server, &["cancel", &id]).await.status.code(), Some(0));
    queue.reaches(&id, "cancelled").await;
    assert_eq!(outcomes(&engine), ["interrupted"], "{}", agent.log());
    let outputs = agent.folder.path().join("outputs").join(&id);
    let files = |folder: &std::path::Path| std::fs::read_dir(folder).into_iter().flatten().flatten().count();
    assert_eq!(files(&outputs.join("1")), 0);
    queue.ended_once(&id).await;
}

#[tokio::test]
async fn a_killed_agent_comes_back_stops_what_it_had_begun_and_runs_it_again() {
    let server = RedisServer::start().await;
    let (queue, engine) = (Queue::of(&server), engine().await);
    engine.step_by_hand(true);
    let mut agent = Agent::start(&server, "painter", &env(&engine.url())).await;
    let id = queue.submit(fox(60)).await;
    engine.starving().await;
    engine.allow_steps(4);
    engine.starving().await;
    let first = queue.field(&id, "service_job_id").await;
    agent.child.kill().unwrap();
    agent.child.wait().unwrap();
    let again = Agent::start(&server, "painter", &env(&engine.url())).await;
    until("the earlier run is interrupted", || async { (engine.asked("POST /sdapi/v1/interrupt") > 0).then_some(()) })
        .await;
    engine.step_by_hand(false);
    let job = queue.reaches(&id, "completed").await;
    assert_eq!(outcomes(&engine), ["interrupted", "success"], "{}", again.log());
    assert_eq!(engine.executions()[0].task, first);
    assert_ne!(job["service_job_id"], first, "the result of the first went with its connection");
    assert_eq!(job["attempt"], "1", "nothing was charged");
    queue.ended_once(&id).await;
}

#[tokio::test]
async fn memory_that_can_be_freed_costs_a_second_run_and_nothing_else() {
    let server = RedisServer::start().await;
    let (queue, engine) = (Queue::of(&server), engine().await);
    engine.quirks(|quirks| (quirks.stays_unloaded, quirks.full_until_unloaded) = (true, true));
    let agent = Agent::start(&server, "painter", &env(&engine.url())).await;
    let id = queue.submit(fox(3)).await;
    let job = queue.reaches(&id, "completed").await;
    assert_eq!(outcomes(&engine), ["error", "success"], "{}", agent.log());
    assert_eq!((job["attempt"].as_str(), job["retry_count"].as_str()), ("1", "0"));
}

#[tokio::test]
async fn a_step_that_does_not_end_is_interrupted_and_the_job_not_charged() {
    let server = RedisServer::start().await;
    let (queue, engine) = (Queue::of(&server), engine().await);
    engine.step_by_hand(true);
    let address = engine.url();
    let [services, url] = env(&address);
    let agent = Agent::start(&server, "painter", &[services, url, ("STUCK_STEP_SECONDS", "2")]).await;
    let id = queue.submit(fox(60)).await;
    engine.starving().await;
    engine.allow_steps(4);
    until("it is interrupted", || async { (engine.asked("POST /sdapi/v1/interrupt") > 0).then_some(()) }).await;
    engine.step_by_hand(false);
    let job = queue.reaches(&id, "completed").await;
    assert_eq!(outcomes(&engine), ["interrupted", "success"], "{}", agent.log());
    assert_eq!((job["retry_count"].as_str(), job["handed_on"].as_str()), ("0", "1"));
    assert!(agent.log().contains("no progress for 2 s at \\\"step "), "{}", agent.log());
}

#[tokio::test]
async fn a_checkpoint_that_this_server_lacks_is_named() {
    let server = RedisServer::start().await;
    let (queue, engine) = (Queue::of(&server), engine().await);
    let _agent = Agent::start(&server, "painter", &env(&engine.url())).await;
    let mut job = fox(3);
    job["payload"]["sd_model_checkpoint"] = json!("missing.safetensors");
    let id = queue.submit(job).await;
    let failed = queue.reaches(&id, "failed").await;
    assert_eq!(failed["failure_reason"], "model_not_found");
    assert!(
        failed["error"].contains("missing.safetensors") && failed["error"].contains("sd_xl_base"),
        "{}",
        failed["error"]
    );
    assert!(engine.executions().is_empty());
}

#[tokio::test]
async fn a_job_that_ends_its_server_each_time_is_charged_from_the_second_time() {
    let server = RedisServer::start().await;
    let (queue, engine) = (Queue::of(&server), engine().await);
    let url = engine.url();
    let quick = [("HEALTH_CHECK_INTERVAL_SECONDS", "0.2"), ("RETRY_BACKOFF_MS", "1")];
    let agent = Agent::start(&server, "painter", &[&env(&url)[..], &quick].concat()).await;
    engine.step_by_hand(true);
    let mut job = fox(60);
    job["max_retries"] = 2.into();
    let id = queue.submit(job).await;
    for n in 1..=3 {
        until("the server is seen at work again", || async {
            let job = queue.job(&id).await;
            let begun = job.get("progress_message").is_some_and(|message| message == "the server has begun");
            (begun && job["attempt"] == n.to_string() && engine.executions().len() == n).then_some(())
        })
        .await;
        engine.kill().await;
        engine.revive().await;
    }
    let job = queue.reaches(&id, "failed").await;
    let seen = ["attempt", "handed_on", "retry_count", "failure_reason"].map(|name| job[name].as_str());
    assert_eq!(seen, ["3", "1", "2", "service_down"], "{}", agent.log());
    assert_eq!(outcomes(&engine), ["lost"; 3]);
    queue.ended_once(&id).await;
}
