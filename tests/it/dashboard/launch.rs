//! Launch links: one browser gets the cookie, and nobody else does.

use super::browser::ask;
use super::hostile::server_of;
use super::orders::{OURS, TOKEN, bearer, pause, to};
use gpu_worker::dashboard::{Key, Limits, Order};

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
    // A look ahead does not use it up, nor does a picture of another site.
    for early in [see(&link, "Sec-Fetch-Dest: image\r\n"), see(&link, "").replace("GET", "HEAD")] {
        let answer = asks(early).await;
        assert_eq!(answer.status, 204);
        assert!(!answer.headers.contains_key("set-cookie"));
    }
    let opened =
        asks(see(&link, "Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: cross-site\r\n"))
            .await;
    assert_eq!((opened.status, opened.headers["refresh"].as_str()), (200, "0;url=/"));
    let cookie = &opened.headers["set-cookie"];
    for part in ["; HttpOnly", "; SameSite=Strict", "; Path=/", &format!("gpu_worker_{}=", at.port())] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains(TOKEN) && !cookie.contains("Secure") && !cookie.contains("Domain"), "{cookie}");
    let again = asks(see(&link, "")).await;
    assert_eq!(again.status, 410);
    assert!(!again.headers.contains_key("set-cookie") && again.body.contains("gpu-worker dashboard"), "{}", again.body);
    assert_eq!(asks(see("/launch/guessed", "")).await.status, 410);

    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(asks(see("/healthz", &format!("Cookie: {cookie}\r\n"))).await.status, 503, "it opens");
    assert_eq!(asks(see("/healthz", "")).await.status, 401);
    let order = pause(&format!("{OURS}Cookie: {cookie}\r\n"));
    assert_eq!(asks(order).await.status, 200);
    assert_eq!(ledger.take(), [Order::Pause(None)]);

    // Behind a proxy that speaks https, the cookie stays there.
    let link = new_link().await;
    let opened = asks(see(&link, "X-Forwarded-Proto: https\r\n")).await;
    assert!(opened.headers["set-cookie"].ends_with("; Secure"), "{:?}", opened.headers);
}
