//! Orders that nobody should be able to give, one row for each distinct trick; each shows that nothing was done.

use super::browser::{Answer, ask};
use super::hostile::{Ledger, server_of};
use gpu_worker::dashboard::{Key, Limits, Order};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::sync::DropGuard;

pub const TOKEN: &str = "0123456789abcdef";
pub const OURS: &str = "Origin: http://localhost:PORT\r\nSec-Fetch-Site: same-origin\r\n";

/// A server whose page is given a cookie, and that cookie; `PORT` and `COOKIE` in requests stand for them.
struct Scene {
    at: SocketAddr,
    ledger: Arc<Ledger>,
    cookie: String,
    _stop: DropGuard,
}

impl Scene {
    async fn new(allowed: &[&str], read_only: bool) -> Self {
        let key = Key::Made(TOKEN.to_owned().into());
        let (at, ledger, stop) = server_of(key, allowed, read_only, Limits::default()).await;
        let page = super::get(at, "/").await;
        let cookie = page.headers["set-cookie"].split(';').next().unwrap().to_owned();
        Self { at, ledger, cookie, _stop: stop }
    }

    async fn ask(&self, request: &str) -> Answer {
        let filled = request.replace("PORT", &self.at.port().to_string()).replace("COOKIE", &self.cookie);
        ask(self.at, filled).await
    }

    /// Every row is answered so, and none of them does anything.
    async fn refuses(&self, rows: &[(&str, String, u16)]) {
        for (trick, request, expected) in rows {
            let Answer { status, headers, body } = self.ask(request).await;
            assert_eq!(status, *expected, "{trick}: {body}");
            assert_eq!(self.ledger.take(), [], "{trick}");
            assert!(!headers.keys().any(|name| name.starts_with("access-control")), "{trick}: {headers:?}");
            assert!(!headers.contains_key("set-cookie"), "{trick}: {headers:?}");
            if ![0, 400, 431].contains(&status) {
                assert_eq!(headers["x-content-type-options"], "nosniff", "{trick}");
                assert!(headers["content-security-policy"].contains("frame-ancestors 'none'"), "{trick}");
                assert!(status == 404 || request.starts_with("HEAD") || body.contains("error"), "{trick}: {body}");
            }
        }
    }

    async fn takes(&self, trick: &str, request: &str, order: Order) {
        let answer = self.ask(request).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"message":"done","ok":true}"#), "{trick}");
        assert_eq!(self.ledger.take(), [order], "{trick}");
    }
}

pub fn to(path: &str, more: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost:PORT\r\n{more}Connection: close\r\n\r\n")
}

/// As our own page does.
fn page(path: &str) -> String {
    to(path, &format!("{OURS}Cookie: COOKIE\r\nContent-Length: 0\r\n"))
}

/// As our own page does, but for this.
pub fn pause(more: &str) -> String {
    to("/api/control/pause", more)
}

pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[tokio::test]
async fn orders_of_our_page_and_of_programs_with_the_token_are_taken() {
    let scene = Scene::new(&["gpu1.example.org"], false).await;
    let by_name = |scheme: &str| {
        format!(
            "POST /api/control/pause HTTP/1.1\r\nHost: gpu1.example.org\r\nOrigin: {scheme}://gpu1.example.org\r\n\
             Cookie: COOKIE\r\nConnection: close\r\n\r\n"
        )
    };
    let all = Order::Pause(None);
    scene.takes("the page", &page("/api/control/pause"), all.clone()).await;
    scene
        .takes("the page, among other cookies", &pause(&format!("{OURS}Cookie: a=b; COOKIE; c=d\r\n")), all.clone())
        .await;
    scene
        .takes("an older browser's page", &pause("Origin: http://localhost:PORT\r\nCookie: COOKIE\r\n"), all.clone())
        .await;
    scene.takes("a page behind a proxy", &by_name("http"), all.clone()).await;
    scene.takes("a page behind a proxy with https", &by_name("https"), all.clone()).await;
    scene.takes("a program", &pause(&bearer(TOKEN)), all.clone()).await;
    let named = format!("{}Content-Type: application/json\r\nContent-Length: 0\r\n", bearer(TOKEN));
    scene.takes("a program that names a type", &pause(&named), all.clone()).await;
    for (path, order) in [
        ("pause/w-1", Order::Pause(Some("w-1".to_owned()))),
        ("resume", Order::Resume(None)),
        ("resume/w-1", Order::Resume(Some("w-1".to_owned()))),
        ("drain", Order::Drain(None)),
        ("drain/w-1", Order::Drain(Some("w-1".to_owned()))),
        ("probe", Order::Probe),
        ("cancel-job/j1", Order::Cancel("j1".to_owned())),
        ("retry-job/j1", Order::Retry("j1".to_owned())),
        ("free-vram/12", Order::FreeVram(12)),
    ] {
        scene.takes(path, &page(&format!("/api/control/{path}")), order).await;
    }
}

#[tokio::test]
async fn orders_of_other_sites_and_of_nobody_in_particular_do_nothing() {
    let scene = Scene::new(&[], false).await;
    let cookie = "Cookie: COOKIE\r\n";
    let from = |origin: &str, more: &str| pause(&format!("Origin: {origin}\r\n{cookie}{more}"));
    let (name, value) = scene.cookie.split_once('=').unwrap();
    // One digit is another one.
    let forged = format!("{}{}", if value.starts_with('0') { '1' } else { '0' }, &value[1..]);
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let rows = [
        ("nobody", pause(""), 401),
        ("our page without its cookie", pause(OURS), 401),
        ("a form of another site", from("http://evil.example.com", "Sec-Fetch-Site: cross-site\r\n"), 403),
        ("the same in an older browser", from("http://evil.example.com", ""), 403),
        ("another site, with the token", pause(&format!("Origin: http://evil.example.com\r\n{}", bearer(TOKEN))), 403),
        ("a page of another port of this machine", from("http://localhost:1", "Sec-Fetch-Site: same-site\r\n"), 403),
        ("the same in an older browser", from("http://localhost:1", ""), 403),
        ("our origin, sent from another site", from("http://localhost:PORT", "Sec-Fetch-Site: cross-site\r\n"), 403),
        ("our origin, sent from the same site", from("http://localhost:PORT", "Sec-Fetch-Site: same-site\r\n"), 403),
        ("typed into the address bar", from("http://localhost:PORT", "Sec-Fetch-Site: none\r\n"), 403),
        ("a word that no browser says", from("http://localhost:PORT", "Sec-Fetch-Site: Same-Origin \t x\r\n"), 403),
        (
            "two sites",
            from("http://localhost:PORT", "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site\r\n"),
            403,
        ),
        ("a file, a sandbox, a redirect", from("null", ""), 403),
        ("an empty origin", from("", ""), 403),
        ("no origin, with a cookie", pause(cookie), 403),
        ("another of our names", from("http://127.0.0.1:PORT", ""), 403),
        ("our name with another scheme", from("https://localhost:PORT", ""), 403),
        ("our name without the port", from("http://localhost", ""), 403),
        ("a name that begins with ours", from("http://localhost:PORT.evil.example.com", ""), 403),
        ("our name as a user's", from("http://localhost:PORT@evil.example.com", ""), 403),
        ("our name with a path", from("http://localhost:PORT/", ""), 403),
        ("two origins", from("http://localhost:PORT", "Origin: http://evil.example.com\r\n"), 403),
        ("two origins in one", from("http://localhost:PORT, http://evil.example.com", ""), 403),
        (
            "a rebound name, which is its own origin",
            format!(
                "POST /api/control/pause HTTP/1.1\r\nHost: evil.example.com:PORT\r\n\
                 Origin: http://evil.example.com:PORT\r\n{cookie}Connection: close\r\n\r\n"
            ),
            421,
        ),
        (
            "another host in the target",
            to("http://evil.example.com/api/control/pause", &format!("{OURS}{cookie}")),
            400,
        ),
        ("a form's fields", page("/api/control/pause").replace("Content-Length: 0", "Content-Length: 3") + "a=b", 400),
        ("a form's type", pause(&format!("{OURS}{cookie}{form}")), 415),
        (
            "the type of a form with files",
            pause(&format!("{OURS}{cookie}Content-Type: multipart/form-data; boundary=x\r\n")),
            415,
        ),
        ("plain text", pause(&format!("{OURS}{cookie}Content-Type: text/plain\r\n")), 415),
        (
            "a type with another behind it",
            pause(&format!("{OURS}{cookie}Content-Type: application/json; text/plain\r\n")),
            415,
        ),
        ("a body in pieces", pause(&format!("{OURS}{cookie}Transfer-Encoding: chunked\r\n")) + "0\r\n\r\n", 400),
        ("a body too large to be sent", pause(&format!("{OURS}{cookie}Content-Length: 99999999999\r\n")), 400),
        (
            "an image",
            "GET /api/control/pause HTTP/1.1\r\nHost: localhost:PORT\r\nCookie: COOKIE\r\nConnection: close\r\n\r\n"
                .to_owned(),
            405,
        ),
        (
            "the head of an image",
            "HEAD /api/control/pause HTTP/1.1\r\nHost: localhost:PORT\r\nCookie: COOKIE\r\nConnection: close\r\n\r\n"
                .to_owned(),
            405,
        ),
        ("another method", page("/api/control/pause").replace("POST", "PUT"), 405),
        ("a question before another site's order", page("/api/control/pause").replace("POST", "OPTIONS"), 405),
        ("a method in small letters", page("/api/control/pause").replace("POST", "post"), 405),
        (
            "a method in a header",
            page("/healthz").replace("POST", "GET").replace("Origin", "X-HTTP-Method-Override: POST\r\nOrigin"),
            400,
        ),
        ("a method in another header", pause(&format!("{OURS}{cookie}X-Method-Override: GET\r\n")), 400),
        ("a method in the query", page("/api/control/pause?_method=GET"), 400),
        ("a method in the query of a read", page("/api/control/pause?_method=POST").replace("POST /", "GET /"), 400),
        ("the token in the query", page(&format!("/api/control/pause?token={TOKEN}")).replace(cookie, ""), 400),
        ("a wrong token", pause(&bearer("0123456789abcdeg")), 401),
        ("a wrong token beside the cookie", pause(&format!("{OURS}{cookie}{}", bearer("x"))), 401),
        ("the token twice", pause(&format!("{}{}", bearer(TOKEN), bearer(TOKEN))), 401),
        ("the cookie's value as a token", pause(&bearer(value)), 401),
        ("the token as the cookie's value", pause(&format!("{OURS}Cookie: {name}={TOKEN}\r\n")), 401),
        ("another port's cookie", pause(&format!("{OURS}Cookie: gpu_worker_1={value}\r\n")), 401),
        ("another value under our name", pause(&format!("{OURS}Cookie: {name}={forged}\r\n")), 401),
        ("a cookie cut short", pause(&format!("{OURS}Cookie: {name}={}\r\n", &value[1..])), 401),
        ("the cookie twice", pause(&format!("{OURS}Cookie: COOKIE; {name}=x\r\n")), 401),
        ("the cookie in two headers", pause(&format!("{OURS}Cookie: COOKIE\r\nCookie: COOKIE\r\n")), 401),
        (
            "the cookie's name in other letters",
            pause(&format!("{OURS}Cookie: {}={value}\r\n", name.to_uppercase())),
            401,
        ),
        ("a websocket", pause(&format!("{OURS}{cookie}Upgrade: websocket\r\n")), 400),
        (
            "HTTP/2 by the back door",
            pause(&format!("{OURS}{cookie}Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n")),
            400,
        ),
        ("its settings alone", pause(&format!("{OURS}{cookie}HTTP2-Settings: AAMAAABkAAQAAP__\r\n")), 400),
        ("HTTP/1.0 without a host", format!("POST /api/control/pause HTTP/1.0\r\n{OURS}{cookie}\r\n"), 400),
        ("two hosts", pause(&format!("Host: localhost:PORT\r\n{OURS}{cookie}")), 400),
        ("a header of 20 KB", pause(&format!("{OURS}{cookie}X: {}\r\n", "x".repeat(20_000))), 431),
        ("a read's path", page("/healthz"), 405),
    ];
    scene.refuses(&rows).await;
    scene.takes("the page, after all that", &page("/api/control/pause"), Order::Pause(None)).await;
}

#[tokio::test]
async fn paths_that_only_look_like_orders_are_none() {
    let scene = Scene::new(&[], false).await;
    let rows: Vec<_> = [
        ("/api/control/", 404),
        ("/api/control", 405),
        ("/api/control/halt", 404),
        ("/api/control/pause/", 404),
        ("/api/control//pause", 404),
        ("//api/control/pause", 405),
        ("/api//control/pause", 405),
        ("/API/CONTROL/PAUSE", 405),
        ("/api/control/Pause", 404),
        ("/api/control/%70ause", 404),
        ("/api%2fcontrol%2fpause", 405),
        ("/api/control/../control/pause", 404),
        ("/api/control/%2e%2e/control/pause", 404),
        ("/healthz/../api/control/pause", 405),
        ("/api/control/..;/control/pause", 404),
        ("/api/control/pause;x", 404),
        ("/api/control/pause%00", 404),
        ("/api/control/pause%0d%0aX:%20y", 404),
        ("/api/control/pause/w/x", 404),
        ("/api/control/..\\pause", 404),
        ("/api/control/%c0%ae%c0%ae/pause", 404),
        ("/api/control/cancel-job", 404),
        ("/api/control/cancel-job/", 404),
        ("/api/control/cancel-job/a/b", 404),
        ("/api/control/cancel-job/%ff", 404),
        ("/api/control/free-vram/all", 404),
        ("/api/control/free-vram/-1", 404),
        ("/api/control/free-vram/+1", 404),
        ("/api/control/free-vram/01", 404),
        ("/api/control/free-vram/99999999999", 404),
        ("/api/launch/", 405),
        ("/launch/x", 410),
    ]
    .map(|(path, expected)| (path, page(path), expected))
    .into();
    scene.refuses(&rows).await;
}

#[tokio::test]
async fn what_only_shows_refuses_every_order_in_a_sentence() {
    let scene = Scene::new(&[], true).await;
    let rows: Vec<_> =
        ["pause", "resume", "drain", "probe", "cancel-job/a", "retry-job/a", "free-vram/0", "unheard-of"]
            .map(|order| (order, page(&format!("/api/control/{order}")), 403))
            .into();
    scene.refuses(&rows).await;
    let refused = scene.ask(&to("/api/control/pause", &bearer(TOKEN))).await;
    assert_eq!(refused.status, 403);
    assert!(
        refused.body.contains("only shows") && refused.body.contains("WORKER_DASHBOARD_READONLY"),
        "{}",
        refused.body
    );
    assert_eq!(scene.ask(&to("/api/control/pause", "")).await.status, 401, "and tells nobody else that it would");
    assert_eq!(super::get(scene.at, "/healthz").await.status, 503, "reads go on");
}
