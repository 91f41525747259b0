//! Many viewers, slow ones, and those who ask instead of listening.

use super::browser::ask;
use super::get;
use super::hostile::{Ledger, unknown_key};
use super::stream::Stream;
use crate::support::{PATIENCE, until};
use gpu_worker::dashboard::view::slots::Slot;
use gpu_worker::dashboard::{Guard, Limits, Source, bind, serve};
use gpu_worker::telemetry::metrics::Observed;
use serde_json::Value;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

/// An agent whose slots are another thing at each look, and much of it.
#[derive(Default)]
struct Restless {
    looks: AtomicU64,
    bytes: usize,
}

impl Source for Restless {
    fn observe(&self) -> Observed {
        Observed::default()
    }

    fn slots(&self) -> Vec<Slot> {
        let look = self.looks.fetch_add(1, Ordering::Relaxed) + 1;
        vec![Slot { id: format!("{look}"), services: vec!["x".repeat(self.bytes)], ..Slot::default() }]
    }
}

/// The server alone; it goes with the guard.
async fn server(source: Arc<Restless>, limits: Limits) -> (SocketAddr, DropGuard) {
    let listener = bind([127, 0, 0, 1].into(), [0]).await.unwrap();
    let at = listener.local_addr().unwrap();
    let (guard, stop) = (Guard::new(at.port(), &unknown_key(), &[], false), CancellationToken::new());
    tokio::spawn(serve(listener, guard, source, Arc::new(Ledger::default()), limits, stop.clone()));
    (at, stop.drop_guard())
}

fn look(slots: &Value) -> Option<u64> {
    slots[0]["id"].as_str()?.parse().ok()
}

#[tokio::test]
async fn one_look_serves_all_viewers_and_where_nobody_looks_there_is_none() {
    let source = Arc::new(Restless::default());
    let (at, _stop) = server(source.clone(), Limits::default()).await;
    get(at, "/healthz").await;
    assert_eq!(source.looks.load(Ordering::Relaxed), 0, "nobody looks");
    let mut viewers = Vec::new();
    for _ in 0..20 {
        viewers.push(Stream::open(at).await);
    }
    let mut heard = Vec::new();
    for viewer in &mut viewers {
        viewer.next().await.unwrap();
        let mut looks = Vec::new();
        while looks.len() < 4 {
            looks.push(viewer.section("slots", "a change", look).await);
        }
        assert!(looks.windows(2).all(|two| two[1] > two[0]), "{looks:?}");
        heard.push(looks);
    }
    let looks = source.looks.load(Ordering::Relaxed);
    assert!(looks < 100, "{looks} looks for 20 viewers who heard {} changes", 20 * 4);
}

#[tokio::test]
async fn more_viewers_than_there_is_room_for_are_told_to_come_again() {
    let (at, _stop) = server(Arc::default(), Limits { viewers: 2, ..Limits::default() }).await;
    let (first, mut second) = (Stream::open(at).await, Stream::open(at).await);
    let refused = get(at, "/api/stream").await;
    assert_eq!((refused.status, refused.headers["retry-after"].as_str()), (503, "10"));
    assert!(refused.body.contains("/api/snapshot"), "{}", refused.body);
    assert_eq!(get(at, "/api/snapshot").await.status, 200, "it can still be asked");
    drop(first);
    until("there is room again", || async {
        let (head, _viewer) = Stream::try_open(at).await;
        head.starts_with("HTTP/1.1 200 ").then_some(())
    })
    .await;
    second.section("slots", "the others go on", look).await;
}

#[tokio::test]
async fn a_viewer_that_was_too_slow_gets_a_fresh_picture_and_holds_up_nobody() {
    // Enough to fill what lies between the two within seconds.
    let source = Arc::new(Restless { bytes: 400_000, ..Restless::default() });
    let limits = Limits { write: PATIENCE, pace: Duration::from_millis(10), lag: 4, ..Limits::default() };
    let (at, _stop) = server(source, limits).await;
    let mut slow = Stream::open(at).await;
    assert_eq!(slow.next().await.unwrap().name, "snapshot");
    let mut quick = Stream::open(at).await;
    let begun = quick.section("slots", "a beginning", look).await;
    let mut last = begun;
    // More than the slow one's buffers and the frames that are kept for it can hold.
    while last < begun + 90 {
        last = quick.section("slots", "the quick one hears each change", look).await;
    }
    let mut before = 0;
    slow.find("a fresh picture", |event| (event.name == "snapshot").then_some(())).await;
    for _ in 0..3 {
        let now = slow.section("slots", "changes after it", look).await;
        assert!(now > before);
        before = now;
    }
    assert!(before >= begun);
}

#[tokio::test]
async fn a_viewer_that_reads_nothing_any_more_is_let_go() {
    let source = Arc::new(Restless { bytes: 2_000_000, ..Restless::default() });
    let limits =
        Limits { write: Duration::from_millis(100), viewers: 1, pace: Duration::from_millis(10), ..Limits::default() };
    let (at, _stop) = server(source, limits).await;
    let stuck = Stream::open(at).await;
    until("its place is free", || async {
        let (head, _viewer) = Stream::try_open(at).await;
        head.starts_with("HTTP/1.1 200 ").then_some(())
    })
    .await;
    drop(stuck);
}

#[tokio::test]
async fn whoever_asks_again_is_told_that_nothing_has_changed() {
    let (at, _stop) = super::hostile::server(None, &[], Limits::default()).await;
    until("two questions within one look", || async {
        let first = get(at, "/api/snapshot").await;
        assert_eq!((first.status, first.headers["content-type"].as_str()), (200, "application/json"));
        let tag = &first.headers["etag"];
        let again =
            format!("GET /api/snapshot HTTP/1.1\r\nHost: {at}\r\nIf-None-Match: {tag}\r\nConnection: close\r\n\r\n");
        let second = ask(at, &again).await;
        assert!(second.status == 200 || second.body.is_empty());
        (second.status == 304 && second.headers["etag"] == *tag).then_some(())
    })
    .await;
    let other =
        format!("GET /api/snapshot HTTP/1.1\r\nHost: {at}\r\nIf-None-Match: \"x\"\r\nConnection: close\r\n\r\n");
    assert_eq!(ask(at, &other).await.status, 200);
}

#[tokio::test]
async fn whoever_takes_packed_answers_gets_the_same_in_fewer_bytes() {
    let source = Arc::new(Restless { bytes: 5_000, ..Restless::default() });
    let (at, _stop) = server(source, Limits::default()).await;
    let asked = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nAccept-Encoding: br, gzip\r\n\r\n");
    let mut packed = TcpStream::connect(at).await.unwrap();
    packed.write_all(asked("/api/stream").as_bytes()).await.unwrap();
    let mut wire = Vec::new();
    let text = tokio::time::timeout(PATIENCE, async {
        loop {
            packed.read_buf(&mut wire).await.unwrap();
            let text = unpacked(&wire);
            // A frame of its own, behind the first.
            if text.contains("event: snapshot\n") && text.contains("event: beat\n") {
                return text;
            }
        }
    })
    .await
    .expect("frames");
    assert!(String::from_utf8_lossy(&wire).to_lowercase().contains("\r\ncontent-encoding: gzip\r\n"));
    assert!(wire.len() < text.len() / 2, "{} of {}", wire.len(), text.len());
    let mut plain = TcpStream::connect(at).await.unwrap();
    plain
        .write_all(asked("/api/snapshot").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).await.unwrap();
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let mut json = String::new();
    flate2::read::GzDecoder::new(&answer[body..]).read_to_string(&mut json).unwrap();
    assert!(serde_json::from_str::<Value>(&json).unwrap()["now"].is_i64());
}

/// What can be read of a packed stream so far, chunks and head taken away.
fn unpacked(wire: &[u8]) -> String {
    let Some(head) = wire.windows(4).position(|four| four == b"\r\n\r\n") else { return String::new() };
    let (mut rest, mut bytes) = (&wire[head + 4..], Vec::new());
    while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if rest.len() < line + 2 + length + 2 {
            break;
        }
        bytes.extend_from_slice(&rest[line + 2..line + 2 + length]);
        rest = &rest[line + 2 + length + 2..];
    }
    let mut text = Vec::new();
    let (mut decoder, mut byte) = (flate2::bufread::GzDecoder::new(&bytes[..]), [0]);
    while decoder.read_exact(&mut byte).is_ok() {
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_quiet_stream_says_that_it_lives() {
    let (at, _stop) = super::hostile::server(None, &[], Limits::default()).await;
    let mut page = Stream::open(at).await;
    let now = page.find("a beat", |event| (event.name == "beat").then(|| event.data["now"].as_i64())).await;
    assert!(now.is_some_and(|now| now > 1_600_000_000_000));
}
