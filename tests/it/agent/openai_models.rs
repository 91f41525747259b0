//! Models of servers of the OpenAI API across a fleet: who is given a job that names its model in the payload alone, and
//! what becomes of one that nobody has, may use, or has time for. In: stand-ins and agents. Out: claims, hand-ons, reasons.

use super::super::support::{Agent, Queue, RedisServer, cli, until};
use super::models::{lists_for, pause as set};
use serde_json::{Value, json};
use stand_ins::openai::{Answer, Flavour, Options, StandIn};

const USUAL: &str = "usual:7b";
const RARE: &str = "rare:70b";

async fn engine(flavour: Flavour, models: &[&str]) -> StandIn {
    let models = models.iter().map(|name| (*name).to_owned()).collect();
    StandIn::start(Options { flavour, models, ..Options::default() }).await.unwrap()
}

async fn worker(server: &RedisServer, name: &str, engine: &StandIn) -> Agent {
    worker_with(server, name, engine, &[]).await
}

async fn worker_with(server: &RedisServer, name: &str, engine: &StandIn, more: &[(&str, &str)]) -> Agent {
    let url = engine.url();
    let env = [
        ("SERVICES", "openai"),
        ("OPENAI_URL", &url),
        ("HEALTH_CHECK_INTERVAL_SECONDS", "0.2"),
        ("HEARTBEAT_INTERVAL_SECONDS", "0.1"),
        ("RETRY_BACKOFF_MS", "1"),
    ];
    Agent::start(server, name, &[&env[..], more].concat()).await
}

fn text(model: &str) -> Value {
    json!({"type": "openai_text", "payload": {"prompt": "hello", "model": model, "max_tokens": 3}})
}

async fn lists(server: &RedisServer, worker: &str, model: &str, listed: bool) {
    lists_for(server, worker, "openai_text", model, listed).await;
}

#[tokio::test]
async fn a_model_that_no_live_worker_lists_fails_the_job_at_once_and_nobody_else_is_asked() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let engines = [engine(Flavour::Ollama, &[USUAL]).await, engine(Flavour::Vllm, &["other"]).await];
    let _agents = [
        worker(&server, "one", &engines[0]).await,
        worker(&server, "two", &engines[1]).await,
        worker(&server, "three", &engines[0]).await,
    ];
    let id = queue.submit(text(RARE)).await;
    let job = queue.reaches(&id, "failed").await;
    assert_eq!((job["failure_type"].as_str(), job["failure_reason"].as_str()), ("validation_error", "model_not_found"));
    assert!(job["error"].contains(RARE) && job["error"].contains("no other worker"), "{}", job["error"]);
    assert_eq!(job["attempt"], "1");
    let asked: usize = engines.iter().map(|engine| engine.executions().len()).sum();
    assert_eq!(asked, 1);
    queue.ended_once(&id).await;
}

#[tokio::test]
async fn a_model_that_another_worker_lists_waits_for_it_and_passes_by_all_who_lack_it() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let (poor, rich) = (engine(Flavour::Ollama, &[USUAL]).await, engine(Flavour::Ollama, &[USUAL, RARE]).await);
    let _agents = [
        worker(&server, "poor", &poor).await,
        worker(&server, "poorer", &poor).await,
        worker(&server, "rich", &rich).await,
    ];
    lists(&server, "rich", RARE, true).await;
    // So that it comes to a wrong one first.
    set(&server, "rich", "paused").await;
    let id = queue.submit(text(RARE)).await;
    until("it was refused", || async { (!queue.field(&id, "refused_by").await.is_empty()).then_some(()) }).await;
    let avoid = queue.field(&id, "avoid").await;
    assert!(avoid.contains("poor ") && avoid.contains("poorer ") && !avoid.contains("rich"), "{avoid}");
    let told = String::from_utf8(cli(&server, &["explain", &id]).await.stdout).unwrap();
    for words in ["an attempt failed here", "others have what the job needs"] {
        assert_eq!(told.matches(words).count(), 1, "of one each:\n{told}");
    }
    // Both that lack it are at work meanwhile, and not on this one.
    for _ in 0..4 {
        let other = queue.submit(text(USUAL)).await;
        queue.reaches(&other, "completed").await;
    }
    assert_eq!(queue.field(&id, "attempt").await, "1");
    set(&server, "rich", "running").await;
    let job = queue.reaches(&id, "completed").await;
    assert_eq!((job["worker_id"].as_str(), job["attempt"].as_str()), ("rich", "2"));
    assert_eq!((job["handed_on"].as_str(), job["retry_count"].as_str()), ("0", "0"), "waiting costs nothing");
    queue.ended_once(&id).await;
}

#[tokio::test]
async fn a_job_waits_while_the_only_agent_that_has_its_model_is_started_anew() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let (poor, rich) = (engine(Flavour::Ollama, &[USUAL]).await, engine(Flavour::Ollama, &[USUAL, RARE]).await);
    let _poor = worker_with(&server, "poor", &poor, &[("POLL_INTERVAL_MS", "50")]).await;
    let mut owner = worker(&server, "rich", &rich).await;
    lists(&server, "rich", RARE, true).await;
    set(&server, "rich", "paused").await;
    let id = queue.submit(text(RARE)).await;
    until("it was refused", || async { (!queue.field(&id, "refused_by").await.is_empty()).then_some(()) }).await;
    owner.signal("TERM");
    assert_eq!(owner.ended().await, Some(0));
    // Its four minutes are over.
    let _: u64 = server.run(&["HDEL", &format!("job:{id}"), "avoid"]).await;
    until("it was refused again", || async { (queue.field(&id, "handed_on").await == "1").then_some(()) }).await;
    assert_eq!(queue.field(&id, "retry_count").await, "0");
    let _: u64 = server.run(&["HSET", "worker:rich:control", "state", "running"]).await;
    let _owner = worker(&server, "rich", &rich).await;
    assert_eq!(queue.reaches(&id, "completed").await["worker_id"], "rich");
    queue.ended_once(&id).await;
}

/// It cannot have the job: it would neither take it nor refuse it, for ever.
#[tokio::test]
async fn a_job_does_not_wait_for_a_worker_that_lists_its_model_and_is_too_small_for_it() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let (poor, rich) = (engine(Flavour::Ollama, &[USUAL]).await, engine(Flavour::Ollama, &[USUAL, RARE]).await);
    let gpu = |gb| [("GPU_COUNT", "1"), ("OPENAI_GPUS", "0"), ("GPU_MEMORY_GB", gb)];
    let _agents = [
        worker_with(&server, "large", &poor, &gpu("80")).await,
        worker_with(&server, "small", &rich, &gpu("24")).await,
    ];
    lists(&server, "small", RARE, true).await;
    let mut job = text(RARE);
    job["requirements"] = json!({"hardware": {"gpu_memory_gb": 40}});
    let id = queue.submit(job).await;
    let job = queue.reaches(&id, "failed").await;
    assert_eq!((job["failure_reason"].as_str(), job["attempt"].as_str()), ("model_not_found", "1"));
    assert!(job["error"].contains(RARE) && job["error"].contains("no other worker"), "{}", job["error"]);
    queue.ended_once(&id).await;
}

#[tokio::test]
async fn a_job_waits_for_a_worker_that_lists_its_model_only_if_that_one_serves_its_customer() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let (poor, rich) = (engine(Flavour::Ollama, &[USUAL]).await, engine(Flavour::Ollama, &[USUAL, RARE]).await);
    // The one that asks has no lists of its own, so its own matching does not read who the customer is.
    let _poor = worker(&server, "poor", &poor).await;
    let _rich = worker_with(&server, "rich", &rich, &[("ALLOWED_CUSTOMERS", "anna")]).await;
    lists(&server, "rich", RARE, true).await;
    set(&server, "rich", "paused").await;
    let of = |customer: &str| {
        let mut job = text(RARE);
        job["customer_id"] = json!(customer);
        job
    };
    let (annas, bens) = (queue.submit(of("anna")).await, queue.submit(of("ben")).await);
    let job = queue.reaches(&bens, "failed").await;
    assert_eq!((job["failure_reason"].as_str(), job["attempt"].as_str()), ("model_not_found", "1"));
    until("it was refused", || async { (!queue.field(&annas, "refused_by").await.is_empty()).then_some(()) }).await;
    set(&server, "rich", "running").await;
    let job = queue.reaches(&annas, "completed").await;
    assert_eq!((job["worker_id"].as_str(), job["handed_on"].as_str()), ("rich", "0"));
}

#[tokio::test]
async fn a_model_that_the_key_may_not_use_is_left_out_alone() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let engine = engine(Flavour::OpenAi, &[USUAL, RARE]).await;
    let agent = worker(&server, "one", &engine).await;
    lists(&server, "one", RARE, true).await;
    let error = json!({"error": {"message": "no", "type": "invalid_request_error", "param": null, "code": null}});
    engine.answer(Answer::json(403, &error));
    let refused = queue.submit(text(RARE)).await;
    lists(&server, "one", RARE, false).await;
    until("the job says why", || async {
        queue.field(&refused, "error").await.contains("may not use this model").then_some(())
    })
    .await;
    assert_eq!(queue.field(&refused, "retry_count").await, "0");
    // The engine is offered as before: jobs for its other models are not even held up.
    for _ in 0..4 {
        let other = queue.submit(text(USUAL)).await;
        assert_eq!(queue.reaches(&other, "completed").await["attempt"], "1", "{}", agent.log());
    }
    // After its pause it is tried again.
    queue.reaches(&refused, "completed").await;
    lists(&server, "one", RARE, true).await;
}

#[tokio::test]
async fn a_server_whose_queue_is_full_is_tried_again_and_stays_in_the_offer() {
    let server = RedisServer::start().await;
    let queue = Queue::of(&server);
    let engine = engine(Flavour::Ollama, &[USUAL]).await;
    let agent = worker(&server, "one", &engine).await;
    lists(&server, "one", USUAL, true).await;
    let busy = json!({"error": {"message": "server busy, please try again.  maximum pending requests exceeded",
                                "type": "api_error", "param": null, "code": null}});
    // More often than an engine at fault would be forgiven.
    (0..5).for_each(|_| engine.answer(Answer::json(503, &busy)));
    let id = queue.submit(text(USUAL)).await;
    let job = queue.reaches(&id, "completed").await;
    assert_eq!((job["handed_on"].as_str(), job["retry_count"].as_str()), ("5", "0"));
    let log = agent.log();
    assert!(log.contains("concurrent_limit") && !log.contains("left out"), "{log}");
}
