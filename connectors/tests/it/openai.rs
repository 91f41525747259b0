//! The OpenAI connector on its stand-in: what the tests share.
//! In: a stand-in and a payload. Out: the outcome, and what the connector did to its surroundings.

mod dialects;
mod faults;
mod payloads;
mod probe;
mod stops;
mod texts;

use connectors::conformance::{Bench, job};
use connectors::contract::{Connector, Outcome, RunError};
use connectors::failure::Failure;
use connectors::openai::{OpenAi, Settings, Timing};
use serde_json::Value;
use stand_ins::openai::{Options, StandIn};
use std::time::Duration;

/// Patience for tests: what must not fire is far away.
pub fn timing() -> Timing {
    Timing { poll: Duration::from_millis(5), ..Timing::default() }
}

pub fn connector_with(url: &str, timing: Timing) -> OpenAi {
    OpenAi::new(Settings { timing, ..Settings::at(url).unwrap() }).unwrap()
}

pub fn connector(url: &str) -> OpenAi {
    connector_with(url, timing())
}

pub async fn stand_in_with(options: Options) -> StandIn {
    StandIn::start(Options { token_time: Duration::from_millis(1), ..options }).await.unwrap()
}

pub async fn stand_in() -> StandIn {
    stand_in_with(Options::default()).await
}

/// What must not hang: a fault shall fail the test, not hold it for ever.
pub async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), work).await.expect("it hangs")
}

pub async fn run_on(openai: &OpenAi, service: &str, payload: Value) -> (Result<Outcome, RunError>, Bench) {
    let bench = Bench::new();
    let ended = soon(openai.run(&job("job-1", service, payload), &bench.ctx)).await;
    (ended, bench)
}

pub async fn run(server: &StandIn, service: &str, payload: Value) -> (Result<Outcome, RunError>, Bench) {
    run_on(&connector(&server.url()), service, payload).await
}

pub fn failure(ended: Result<Outcome, RunError>) -> Failure {
    match ended {
        Err(RunError::Failed(failure)) => failure,
        other => panic!("a failure was expected, not {other:?}"),
    }
}

/// The text that was streamed, of one kind.
pub fn streamed(bench: &Bench, kind: &str) -> String {
    bench.tokens.pieces().iter().filter(|(_, of)| *of == kind).map(|(text, _)| text.as_str()).collect()
}
