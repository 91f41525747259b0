//! Inputs on their way into ComfyUI: uploaded under plain names, named in the graph, before anything is submitted.
//! In: the stand-in, inputs from memory. Out: what lies in its input folder, what it was given to run.

use crate::comfyui::{connector, connector_with, failure, soon, timing};
use crate::given::{Given, PNG, sha256};
use crate::proxy::{Cut, FaultProxy, Then};
use connectors::comfyui::Timing;
use connectors::conformance::{Bench, job};
use connectors::contract::{Connector, Job, Reattached, RunError, Stage};
use connectors::failure::{Failure, FailureType, Reason};
use serde_json::{Value, json};
use stand_ins::comfyui::{Options, Release, StandIn};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const URL: &str = "https://host.test/photo?key=1";

fn load(image: &str) -> Value {
    json!({
        "1": { "class_type": "LoadImage", "inputs": { "image": image } },
        "2": { "class_type": "LabSteps",
               "inputs": { "image": ["1", 0], "steps": 2, "seconds": 0.0, "preview": "none", "salt": 1 } },
        "9": { "class_type": "SaveImage", "inputs": { "images": ["2", 0], "filename_prefix": "x" } },
    })
}

fn named() -> Job {
    job("job-1", "comfyui", json!({ "workflow": load("{{photo}}"), "inputs": { "photo": URL } }))
}

fn direct() -> Job {
    job("job-1", "comfyui", json!({ "workflow": load(URL) }))
}

fn photo() -> Arc<Given> {
    Given::new(&[(URL, "image/png", PNG)])
}

fn bench(inputs: &Arc<Given>) -> Bench {
    let mut bench = Bench::new();
    bench.ctx.inputs = inputs.clone();
    bench
}

async fn server(folder: &Path) -> StandIn {
    StandIn::start(Options { folder: Some(folder.to_owned()), ..Options::default() }).await.unwrap()
}

fn uploaded(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder.join("input/gpu-worker")).into_iter().flatten().flatten();
    let mut names: Vec<String> = files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

fn own_name() -> String {
    format!("job-1-{}.png", &sha256(PNG)[..16])
}

/// The graph that was run last.
async fn graph_run(server: &StandIn, bench: &Bench) -> Value {
    let id = bench.ledger.ids().pop().unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let history = reqwest::get(format!("{}/history/{id}", server.url())).await.unwrap();
    history.json::<Value>().await.unwrap()[&id]["prompt"][2].clone()
}

#[tokio::test]
async fn an_input_is_uploaded_under_a_plain_name_and_the_graph_names_it() {
    for release in [Release::V0_27_0, Release::V0_3_64] {
        for job in [named(), direct()] {
            let folder = tempfile::tempdir().unwrap();
            let options = Options { folder: Some(folder.path().to_owned()), release, ..Options::default() };
            let server = StandIn::start(options).await.unwrap();
            let (inputs, comfy) = (photo(), connector(&server.url()));
            let bench = bench(&inputs);
            let outcome = soon(comfy.run(&job, &bench.ctx)).await.unwrap();
            assert_eq!((outcome.outputs.len(), inputs.asked()), (1, vec![URL.to_owned()]));
            assert_eq!(uploaded(folder.path()), [own_name()]);
            assert_eq!(std::fs::read(folder.path().join("input/gpu-worker").join(own_name())).unwrap(), PNG);
            let graph = graph_run(&server, &bench).await;
            assert_eq!(graph["1"]["inputs"]["image"], format!("gpu-worker/{}", own_name()));
            let first = bench.progress.reports()[0].clone();
            assert_eq!(first.message.as_deref(), Some("fetching inputs (1 of 1)"));
            assert_eq!((first.stage, first.fraction), (Stage::Fetching, 0.0));
        }
    }
}

#[tokio::test]
async fn the_name_in_the_answer_counts_and_another_attempt_adds_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path()).await;
    std::fs::create_dir_all(folder.path().join("input/gpu-worker")).unwrap();
    std::fs::write(folder.path().join("input/gpu-worker").join(own_name()), "other bytes").unwrap();
    let (inputs, comfy) = (photo(), connector(&server.url()));
    let bench = bench(&inputs);
    soon(comfy.run(&named(), &bench.ctx)).await.unwrap();
    let renamed = own_name().replace(".png", " (1).png");
    assert_eq!(graph_run(&server, &bench).await["1"]["inputs"]["image"], format!("gpu-worker/{renamed}"));
    assert_eq!(uploaded(folder.path()), [renamed.clone(), own_name()]);
    soon(comfy.run(&named(), &bench.ctx)).await.unwrap();
    assert_eq!(uploaded(folder.path()), [renamed, own_name()], "nobody can delete them");
}

#[tokio::test]
async fn one_source_for_several_fields_is_fetched_once_and_base64_too() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path()).await;
    let mut graph = load("{{photo}}");
    graph["3"] = json!({ "class_type": "LoadImage", "inputs": { "image": "photo" } });
    graph["4"] = json!({ "class_type": "SaveImage", "inputs": { "images": ["3", 0], "filename_prefix": "y" } });
    let payload = json!({ "workflow": graph, "inputs": { "photo": { "base64": "iVBORw==" } } });
    let inputs = Given::new(&[("data:;base64,iVBORw==", "image/png", PNG)]);
    let bench = bench(&inputs);
    soon(connector(&server.url()).run(&job("job-1", "comfyui", payload), &bench.ctx)).await.unwrap();
    assert_eq!(inputs.asked().len(), 1);
    let graph = graph_run(&server, &bench).await;
    assert_eq!(graph["1"]["inputs"]["image"], graph["3"]["inputs"]["image"]);
}

#[tokio::test]
async fn what_cannot_be_fetched_or_does_not_suit_fails_before_anything_is_submitted() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path()).await;
    let busy = Failure { retry_after: Some(Duration::from_secs(7)), ..Failure::new(Reason::ConnectionFailed, "busy") };
    let page = Given::new(&[(URL, "text/html", b"<html>")]);
    for (inputs, kind) in [
        (photo(), None),
        (Given::new(&[]), Some(FailureType::ValidationError)),
        (page, Some(FailureType::ValidationError)),
        (Given::failing(busy.clone()), Some(FailureType::NetworkError)),
    ] {
        let bench = bench(&inputs);
        let ended = soon(connector(&server.url()).run(&named(), &bench.ctx)).await;
        let Some(kind) = kind else {
            ended.unwrap();
            continue;
        };
        let failed = failure(ended);
        assert_eq!((failed.kind(), failed.hosts_fault), (kind, false), "{failed}");
        assert!(failed.message.contains("the input `photo`") && !failed.message.contains("key=1"), "{failed}");
        assert_eq!(failed.retry_after, busy.retry_after.filter(|_| kind == FailureType::NetworkError));
        assert!(bench.ledger.ids().is_empty());
    }
    assert_eq!((server.executions().len(), uploaded(folder.path()).len()), (1, 1), "the good one's");
}

#[tokio::test]
async fn a_cancel_ends_a_fetch_and_an_upload_at_once_and_nothing_is_submitted() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path()).await;
    let comfy = connector_with(&server.url(), Timing { submit: Duration::from_secs(600), ..timing() });
    for frozen in [false, true] {
        let inputs = photo();
        let bench = bench(&inputs);
        if frozen {
            server.freeze();
        } else {
            inputs.hold();
        }
        let cancel = async {
            bench.progress.wait_for(|report| report.stage == Stage::Fetching).await;
            bench.ctx.cancel.cancel();
        };
        let job = named();
        let (ended, ()) = soon(async { tokio::join!(comfy.run(&job, &bench.ctx), cancel) }).await;
        assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
        assert!(bench.ledger.ids().is_empty());
    }
    server.thaw();
    assert!(server.executions().is_empty());
}

#[tokio::test]
async fn a_server_that_takes_no_such_file_refuses_the_job_and_one_that_is_gone_is_its_own_fault() {
    let options = Options { max_upload_size: 64, ..Options::default() };
    let server = StandIn::start(options).await.unwrap();
    let inputs = Given::new(&[(URL, "image/png", &[b'x'; 100])]);
    let comfy = connector(&server.url());
    let too_large = failure(soon(comfy.run(&named(), &bench(&inputs).ctx)).await);
    assert_eq!((too_large.reason, too_large.hosts_fault), (Reason::InvalidPayload, false), "{too_large}");
    assert!(too_large.message.contains("100 bytes"), "{too_large}");
    server.kill().await;
    let gone = failure(soon(comfy.run(&named(), &bench(&inputs).ctx)).await);
    assert_eq!((gone.reason, gone.hosts_fault), (Reason::ServiceDown, true), "{gone}");
}

#[tokio::test]
async fn an_upload_that_gets_no_answer_is_given_up() {
    let server = StandIn::start(Options::default()).await.unwrap();
    let comfy = connector_with(&server.url(), Timing { submit: Duration::from_millis(100), ..timing() });
    server.freeze();
    let silent = failure(soon(comfy.run(&named(), &bench(&photo()).ctx)).await);
    assert_eq!((silent.reason, silent.hosts_fault), (Reason::NetworkTimeout, true), "{silent}");
}

#[tokio::test]
async fn a_run_that_is_taken_up_again_fetches_and_uploads_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(folder.path()).await;
    server.step_by_hand(true);
    let (inputs, comfy, job) = (photo(), connector(&server.url()), named());
    let first = bench(&inputs);
    tokio::select! {
        ended = comfy.run(&job, &first.ctx) => panic!("it waits for a step: {ended:?}"),
        () = soon(server.starving()) => {}
    }
    server.step_by_hand(false);
    let none = Given::new(&[]);
    let second = bench(&none);
    let id = first.ledger.ids()[0].clone();
    let taken_up = soon(connector(&server.url()).reattach(&job, &id, &second.ctx)).await.unwrap();
    assert!(matches!(taken_up, Reattached::Done(outcome) if outcome.outputs.len() == 1));
    assert!(none.asked().is_empty() && server.executions().len() == 1);
    assert_eq!(uploaded(folder.path()), [own_name()]);
}

#[tokio::test]
async fn an_upload_that_is_cut_off_is_sent_again_and_is_one_file() {
    for then in [
        Then::LoseRequest(Cut::Reset),
        Then::LoseRequest(Cut::Finish),
        Then::CutAnswer(0, Cut::Reset),
        Then::CutAnswer(20, Cut::Finish),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let server = server(folder.path()).await;
        let proxy = FaultProxy::before(server.address()).await;
        proxy.on("POST /upload/image", then);
        let comfy = connector(&format!("http://{}", proxy.address()));
        let ended = soon(comfy.run(&named(), &bench(&photo()).ctx)).await;
        assert_eq!((ended.unwrap().outputs.len(), proxy.sprung()), (1, 1), "{then:?}");
        assert_eq!(uploaded(folder.path()), [own_name()], "{then:?}");
    }
}
