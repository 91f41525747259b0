//! Texts from the queue to their readers: streamed in order, once, with an end; after cancels, failures and deaths.

use super::super::support::{Agent, Queue, RedisServer, until};
use serde_json::{Value, json};
use stand_ins::openai::{Answer, Options, StandIn};
use std::time::Duration;

const KEY: &str = "sk-of-the-worker-0123456789";

async fn engine() -> StandIn {
    let options = Options { token_time: Duration::from_millis(1), api_key: Some(KEY.to_owned()), ..Options::default() };
    StandIn::start(options).await.unwrap()
}

fn env(url: &str) -> Vec<(&'static str, &str)> {
    vec![("SERVICES", "openai"), ("OPENAI_URL", url), ("OPENAI_API_KEY", KEY), ("RETRY_BACKOFF_MS", "10")]
}

fn text(pieces: u64) -> Value {
    json!({"type": "chat_completion", "payload": {"prompt": "hello", "model": "stand-in-text", "max_tokens": pieces}})
}

/// What the stream of a session holds.
async fn entries(server: &RedisServer, session: &str) -> Vec<Value> {
    let key = format!("ai:stream:{session}");
    let found: Vec<(String, Vec<(String, String)>)> = server.run(&["XRANGE", &key, "-", "+"]).await;
    let entry = |(_, fields): (String, Vec<(String, String)>)| {
        assert_eq!((fields.len(), fields[0].0.as_str()), (1, "data"));
        serde_json::from_str(&fields[0].1).unwrap()
    };
    found.into_iter().map(entry).collect()
}

async fn entries_reach(server: &RedisServer, session: &str, count: usize) -> Vec<Value> {
    until(&format!("{count} entries for {session}"), || async {
        let found = entries(server, session).await;
        (found.len() >= count).then_some(found)
    })
    .await
}

/// Panics unless these are pieces from index 0 on without a gap; answers the text.
fn joined(pieces: &[Value]) -> String {
    for (index, piece) in pieces.iter().enumerate() {
        assert_eq!(piece["index"], index, "{pieces:?}");
        assert_eq!(piece["type"], "text");
    }
    pieces.iter().map(|piece| piece["token"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_text_is_published_and_kept_piece_by_piece_and_ends_with_its_usage() {
    let server = RedisServer::start().await;
    let (queue, engine) = (Queue::of(&server), engine().await);
    let url = engine.url();
    let agent = Agent::start(&server, "writer", &env(&url)).await;
    let mut ear = Ear::on(&server, "ai:stream:sess-abc").await;
    let mut job = text(40);
    job["ctx"] = json!({"session_id": "sess-abc"});
    let id = queue.submit(job).await;
    let done = queue.reaches(&id, "completed").await;
    let stream = entries(&server, "sess-abc").await;
    let (last, pieces) = stream.split_last().unwrap();
    assert_eq!(pieces.len(), 40, "{}", agent.log());
    let result: Value = serde_json::from_str(&done["result"]).unwrap();
    assert_eq!(json!(joined(pieces)), result["data"]["text"]);
    assert!(pieces.iter().all(|piece| piece["job_id"] == json!(id)), "several jobs may write to one session");
    assert_eq!((&last["done"], &last["state"], &last["job_id"]), (&json!(true), &json!("completed"), &json!(id)));
    assert_eq!(
        (&last["finish_reason"], &last["usage"]["total_tokens"], &last["tokens"]),
        (&json!("length"), &json!(41), &json!(40))
    );
    assert_eq!(result["outputs"][0]["media_type"], "text/plain");
    assert_eq!(ear.heard(41).await, stream, "published in the same words and order");
    let left: i64 = server.run(&["TTL", "ai:stream:sess-abc"]).await;
    assert!((1..=3600).contains(&left), "{left}");
    queue.ended_once(&id).await;
}

#[tokio::test]
async fn without_a_session_the_stream_has_the_jobs_name_and_the_plain_form() {
    let server = RedisServer::start().await;
    let (queue, engine) = (Queue::of(&server), engine().await);
    let url = engine.url();
    let _agent = Agent::start(&server, "writer", &env(&url)).await;
    for session in [Value::Null, json!("../jobs:pending"), json!(7), json!("a".repeat(200))] {
        let mut job = text(5);
        job["ctx"] = json!({"session_id": session});
        let id = queue.submit(job).await;
        queue.reaches(&id, "completed").await;
        let stream = entries(&server, &id).await;
        assert_eq!(stream[0], json!({"token": "Stand-in", "index": 0, "type": "text"}));
        assert_eq!(stream.len(), 6);
    }
    let keys: Vec<String> = server.run(&["KEYS", "ai:stream:*"]).await;
    assert_eq!(keys.len(), 4, "{keys:?}");
}

#[tokio::test]
async fn a_cancelled_text_hangs_up_and_tells_its_readers() {
    let server = RedisServer::start().await;
    let (queue, engine) = (Queue::of(&server), engine().await);
    let url = engine.url();
    engine.step_by_hand(true);
    let agent = Agent::start(&server, "writer", &env(&url)).await;
    let id = queue.submit(text(1000)).await;
    engine.starving().await;
    engine.allow_steps(3);
    entries_reach(&server, &id, 3).await;
    let cancelled = super::super::support::cli(&server, &["cancel", &id]).await;
    assert_eq!(cancelled.status.code(), Some(0));
    queue.reaches(&id, "cancelled").await;
    until("the server sees it", || async { (engine.executions()[0].outcome == "hung_up").then_some(()) }).await;
    let stream = entries(&server, &id).await;
    assert_eq!((stream.len(), &stream[3]["state"]), (4, &json!("cancelled")), "{stream:?}\n{}", agent.log());
    queue.ended_once(&id).await;
}

#[tokio::test]
async fn another_attempt_begins_anew_and_says_so() {
    let server = RedisServer::start().await;
    let (queue, engine) = (Queue::of(&server), engine().await);
    let url = engine.url();
    engine.answer(Answer::events(&[b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"half\"}}]}\n\n"]));
    let agent = Agent::start(&server, "writer", &env(&url)).await;
    let id = queue.submit(text(5)).await;
    let job = queue.reaches(&id, "completed").await;
    assert_eq!(job["attempt"], "2");
    let log = agent.log();
    assert!(log.contains("corrupted_data") && !log.contains("workflow"), "a text has none:\n{log}");
    let stream = entries(&server, &id).await;
    assert_eq!(stream[0], json!({"token": "half", "index": 0, "type": "text"}));
    assert_eq!(stream[1], json!({"restart": true, "attempt": 2, "job_id": id}));
    assert_eq!(joined(&stream[2..7]), "Stand-in für 2cf24dba:");
    assert_eq!((stream.len(), &stream[7]["tokens"]), (8, &json!(5)));
}

#[tokio::test]
async fn an_emoji_in_two_halves_reaches_its_readers_as_one_letter_and_the_engine_is_not_blamed() {
    let server = RedisServer::start().await;
    let (queue, engine) = (Queue::of(&server), engine().await);
    let url = engine.url();
    let agent = Agent::start(&server, "writer", &env(&url)).await;
    // As many as would close an engine.
    for _ in 0..4 {
        engine.answer(Answer::events(&[
            b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a \\ud83d\"}}]}\n\n",
            b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\ude00\"},\"finish_reason\":\"stop\"}]}\n\n",
        ]));
        let id = queue.submit(text(5)).await;
        let job = queue.reaches(&id, "completed").await;
        let result: Value = serde_json::from_str(&job["result"]).unwrap();
        assert_eq!((result["data"]["text"].as_str(), job["attempt"].as_str()), (Some("a 😀"), "1"));
        let stream = entries(&server, &id).await;
        assert_eq!(joined(&stream[..2]), "a 😀");
    }
    assert!(!agent.log().contains("left out"), "{}", agent.log());
}

#[tokio::test]
async fn a_job_that_fails_for_good_tells_its_readers_why_even_without_a_piece() {
    let server = RedisServer::start().await;
    let (queue, engine) = (Queue::of(&server), engine().await);
    let url = engine.url();
    engine.answer(Answer::json(
        400,
        &json!({"error": {"message": "no", "type": "x", "code": "content_policy_violation"}}),
    ));
    let _agent = Agent::start(&server, "writer", &env(&url)).await;
    let id = queue.submit(text(5)).await;
    let job = queue.reaches(&id, "failed").await;
    assert_eq!((job["failure_type"].as_str(), job["attempt"].as_str()), ("generation_refusal", "1"), "not tried again");
    let stream = entries(&server, &id).await;
    assert_eq!(stream.len(), 1, "{stream:?}");
    let last = &stream[0];
    assert_eq!((&last["done"], &last["state"], &last["tokens"]), (&json!(true), &json!("failed"), &json!(0)));
    assert_eq!(
        (&last["failure_type"], &last["failure_reason"]),
        (&json!("generation_refusal"), &json!("policy_violation"))
    );
    assert_eq!(last["error"], job["error"]);
}

#[tokio::test]
async fn a_killed_agent_comes_back_and_its_text_begins_anew() {
    let server = RedisServer::start().await;
    let (queue, engine) = (Queue::of(&server), engine().await);
    let url = engine.url();
    engine.step_by_hand(true);
    let mut agent = Agent::start(&server, "writer", &env(&url)).await;
    let id = queue.submit(text(6)).await;
    engine.starving().await;
    engine.allow_steps(2);
    entries_reach(&server, &id, 2).await;
    agent.child.kill().unwrap();
    agent.child.wait().unwrap();
    until("the server sees it", || async { (engine.executions()[0].outcome == "hung_up").then_some(()) }).await;
    engine.step_by_hand(false);
    let again = Agent::start(&server, "writer", &env(&url)).await;
    let job = queue.reaches(&id, "completed").await;
    assert_eq!(job["attempt"], "1", "nothing was charged");
    let stream = entries(&server, &id).await;
    assert_eq!(joined(&stream[..2]), "Stand-in für");
    assert_eq!(stream[2], json!({"restart": true, "attempt": 1, "job_id": id}), "{}", again.log());
    assert_eq!(joined(&stream[3..9]), "Stand-in für 2cf24dba: 1");
    assert_eq!((stream.len(), &stream[9]["done"]), (10, &json!(true)));
    queue.ended_once(&id).await;
}

#[tokio::test]
async fn a_text_goes_on_while_redis_is_away_and_is_told_after_it() {
    for ends_meanwhile in [false, true] {
        let mut server = RedisServer::start_durable().await;
        let (queue, engine) = (Queue::of(&server), engine().await);
        let url = engine.url();
        engine.step_by_hand(true);
        let _agent = Agent::start(&server, "writer", &env(&url)).await;
        let id = queue.submit(text(30)).await;
        engine.starving().await;
        engine.allow_steps(3);
        entries_reach(&server, &id, 3).await;
        server.kill();
        engine.allow_steps(if ends_meanwhile { 27 } else { 20 });
        let outcome = if ends_meanwhile { "done" } else { "running" };
        let written = if ends_meanwhile { 30 } else { 23 };
        until("the text goes on", || async {
            let run = &engine.executions()[0];
            (run.outcome == outcome && run.pieces == written).then_some(())
        })
        .await;
        server.revive().await;
        engine.step_by_hand(false);
        queue.reaches(&id, "completed").await;
        let stream = entries(&server, &id).await;
        let (last, pieces) = stream.split_last().unwrap();
        assert_eq!((pieces.len(), &last["tokens"]), (30, &json!(30)), "ends meanwhile: {ends_meanwhile}");
        joined(pieces);
        assert_eq!(engine.executions().len(), 1, "it was written once");
        queue.ended_once(&id).await;
    }
}

#[tokio::test]
async fn no_key_gets_into_redis_or_the_log() {
    const OWN: &str = "sk-of-the-job-9876543210";
    let server = RedisServer::start().await;
    let (queue, engine) = (Queue::of(&server), engine().await);
    let url = engine.url();
    let mut env = env(&url);
    env.push(("LOG_LEVEL", "trace"));
    let agent = Agent::start(&server, "writer", &env).await;
    let good = queue.submit(text(5)).await;
    queue.reaches(&good, "completed").await;
    let mut job = text(5);
    job["payload"]["api_key"] = json!(OWN);
    let wrong = queue.submit(job).await;
    let failed = queue.reaches(&wrong, "failed").await;
    assert_eq!((failed["failure_reason"].as_str(), failed["attempt"].as_str()), ("invalid_api_key", "1"));
    assert!(engine.requests().iter().any(|request| request.ends_with(&format!("Bearer {OWN}"))), "it was used");
    // Its submitter put it there; nobody else copies it.
    let _: i64 = server.run(&["HDEL", &format!("job:{wrong}"), "payload"]).await;
    let _: String = server.run(&["SAVE"]).await;
    let stored = std::fs::read(server.folder.path().join("dump.rdb")).unwrap();
    let holds = |bytes: &[u8], word: &str| bytes.windows(word.len()).any(|part| part == word.as_bytes());
    for word in [KEY, OWN] {
        assert!(!holds(&stored, word) && !holds(agent.log().as_bytes(), word), "{word}");
    }
    assert!(holds(&stored, &wrong), "the snapshot can be read");
}

#[tokio::test]
async fn a_server_that_does_several_things_at_once_is_given_them() {
    let server = RedisServer::start().await;
    let (queue, engine) = (Queue::of(&server), engine().await);
    let url = engine.url();
    engine.step_by_hand(true);
    let mut env = env(&url);
    env.push(("OPENAI_CONCURRENCY", "3"));
    let agent = Agent::spawn(&server, "writer", &env);
    agent.registered(&server, "writer-2").await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(queue.submit(text(5)).await);
    }
    until("three run at once", || async {
        let running = engine.executions().iter().filter(|run| run.outcome == "running").count();
        (running == 3).then_some(())
    })
    .await;
    engine.step_by_hand(false);
    for id in ids {
        queue.reaches(&id, "completed").await;
    }
    assert_eq!(engine.executions().len(), 4, "{}", agent.log());
}

#[tokio::test]
async fn a_model_that_this_server_lacks_is_named_and_costs_no_second_request() {
    let server = RedisServer::start().await;
    let (queue, engine) = (Queue::of(&server), engine().await);
    let url = engine.url();
    let agent = Agent::start(&server, "writer", &env(&url)).await;
    let mut job = text(5);
    job["payload"]["model"] = json!("stand-in-txt");
    let id = queue.submit(job).await;
    let failed = queue.reaches(&id, "failed").await;
    assert_eq!(failed["failure_reason"], "model_not_found");
    assert!(failed["error"].contains("`stand-in-txt`; it has `stand-in-text`, "), "{}", failed["error"]);
    agent.logged("attempt failed").await;
    let log = agent.log();
    let warnings = log.lines().filter(|line| line.to_ascii_lowercase().contains("warn")).count();
    assert_eq!((warnings, log.matches("attempt failed").count()), (1, 1), "a slip of the pen is told once:\n{log}");
    assert!(!log.contains("damaged"), "{log}");
    assert_eq!(engine.executions().len(), 1, "there is nobody to hand it on to");
    let good = queue.submit(text(5)).await;
    queue.reaches(&good, "completed").await;
}

/// Subscribed to a channel.
struct Ear(redis::aio::PubSub);

impl Ear {
    async fn on(server: &RedisServer, channel: &str) -> Self {
        let client = redis::Client::open(server.url.as_str()).unwrap();
        let mut pubsub = client.get_async_pubsub().await.unwrap();
        pubsub.subscribe(channel).await.unwrap();
        Self(pubsub)
    }

    async fn heard(&mut self, count: usize) -> Vec<Value> {
        use futures_util::StreamExt;
        let hearing = self
            .0
            .on_message()
            .take(count)
            .map(|message| serde_json::from_str(&message.get_payload::<String>().unwrap()).unwrap());
        tokio::time::timeout(super::super::support::PATIENCE, hearing.collect()).await.expect("all of it is published")
    }
}
