//! Servers that are down, die, freeze, cut connections or answer with damaged pictures.
//! In: the stand-in and its faults. Out: a typed failure or a finished job, never a hang.

use super::{connector, connector_with, failure, fox, fox_job, outcomes, run, soon, stand_in, timing};
use connectors::a1111::Timing;
use connectors::conformance::Bench;
use connectors::contract::Connector;
use connectors::failure::Reason;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_server_that_is_down_is_the_hosts_fault_and_starts_nothing() {
    let server = stand_in().await;
    server.kill().await;
    let (ended, bench) = run(&server, fox()).await;
    let failure = failure(ended);
    assert_eq!((failure.reason, failure.hosts_fault), (Reason::ServiceDown, true));
    assert!(bench.ledger.ids().is_empty());
}

#[tokio::test]
async fn a_server_that_dies_in_mid_run_ends_the_run() {
    let server = stand_in().await;
    server.step_by_hand(true);
    let bench = Bench::new();
    let (a1111, job) = (connector(&server.url()), fox_job(json!({})));
    let meddle = async {
        server.allow_steps(3);
        server.starving().await;
        server.kill().await;
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), meddle) }).await;
    let failure = failure(ended);
    assert_eq!((failure.reason, failure.hosts_fault), (Reason::ServiceDown, true));
    assert_eq!(outcomes(&server), ["lost"]);
}

#[tokio::test]
async fn a_run_whose_connection_breaks_is_stopped_before_the_next() {
    let server = stand_in().await;
    server.step_by_hand(true);
    let bench = Bench::new();
    let (a1111, job) = (connector(&server.url()), fox_job(json!({ "steps": 1000 })));
    let meddle = async {
        server.allow_steps(3);
        server.starving().await;
        server.drop_connections();
        server.step_by_hand(false);
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), meddle) }).await;
    assert_eq!(failure(ended).reason, Reason::ConnectionFailed);
    assert_eq!(outcomes(&server), ["interrupted"], "its result could not be had any more");
    super::run_on(&a1111, fox()).await.0.unwrap();
}

#[tokio::test]
async fn a_frozen_server_that_thaws_costs_no_job() {
    let server = stand_in().await;
    server.step_by_hand(true);
    // For the silence; short enough to wait for, long enough for good answers on a loaded machine.
    let short = Duration::from_millis(500);
    let a1111 = connector_with(&server.url(), Timing { request: short, probe: short * 3, ..timing() });
    let bench = Bench::new();
    let job = fox_job(json!({}));
    let meddle = async {
        server.starving().await;
        server.freeze();
        server.step_by_hand(false);
        assert!(!a1111.probe().await.is_healthy());
        server.thaw();
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), meddle) }).await;
    assert_eq!(ended.unwrap().outputs.len(), 1);
}

#[tokio::test]
async fn a_server_that_stays_frozen_is_given_up() {
    let server = stand_in().await;
    server.step_by_hand(true);
    // For the silence; short enough to wait for, long enough for good answers on a loaded machine.
    let short = Duration::from_millis(500);
    let a1111 = connector_with(&server.url(), Timing { request: short, unreachable: short * 3, ..timing() });
    let bench = Bench::new();
    let job = fox_job(json!({}));
    let meddle = async {
        server.starving().await;
        server.freeze();
    };
    let (ended, ()) = soon(async { tokio::join!(a1111.run(&job, &bench.ctx), meddle) }).await;
    let failure = failure(ended);
    assert_eq!((failure.reason, failure.hosts_fault), (Reason::ServiceUnavailable, true));
}

#[tokio::test]
async fn damaged_pictures_are_never_sealed() {
    let server = stand_in().await;
    server.quirks(|quirks| quirks.garble_pictures = true);
    let (ended, bench) = run(&server, fox()).await;
    let failure = failure(ended);
    assert_eq!((failure.reason, failure.hosts_fault), (Reason::CorruptedData, true));
    assert!(bench.outputs.files().is_empty());
}
