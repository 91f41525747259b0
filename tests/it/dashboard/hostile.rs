//! Requests that nobody should send, one row for each distinct trick.

use super::browser::{Answer, ask};
use async_trait::async_trait;
use gpu_worker::dashboard::{Controls, Guard, Key, Limits, Order, Refused, Source, bind, serve};
use gpu_worker::telemetry::metrics::{LoopSeen, Observed};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};

const TOKEN: &str = "0123456789abcdef";
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// An agent of which nothing is known but that one of its loops hangs.
pub struct Nobody;

impl Source for Nobody {
    fn observe(&self) -> Observed {
        Observed::default()
    }

    /// Not by way of all the rest.
    fn loops(&self) -> Vec<LoopSeen> {
        vec![LoopSeen { name: "leases".to_owned(), age: Duration::from_secs(100), hangs: true }]
    }
}

/// Writes down what it was told to do.
#[derive(Default)]
pub struct Ledger(Mutex<Vec<Order>>);

impl Ledger {
    pub fn take(&self) -> Vec<Order> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[async_trait]
impl Controls for Ledger {
    async fn carry_out(&self, order: Order) -> Result<String, Refused> {
        self.0.lock().unwrap().push(order);
        Ok("done".to_owned())
    }
}

/// A token that nobody here knows.
pub fn unknown_key() -> Key {
    Key::Made("made-by-the-agent-itself".to_owned().into())
}

/// The server alone; it goes with the guard.
pub async fn server(token: Option<&str>, allowed: &[&str], limits: Limits) -> (SocketAddr, DropGuard) {
    let key = token.map_or_else(unknown_key, |token| Key::Set(token.to_owned().into()));
    let (at, _, stop) = server_of(key, allowed, false, limits).await;
    (at, stop)
}

/// The server alone, opened by this key, and what it was told to do.
pub async fn server_of(
    key: Key,
    allowed: &[&str],
    read_only: bool,
    limits: Limits,
) -> (SocketAddr, Arc<Ledger>, DropGuard) {
    let listener = bind(LOOPBACK, [0]).await.unwrap();
    let at = listener.local_addr().unwrap();
    let allowed: Vec<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
    let guard = Guard::new(at.port(), &key, &allowed, read_only);
    let (stop, ledger) = (CancellationToken::new(), Arc::new(Ledger::default()));
    tokio::spawn(serve(listener, guard, Arc::new(Nobody), ledger.clone(), limits, stop.clone()));
    (at, ledger, stop.drop_guard())
}

/// `PORT` stands for the server's own. The body is checked not to hold numbers where they were not to be had.
async fn holds(rows: &[(&str, String, u16)], at: SocketAddr) {
    for (trick, request, expected) in rows {
        let request = request.replace("PORT", &at.port().to_string());
        let Answer { status, headers, body } = ask(at, &request).await;
        assert_eq!(status, *expected, "{trick}: {body}");
        if status != 0 && status != 431 {
            assert_eq!(headers.get("x-content-type-options").map(String::as_str), Some("nosniff"), "{trick}");
            assert!(!headers.keys().any(|name| name.starts_with("access-control")), "{trick}: {headers:?}");
        }
        assert!(status == 200 || !body.contains("gpu_worker_uptime"), "{trick}: {body}");
    }
}

fn with(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n")
}

fn of_host(host: &str) -> String {
    with("/metrics", &format!("Host: {host}\r\n"))
}

fn to(path: &str) -> String {
    with(path, "Host: localhost:PORT\r\n")
}

#[tokio::test]
async fn only_hosts_that_are_known_are_answered() {
    let (at, _stop) = server(None, &["gpu1.example.org", "proxy.example.org:8443"], Limits::default()).await;
    let rows = [
        ("its own name", of_host("localhost:PORT"), 200),
        ("its own address", of_host("127.0.0.1:PORT"), 200),
        ("its own address of the other family", of_host("[::1]:PORT"), 200),
        ("letters of any size", of_host("LocalHost:PORT"), 200),
        ("an allowed name on its port", of_host("gpu1.example.org:PORT"), 200),
        ("an allowed name behind a proxy", of_host("gpu1.example.org"), 200),
        ("an allowed name with its port", of_host("proxy.example.org:8443"), 200),
        ("an allowed name with a port, on ours", of_host("proxy.example.org:PORT"), 421),
        ("a name that was rebound", of_host("evil.example.com:PORT"), 421),
        ("a rebound name that begins well", of_host("localhost.evil.example.com:PORT"), 421),
        ("a rebound name that begins with our address", of_host("127.0.0.1.evil.example.com:PORT"), 421),
        ("a rebound name that ends well", of_host("evil-gpu1.example.org:PORT"), 421),
        ("below an allowed name", of_host("a.gpu1.example.org:PORT"), 421),
        ("a dot behind", of_host("localhost.:PORT"), 421),
        ("another port", of_host("localhost:1"), 421),
        ("no port", of_host("localhost"), 421),
        ("a zero before the port", of_host("localhost:0PORT"), 421),
        ("a user in front", of_host("localhost:PORT@evil.example.com"), 421),
        ("the address as a number", of_host("2130706433:PORT"), 421),
        ("the address in short", of_host("127.1:PORT"), 421),
        ("the address of all", of_host("0.0.0.0:PORT"), 421),
        ("the address as one of IPv6", of_host("[::ffff:127.0.0.1]:PORT"), 421),
        ("two in one", of_host("localhost:PORT, evil.example.com"), 421),
        ("letters beyond ASCII", of_host("lo\u{441}alhost:PORT"), 400),
        ("an empty one", of_host(""), 400),
        ("none", with("/metrics", ""), 400),
        ("none, in the old version", "GET /metrics HTTP/1.0\r\n\r\n".to_owned(), 400),
        ("two of them", with("/metrics", "Host: localhost:PORT\r\nHost: evil.example.com\r\n"), 400),
        (
            "one that a proxy would believe",
            with("/metrics", "Host: evil.example.com\r\nX-Forwarded-Host: localhost:PORT\r\n"),
            421,
        ),
    ];
    holds(&rows, at).await;
}

#[tokio::test]
async fn with_a_token_any_address_that_is_written_out_is_a_host_and_names_still_are_not() {
    let (at, _stop) = server(Some(TOKEN), &["gpu1.example.org"], Limits::default()).await;
    let of = |host: &str| with("/metrics", &format!("Host: {host}\r\nAuthorization: Bearer {TOKEN}\r\n"));
    let rows = [
        ("an address that a router or a container leads here", of("192.168.1.5:PORT"), 200),
        ("the same on a port that is published under another one", of("192.168.1.5:8080"), 200),
        ("the same on port 80", of("192.168.1.5"), 200),
        ("one of IPv6", of("[2001:db8::5]:PORT"), 200),
        ("one of IPv6 on port 80", of("[2001:db8::5]"), 200),
        ("a loopback address behind a tunnel", of("127.0.0.1:8080"), 200),
        ("an allowed name", of("gpu1.example.org"), 200),
        ("a rebound name", of("evil.example.com:PORT"), 421),
        ("a rebound name that looks like an address", of("192.168.1.5.evil.example.com:PORT"), 421),
        ("a rebound name of digits and letters", of("192.168.1.5x:PORT"), 421),
        ("our own name on another port", of("localhost:8080"), 421),
        ("the address of all", of("0.0.0.0:PORT"), 421),
        ("the address of all, of IPv6", of("[::]:PORT"), 421),
        ("the address as a number", of("3232235781:PORT"), 421),
        ("the address in short", of("192.168.261:PORT"), 421),
        ("the address in octal", of("0300.0250.1.5:PORT"), 421),
        ("a zero before the port", of("192.168.1.5:0PORT"), 421),
        ("no port where there is a colon", of("192.168.1.5:"), 421),
        ("one of IPv6 without brackets", of("2001:db8::5"), 421),
        ("one of IPv6 with a zone", of("[fe80::1%25eth0]:PORT"), 421),
        ("a user in front", of("evil@192.168.1.5:PORT"), 421),
        ("an address, and no token", with("/metrics", "Host: 192.168.1.5:PORT\r\n"), 401),
    ];
    holds(&rows, at).await;
    // What is open to whoever reaches it is not open by any address.
    let (at, _stop) = server(None, &[], Limits::default()).await;
    let open = [("an address that is not ours", of_host("192.168.1.5:PORT"), 421)];
    holds(&open, at).await;
}

#[tokio::test]
async fn only_plain_reads_of_known_paths_are_answered() {
    let (at, _stop) = server(None, &[], Limits::default()).await;
    let method = |method: &str, more: &str| {
        format!("{method} /metrics HTTP/1.1\r\nHost: localhost:PORT\r\n{more}Connection: close\r\n\r\n")
    };
    let rows = [
        ("a read", to("/metrics"), 200),
        ("a read of the head alone", method("HEAD", ""), 200),
        ("a query behind", to("/metrics?name=x"), 200),
        ("a target of another host", with("http://evil.example.com/metrics", "Host: localhost:PORT\r\n"), 400),
        (
            "a target of our own as a proxy has it",
            with("http://localhost:PORT/metrics", "Host: localhost:PORT\r\n"),
            400,
        ),
        ("a tunnel", "CONNECT localhost:PORT HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n".to_owned(), 400),
        ("all of the server", "OPTIONS * HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n".to_owned(), 405),
        (
            "a form of another site",
            method("POST", "Origin: http://evil.example.com\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n"),
            405,
        ),
        (
            "a question before another site's request",
            method("OPTIONS", "Origin: http://evil.example.com\r\nAccess-Control-Request-Method: GET\r\n"),
            405,
        ),
        ("an echo", method("TRACE", ""), 405),
        ("a method of its own", method("BREW", ""), 405),
        ("a method in a header", method("GET", "X-HTTP-Method-Override: DELETE\r\n"), 400),
        (
            "another site's read, which it may not see",
            method("GET", "Origin: http://evil.example.com\r\nSec-Fetch-Site: cross-site\r\n"),
            403,
        ),
        (
            "another site's read that asks for no leave",
            method("GET", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n"),
            403,
        ),
        ("a link on another site", method("GET", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n"), 200),
        ("the page's own read", method("GET", "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\n"), 200),
        (
            "a websocket",
            method(
                "GET",
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
            ),
            400,
        ),
        ("a body", format!("{}hello", method("GET", "Content-Length: 5\r\n")), 400),
        ("a body that is announced and does not come", method("GET", "Content-Length: 5000000\r\n"), 400),
        ("a body in pieces", format!("{}0\r\n\r\n", method("GET", "Transfer-Encoding: chunked\r\n")), 400),
        ("two lengths", method("GET", "Content-Length: 0\r\nContent-Length: 5\r\n"), 400),
        ("the page", to("/"), 200),
        ("nothing known", to("/api/nothing"), 404),
        ("a slash behind", to("/metrics/"), 404),
        ("two slashes in front", to("//metrics"), 404),
        ("up and down", to("/healthz/../metrics"), 404),
        ("up, encoded", to("/%2e%2e/%2e%2e/etc/passwd"), 404),
        ("a slash, encoded", to("/healthz%2f..%2fmetrics"), 404),
        ("a letter, encoded", to("/%6detrics"), 404),
        ("encoded twice", to("/%252e%252e/metrics"), 404),
        ("a backslash", to("/..\\metrics"), 404),
        ("an end in the middle", to("/metrics%00"), 404),
        ("letters of another size", to("/METRICS"), 404),
    ];
    // What the HTTP library refuses by itself comes without our headers.
    let (own, librarys): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(trick, ..)| *trick != "two lengths");
    holds(&own, at).await;
    for (trick, request, expected) in librarys {
        assert_eq!(ask(at, request.replace("PORT", &at.port().to_string())).await.status, expected, "{trick}");
    }
}

#[tokio::test]
async fn a_loop_that_hangs_is_named_and_an_agent_without_anything_says_what_it_lacks() {
    let (at, _stop) = server(None, &[], Limits::default()).await;
    let dead = super::get(at, "/healthz").await;
    assert_eq!((dead.status, dead.body.as_str()), (503, r#"{"alive":false,"hanging_loops":["leases"]}"#));
    let unready = super::get(at, "/readyz").await;
    assert_eq!(unready.status, 503);
    assert!(
        unready.body.contains(r#""code":"redis""#) && unready.body.contains("there is no engine"),
        "{}",
        unready.body
    );
}

#[tokio::test]
async fn with_a_token_nothing_is_told_to_whoever_lacks_it() {
    let (at, _stop) = server(Some(TOKEN), &[], Limits::default()).await;
    let saying = |path: &str, value: &str| with(path, &format!("Host: localhost:PORT\r\nAuthorization: {value}\r\n"));
    let good = format!("Bearer {TOKEN}");
    let rows = [
        ("the token", saying("/metrics", &good), 200),
        ("the token, the scheme in small letters", saying("/metrics", &format!("bearer {TOKEN}")), 200),
        ("the token, and no such path", saying("/nothing", &good), 404),
        ("none", to("/metrics"), 401),
        ("none, for health", to("/healthz"), 401),
        ("none, and no such path", to("/nothing"), 401),
        ("an empty one", saying("/metrics", "Bearer "), 401),
        ("a shorter one", saying("/metrics", "Bearer 0123456789abcde"), 401),
        ("a longer one", saying("/metrics", &format!("{good}0")), 401),
        ("another scheme", saying("/metrics", &format!("Basic {TOKEN}")), 401),
        ("no scheme", saying("/metrics", TOKEN), 401),
        ("in the query", to(&format!("/metrics?token={TOKEN}")), 401),
        (
            "a wrong one and the right one",
            with("/metrics", &format!("Host: localhost:PORT\r\nAuthorization: Bearer x\r\nAuthorization: {good}\r\n")),
            401,
        ),
        (
            "the token for another host",
            with("/metrics", &format!("Host: evil.example.com\r\nAuthorization: {good}\r\n")),
            421,
        ),
    ];
    holds(&rows, at).await;
    let refused = ask(at, to("/metrics").replace("PORT", &at.port().to_string())).await;
    assert_eq!(refused.headers["www-authenticate"], "Bearer");
    assert!(!refused.body.contains(TOKEN));
}

#[tokio::test]
async fn heads_that_are_too_large_or_that_are_none_are_refused() {
    let (at, _stop) = server(None, &[], Limits::default()).await;
    let long = "x".repeat(20_000);
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let rows = [
        ("a long header", with("/metrics", &format!("Host: localhost:PORT\r\nX: {long}\r\n")), 431),
        ("many headers", with("/metrics", &format!("Host: localhost:PORT\r\n{many}")), 431),
        ("a long target", with(&format!("/{long}"), "Host: localhost:PORT\r\n"), 431),
        ("another protocol", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 0),
        ("no protocol", "\r\n\r\n\x16\x03\x01".to_owned(), 400),
        ("a header folded into the next line", with("/metrics", "Host: localhost:PORT\r\n X: y\r\n"), 400),
        ("a blank before the colon", with("/metrics", "Host : localhost:PORT\r\n"), 400),
    ];
    for (trick, request, expected) in rows {
        let status = ask(at, request.replace("PORT", &at.port().to_string())).await.status;
        assert_eq!(status, expected, "{trick}");
    }
}
