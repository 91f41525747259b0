//! Clients that hang: they are let go after a while, and neither requests, jobs nor the end of the agent wait for them.

use super::browser::{answer, ask};
use super::hostile::{Ledger, Nobody, server, unknown_key};
use super::{agent, get};
use crate::support::{PATIENCE, Queue, RedisServer, until};
use gpu_worker::dashboard::{Guard, Limits, bind, serve};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

const SHORT: Duration = Duration::from_millis(100);

async fn open(at: SocketAddr, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let (at, _stop) = server(None, &[], Limits { head: SHORT, ..Limits::default() }).await;
    for begun in ["", "G", "GET /metrics HTTP/1.1\r\nHost: loc"] {
        let mut stream = open(at, begun).await;
        assert!([0, 408].contains(&answer(&mut stream).await.status), "{begun:?}");
    }
    // Drop by drop it takes no longer: it is the whole head that counts.
    let mut dripping = open(at, "GET /metrics HTTP/1.1\r\nX: ").await;
    let mut pulse = tokio::time::interval(Duration::from_millis(5));
    let drops = async {
        while dripping.write_all(b"y").await.is_ok() {
            pulse.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, drops).await.expect("a head that comes drop by drop is given up");
    // Neither may a connection that has been answered stay for ever.
    let mut idle = open(at, &format!("GET /healthz HTTP/1.1\r\nHost: {at}\r\n\r\n")).await;
    assert_eq!(answer(&mut idle).await.status, 503);
    assert!([0, 408].contains(&answer(&mut idle).await.status));
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_not_kept() {
    let (at, _stop) = server(None, &[], Limits { write: SHORT, ..Limits::default() }).await;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {at}\r\n\r\n");
    let mut greedy = TcpStream::connect(at).await.unwrap();
    // It asks again and again and reads nothing: once the buffers are full the answers get stuck.
    let asking = async { while greedy.write_all(request.repeat(100).as_bytes()).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, asking).await.expect("whoever does not read is let go");
}

#[tokio::test]
async fn more_answers_than_there_is_room_for_are_sent_away_and_the_room_comes_back() {
    let (at, _stop) = server(None, &[], Limits { connections: 2, ..Limits::default() }).await;
    let stream = format!("GET /api/stream HTTP/1.1\r\nHost: {at}\r\n\r\n");
    let viewer = async || {
        let mut viewer = open(at, &stream).await;
        let mut begun = [0; 15];
        viewer.read_exact(&mut begun).await.unwrap();
        assert_eq!(&begun, b"HTTP/1.1 200 OK");
        viewer
    };
    let (first, _second) = (viewer().await, viewer().await);
    assert_eq!(ask(at, "").await.status, 503, "both are being answered");
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    drop(first);
    until("there is room again", || async { (ask(at, &request).await.body.contains("alive")).then_some(()) }).await;
}

#[tokio::test]
async fn heads_that_do_not_come_keep_nobody_out() {
    let limits = Limits { connections: 8, head: Duration::from_secs(3600), ..Limits::default() };
    let (at, _stop) = server(None, &[], limits).await;
    // One is being answered, and goes on.
    let mut viewer = open(at, &format!("GET /api/stream HTTP/1.1\r\nHost: {at}\r\n\r\n")).await;
    let mut first = [0; 1];
    viewer.read_exact(&mut first).await.unwrap();
    // One waits for no more than the next request of a browser.
    let mut kept = open(at, &format!("GET /healthz HTTP/1.1\r\nHost: {at}\r\n\r\n")).await;
    assert!(answer(&mut kept).await.body.contains("alive"));
    let mut halves = Vec::new();
    for begun in ["", "GET /healthz HTTP/1.1\r\nHost: loc"].into_iter().cycle().take(30) {
        halves.push(open(at, begun).await);
        assert!(get(at, "/healthz").await.body.contains("alive"), "{} half heads", halves.len());
    }
    assert_eq!(answer(&mut halves[0]).await.status, 0, "the oldest made room");
    let mut rest = [0; 512];
    assert!(viewer.read(&mut rest).await.unwrap() > 0, "whoever is being answered stays");
}

#[tokio::test]
async fn whoever_holds_most_places_gives_one_up_first() {
    let limits = Limits { connections: 4, head: Duration::from_secs(3600), ..Limits::default() };
    let (at, _stop) = server(None, &[], limits).await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(at).await.unwrap();
    other.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    let mut halves = Vec::new();
    for _ in 0..12 {
        halves.push(open(at, "GET /heal").await);
    }
    assert_eq!(answer(&mut halves[0]).await.status, 0);
    other.write_all(format!("Host: {at}\r\n\r\n").as_bytes()).await.unwrap();
    assert!(answer(&mut other).await.body.contains("alive"), "the oldest of all, and of another address");
}

#[tokio::test]
async fn a_body_that_is_announced_is_not_waited_for_and_ends_the_connection() {
    let (at, _stop) = server(None, &[], Limits { head: Duration::from_secs(3600), ..Limits::default() }).await;
    for (length, sent) in [("Content-Length: 100000", "a"), ("Transfer-Encoding: chunked", "5\r\nab")] {
        for line in ["POST /api/control/pause", "POST /api/launch", "GET /healthz"] {
            let mut slow = open(at, &format!("{line} HTTP/1.1\r\nHost: {at}\r\n{length}\r\n\r\n{sent}")).await;
            assert_eq!(answer(&mut slow).await.status, 400, "{line} {length}");
            assert_eq!(answer(&mut slow).await.status, 0, "{line} {length}: nothing more is read");
        }
    }
}

#[tokio::test]
async fn the_server_ends_although_connections_are_open() {
    let listener = bind([127, 0, 0, 1].into(), [0]).await.unwrap();
    let at = listener.local_addr().unwrap();
    let (guard, stop) = (Guard::new(at.port(), &unknown_key(), &[], false), CancellationToken::new());
    let limits = Limits { goodbye: SHORT, head: Duration::from_secs(3600), ..Limits::default() };
    let serving =
        tokio::spawn(serve(listener, guard, Arc::new(Nobody), Arc::new(Ledger::default()), limits, stop.clone()));
    let mut kept = open(at, &format!("GET /healthz HTTP/1.1\r\nHost: {at}\r\n\r\n")).await;
    assert_eq!(answer(&mut kept).await.status, 503);
    let mut half = open(at, "GET /metr").await;
    let mut silent = open(at, "").await;
    assert_eq!(get(at, "/metrics").await.status, 200, "the others have been accepted before");
    stop.cancel();
    tokio::time::timeout(PATIENCE, serving).await.expect("it ends").unwrap();
    for stream in [&mut kept, &mut half, &mut silent] {
        assert_eq!(answer(stream).await.status, 0, "all are closed");
    }
}

#[tokio::test]
async fn an_agent_leaves_in_order_although_browsers_hang_on_it_and_jobs_run_meanwhile() {
    let server = RedisServer::start().await;
    let (mut agent, at) = agent(&server, "w", &[]).await;
    let _idle = open(at, &format!("GET /healthz HTTP/1.1\r\nHost: {at}\r\n\r\n")).await;
    let mut hanging = Vec::new();
    for _ in 0..200 {
        hanging.push(open(at, "GET /metrics HTTP/1.1\r\nHost:").await);
    }
    let queue = Queue::of(&server);
    let id = queue.submit(crate::agent::quick()).await;
    queue.reaches(&id, "completed").await;
    agent.signal("TERM");
    assert_eq!(agent.ended().await, Some(0), "{}", agent.log());
    assert!(agent.log().contains("gpu-worker stopped"), "{}", agent.log());
    let left: bool = server.run(&["EXISTS", "worker:w"]).await;
    assert!(!left, "it has said goodbye");
}
