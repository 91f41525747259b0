//! Servers that are down, restart, freeze, cut downloads short or ask for a login; and runs taken up after a crash.
//! In: the stand-in and its faults, small servers of a few routes. Out: a typed failure or a finished job, never a hang.

use crate::comfyui::{connector, connector_with, failure, graph_job, run, soon, steps_graph, timing};
use crate::replay::{Cut, Replay};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect};
use axum::routing::{any, get, post};
use connectors::comfyui::{ComfyUi, Settings, Timing};
use connectors::conformance::Bench;
use connectors::contract::{Connector, Freed, Reattached, Stage};
use connectors::failure::{FailureType, Reason};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use stand_ins::comfyui::{Options, Release, StandIn};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

async fn serve(router: Router) -> (String, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, AbortOnDropHandle::new(served))
}

fn accept() -> axum::routing::MethodRouter {
    post(async |body: axum::Json<Value>| axum::Json(json!({ "prompt_id": body["prompt_id"], "node_errors": {} })))
}

/// Ended well, with one file.
fn ended_with(file: &'static str) -> axum::routing::MethodRouter {
    get(async move |id: axum::extract::Path<String>| {
        let outputs = json!({ "9": { "images": [{ "filename": file, "subfolder": "", "type": "output" }] } });
        axum::Json(json!({ id.0: { "outputs": outputs, "status": { "status_str": "success", "messages": [] } } }))
    })
}

fn idle() -> axum::routing::MethodRouter {
    get(async || axum::Json(json!({ "queue_running": [], "queue_pending": [] })))
}

#[tokio::test]
async fn a_server_that_is_down_is_the_hosts_fault_and_starts_nothing() {
    let server = StandIn::start(Options::default()).await.unwrap();
    server.kill().await;
    let (ended, bench) = run(&server.url(), steps_graph(1, 1, 0.0)).await;
    let failure = failure(ended);
    assert_eq!((failure.reason, failure.hosts_fault), (Reason::ServiceDown, true));
    assert!(bench.ledger.ids().is_empty());
}

#[tokio::test]
async fn a_server_that_dies_in_mid_run_ends_the_run() {
    let server = StandIn::start(Options::default()).await.unwrap();
    server.step_by_hand(true);
    let bench = Bench::new();
    let (comfy, job) = (connector(&server.url()), graph_job(steps_graph(2, 3, 0.0)));
    let meddle = async {
        server.starving().await;
        server.kill().await;
    };
    let (ended, ()) = soon(async { tokio::join!(comfy.run(&job, &bench.ctx), meddle) }).await;
    let failure = failure(ended);
    assert_eq!((failure.reason, failure.hosts_fault), (Reason::ServiceDown, true));
}

#[tokio::test]
async fn a_frozen_server_that_thaws_costs_no_job() {
    let server = StandIn::start(Options::default()).await.unwrap();
    server.step_by_hand(true);
    // For the silence; short enough to wait for, long enough for good answers on a loaded machine.
    let short = Duration::from_millis(500);
    let comfy = connector_with(&server.url(), Timing { request: short, ping: short, probe: short * 5, ..timing() });
    let bench = Bench::new();
    let job = graph_job(steps_graph(3, 2, 0.0));
    let meddle = async {
        server.starving().await;
        server.freeze();
        server.step_by_hand(false);
        // A probe waits for five pings' time: by then a ping and a question have gone unanswered.
        assert!(!comfy.probe().await.is_healthy());
        server.thaw();
    };
    let (ended, ()) = soon(async { tokio::join!(comfy.run(&job, &bench.ctx), meddle) }).await;
    assert_eq!(ended.unwrap().outputs.len(), 1);
}

#[tokio::test]
async fn a_short_file_is_never_sealed() {
    let view = get(async || {
        // The connection ends after some bytes of the announced length.
        let broken = async {
            tokio::task::yield_now().await;
            Err(std::io::Error::other("cut"))
        };
        let parts = stream::iter([Ok("short")]).chain(stream::once(broken));
        ([("content-length", "4096"), ("content-type", "image/png")], Body::from_stream(parts)).into_response()
    });
    let router = Router::new().route("/prompt", accept()).route("/queue", idle()).route("/view", view);
    let (url, _server) = serve(router.route("/history/{id}", ended_with("a.png"))).await;
    let (ended, bench) = run(&url, steps_graph(4, 1, 0.0)).await;
    assert_eq!(failure(ended).kind(), FailureType::NetworkError);
    assert!(bench.outputs.files().is_empty());
    assert_eq!(bench.outputs.begun(), 3, "tried again, from the start");
}

#[tokio::test]
async fn a_success_without_files_is_missing_expected_data_if_files_were_to_be_saved() {
    let empty = get(async |id: axum::extract::Path<String>| {
        axum::Json(json!({ id.0: { "outputs": {}, "status": { "status_str": "success", "messages": [] } } }))
    });
    let router = Router::new().route("/prompt", accept()).route("/queue", idle()).route("/history/{id}", empty);
    let (url, _server) = serve(router).await;
    assert_eq!(failure(run(&url, steps_graph(5, 1, 0.0)).await.0).reason, Reason::MissingExpectedData);
    let shows_only = json!({ "1": { "class_type": "PreviewAny", "inputs": {} } });
    assert!(run(&url, shows_only).await.0.unwrap().outputs.is_empty());
}

#[tokio::test]
async fn a_server_that_ignores_prompt_ids_is_too_old() {
    let other = post(async || axum::Json(json!({ "prompt_id": "11111111-2222-4333-8444-555555555555", "number": 1 })));
    let nothing = get(async || axum::Json(json!({})));
    let router = Router::new().route("/prompt", other).route("/queue", idle()).route("/history/{id}", nothing);
    let (url, _server) = serve(router).await;
    let failure = failure(run(&url, steps_graph(6, 1, 0.0)).await.0);
    assert_eq!((failure.reason, failure.hosts_fault), (Reason::DependencyError, true));
}

#[tokio::test]
async fn statuses_become_typed_failures() {
    let cases = [
        (401, FailureType::AuthError, true),
        (403, FailureType::AuthError, true),
        (413, FailureType::ValidationError, false),
        (429, FailureType::RateLimit, true),
        (500, FailureType::ServiceError, false),
        (503, FailureType::ServiceError, true),
    ];
    for (status, kind, hosts_fault) in cases {
        let refuse = post(async move || (StatusCode::from_u16(status).unwrap(), [("retry-after", "7")], "no"));
        let nothing = get(async || axum::Json(json!({})));
        let router = Router::new().route("/prompt", refuse).route("/queue", idle()).route("/history/{id}", nothing);
        let (url, _server) = serve(router).await;
        let failure = failure(run(&url, steps_graph(7, 1, 0.0)).await.0);
        assert_eq!((failure.kind(), failure.hosts_fault), (kind, hosts_fault), "{status}: {failure}");
        assert_eq!(failure.retry_after, Some(Duration::from_secs(7)), "{status}");
    }
}

#[tokio::test]
async fn a_server_that_refuses_everything_is_not_waited_for() {
    let (url, _server) = serve(Router::new().fallback(async || StatusCode::UNAUTHORIZED)).await;
    let failure = failure(run(&url, steps_graph(8, 1, 0.0)).await.0);
    assert_eq!((failure.kind(), failure.hosts_fault), (FailureType::AuthError, true));
    assert!(failure.message.contains("submitting"), "{failure}");
}

#[tokio::test]
async fn a_node_that_ends_the_process_ends_the_run() {
    let server = StandIn::start(Options::default()).await.unwrap();
    let mut graph = steps_graph(9, 1, 0.0);
    graph["2"] = json!({ "class_type": "LabFail", "inputs": { "image": ["1", 0], "kind": "Exit", "salt": 1 } });
    let failure = failure(run(&server.url(), graph).await.0);
    assert_eq!((failure.reason, failure.hosts_fault), (Reason::ServiceDown, true));
}

#[tokio::test]
async fn a_damaged_model_file_is_named() {
    let models = std::collections::BTreeMap::from([("checkpoints".to_owned(), vec!["broken.safetensors".to_owned()])]);
    let server = StandIn::start(Options { models, ..Options::default() }).await.unwrap();
    let mut graph = steps_graph(12, 1, 0.0);
    graph["4"] = json!({ "class_type": "CheckpointLoaderSimple", "inputs": { "ckpt_name": "broken.safetensors" } });
    graph["5"] = json!({ "class_type": "PreviewAny", "inputs": { "source": ["4", 0] } });
    assert_eq!(connector(&server.url()).models(&graph_job(graph.clone())), ["broken.safetensors"]);
    let failure = failure(run(&server.url(), graph).await.0);
    let seen = (failure.reason, failure.hosts_fault, failure.model.as_deref());
    assert_eq!(seen, (Reason::DependencyError, true, Some("broken.safetensors")));
}

#[tokio::test]
async fn memory_that_was_asked_back_is_waited_for() {
    for release in [Release::V0_27_0, Release::V0_3_64] {
        memory_is_waited_for_on(release).await;
    }
}

async fn memory_is_waited_for_on(release: Release) {
    let server = StandIn::start(Options { release, ..Options::default() }).await.unwrap();
    let mut graph = steps_graph(13, 1, 0.0);
    let checkpoint = "v1-5-pruned-emaonly.safetensors";
    graph["4"] = json!({ "class_type": "CheckpointLoaderSimple", "inputs": { "ckpt_name": checkpoint } });
    graph["5"] = json!({ "class_type": "PreviewAny", "inputs": { "source": ["4", 0] } });
    run(&server.url(), graph).await.0.unwrap();
    let free_bytes = async || {
        let stats: Value = reqwest::get(format!("{}/system_stats", server.url())).await.unwrap().json().await.unwrap();
        stats["devices"][0]["vram_free"].as_u64().unwrap()
    };
    let before = free_bytes().await;
    // Far away: only the memory that is seen to be free ends the wait.
    let comfy = connector_with(&server.url(), Timing { free: Duration::from_secs(3600), ..timing() });
    assert_eq!(soon(comfy.free_memory()).await.unwrap(), Freed::Requested);
    assert!(free_bytes().await > before);
    // Nothing more to free: the wait has an end.
    let comfy = connector_with(&server.url(), Timing { free: Duration::from_millis(50), ..timing() });
    assert_eq!(soon(comfy.free_memory()).await.unwrap(), Freed::Requested);
}

#[tokio::test]
async fn a_server_that_is_silent_from_the_start_is_not_given_the_job() {
    let server = StandIn::start(Options::default()).await.unwrap();
    server.freeze();
    let short = Duration::from_millis(50);
    let comfy = connector_with(&server.url(), Timing { connect: short, probe: short, ..timing() });
    let bench = Bench::new();
    let failure = failure(soon(comfy.run(&graph_job(steps_graph(14, 1, 0.0)), &bench.ctx)).await);
    assert_eq!((failure.reason, failure.hosts_fault), (Reason::NetworkTimeout, true));
    assert!(bench.ledger.ids().is_empty(), "nothing was started");
}

#[tokio::test]
async fn what_cannot_be_seen_is_said_to_be_unseen() {
    let server = StandIn::start(Options::default()).await.unwrap();
    server.quirks(|quirks| quirks.hanging_routes.extend(["GET /ws".to_owned()]));
    let comfy = connector_with(&server.url(), Timing { connect: Duration::from_secs(1), ..timing() });
    let bench = Bench::new();
    soon(comfy.run(&graph_job(steps_graph(15, 1, 0.0)), &bench.ctx)).await.unwrap();
    let stages: Vec<_> = bench.progress.reports().into_iter().map(|report| report.stage).collect();
    assert!(stages.iter().all(|stage| matches!(stage, Stage::Unseen | Stage::Fetching)), "{stages:?}");
    // With a socket each step has its kind.
    let (_, bench) = run(&StandIn::start(Options::default()).await.unwrap().url(), steps_graph(15, 1, 0.0)).await;
    let kind = Stage::Kind("LabSteps  64x64x1".to_owned());
    assert!(bench.progress.reports().iter().any(|report| report.stage == kind), "{:?}", bench.progress.reports());
}

#[tokio::test]
async fn redirects_are_not_followed_and_credentials_are_sent() {
    let seen = any(async |headers: HeaderMap| {
        assert_eq!(headers["authorization"], "Basic dXNlcjpwQHNz");
        assert!(!headers.contains_key("origin") && !headers.contains_key("sec-fetch-site"));
        Redirect::temporary("http://127.0.0.1:1/elsewhere")
    });
    let (url, _server) = serve(Router::new().fallback(seen)).await;
    let url = url.replace("http://", "http://user:p%40ss@");
    let settings = Settings { timing: timing(), ..Settings::at(&url).unwrap() };
    assert!(!format!("{settings:?}").contains("p@ss") && !settings.base_url.as_str().contains("user"));
    let probe = ComfyUi::new(settings).unwrap().probe().await;
    assert!(format!("{:?}", probe.health).contains("answered 307"), "{:?}", probe.health);
}

#[tokio::test]
async fn a_run_of_an_earlier_process_is_taken_up() {
    let server = StandIn::start(Options::default()).await.unwrap();
    server.step_by_hand(true);
    let job = graph_job(steps_graph(8, 2, 0.0));
    let (before, after) = (Bench::new(), Bench::new());
    let earlier = connector(&server.url());
    tokio::select! {
        ended = earlier.run(&job, &before.ctx) => panic!("{ended:?}"),
        () = server.starving() => {}
    }
    drop(earlier);
    let (comfy, id) = (connector(&server.url()), before.ledger.ids()[0].clone());
    let go_on = async {
        after.progress.wait_for(|report| report.message.is_some()).await;
        server.step_by_hand(false);
    };
    let (found, ()) = soon(async { tokio::join!(comfy.reattach(&job, &id, &after.ctx), go_on) }).await;
    let Ok(Reattached::Done(outcome)) = found else { panic!("{found:?}") };
    assert_eq!(outcome.outputs[0].name, "picture_00001_.png");
    assert_eq!(server.runs_of(&id), 1);
    // Long over: history is asked at once, for the socket will stay silent.
    let patient = connector_with(&server.url(), Timing { silence: Duration::from_secs(3600), ..timing() });
    let bench = Bench::new();
    let found = soon(patient.reattach(&job, &id, &bench.ctx)).await.unwrap();
    assert!(matches!(found, Reattached::Done(_)));
    assert!(after.ledger.ids().is_empty(), "nothing new was started");
}

#[tokio::test]
async fn user_text_in_an_exception_is_not_passed_on() {
    let mut error = crate::replay::recording("0.27.0/runtime-error-exception");
    let text = "a red fox in the snow";
    error = serde_json::from_str(&error.to_string().replace(
        "synthetic value failure\\n",
        &format!("cannot encode '{text}' from /home/me/models/x.bin at C:\\\\\\\\x\\\\\\\\y\\nsecond line"),
    ))
    .unwrap();
    let steps = error["steps"].as_array().unwrap();
    let history =
        steps.iter().find(|step| step["request"]["path"].as_str().is_some_and(|at| at.starts_with("/history/")));
    let entry = history.unwrap()["response"]["body"].as_object().unwrap().values().next().unwrap().clone();
    let answer = get(async move |id: axum::extract::Path<String>| axum::Json(json!({ id.0: entry })));
    let router = Router::new().route("/prompt", accept()).route("/queue", idle()).route("/history/{id}", answer);
    let (url, _server) = serve(router).await;
    let mut graph = steps_graph(9, 1, 0.0);
    graph["6"] = json!({ "class_type": "CLIPTextEncode", "inputs": { "text": text, "clip": ["4", 1] } });
    let failure = failure(run(&url, graph).await.0);
    assert_eq!(failure.message, "node 3 (LabFail) failed with ValueError: cannot encode '…' from … at …");
}

#[tokio::test]
async fn previews_are_taken_only_if_nothing_was_saved() {
    let temp = get(async |id: axum::extract::Path<String>| {
        let outputs = json!({
            "10": { "images": [{ "filename": "p.png", "subfolder": "", "type": "temp" }] },
            "9": { "gifs": [{ "filename": "q.mp4", "subfolder": "", "type": "temp", "fullpath": "/x" }] },
        });
        axum::Json(json!({ id.0: { "outputs": outputs, "status": { "status_str": "success", "messages": [] } } }))
    });
    let view = get(async || "bytes");
    let router = Router::new().route("/prompt", accept()).route("/queue", idle()).route("/history/{id}", temp);
    let (url, _server) = serve(router.route("/view", view)).await;
    let outcome = run(&url, json!({ "1": { "class_type": "PreviewImage", "inputs": {} } })).await.0.unwrap();
    let names: Vec<_> = outcome.outputs.iter().map(|output| (&*output.kind, &*output.name)).collect();
    assert_eq!(names, [("gifs", "q.mp4"), ("images", "p.png")]);
    // `output-kinds` has both sorts.
    let replay = Replay::start("0.27.0/output-kinds", 0, Cut::default()).await;
    assert!(replay.graph().to_string().contains("PreviewImage"));
}
