//! A cancel stops the engine's work for its job, and no other work: neither the queue's nor a stranger's.

use super::super::support::{Agent, Queue, RedisServer, cli, until};
use super::{endless_picture, picture};
use serde_json::{Value, json};
use stand_ins::comfyui::{Options, Release, StandIn};

/// Somebody who uses the engine without the queue.
async fn stranger_submits(engine: &StandIn) -> String {
    let mut graph = picture()["payload"]["workflow"].clone();
    graph["3"]["inputs"]["seed"] = 4711.into();
    let body = json!({"prompt": graph, "client_id": "somebody else"}).to_string();
    let request = reqwest::Client::new().post(format!("{}/prompt", engine.url()));
    let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    answer["prompt_id"].as_str().expect("a prompt id").to_owned()
}

/// Whether the prompt waits in the engine.
async fn is_queued(engine: &StandIn, prompt: &str) -> bool {
    let answer = reqwest::get(format!("{}/queue", engine.url())).await.unwrap();
    answer.json::<Value>().await.unwrap()["queue_pending"].to_string().contains(prompt)
}

fn outcome_of(engine: &StandIn, prompt: &str) -> Option<&'static str> {
    engine.executions().into_iter().find(|run| run.prompt_id == prompt).map(|run| run.outcome)
}

#[tokio::test]
async fn a_strangers_prompts_before_and_behind_the_cancelled_one_run_to_their_end() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    for release in [Release::V0_27_0, Release::V0_3_64] {
        let (server, engine) =
            (RedisServer::start().await, StandIn::start(Options { release, ..Options::default() }).await.unwrap());
        let queue = Queue::of(&server);
        engine.step_by_hand(true);
        let before = stranger_submits(&engine).await;
        let agent = Agent::start(&server, "w", &[("SERVICES", "comfyui"), ("COMFYUI_URL", &engine.url())]).await;

        // Cancelled while it waits in the engine, behind the stranger's prompt, which is at work.
        let waiting = queue.submit(endless_picture()).await;
        let prompt = queue.reaches(&waiting, "in_progress").await["service_job_id"].clone();
        until("the engine has the job", || async { is_queued(&engine, &prompt).await.then_some(()) }).await;
        assert_eq!(cli(&server, &["cancel", &waiting]).await.status.code(), Some(0));
        queue.reaches(&waiting, "cancelled").await;
        assert_eq!(outcome_of(&engine, &before), Some("running"));

        // Cancelled while it runs, with a stranger's prompt and a job of the queue behind it.
        let running = queue.submit(endless_picture()).await;
        let next = queue.submit(picture()).await;
        let prompt = queue.reaches(&running, "in_progress").await["service_job_id"].clone();
        engine.step_by_hand(false);
        until("the job is at work", || async { outcome_of(&engine, &prompt) }).await;
        let behind = stranger_submits(&engine).await;
        assert_eq!(cli(&server, &["cancel", &running]).await.status.code(), Some(0));
        queue.reaches(&running, "cancelled").await;
        queue.reaches(&next, "completed").await;
        until("the stranger's second prompt has run", || async {
            outcome_of(&engine, &behind).filter(|outcome| *outcome != "running")
        })
        .await;

        let outcomes = [&before, &prompt, &behind].map(|prompt| outcome_of(&engine, prompt));
        assert_eq!(outcomes, [Some("success"), Some("interrupted"), Some("success")], "{}", agent.log());
        for id in [&waiting, &running, &next] {
            queue.ended_once(id).await;
        }
    }
}
