//! ComfyUI behind a bad wire: cuts, silence and crawling at every request of a run, and on the websocket.
//! In: the stand-in behind the fault proxy. Out: one run of the engine and whole files, or a typed failure; never a hang.

use crate::comfyui::{connector_with, failure, graph_job, soon, steps_graph, timing};
use crate::proxy::{Cut, Door, Fault, FaultProxy, Then, Way};
use connectors::comfyui::{ComfyUi, Timing};
use connectors::conformance::Bench;
use connectors::contract::{Connector, Outcome, RunError};
use connectors::failure::Reason;
use futures_util::future::join_all;
use stand_ins::comfyui::{Options, StandIn};
use std::time::Duration;

/// Every deadline that a silent wire runs into, short.
fn impatient() -> Timing {
    let short = Duration::from_millis(400);
    // What ends an attempt, or the websocket for good, leaves room for a loaded machine.
    let long = Duration::from_secs(2);
    let timing = Timing { connect: long, stalled_download: long, ..timing() };
    Timing { request: short, probe: short, submit: short, ping: short, ..timing }
}

/// A ComfyUI behind the proxy, and a connector that reaches it only so.
struct Wire {
    engine: StandIn,
    proxy: FaultProxy,
    comfy: ComfyUi,
    bench: Bench,
}

impl Wire {
    async fn with(timing: Timing) -> Self {
        let engine = StandIn::start(Options::default()).await.unwrap();
        let proxy = FaultProxy::before(engine.address()).await;
        let comfy = connector_with(&format!("http://{}", proxy.address()), timing);
        Self { engine, proxy, comfy, bench: Bench::new() }
    }

    async fn run(&self) -> Result<Outcome, RunError> {
        soon(self.comfy.run(&graph_job(steps_graph(7, 3, 0.0)), &self.bench.ctx)).await
    }

    /// Runs a job, and does something to the wire once the engine is at work on it.
    async fn run_while(&self, meddle: impl AsyncFnOnce(&Self)) -> Result<Outcome, RunError> {
        self.engine.step_by_hand(true);
        let meddling = async {
            self.engine.starving().await;
            meddle(self).await;
        };
        soon(async { tokio::join!(self.run(), meddling).0 }).await
    }

    /// It ended well: the engine ran it once, and every byte of its file has arrived.
    fn has_cost_nothing(&self, ended: &Result<Outcome, RunError>, what: &str) {
        let outcome = ended.as_ref().unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_eq!(self.engine.executions().len(), 1, "{what}: {:?}", self.engine.executions());
        let (stored, written) = (self.bench.outputs.files(), self.engine.files_written());
        assert_eq!((stored.len(), written.len(), outcome.outputs.len()), (1, 1, 1), "{what}");
        assert_eq!(stored[0].bytes, std::fs::read(&written[0]).unwrap(), "{what}");
        assert_eq!(outcome.outputs[0].sha256, stored[0].stored.sha256, "{what}");
    }
}

/// What becomes of a request whose answer is cut or silenced after nothing, in its head, or further on.
const ANSWERS: [Then; 8] = [
    Then::CutAnswer(0, Cut::Reset),
    Then::CutAnswer(0, Cut::Finish),
    Then::CutAnswer(20, Cut::Reset),
    Then::CutAnswer(20, Cut::Finish),
    Then::CutAnswer(400, Cut::Reset),
    Then::CutAnswer(400, Cut::Finish),
    Then::Strand(0),
    Then::Strand(400),
];

/// Hits one request of a run in each of these ways.
async fn hit(request: &str, blows: &[Then]) {
    join_all(blows.iter().map(async |then| {
        let wire = Wire::with(impatient()).await;
        wire.proxy.on(request, *then);
        let ended = wire.run().await;
        let what = format!("{request}, {then:?}");
        // Short answers have gone through before the cut comes.
        assert!(wire.proxy.sprung() == 1 || matches!(then, Then::CutAnswer(400, _) | Then::Strand(400)), "{what}");
        wire.has_cost_nothing(&ended, &what);
    }))
    .await;
}

#[tokio::test]
async fn a_submission_whose_answer_is_lost_was_queued_and_runs_once() {
    hit("POST /prompt", &ANSWERS).await;
}

#[tokio::test]
async fn a_submission_that_never_arrives_is_a_typed_failure_and_goes_through_later() {
    for cut in [Cut::Reset, Cut::Finish] {
        let wire = Wire::with(impatient()).await;
        wire.proxy.on("POST /prompt", Then::LoseRequest(cut));
        let failure = failure(wire.run().await);
        assert_eq!((failure.reason, failure.hosts_fault), (Reason::ConnectionFailed, true), "{cut:?}: {failure}");
        assert!(wire.engine.executions().is_empty());
        wire.has_cost_nothing(&wire.run().await, "the next attempt");
    }
}

#[tokio::test]
async fn a_question_that_is_cut_off_is_asked_again() {
    hit("GET /history/", &ANSWERS).await;
    hit("GET /history/", &[Then::LoseRequest(Cut::Reset), Then::LoseRequest(Cut::Finish)]).await;
}

#[tokio::test]
async fn a_download_that_is_cut_off_begins_anew_and_no_part_of_it_is_stored() {
    hit("GET /view", &ANSWERS).await;
    let in_the_body = [Then::CutAnswer(9_000, Cut::Reset), Then::CutAnswer(9_000, Cut::Finish), Then::Strand(9_000)];
    hit("GET /view", &in_the_body).await;
    hit("GET /view", &[Then::LoseRequest(Cut::Reset), Then::LoseRequest(Cut::Finish)]).await;
}

#[tokio::test]
async fn a_download_that_is_cut_off_each_time_stores_nothing() {
    let wire = Wire::with(impatient()).await;
    for _ in 0..3 {
        wire.proxy.on("GET /view", Then::CutAnswer(9_000, Cut::Reset));
    }
    let failure = failure(wire.run().await);
    assert_eq!((failure.reason, failure.hosts_fault), (Reason::ConnectionFailed, true), "{failure}");
    assert!(wire.bench.outputs.files().is_empty());
    assert_eq!(wire.bench.outputs.begun(), 3);
}

#[tokio::test]
async fn a_websocket_that_is_cut_off_or_falls_silent_costs_no_job() {
    hit("GET /ws", &ANSWERS).await;
    hit("GET /ws", &[Then::LoseRequest(Cut::Reset), Then::LoseRequest(Cut::Finish)]).await;
}

#[tokio::test]
async fn connections_that_die_in_mid_run_cost_no_job() {
    for how in [Some(Cut::Reset), Some(Cut::Finish), None] {
        let wire = Wire::with(impatient()).await;
        let ended = wire
            .run_while(async |wire| {
                match how {
                    Some(cut) => wire.proxy.cut(cut),
                    None => wire.proxy.strand(),
                }
                wire.engine.step_by_hand(false);
            })
            .await;
        wire.has_cost_nothing(&ended, &format!("{how:?}"));
    }
}

#[tokio::test]
async fn answers_that_take_seconds_cost_no_job() {
    let wire = Wire::with(timing()).await;
    wire.proxy.both(Fault::Latency(Duration::from_secs(1)));
    wire.has_cost_nothing(&wire.run().await, "a second each way");
}

#[tokio::test]
async fn a_wire_that_crawls_or_stands_still_for_a_while_costs_no_job() {
    for fault in [Fault::Throttle(1), Fault::Stall, Fault::Swallow] {
        let wire = Wire::with(impatient()).await;
        let ended = wire
            .run_while(async |wire| {
                wire.proxy.both(fault);
                wire.engine.step_by_hand(false);
                // By then some questions of the connector have had no answer either.
                assert!(!wire.comfy.probe().await.is_healthy());
                wire.proxy.heal().await;
            })
            .await;
        wire.has_cost_nothing(&ended, &format!("{fault:?}"));
    }
}

#[tokio::test]
async fn a_server_that_refuses_for_a_while_in_mid_run_costs_no_job() {
    let wire = Wire::with(Timing { refused: Duration::from_secs(20), ..impatient() }).await;
    let ended = wire
        .run_while(async |wire| {
            wire.proxy.door(Door::Closed).await;
            wire.proxy.cut(Cut::Reset);
            wire.engine.step_by_hand(false);
            for _ in 0..20 {
                assert!(!wire.comfy.probe().await.is_healthy());
            }
            wire.proxy.heal().await;
        })
        .await;
    wire.has_cost_nothing(&ended, "refused for a while");
}

#[tokio::test]
async fn a_wire_that_stays_dead_is_given_up_by_the_deadline_and_the_next_attempt_goes_through() {
    // Without a word, `unreachable` ends it; with refusals, `refused` does.
    for (door, reason) in [(Door::Deaf, Reason::ServiceUnavailable), (Door::Closed, Reason::ServiceDown)] {
        let wire = Wire::with(Timing { unreachable: Duration::from_secs(1), ..impatient() }).await;
        let ended = wire
            .run_while(async |wire| {
                wire.proxy.door(door).await;
                match door {
                    Door::Closed => wire.proxy.cut(Cut::Reset),
                    _ => wire.proxy.strand(),
                }
            })
            .await;
        let failure = failure(ended);
        assert_eq!((failure.reason, failure.hosts_fault), (reason, true), "{door:?}: {failure}");
        wire.proxy.heal().await;
        // As the runner does for an attempt that is over.
        let id = wire.bench.ledger.ids()[0].clone();
        wire.engine.step_by_hand(false);
        soon(wire.comfy.interrupt(&id)).await.unwrap();
        assert_eq!(wire.run().await.unwrap().outputs.len(), 1, "{door:?}");
        assert_eq!(wire.engine.runs_of(&id), 1);
    }
}

#[tokio::test]
async fn a_cut_in_the_middle_of_a_request_is_no_hang() {
    for bytes in [1, 100, 700] {
        for cut in [Cut::Reset, Cut::Finish] {
            let wire = Wire::with(impatient()).await;
            wire.proxy.cut_after(Way::ToServer, bytes, cut);
            let ended = wire.run().await;
            // Which request it hits decides: a submission that did not arrive whole has failed, others are made again.
            match ended {
                Ok(_) => wire.has_cost_nothing(&ended, &format!("{bytes} bytes, {cut:?}")),
                Err(RunError::Failed(failure)) => assert_eq!(failure.reason, Reason::ConnectionFailed, "{failure}"),
                Err(other) => panic!("{other}"),
            }
            assert_eq!(wire.proxy.sprung(), 1);
        }
    }
}
