//! The fault proxy itself: each fault does what its name says.

use super::super::support::proxy::{Cut, Door, Fault, FaultProxy, Then, Way};
use super::super::support::until;
use std::io::ErrorKind;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// A server that sends back what it gets, and a client that reaches it through the proxy.
struct Echo {
    proxy: FaultProxy,
    _server: AbortOnDropHandle<()>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = FaultProxy::before(listener.local_addr().unwrap()).await;
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        Self { proxy, _server: AbortOnDropHandle::new(server) }
    }

    async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.proxy.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }
}

async fn say(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

async fn hears(stream: &mut TcpStream, text: &str) {
    let mut heard = vec![0; text.len()];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, text.as_bytes());
}

#[tokio::test]
async fn bytes_pass_both_ways_and_an_end_is_passed_on() {
    let echo = Echo::start().await;
    let mut stream = echo.connect().await;
    say(&mut stream, "there and back").await;
    hears(&mut stream, "there and back").await;
    assert_eq!(
        (echo.proxy.connections(), echo.proxy.moved(Way::ToServer), echo.proxy.moved(Way::ToClient)),
        (1, 14, 14)
    );
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn latency_and_throttle_delay_and_lose_nothing() {
    let echo = Echo::start().await;
    let mut stream = echo.connect().await;
    echo.proxy.both(Fault::Latency(Duration::from_millis(40)));
    let began = Instant::now();
    say(&mut stream, "late").await;
    hears(&mut stream, "late").await;
    assert!(began.elapsed() >= Duration::from_millis(80), "40 ms each way");
    echo.proxy.both(Fault::Pass);
    echo.proxy.set(Way::ToClient, Fault::Throttle(2));
    say(&mut stream, "drop by drop").await;
    hears(&mut stream, "dr").await;
    assert!(echo.proxy.moved(Way::ToClient) < 16);
    echo.proxy.heal().await;
    hears(&mut stream, "op by drop").await;
}

#[tokio::test]
async fn a_stalled_direction_keeps_and_a_swallowing_one_drops() {
    let echo = Echo::start().await;
    let mut stream = echo.connect().await;
    echo.proxy.set(Way::ToClient, Fault::Stall);
    say(&mut stream, "kept ").await;
    until("it has arrived", || async { (echo.proxy.moved(Way::ToServer) == 5).then_some(()) }).await;
    echo.proxy.set(Way::ToServer, Fault::Swallow);
    say(&mut stream, "dropped ").await;
    until("it is gone", || async { (echo.proxy.swallowed() == 8).then_some(()) }).await;
    echo.proxy.heal().await;
    hears(&mut stream, "kept ").await;
    say(&mut stream, "and more").await;
    let mut other = echo.connect().await;
    say(&mut other, "here").await;
    hears(&mut other, "here").await;
    assert_eq!(echo.proxy.moved(Way::ToServer), 9, "a gap is never closed");
}

#[tokio::test]
async fn cuts_come_after_the_byte_they_were_set_for_as_reset_or_as_end() {
    for cut in [Cut::Reset, Cut::Finish] {
        let echo = Echo::start().await;
        let mut stream = echo.connect().await;
        echo.proxy.cut_after(Way::ToClient, 3, cut);
        say(&mut stream, "abcdef").await;
        let mut heard = Vec::new();
        let end = stream.read_to_end(&mut heard).await;
        match cut {
            Cut::Reset => assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset),
            Cut::Finish => assert_eq!((end.unwrap(), heard.as_slice()), (3, b"abc".as_slice())),
        }
        assert_eq!((echo.proxy.moved(Way::ToClient), echo.proxy.sprung()), (3, 1));
        let mut next = echo.connect().await;
        say(&mut next, "whole").await;
        hears(&mut next, "whole").await;
    }
}

#[tokio::test]
async fn a_trap_hits_the_request_that_it_waits_for_and_no_other() {
    let echo = Echo::start().await;
    let mut bystander = echo.connect().await;
    echo.proxy.on("victim", Then::LoseRequest(Cut::Finish));
    echo.proxy.on("victim", Then::CutAnswer(2, Cut::Finish));
    echo.proxy.on("victim", Then::Strand(0));
    for (heard, moved) in [("", 0), ("a ", 8)] {
        let mut stream = echo.connect().await;
        let before = echo.proxy.moved(Way::ToServer);
        say(&mut stream, "a victim").await;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!((text.as_str(), echo.proxy.moved(Way::ToServer) - before), (heard, moved));
    }
    let mut stranded = echo.connect().await;
    say(&mut stranded, "a victim").await;
    until("it has struck", || async { (echo.proxy.sprung() == 3).then_some(()) }).await;
    say(&mut bystander, "unhurt").await;
    hears(&mut bystander, "unhurt").await;
    assert!(stranded.try_read(&mut [0; 8]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
}

#[tokio::test]
async fn the_door_refuses_or_is_deaf_and_opens_again_and_the_stranded_stay_so() {
    let echo = Echo::start().await;
    let mut old = echo.connect().await;
    say(&mut old, "before").await;
    hears(&mut old, "before").await;
    echo.proxy.door(Door::Closed).await;
    let refused = TcpStream::connect(echo.proxy.address()).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    say(&mut old, "still here").await;
    hears(&mut old, "still here").await;
    echo.proxy.door(Door::Deaf).await;
    let mut deaf = echo.connect().await;
    say(&mut deaf, "hello?").await;
    until("it was taken", || async { (echo.proxy.connections() == 2).then_some(()) }).await;
    echo.proxy.strand();
    echo.proxy.heal().await;
    let moved = echo.proxy.moved(Way::ToServer);
    say(&mut old, "anybody?").await;
    let mut new = echo.connect().await;
    say(&mut new, "here").await;
    hears(&mut new, "here").await;
    assert_eq!(echo.proxy.moved(Way::ToServer), moved + 4);
    for stream in [&old, &deaf] {
        assert!(stream.try_read(&mut [0; 8]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
    }
    echo.proxy.cut(Cut::Reset);
    assert_eq!(new.read(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}
