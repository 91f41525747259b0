//! Faults, forks and quirks of the stand-in for AUTOMATIC1111, each called for by hand.
//! In: a stand-in per test. Out: green if each does what its name says and nothing else.

use crate::client;
use serde_json::{Value, json};
use stand_ins::a1111::{Checkpoint, Fork, Options, StandIn};
use std::sync::Arc;
use std::time::Duration;

async fn started(options: Options) -> Arc<StandIn> {
    Arc::new(StandIn::start(options).await.expect("a stand-in"))
}

async fn ask(server: &StandIn, method: &str, path: &str, body: Value) -> (u16, Value) {
    let mut request = client::http().request(method.parse().expect("method"), format!("{}{path}", server.url()));
    if method == "POST" {
        request = request.json(&body);
    }
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

fn picture(steps: u64, id: &str) -> Value {
    json!({"prompt": "x", "steps": steps, "width": 64, "height": 64, "seed": 1, "force_task_id": id})
}

fn posted(server: &Arc<StandIn>, path: &'static str, body: Value) -> tokio::task::JoinHandle<(u16, Value)> {
    let server = server.clone();
    tokio::spawn(async move { ask(&server, "POST", path, body).await })
}

async fn hangs(server: &StandIn, path: &str) -> bool {
    let answer = client::http().get(format!("{}{path}", server.url())).timeout(Duration::from_millis(200)).send().await;
    answer.is_err_and(|error| error.is_timeout())
}

#[tokio::test]
async fn forty_waiting_requests_starve_the_api() {
    let server = started(Options { threads: 4, ..Options::default() }).await;
    server.step_by_hand(true);
    let waiting: Vec<_> = (0..4).map(|_| posted(&server, "/sdapi/v1/txt2img", picture(1, "task(x)"))).collect();
    while server.asked("POST /sdapi/v1/txt2img") < 4 {
        tokio::task::yield_now().await;
    }
    server.starving().await;
    assert!(hangs(&server, "/sdapi/v1/progress").await);
    assert_eq!(client::http().get(format!("{}/docs", server.url())).send().await.expect("a page").status(), 200);
    server.step_by_hand(false);
    for request in waiting {
        assert_eq!(request.await.expect("a task").0, 200);
    }
    assert_eq!(ask(&server, "GET", "/sdapi/v1/progress", Value::Null).await.0, 200);
    assert_eq!(Options::default().threads, 40);
}

#[tokio::test]
async fn an_unfinished_picture_differs_and_nothing_says_so() {
    let server = started(Options::default()).await;
    let (_, whole) = ask(&server, "POST", "/sdapi/v1/txt2img", picture(3, "task(a)")).await;
    server.step_by_hand(true);
    let cut = posted(&server, "/sdapi/v1/txt2img", picture(3, "task(b)"));
    server.allow_steps(3);
    server.starving().await;
    ask(&server, "POST", "/sdapi/v1/interrupt", json!({})).await;
    server.step_by_hand(false);
    let (status, cut) = cut.await.expect("a task");
    assert_eq!(status, 200);
    assert_ne!(whole["images"], cut["images"]);
    let info = |answer: &Value| {
        let mut info: Value = serde_json::from_str(answer["info"].as_str().expect("info")).expect("JSON");
        for dice in ["subseed", "all_subseeds", "job_timestamp"] {
            info[dice] = Value::Null;
        }
        info
    };
    assert_eq!(info(&whole), info(&cut));
    let outcomes: Vec<_> = server.executions().iter().map(|run| (run.outcome, run.steps)).collect();
    assert_eq!(outcomes, [("success", 3), ("interrupted", 2)]);
}

#[tokio::test]
async fn a_frozen_server_goes_on_when_thawed_and_a_killed_one_forgets() {
    let server = started(Options::default()).await;
    server.step_by_hand(true);
    let request = posted(&server, "/sdapi/v1/txt2img", picture(2, "task(f)"));
    server.starving().await;
    server.freeze();
    assert!(hangs(&server, "/sdapi/v1/progress").await);
    server.thaw();
    server.step_by_hand(false);
    assert_eq!(request.await.expect("a task").0, 200);
    server.step_by_hand(true);
    let request = posted(&server, "/sdapi/v1/txt2img", picture(2, "task(k)"));
    server.starving().await;
    server.kill().await;
    assert!(request.await.is_err(), "the connection ended");
    assert!(tokio::net::TcpStream::connect(server.address()).await.is_err());
    server.revive().await;
    let (_, said) = ask(&server, "POST", "/internal/progress", json!({"id_task": "task(k)"})).await;
    assert_eq!((&said["active"], &said["queued"], &said["completed"]), (&json!(false), &json!(false), &json!(false)));
    assert_eq!(server.executions()[1].outcome, "lost");
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_its_run_behind() {
    let server = started(Options::default()).await;
    server.step_by_hand(true);
    let request = posted(&server, "/sdapi/v1/txt2img", picture(2, "task(h)"));
    server.starving().await;
    request.abort();
    server.step_by_hand(false);
    while server.executions()[0].outcome == "running" {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.executions()[0].outcome, "success");
}

#[tokio::test]
async fn a_failed_upscaling_looks_at_work() {
    let server = started(Options::default()).await;
    let body = json!({"upscaler_1": "None such", "image": "iVBORw0KGgo="});
    assert_eq!(ask(&server, "POST", "/sdapi/v1/extra-single-image", body).await.0, 500);
    let (_, said) = ask(&server, "GET", "/sdapi/v1/progress", Value::Null).await;
    assert_eq!((&said["progress"], &said["state"]["job"]), (&json!(1.0), &json!("Upscale")));
}

#[tokio::test]
async fn forks_differ_as_their_source_says() {
    let forge = started(Options { fork: Fork::Forge, ..Options::default() }).await;
    let mut body = picture(1, "task(o)");
    body["override_settings"] = json!({"CLIP_stop_at_last_layers": 2});
    ask(&forge, "POST", "/sdapi/v1/txt2img", body.clone()).await;
    assert_eq!(forge.option("CLIP_stop_at_last_layers"), 2, "Forge keeps what one job overrode");
    ask(&forge, "POST", "/sdapi/v1/options", json!({"sd_model_checkpoint": "sd_xl_base_1.0"})).await;
    assert_ne!(forge.loaded().as_deref(), Some("sd_xl_base_1.0"), "loaded by the next job only");

    let next = started(Options { fork: Fork::SdNext, ..Options::default() }).await;
    ask(&next, "POST", "/sdapi/v1/txt2img", body).await;
    let (_, said) = ask(&next, "POST", "/internal/progress", json!({"id_task": "task(o)"})).await;
    assert_eq!(said["completed"], false, "it made up an id of its own");
    assert_eq!(ask(&next, "GET", "/sdapi/v1/schedulers", Value::Null).await.0, 404);
    assert_eq!(next.option("CLIP_stop_at_last_layers"), 1);
}

#[tokio::test]
async fn new_files_are_listed_after_a_refresh_and_parts_of_names_are_taken() {
    let server = started(Options::default()).await;
    server.add_checkpoint(Checkpoint::named("late"));
    let count = async || ask(&server, "GET", "/sdapi/v1/sd-models", Value::Null).await.1.as_array().map(Vec::len);
    assert_eq!(count().await, Some(2));
    ask(&server, "POST", "/sdapi/v1/refresh-checkpoints", json!({})).await;
    assert_eq!(count().await, Some(3));
    ask(&server, "POST", "/sdapi/v1/options", json!({"sd_model_checkpoint": "xl_base"})).await;
    assert_eq!(server.loaded().as_deref(), Some("sd_xl_base_1.0"));
}

#[tokio::test]
async fn quirks_do_what_they_say() {
    let server = started(Options::default()).await;
    server.quirks(|quirks| {
        quirks.fail_next = Some(("OutOfMemoryError".into(), "CUDA out of memory. (synthetic)".into()));
    });
    let (status, said) = ask(&server, "POST", "/sdapi/v1/txt2img", picture(1, "task(m)")).await;
    assert_eq!((status, &said["error"]), (500, &json!("OutOfMemoryError")));
    server.quirks(|quirks| quirks.refuse_options = true);
    assert_eq!(ask(&server, "POST", "/sdapi/v1/options", json!({})).await.0, 500);
    server.quirks(|quirks| (quirks.refuse_options, quirks.ignore_switches) = (false, true));
    ask(&server, "POST", "/sdapi/v1/options", json!({"sd_model_checkpoint": "sd_xl_base_1.0"})).await;
    assert_eq!(server.loaded().as_deref(), Some("v1-5-pruned-emaonly"));
    server.quirks(|quirks| quirks.hanging_routes = ["GET /sdapi/v1/options".to_owned()].into());
    assert!(hangs(&server, "/sdapi/v1/options").await);
    assert_eq!(ask(&server, "GET", "/sdapi/v1/samplers", Value::Null).await.0, 200);
}
