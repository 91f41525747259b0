//! Launch links: one browser gets the cookie, and nobody else does.

use super::browser::ask;
use super::hostile::server_of;
use super::orders::{OURS, TOKEN, bearer, pause, to};
use gpu_worker::dashboard::{Key, Limits, Order};
use std::net::SocketAddr;

#[tokio::test]
async fn a_launch_link_gives_one_browser_the_cookie_and_is_used_up() {
    let (at, ledger, _stop) = server_of(Key::Set(TOKEN.to_owned().into()), &[], false, Limits::default()).await;
    let asks = async |request: String| ask(at, request.replace("PORT", &at.port().to_string())).await;
    let see = |path: &str, more: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: localhost:PORT\r\n{more}Connection: close\r\n\r\n")
    };
    let new_link = async || {
        let made = asks(to("/api/launch", &bearer(TOKEN))).await;
        assert_eq!(made.status, 200, "{}", made.body);
        let told: serde_json::Value = serde_json::from_str(&made.body).unwrap();
        told["path"].as_str().unwrap().to_owned()
    };
    // Nobody else gets one, and without it the page is locked.
    assert_eq!(asks(to("/api/launch", "")).await.status, 401);
    assert_eq!(
        asks(to("/api/launch", &format!("Origin: http://evil.example.com\r\n{}", bearer(TOKEN)))).await.status,
        403
    );
    let locked = asks(see("/", "Accept: text/html,*/*\r\n")).await;
    assert_eq!(locked.status, 401);
    assert!(locked.body.contains("gpu-worker dashboard") && !locked.headers.contains_key("set-cookie"));
    assert!(!locked.headers.contains_key("refresh"), "or it would go round");
    let led_here =
        asks(see("/", "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: cross-site\r\n")).await;
    assert_eq!((led_here.status, led_here.headers["refresh"].as_str()), (401, "0;url=/"), "with its cookie, this time");

    let link = new_link().await;
    // A look at it is no visit, and one ahead of the person shows nothing.
    let page =
        asks(see(&link, "Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: cross-site\r\n"));
    let page = page.await;
    assert_eq!(page.status, 200);
    assert!(!page.headers.contains_key("set-cookie") && page.body.contains("src=/launch/enter.js"), "{}", page.body);
    let script = asks(see("/launch/enter.js", "")).await;
    assert!(script.headers["content-type"].starts_with("text/javascript"), "{:?}", script.headers);
    assert!(script.headers["content-security-policy"].contains("script-src 'self';"), "{:?}", script.headers);
    for early in [
        see(&link, "Sec-Purpose: prefetch\r\n"),
        see(&link, "Sec-Purpose: prefetch;prerender\r\n"),
        see(&link, "Purpose: prefetch\r\n"),
        see(&link, "X-Moz: prefetch\r\n"),
        to(&link, &format!("{OURS}Sec-Purpose: prefetch;prerender\r\n")),
    ] {
        let answer = asks(early.clone()).await;
        assert_eq!(answer.status, 503, "{early}");
        assert!(!answer.headers.contains_key("set-cookie"), "{early}");
    }
    for (trick, request, expected) in [
        ("a form of another site", to(&link, "Origin: http://evil.example.com\r\n"), 403),
        ("a page of another port", to(&link, "Origin: http://localhost:1\r\nSec-Fetch-Site: same-site\r\n"), 403),
        ("no word on whose page it is", to(&link, ""), 403),
        ("a form's type", to(&link, &format!("{OURS}Content-Type: text/plain\r\n")), 415),
        ("a guess", to("/launch/guessed", OURS), 410),
        ("a look at the head alone", see(&link, "").replace("GET", "HEAD"), 200),
    ] {
        let answer = asks(request).await;
        assert_eq!(answer.status, expected, "{trick}: {}", answer.body);
        assert!(!answer.headers.contains_key("set-cookie"), "{trick}");
    }
    let opened = asks(to(&link, OURS)).await;
    assert_eq!((opened.status, opened.body.as_str()), (200, r#"{"ok":true}"#));
    let cookie = &opened.headers["set-cookie"];
    for part in ["; HttpOnly", "; SameSite=Strict", "; Path=/", &format!("gpu_worker_{}=", at.port())] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains(TOKEN) && !cookie.contains("Secure") && !cookie.contains("Domain"), "{cookie}");
    let again = asks(to(&link, OURS)).await;
    assert_eq!(again.status, 410);
    assert!(!again.headers.contains_key("set-cookie") && again.body.contains("gpu-worker dashboard"), "{}", again.body);

    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(asks(see("/healthz", &format!("Cookie: {cookie}\r\n"))).await.status, 503, "it opens");
    assert_eq!(asks(see("/healthz", "")).await.status, 401);
    let order = pause(&format!("{OURS}Cookie: {cookie}\r\n"));
    assert_eq!(asks(order).await.status, 200);
    assert_eq!(ledger.take(), [Order::Pause(None)]);

    // Behind a proxy that speaks https, the cookie stays there.
    let link = new_link().await;
    let opened = asks(to(&link, &format!("{OURS}X-Forwarded-Proto: https\r\n"))).await;
    assert!(opened.headers["set-cookie"].ends_with("; Secure"), "{:?}", opened.headers);
}

#[tokio::test]
async fn one_browser_keeps_two_agents_of_one_machine_apart() {
    let agent = async |token: &str| server_of(Key::Set(token.to_owned().into()), &[], false, Limits::default()).await;
    let (one, one_ledger, _one_stop) = agent("the-token-of-the-first").await;
    let (other, other_ledger, _other_stop) = agent("another-one-of-the-second").await;
    // A browser sends the cookies of a host to all of its ports.
    let mut jar = Vec::new();
    let ours = |at: SocketAddr| OURS.replace("PORT", &at.port().to_string());
    let asks = async |at: SocketAddr, request: String| ask(at, request.replace("PORT", &at.port().to_string())).await;
    for (at, token) in [(one, "the-token-of-the-first"), (other, "another-one-of-the-second")] {
        let made = asks(at, to("/api/launch", &bearer(token))).await;
        let told: serde_json::Value = serde_json::from_str(&made.body).unwrap();
        let opened = asks(at, to(told["path"].as_str().unwrap(), &ours(at))).await;
        assert_eq!(opened.status, 200, "{}", opened.body);
        jar.push(opened.headers["set-cookie"].split(';').next().unwrap().to_owned());
    }
    assert_ne!(jar[0].split('=').next(), jar[1].split('=').next(), "neither overwrites the other");
    let both = format!("Cookie: {}\r\n", jar.join("; "));
    for (at, ledger) in [(one, &one_ledger), (other, &other_ledger)] {
        assert_eq!(asks(at, pause(&format!("{}{both}", ours(at)))).await.status, 200);
        assert_eq!(ledger.take(), [Order::Pause(None)]);
    }
    // The cookie of one opens nothing of the other, under either name.
    let (name, _) = jar[1].split_once('=').unwrap();
    let (_, value) = jar[0].split_once('=').unwrap();
    for cookie in [jar[0].clone(), format!("{name}={value}")] {
        let order = pause(&format!("{}Cookie: {cookie}\r\n", ours(other)));
        assert_eq!(asks(other, order).await.status, 401, "{cookie}");
    }
    assert_eq!(other_ledger.take(), []);
}
