//! The ten points that a ComfyUI connector must get right, a test each.
//! In: recorded sessions, the stand-in and its faults. Out: proof by name.

use crate::comfyui::{connector, connector_with, failure, graph_job, run, soon, steps_graph, timing};
use crate::replay::{Cut, Replay};
use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocketUpgrade};
use axum::routing::{get, post};
use connectors::comfyui::Timing;
use connectors::conformance::{Bench, MemoryLedger, job};
use connectors::contract::{Connector, Reattached};
use connectors::failure::{FailureType, Reason};
use serde_json::{Value, json};
use stand_ins::comfyui::{Options, Release, StandIn};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

async fn stand_in() -> StandIn {
    StandIn::start(Options::default()).await.unwrap()
}

#[tokio::test]
async fn point_01_prompt_id_is_stored_before_post() {
    let replay = Replay::start("0.27.0/success-first-run", 0, Cut::default()).await;
    let bench = Bench::with(MemoryLedger::held());
    let (comfy, job) = (connector(replay.url()), graph_job(replay.graph()));
    let look = async {
        let id = bench.ledger.first_id().await;
        assert!(!replay.paths().contains(&"/prompt".to_owned()), "submitted before its id was durable");
        bench.ledger.release();
        id
    };
    let (ended, id) = soon(async { tokio::join!(comfy.run(&job, &bench.ctx), look) }).await;
    ended.unwrap();
    let body = &replay.bodies("/prompt")[0];
    assert_eq!(body["prompt_id"], id);
    assert_eq!(uuid::Uuid::parse_str(&id).unwrap().hyphenated().to_string(), id, "canonical lowercase form");
    let (job_id, attempt) = (&body["extra_data"]["gpu_worker"]["job_id"], &body["extra_data"]["gpu_worker"]["attempt"]);
    assert_eq!((job_id, attempt), (&json!("job-1"), &json!(1)));
    // Another attempt has another id: the server would run both under one.
    let again = Bench::new();
    connector(replay.url()).run(&job, &again.ctx).await.unwrap();
    assert_ne!(again.ledger.ids(), bench.ledger.ids());
}

#[tokio::test]
async fn point_02_client_id_is_always_sent() {
    let replay = Replay::start("0.27.0/success-first-run", 0, Cut { no_socket: true, ..Cut::default() }).await;
    let (ended, ()) = soon(async { tokio::join!(run(replay.url(), replay.graph()), replay.end()) }).await;
    ended.0.unwrap();
    let client_id = replay.bodies("/prompt")[0]["client_id"].as_str().unwrap().to_owned();
    assert_eq!(format!("{client_id}"), replay.sockets()[0]);
    assert!(!client_id.is_empty());
}

#[tokio::test]
async fn point_03_file_prefix_is_unique_per_attempt() {
    let server = stand_in().await;
    let (first, one) = run(&server.url(), steps_graph(5, 1, 0.0)).await;
    server.delete_outputs().unwrap();
    let (second, two) = run(&server.url(), steps_graph(5, 1, 0.0)).await;
    assert_eq!(second.unwrap().outputs.len(), 1, "a cached run must not name the deleted file of another");
    let written = server.files_written();
    assert_ne!(written[0], written[1]);
    for (file, bench) in written.iter().zip([one, two]) {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(name.contains("job-1-1-") && name.contains(&bench.ledger.ids()[0][..8]), "{name}");
    }
    // The user gets the name that the user chose.
    assert_eq!(first.unwrap().outputs[0].name, "picture_00001_.png");
}

#[tokio::test]
async fn point_03_a_cached_run_names_no_foreign_file_though_its_prefix_comes_from_a_node() {
    for release in [Release::V0_27_0, Release::V0_3_64] {
        let server = StandIn::start(Options { release, cached_graphs: 4, ..Options::default() }).await.unwrap();
        let graph = |color: u32| {
            let mut graph = steps_graph(color, 1, 0.0);
            graph["5"] = json!({ "class_type": "PrimitiveString", "inputs": { "value": "own" } });
            graph["9"]["inputs"]["filename_prefix"] = json!(["5", 0]);
            graph["6"] = json!({ "class_type": "PreviewImage", "inputs": { "images": ["2", 0] } });
            graph
        };
        run(&server.url(), graph(0xFF_0000)).await.0.unwrap();
        server.delete_outputs().unwrap();
        let (_, other) = run(&server.url(), graph(0x00_00FF)).await;
        let (ended, again) = run(&server.url(), graph(0xFF_0000)).await;
        let outcome = ended.unwrap();
        assert_eq!(outcome.outputs[0].name, "own_00002_.png", "the first of that name is another job's");
        let written: Vec<_> =
            server.files_written().into_iter().filter(|file| !file.to_str().unwrap().contains("temp")).collect();
        assert_eq!(again.outputs.files()[0].bytes, std::fs::read(&written[2]).unwrap());
        assert_ne!(again.outputs.files()[0].bytes, other.outputs.files()[0].bytes);
        let ran = &server.executions()[2].nodes;
        assert!(ran.contains(&"9".to_owned()) && ran.contains(&"6".to_owned()) && ran.len() == 2, "{ran:?}");
    }
}

#[tokio::test]
async fn point_03_a_preview_is_made_anew() {
    let server = StandIn::start(Options { cached_graphs: 4, ..Options::default() }).await.unwrap();
    let mut graph = steps_graph(5, 1, 0.0);
    graph["9"] = json!({ "class_type": "PreviewImage", "inputs": { "images": ["2", 0] } });
    run(&server.url(), graph.clone()).await.0.unwrap();
    std::fs::remove_file(&server.files_written()[0]).unwrap();
    assert_eq!(run(&server.url(), graph).await.0.unwrap().outputs.len(), 1, "the file of the first is gone");
}

#[tokio::test]
async fn point_03_a_prefix_that_comes_from_a_node_is_left_alone() {
    let replay = Replay::start("0.27.0/success-first-run", 0, Cut::default()).await;
    let mut graph = replay.graph();
    graph["10"] = json!({ "class_type": "SaveImage", "inputs": { "images": ["4", 0], "filename_prefix": ["11", 0] } });
    run(replay.url(), graph).await.0.unwrap();
    let sent = &replay.bodies("/prompt")[0]["prompt"];
    assert_eq!(sent["10"]["inputs"]["filename_prefix"], json!(["11", 0]));
    assert!(sent["10"]["inputs"]["gpu_worker"].as_str().unwrap().starts_with("_job-1-1-"), "but it runs anew");
    assert!(sent["9"]["inputs"]["filename_prefix"].as_str().unwrap().starts_with("fx/success_job-1-1-"));
}

#[tokio::test]
async fn point_04_one_fresh_client_id_per_socket() {
    let server = stand_in().await;
    server.step_by_hand(true);
    let bench = Bench::new();
    let (comfy, job) = (connector(&server.url()), graph_job(steps_graph(6, 500, 0.0)));
    let meddle = async {
        server.starving().await;
        server.drop_connections();
        // What was said before the new socket was open is lost; a later step is heard, so nothing unregistered it.
        let heard = bench.progress.wait_for(|report| report.step.is_some());
        tokio::pin!(heard);
        while tokio::time::timeout(Duration::from_millis(20), &mut heard).await.is_err() {
            server.allow_steps(1);
        }
        assert!(server.open_sockets() <= 1);
        server.step_by_hand(false);
    };
    let (ended, ()) = soon(async { tokio::join!(comfy.run(&job, &bench.ctx), meddle) }).await;
    ended.unwrap();
    let replay = Replay::start("0.27.0/success-first-run", 0, Cut::default()).await;
    for _ in 0..2 {
        run(replay.url(), replay.graph()).await.0.unwrap();
    }
    assert_ne!(replay.sockets()[0], replay.sockets()[1]);
}

#[tokio::test]
async fn point_05_socket_is_read_fast_while_other_questions_hang() {
    // The server answers a question about history only after the client has taken 64 MB from the socket.
    let sent = Arc::new(watch::Sender::new(false));
    let ws = get(async |State(sent): State<Arc<watch::Sender<bool>>>, upgrade: WebSocketUpgrade| {
        upgrade.on_upgrade(async move |mut socket| {
            for _ in 0..64 {
                socket.send(Message::Binary(vec![0; 1 << 20].into())).await.unwrap();
            }
            sent.send_replace(true);
            while let Some(Ok(_)) = socket.recv().await {}
        })
    });
    let accept = post(async |body: axum::Json<Value>| axum::Json(json!({ "prompt_id": body["prompt_id"] })));
    let history = get(async |State(sent): State<Arc<watch::Sender<bool>>>, path: axum::extract::Path<String>| {
        sent.subscribe().wait_for(|sent| *sent).await.unwrap();
        axum::Json(json!({ path.0: { "outputs": {}, "status": { "status_str": "success" } } }))
    });
    let router = Router::new().route("/ws", ws).route("/prompt", accept).route("/history/{id}", history);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(axum::serve(listener, router.with_state(sent.clone())).into_future());
    let graph = json!({ "1": { "class_type": "PreviewAny", "inputs": {} } });
    let (ended, _) = run(&url, graph).await;
    server.abort();
    ended.unwrap();
    assert!(*sent.borrow());
}

#[tokio::test]
async fn point_06_history_is_the_truth_when_endings_are_lost() {
    let server = stand_in().await;
    server.quirks(|quirks| quirks.withhold_endings = true);
    assert_eq!(run(&server.url(), steps_graph(7, 1, 0.0)).await.0.unwrap().outputs.len(), 1);
}

#[tokio::test]
async fn point_06_history_is_the_truth_when_one_branch_is_blocked() {
    let blocked =
        json!({ "type": "execution_error", "data": { "node_id": "4", "exception_type": "ExecutionBlocked" } });
    let replay = Replay::start("0.27.0/success-first-run", 0, Cut { also: vec![blocked], ..Cut::default() }).await;
    assert_eq!(run(replay.url(), replay.graph()).await.0.unwrap().outputs.len(), 1);
}

#[tokio::test]
async fn point_07_queue_is_asked_before_history() {
    let replay = Replay::start("0.27.0/success-first-run", 0, Cut { no_socket: true, ..Cut::default() }).await;
    let (ended, ()) = soon(async { tokio::join!(run(replay.url(), replay.graph()), replay.end()) }).await;
    ended.0.unwrap();
    let asked: Vec<_> = replay.paths().into_iter().filter(|path| path != "/prompt").collect();
    let queue = asked.iter().position(|path| path == "/queue").unwrap();
    let history = asked.iter().position(|path| path.starts_with("/history/")).unwrap();
    assert!(queue < history, "{asked:?}");
}

#[tokio::test]
async fn point_08_a_500_does_not_prove_that_it_was_not_queued() {
    let server = stand_in().await;
    server.quirks(|quirks| quirks.refuse_but_queue = true);
    let (ended, bench) = run(&server.url(), steps_graph(8, 1, 0.0)).await;
    assert_eq!(ended.unwrap().outputs.len(), 1);
    assert_eq!(server.runs_of(&bench.ledger.ids()[0]), 1);
}

#[tokio::test]
async fn point_08_no_answer_does_not_prove_that_it_was_not_queued() {
    let server = stand_in().await;
    server.quirks(|quirks| quirks.swallow_prompt_answer = true);
    let patience = Timing { submit: Duration::from_millis(100), ..timing() };
    let bench = Bench::new();
    let job = graph_job(steps_graph(9, 1, 0.0));
    let ended = soon(connector_with(&server.url(), patience).run(&job, &bench.ctx)).await;
    assert_eq!(ended.unwrap().outputs.len(), 1);
    assert_eq!(server.runs_of(&bench.ledger.ids()[0]), 1);
}

#[tokio::test]
async fn point_09_a_partly_valid_graph_is_refused_as_a_whole() {
    // The last submission of this recording is answered by 200 with node errors.
    for (release, nth) in [("0.27.0", 29), ("0.3.64", 29)] {
        let cut = Cut { no_socket: true, ..Cut::default() };
        let replay = Replay::start(&format!("{release}/prompt-validation-errors"), nth, cut).await;
        let (ended, bench) = run(replay.url(), replay.graph()).await;
        let failure = failure(ended);
        assert_eq!(failure.reason, Reason::MissingRequiredField);
        assert!(failure.message.contains("node 8 (SaveImage), input `filename_prefix`"), "{failure}");
        assert_eq!(bench.outputs.begun(), 0);
        let id = &bench.ledger.ids()[0];
        let routes = replay.paths().into_iter().filter(|path| path.contains("cancel") || path.contains("interrupt"));
        let mut routes: Vec<_> = routes.collect();
        // The question whether there is such a route names an id that nobody has.
        let question = routes.remove(0);
        assert!(question.starts_with("/api/jobs/") && !question.contains(id.as_str()), "{question}");
        match release {
            "0.27.0" => assert_eq!(routes, [format!("/api/jobs/{id}/cancel")]),
            _ => {
                assert_eq!(routes, ["/interrupt"]);
                assert_eq!(replay.bodies("/interrupt"), [json!({ "prompt_id": id })]);
            }
        }
    }
}

#[tokio::test]
async fn point_09_nothing_of_a_partly_valid_graph_is_left_at_work() {
    let server = stand_in().await;
    let mut graph = steps_graph(10, 9_000, 0.01);
    graph["8"] = json!({ "class_type": "SaveImage", "inputs": { "images": ["1", 0] } });
    let (ended, bench) = run(&server.url(), graph).await;
    assert_eq!(failure(ended).kind(), FailureType::ValidationError);
    let id = bench.ledger.ids()[0].clone();
    let runs = server.executions();
    assert!(runs.iter().filter(|run| run.prompt_id == id).all(|run| run.outcome == "interrupted"), "{runs:?}");
}

#[tokio::test]
async fn point_10_an_id_in_neither_was_lost_by_a_restart() {
    let server = stand_in().await;
    server.step_by_hand(true);
    let bench = Bench::new();
    let (comfy, job) = (connector(&server.url()), job("job-1", "comfyui", steps_graph(11, 5, 0.0)));
    let meddle = async {
        server.starving().await;
        server.restart();
    };
    let (ended, ()) = soon(async { tokio::join!(comfy.run(&job, &bench.ctx), meddle) }).await;
    let failure = failure(ended);
    assert_eq!((failure.kind(), failure.hosts_fault), (FailureType::ServiceError, true));
    let found = comfy.reattach(&job, &bench.ledger.ids()[0], &bench.ctx).await.unwrap();
    assert_eq!(found, Reattached::Unknown);
}
