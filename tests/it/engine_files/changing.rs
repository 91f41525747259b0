//! Files of CONNECTORS_DIR that appear, change and go under an agent at work.
//! In: files written as people and editors write them, jobs. Out: who ran what, what is offered, what is said.

use super::Engines;
use crate::support::{Agent, Queue, RedisServer, until};
use axum::Router;
use axum::routing::post;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Waits for `go-VERSION` beside it, then says which version it is.
fn python(version: u32, services: &str) -> String {
    format!(
        "#!/usr/bin/env python3\nimport os\nfrom gpu_worker_connector import serve\n\ndef run(job):\n    \
         open('begun-{version}', 'w').close()\n    while not os.path.exists('go-{version}'): job.sleep(0.01)\n    \
         return {{'version': {version}}}\n\nserve(run, services={services})\n"
    )
}

/// A server that says on which path it was asked.
async fn server() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let said = async |uri: axum::http::Uri| axum::Json(json!({ "path": uri.path() }));
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(post(said))).await });
    url
}

fn toml(url: &str, path: &str) -> String {
    format!("services = ['draw']\nurl = '{url}'\n[submit]\npath = '{path}'\n[result]\ndata = '/path'\n")
}

async fn offered(server: &RedisServer, worker: &str) -> Vec<String> {
    let text = server.hget(&format!("worker:{worker}"), "capabilities").await.unwrap_or_default();
    let record: Value = serde_json::from_str(&text).unwrap_or_default();
    serde_json::from_value(record["services"].clone()).unwrap_or_default()
}

async fn is_offered(server: &RedisServer, agent: &Agent, service: &str, wanted: bool) {
    until(&format!("{service} is offered: {wanted}; log:\n{}", agent.log()), || async {
        (offered(server, "box").await.iter().any(|one| one == service) == wanted).then_some(())
    })
    .await;
}

async fn begun(engines: &Engines, version: u32) {
    let file = engines.path(&format!("begun-{version}"));
    until("the run has begun", || async { file.exists().then_some(()) }).await;
}

fn data(job: &BTreeMap<String, String>) -> Value {
    let result: Value = serde_json::from_str(&job["result"]).unwrap();
    result["data"].clone()
}

#[tokio::test]
async fn a_definition_that_appears_in_pieces_takes_the_job_that_waits_and_a_broken_edit_keeps_it() {
    let (server, engines, url) = (RedisServer::start().await, Engines::new(), server().await);
    let (agent, queue) = (engines.agent(&server).await, Queue::of(&server));
    let draw = async || queue.submit(json!({ "service_required": "draw", "payload": {} })).await;
    let waiting = draw().await;
    let good = toml(&url, "/one");
    engines.write("draw.toml", &good[..20], 0o644);
    agent.logged("engine of CONNECTORS_DIR is not used").await;
    engines.write("draw.toml", &good, 0o644);
    assert_eq!(data(&queue.reaches(&waiting, "completed").await), "/one");

    engines.replace("draw.toml", &toml(&url, "/two").replace("[result]", "[results]"), 0o644);
    agent.logged("5:2: ").await;
    agent.logged("cannot be used: what it was before stays in use").await;
    assert_eq!(data(&queue.reaches(&draw().await, "completed").await), "/one");
}

#[tokio::test]
async fn a_changed_definition_is_in_force_and_what_it_names_is_what_is_offered() {
    let (server, engines, url) = (RedisServer::start().await, Engines::new(), server().await);
    let queue = Queue::of(&server);
    engines.write("draw.toml", &toml(&url, "/one"), 0o644);
    let agent = engines.agent(&server).await;
    engines.replace("draw.toml", &toml(&url, "/two"), 0o644);
    agent.logged("\"changed\":true").await;
    let id = queue.submit(json!({ "service_required": "draw", "payload": {} })).await;
    assert_eq!(data(&queue.reaches(&id, "completed").await), "/two");
    engines.replace("draw.toml", &toml(&url, "/two").replace("'draw'", "'paint'"), 0o644);
    is_offered(&server, &agent, "paint", true).await;
    is_offered(&server, &agent, "draw", false).await;
}

#[tokio::test]
async fn a_file_that_is_saved_again_as_it_was_is_not_taken_up_again_but_a_touched_program_is() {
    let (server, engines, url) = (RedisServer::start().await, Engines::new(), server().await);
    let (definition, program) = (toml(&url, "/one"), python(1, "['slow']"));
    engines.write("draw.toml", &definition, 0o644);
    engines.write("slow.py", &program, 0o755);
    let agent = engines.agent(&server).await;
    // In its place, and as another file.
    engines.write("draw.toml", &definition, 0o644);
    engines.replace("slow.py", &program, 0o755);
    // Who comes later is seen later, and who comes after that is taken up when all of this has been.
    for marker in ["first", "second"] {
        engines.write(&format!("{marker}.toml"), &definition.replace("'draw'", &format!("'{marker}'")), 0o644);
        is_offered(&server, &agent, marker, true).await;
    }
    assert!(!agent.log().contains("\"changed\":true"), "{}", agent.log());
    let touched = std::fs::File::options().append(true).open(engines.path("slow.py")).unwrap();
    touched.set_modified(std::time::SystemTime::now()).unwrap();
    drop(touched);
    agent.logged("\"changed\":true").await;
}

#[tokio::test]
async fn a_program_that_changes_during_a_run_ends_it_as_it_was_and_the_next_run_is_the_new_ones() {
    let (server, engines) = (RedisServer::start().await, Engines::new());
    let queue = Queue::of(&server);
    engines.write("slow.py", &python(1, "['slow']"), 0o755);
    let agent = engines.agent(&server).await;
    let slow = async || queue.submit(json!({ "service_required": "slow", "payload": {} })).await;
    let first = slow().await;
    begun(&engines, 1).await;
    let second = slow().await;
    engines.replace("slow.py", &python(2, "['slow']"), 0o755);
    agent.logged("out of the offer; its runs may end").await;
    is_offered(&server, &agent, "slow", false).await;
    engines.write("go-2", "", 0o644);
    assert_eq!(queue.field(&first, "status").await, "in_progress");
    engines.write("go-1", "", 0o644);
    let ended = queue.reaches(&first, "completed").await;
    assert_eq!((data(&ended), ended["attempt"].as_str()), (json!({ "version": 1 }), "1"));
    assert_eq!(data(&queue.reaches(&second, "completed").await), json!({ "version": 2 }));
}

#[tokio::test]
async fn an_engine_whose_file_goes_ends_its_run_takes_nothing_more_and_comes_back_with_it() {
    let (server, engines) = (RedisServer::start().await, Engines::new());
    let queue = Queue::of(&server);
    let program = python(1, "['slow']");
    engines.write("slow.py", &program, 0o755);
    let agent = engines.agent(&server).await;
    let slow = async || queue.submit(json!({ "service_required": "slow", "payload": {} })).await;
    let first = slow().await;
    begun(&engines, 1).await;
    std::fs::remove_file(engines.path("slow.py")).unwrap();
    is_offered(&server, &agent, "slow", false).await;
    let second = slow().await;
    engines.write("go-1", "", 0o644);
    queue.reaches(&first, "completed").await;
    assert_eq!(queue.field(&second, "status").await, "pending");
    engines.replace("slow.py", &program, 0o755);
    queue.reaches(&second, "completed").await;
    queue.ended_once(&second).await;
}

#[tokio::test]
async fn a_program_that_cannot_be_used_as_it_is_now_says_so_and_what_it_was_goes_on() {
    let (server, engines) = (RedisServer::start().await, Engines::new());
    let queue = Queue::of(&server);
    engines.write("slow.py", &python(1, "['slow']"), 0o755);
    engines.write("go-1", "", 0o644);
    engines.write("go-2", "", 0o644);
    let agent = engines.agent(&server).await;
    let version = async || {
        let id = queue.submit(json!({ "service_required": "slow", "payload": {} })).await;
        data(&queue.reaches(&id, "completed").await)["version"].clone()
    };
    assert_eq!(version().await, 1);
    engines.replace("slow.py", "#!/bin/sh\nexit 5\n", 0o755);
    agent.logged("exit code 5").await;
    assert_eq!(version().await, 1);
    engines.replace("slow.py", &python(2, "['slow']"), 0o644);
    agent.logged("it is not executable: chmod +x it").await;
    assert_eq!(version().await, 1);
    engines.replace("slow.py", &python(2, "['slow']"), 0o755);
    agent.logged("\"changed\":true").await;
    assert_eq!(version().await, 2);
}

#[tokio::test]
async fn a_file_that_is_made_executable_later_is_taken_up_then() {
    let (server, engines) = (RedisServer::start().await, Engines::new());
    let queue = Queue::of(&server);
    let agent = engines.agent(&server).await;
    let id = queue.submit(json!({ "service_required": "late", "payload": {} })).await;
    engines.write("go-1", "", 0o644);
    engines.write("late.py", &python(1, "['late']"), 0o644);
    agent.logged("it is not executable: chmod +x it").await;
    engines.write("late.py", &python(1, "['late']"), 0o755);
    queue.reaches(&id, "completed").await;
}

#[tokio::test]
async fn what_another_engine_had_is_offered_by_whoever_named_it_next_once_that_one_has_gone() {
    let (server, engines) = (RedisServer::start().await, Engines::new());
    let queue = Queue::of(&server);
    engines.write("early.py", &python(1, "['shared']"), 0o755);
    engines.write("late.py", &python(2, "['shared']"), 0o755);
    engines.write("go-2", "", 0o644);
    let agent = engines.agent(&server).await;
    agent.logged("the service shared is early's already: late does not offer it").await;
    std::fs::remove_file(engines.path("early.py")).unwrap();
    agent.logged("late.py\",\"services\":\"shared\"").await;
    let id = queue.submit(json!({ "service_required": "shared", "payload": {} })).await;
    assert_eq!(data(&queue.reaches(&id, "completed").await), json!({ "version": 2 }));
}

#[tokio::test]
async fn an_engine_for_gpus_that_appears_works_on_all_of_them_at_once() {
    let (server, engines) = (RedisServer::start().await, Engines::new());
    let queue = Queue::of(&server);
    let agent = engines.agent_on(&server, "box-0", &[("GPU_COUNT", "2")]).await;
    agent.registered(&server, "box-1").await;
    let program = "#!/usr/bin/env python3\nimport os\nfrom gpu_worker_connector import serve\n\ndef run(job):\n    \
                   gpu = os.environ['GPU_WORKER_GPU']\n    open('on-' + gpu, 'w').close()\n    \
                   while not (os.path.exists('on-0') and os.path.exists('on-1')): job.sleep(0.01)\n    \
                   return {'gpu': gpu}\n\nserve(run, services=['paint'], gpu=True)\n";
    engines.write("paint.py", program, 0o755);
    let mut gpus = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(queue.submit(json!({ "service_required": "paint", "payload": {} })).await);
    }
    for id in ids {
        gpus.push(data(&queue.reaches(&id, "completed").await)["gpu"].clone());
    }
    gpus.sort_by_key(ToString::to_string);
    assert_eq!(gpus, ["0", "1"]);
}

#[tokio::test]
async fn an_engine_for_gpus_that_loads_for_longer_than_the_start_waits_is_taken_up_when_it_has_loaded() {
    let (server, engines) = (RedisServer::start().await, Engines::new());
    let queue = Queue::of(&server);
    // As the guide says: what takes long is loaded at the top of the file.
    let program = "#!/usr/bin/env python3\nimport os, time\nfrom gpu_worker_connector import serve\n\n\
                   while not os.path.exists('loaded'): time.sleep(0.01)\n\ndef run(job):\n    \
                   return {'gpu': os.environ['GPU_WORKER_GPU']}\n\nserve(run, services=['paint'], gpu=True)\n";
    engines.write("paint.py", program, 0o755);
    let agent = engines.agent_with(&server, &[("GPU_COUNT", "1")]).await;
    agent.logged("no answer to `describe`").await;
    std::fs::write(engines.path("loaded"), "").unwrap();
    let id = queue.submit(json!({ "service_required": "paint", "payload": {} })).await;
    assert_eq!(data(&queue.reaches(&id, "completed").await), json!({ "gpu": "0" }));
}

#[tokio::test]
async fn an_engine_loads_its_model_once_for_each_gpu_and_only_there() {
    let (server, engines) = (RedisServer::start().await, Engines::new());
    let queue = Queue::of(&server);
    let program = |gpu: &str| {
        format!(
            "#!/usr/bin/env python3\nimport os\nfrom gpu_worker_connector import serve\n\n\
             open('{gpu}-loads', 'a').write(os.environ.get('CUDA_VISIBLE_DEVICES', 'all') + '\\n')\n\
             serve(lambda job: None, services=['{gpu}'], gpu={gpu})\n"
        )
    };
    for gpu in ["True", "False"] {
        engines.write(&format!("{gpu}.py"), &program(gpu), 0o755);
    }
    let _agent = engines.agent_on(&server, "box-0", &[("GPU_COUNT", "2")]).await;
    for gpu in ["True", "False"] {
        let id = queue.submit(json!({ "service_required": gpu, "payload": {} })).await;
        queue.reaches(&id, "completed").await;
    }
    let loads = |name: &str| {
        let text = std::fs::read_to_string(engines.path(name)).unwrap_or_default();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    until("both have loaded it", || async { (loads("True-loads").len() >= 2).then_some(()) }).await;
    assert_eq!(loads("True-loads"), ["0", "1"]);
    assert_eq!(loads("False-loads"), ["0", "all"], "one that needs none is started anew without");
}
