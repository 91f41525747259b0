//! The simulated engine: its payload, its failures, its pictures.
//! In: payloads good and bad. Out: the outcome, or an error that names the field.

use connectors::conformance::{Bench, job};
use connectors::contract::{Connector, Outcome, RunError};
use connectors::failure::{Failure, FailureType};
use connectors::registry;
use connectors::simulation::Simulation;
use serde_json::{Value, json};

async fn run(attempt: u64, payload: Value) -> (Result<Outcome, RunError>, Bench) {
    let bench = Bench::new();
    let mut job = job("picture", "simulation", payload);
    job.attempt = attempt;
    (Simulation::new([]).run(&job, &bench.ctx).await, bench)
}

async fn failure(attempt: u64, payload: Value) -> Failure {
    match run(attempt, payload.clone()).await.0 {
        Err(RunError::Failed(failure)) => failure,
        other => panic!("{payload} ended as {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn missing_fields_take_their_defaults() {
    for payload in [json!({}), Value::Null] {
        let (ended, bench) = run(1, payload).await;
        let outcome = ended.unwrap();
        assert_eq!(outcome.data["steps_completed"], 5);
        assert_eq!(outcome.timings["run_ms"], 100);
        assert_eq!(bench.outputs.files().len(), 1);
        assert_eq!(bench.progress.reports().last().unwrap().fraction, 1.0);
    }
}

#[tokio::test(start_paused = true)]
async fn every_failure_type_can_be_asked_for() {
    for kind in FailureType::ALL {
        let said = failure(1, json!({ "fail_at_step": 2, "failure": kind.as_str() })).await;
        assert_eq!(said.kind(), *kind);
    }
    assert_eq!(failure(1, json!({ "fail_at_step": 0 })).await.kind(), FailureType::ServiceError);
}

#[tokio::test(start_paused = true)]
async fn only_the_first_attempts_fail_if_so_asked() {
    let payload = json!({ "fail_at_step": 1, "fail_attempts": 2 });
    failure(1, payload.clone()).await;
    failure(2, payload.clone()).await;
    assert!(run(3, payload).await.0.is_ok());
}

#[tokio::test(start_paused = true)]
async fn wrong_fields_are_named() {
    let cases = [
        (json!({ "steps": "5" }), "`steps` must be a whole number from 0 to 100000, not a text"),
        (json!({ "steps": 100_001 }), "`steps`"),
        (json!({ "steps": -1 }), "`steps`"),
        (json!({ "step_ms": 1.5 }), "`step_ms`"),
        (json!({ "outputs": 101 }), "`outputs`"),
        (json!({ "width": 0 }), "`width`"),
        (json!({ "height": 4097 }), "`height`"),
        (json!({ "fail_at_step": true }), "`fail_at_step`"),
        (json!({ "fail_at_step": 6 }), "`fail_at_step` is 6, but the job has only 5 steps"),
        (json!({ "failure": "boredom" }), "`failure`"),
        (json!({ "failure": 7 }), "`failure`"),
        (json!({ "fail_attempts": [] }), "`fail_attempts`"),
        (json!({ "hang_at_step": {} }), "`hang_at_step`"),
        (json!([1, 2]), "must be an object, not a list"),
        (json!("text"), "must be an object, not a text"),
    ];
    for (payload, expected) in cases {
        let said = failure(1, payload.clone()).await;
        assert_eq!(said.kind(), FailureType::ValidationError, "{payload}");
        assert!(said.message.contains(expected), "{payload}: {}", said.message);
    }
}

#[tokio::test]
async fn pictures_are_valid_png_of_the_asked_size() {
    for (width, height) in [(1, 1), (64, 64), (4096, 17), (3, 4096)] {
        let (ended, bench) = run(1, json!({ "steps": 0, "outputs": 1, "width": width, "height": height })).await;
        ended.unwrap();
        assert_valid_png(&bench.outputs.files()[0].bytes, width, height);
    }
}

/// Reads the file back with a reader of its own: chunk sums, stored blocks, sum of the pixels.
fn assert_valid_png(file: &[u8], width: u32, height: u32) {
    let be = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    assert_eq!(&file[..8], b"\x89PNG\r\n\x1a\n");
    let (mut rest, mut data, mut names) = (&file[8..], Vec::new(), Vec::new());
    while !rest.is_empty() {
        let len = be(&rest[..4]) as usize;
        let (named, sum) = (&rest[4..8 + len], be(&rest[8 + len..12 + len]));
        let mut crc = u32::MAX;
        for byte in named {
            crc ^= *byte as u32;
            for _ in 0..8 {
                crc = if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
            }
        }
        assert_eq!(!crc, sum);
        match &named[..4] {
            b"IHDR" => assert_eq!((be(&named[4..8]), be(&named[8..12])), (width, height)),
            b"IDAT" => data.extend_from_slice(&named[4..]),
            _ => {}
        }
        names.push(named[..4].to_vec());
        rest = &rest[12 + len..];
    }
    assert_eq!(names.last().unwrap(), b"IEND");
    assert_eq!((data[0] as u32 * 256 + data[1] as u32) % 31, 0);
    let (mut at, mut raw) = (2, Vec::new());
    loop {
        let (last, len) = (data[at] == 1, u16::from_le_bytes([data[at + 1], data[at + 2]]) as usize);
        raw.extend_from_slice(&data[at + 5..at + 5 + len]);
        at += 5 + len;
        if last {
            break;
        }
    }
    assert_eq!(raw.len(), (height * (1 + 3 * width)) as usize);
    let (a, b) = raw.iter().fold((1u32, 0u32), |(a, b), byte| {
        let a = (a + *byte as u32) % 65_521;
        (a, (b + a) % 65_521)
    });
    assert_eq!(be(&data[at..at + 4]), (b << 16) | a);
}

#[test]
fn the_registry_names_each_connector_once() {
    for entry in registry::CONNECTORS {
        assert_eq!(registry::CONNECTORS.iter().filter(|other| other.name == entry.name).count(), 1);
    }
    let engine = registry::Engine::Simulation { services: vec!["demo".into(), "simulation".into()] };
    assert!(registry::entry(engine.name()).is_some());
    assert_eq!(engine.build().unwrap().services(), ["simulation", "demo"]);
}
