//! Pictures that a job names by URL: in the request before it is sent, so that the server asks nobody.
//! In: the stand-in, inputs from memory. Out: what was fetched, and what the server made of the request.

use super::{PNG, connector, failure, fox_job, soon, stand_in};
use crate::given::{self, Given};
use connectors::conformance::{Bench, job};
use connectors::contract::{Connector, RunError, Stage};
use connectors::failure::{FailureType, Reason};
use serde_json::json;
use std::sync::Arc;

const URL: &str = "https://host.test/photo?key=1";

fn bench(inputs: &Arc<Given>) -> Bench {
    let mut bench = Bench::new();
    bench.ctx.inputs = inputs.clone();
    bench
}

fn photo() -> Arc<Given> {
    Given::new(&[(URL, "image/png", given::PNG), ("output:job-0/a.png", "image/png", given::PNG)])
}

#[tokio::test]
async fn urls_and_outputs_are_fetched_once_each_and_the_server_gets_pictures() {
    let server = stand_in().await;
    let (inputs, a1111) = (photo(), connector(&server.url()));
    let bench = bench(&inputs);
    let wanted = json!({ "init_images": [URL, PNG], "mask": "output:job-0/a.png", "alwayson_scripts": {
        "Soft inpainting": { "args": [{ "image": URL }] } } });
    soon(a1111.run(&fox_job(wanted), &bench.ctx)).await.unwrap();
    assert_eq!(inputs.asked(), [URL, "output:job-0/a.png"]);
    let first = bench.progress.reports()[0].clone();
    assert_eq!((first.message.as_deref(), first.stage), (Some("fetching inputs (1 of 2)"), Stage::Fetching));
    let upscaler = "Lanczos";
    for payload in [
        json!({ "image": URL, "upscaler_1": upscaler }),
        json!({ "imageList": [URL, { "data": URL }], "upscaler_1": upscaler }),
    ] {
        let count = payload["imageList"].as_array().map_or(1, Vec::len);
        let outcome = soon(a1111.run(&job("job-1", "a1111", payload), &bench.ctx)).await.unwrap();
        assert_eq!(outcome.outputs.len(), count);
    }
}

#[tokio::test]
async fn what_is_no_picture_or_may_not_be_fetched_fails_before_anything_is_sent() {
    let server = stand_in().await;
    let a1111 = connector(&server.url());
    let page = Given::new(&[(URL, "text/html", b"<html>")]);
    for (inputs, wanted) in [
        (Given::new(&[]), json!({ "init_images": [URL] })),
        (page.clone(), json!({ "init_images": [URL] })),
        (page, json!({ "alwayson_scripts": { "Extra options": { "args": [7, URL] } } })),
        (photo(), json!({ "init_images": [{ "path": "/etc/passwd" }] })),
    ] {
        let bench = bench(&inputs);
        let failed = failure(soon(a1111.run(&fox_job(wanted.clone()), &bench.ctx)).await);
        assert_eq!((failed.kind(), failed.hosts_fault), (FailureType::ValidationError, false), "{wanted}: {failed}");
        assert!(bench.ledger.ids().is_empty(), "{wanted}");
    }
    assert!(server.executions().is_empty());
}

#[tokio::test]
async fn a_cancel_ends_a_fetch_at_once() {
    let server = stand_in().await;
    let inputs = photo();
    inputs.hold();
    let bench = bench(&inputs);
    let (a1111, job) = (connector(&server.url()), fox_job(json!({ "init_images": [URL] })));
    let cancel = async {
        bench.progress.wait_for(|report| report.stage == Stage::Fetching).await;
        bench.ctx.cancel.cancel();
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), cancel) }).await;
    assert!(matches!(ended, Err(RunError::Cancelled)), "{ended:?}");
    assert!(bench.ledger.ids().is_empty());
}

#[tokio::test]
async fn more_pictures_than_fit_into_a_request_are_refused() {
    let server = stand_in().await;
    let large = vec![0; 9 << 20];
    let inputs = Given::new(&[(URL, "image/png", &large)]);
    let pictures = vec![URL; 30];
    let a1111 = connector(&server.url());
    let failed = failure(soon(a1111.run(&fox_job(json!({ "init_images": pictures })), &bench(&inputs).ctx)).await);
    assert_eq!(failed.reason, Reason::InvalidPayload, "{failed}");
}
