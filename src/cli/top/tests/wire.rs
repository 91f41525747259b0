//! The way to an agent: what comes over it, what is lost on it, what is sent.
//! In: a server that behaves as told. Out: news, answers, and what the server got.

use super::*;
use crate::cli::top::client::{Client, Patience};
use crate::cli::top::feed::{News, keep};
use crate::cli::top::order::Order;
use axum::extract::{Request, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, channel};
use url::Url;

/// What the server answers next to whom: the part of the path, then the answer. What is not foreseen is 404.
type Script = Arc<Mutex<(VecDeque<(&'static str, Response)>, Vec<String>)>>;

async fn server(answers: Vec<(&'static str, Response)>) -> (SocketAddr, Script) {
    let script: Script = Arc::new(Mutex::new((answers.into(), Vec::new())));
    let app = axum::Router::new().fallback(answer).with_state(script.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (at, script)
}

async fn answer(Shared(script): Shared<Script>, request: Request) -> Response {
    let header =
        |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned();
    let mut script = script.lock().unwrap();
    let line =
        format!("{} {} {} {}", request.method(), request.uri(), header("authorization"), header("if-none-match"));
    script.1.push(line);
    let path = request.uri().path().to_owned();
    let at = script.0.iter().position(|(part, _)| path.contains(part));
    at.and_then(|at| script.0.remove(at)).map_or_else(|| StatusCode::NOT_FOUND.into_response(), |(_, answer)| answer)
}

/// Events, and then an end or silence.
fn stream(text: String, stays: bool) -> Response {
    let first = futures_util::stream::iter([Ok::<_, std::io::Error>(text)]);
    let body = if stays {
        axum::body::Body::from_stream(futures_util::StreamExt::chain(first, futures_util::stream::pending()))
    } else {
        axum::body::Body::from_stream(first)
    };
    ([("content-type", "text/event-stream")], body).into_response()
}

fn snapshot(name: &str) -> String {
    format!("event: snapshot\ndata: {}\n\n", recorded(name))
}

fn quick() -> Patience {
    let short = Duration::from_millis(50);
    let long = Duration::from_secs(20);
    Patience { answer: long, order: long, first: long, silence: long, poll: short, again: short }
}

fn client(at: SocketAddr, token: Option<&str>, patience: Patience) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let token = token.map(|token| token.to_owned().into());
    Client::new(Url::parse(&format!("http://{at}/")).unwrap(), token, patience).unwrap()
}

fn watch(client: Client) -> Receiver<News> {
    let (sender, news) = channel(64);
    tokio::spawn(keep(client, sender));
    news
}

/// Hears until the state is as wanted.
async fn hears(state: &mut State, news: &mut Receiver<News>, wanted: impl Fn(&State) -> bool) {
    let waiting = async {
        while !wanted(state) {
            match news.recv().await.expect("the feed goes on") {
                News::Told { event, value, feed } => state.hear(&event, value, feed, NOW),
                News::Lost(why) => state.lose(why, NOW),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it is heard");
}

fn blank() -> State {
    State::new((0, 1, "somewhere".to_owned()))
}

#[tokio::test]
async fn the_stream_keeps_the_picture_and_one_that_breaks_is_opened_again() {
    let gpus = "event: gpus\ndata: [{\"index\": 7}]\n\nevent: gpus\ndata: no JSON\n\n";
    let (at, script) = server(vec![
        ("stream", stream(snapshot("busy") + gpus, false)),
        ("snapshot", StatusCode::BAD_GATEWAY.into_response()),
        ("stream", stream(snapshot("idle"), true)),
    ])
    .await;
    let (mut state, mut news) = (blank(), watch(client(at, Some("t0ken-t0ken-t0ken"), quick())));
    hears(&mut state, &mut news, |state| state.picture.gpus.first().is_some_and(|gpu| gpu.index == Some(7.0))).await;
    assert_eq!((&state.feed, state.picture.worker.state.as_str()), (&Feed::Live, "working"));
    hears(&mut state, &mut news, |state| state.stale().is_some()).await;
    assert!(state.stale().is_some_and(|(_, why)| why.contains("502")), "{:?}", state.feed);
    assert_eq!(state.picture.worker.state, "working", "what was known is kept");
    hears(&mut state, &mut news, |state| state.feed == Feed::Live).await;
    assert_eq!(state.picture.worker.state, "idle");
    assert!(script.lock().unwrap().1.iter().all(|asked| asked.contains("Bearer t0ken-t0ken-t0ken")));
}

#[tokio::test]
async fn without_a_stream_the_agent_is_asked_in_turns_and_sends_a_picture_once() {
    let tagged = |name| ([("etag", "\"1\"")], axum::Json(recorded(name))).into_response();
    let same = || StatusCode::NOT_MODIFIED.into_response();
    let (at, script) = server(vec![
        ("snapshot", tagged("idle")),
        ("snapshot", same()),
        ("snapshot", same()),
        ("snapshot", tagged("busy")),
        ("snapshot", same()),
        ("stream", StatusCode::FORBIDDEN.into_response()),
        // By then the way is open: behind five turns the stream is tried again.
        ("stream", stream(snapshot("failing"), true)),
    ])
    .await;
    let (mut state, mut news) = (blank(), watch(client(at, None, quick())));
    hears(&mut state, &mut news, |state| state.picture.is_one()).await;
    assert_eq!((&state.feed, state.picture.worker.state.as_str()), (&Feed::Polling, "idle"));
    hears(&mut state, &mut news, |state| state.picture.worker.state == "working").await;
    assert_eq!(state.feed, Feed::Polling);
    hears(&mut state, &mut news, |state| state.feed == Feed::Live).await;
    let asked = script.lock().unwrap().1.clone();
    assert_eq!(asked[..3], ["GET /api/stream - -", "GET /api/snapshot - -", "GET /api/snapshot - \"1\""], "{asked:?}");
}

#[tokio::test]
async fn a_stream_that_says_nothing_is_given_up() {
    let patience = Patience { first: Duration::from_millis(100), silence: Duration::from_millis(100), ..quick() };
    let picture = || axum::Json(recorded("idle")).into_response();
    let (at, _) = server(vec![
        ("stream", stream(": hello\n\n".to_owned(), true)),
        ("snapshot", picture()),
        ("snapshot", StatusCode::BAD_GATEWAY.into_response()),
        ("stream", stream(snapshot("busy"), true)),
        ("snapshot", picture()),
    ])
    .await;
    let (mut state, mut news) = (blank(), watch(client(at, None, patience)));
    hears(&mut state, &mut news, |state| state.feed == Feed::Polling).await;
    hears(&mut state, &mut news, |state| state.feed == Feed::Live).await;
    hears(&mut state, &mut news, |state| state.feed == Feed::Polling).await;
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_waited_for() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    let (mut state, mut news) = (blank(), watch(client(at, None, quick())));
    hears(&mut state, &mut news, |state| state.stale().is_some_and(|(_, why)| why == "connection refused")).await;
    drop(news);
}

#[tokio::test]
async fn orders_are_posted_with_the_token_and_answers_come_back_clean() {
    let refusal = |status: StatusCode, body: Value| (status, axum::Json(body)).into_response();
    let (at, script) = server(vec![
        ("pause", axum::Json(serde_json::json!({"ok": true, "message": "paused\u{1b}[2J"})).into_response()),
        ("drain", refusal(StatusCode::CONFLICT, serde_json::json!({"error": "no\u{7}", "remedy": "wait"}))),
        ("resume", refusal(StatusCode::UNAUTHORIZED, serde_json::json!({"error": "this needs the token"}))),
        ("free-vram", (StatusCode::FOUND, [("location", "http://127.0.0.1:9/stolen")]).into_response()),
        ("cancel-job", axum::Json(serde_json::json!({"ok": true})).into_response()),
    ])
    .await;
    let client = client(at, Some("t0ken-t0ken-t0ken"), quick());
    assert_eq!(client.order(&Order::Pause).await, Ok("paused [2J".to_owned()));
    assert_eq!(client.order(&Order::Drain).await, Err("no  - wait".to_owned()));
    let refused = client.order(&Order::Resume).await.unwrap_err();
    let why = "orders need its token, which is another than the one given: gpu-worker top http://";
    assert!(refused.starts_with(why) && refused.contains("--token-file FILE"), "{refused}");
    assert_eq!(client.order(&Order::FreeVram(3)).await, Err("the answer is 302 Found".to_owned()));
    assert_eq!(client.order(&Order::Cancel("../../a?b/c".to_owned())).await, Ok("done".to_owned()));
    let asked = script.lock().unwrap().1.clone();
    assert_eq!(asked[0], "POST /api/control/pause Bearer t0ken-t0ken-t0ken -");
    assert_eq!(asked[4], "POST /api/control/cancel-job/..%2F..%2Fa%3Fb%2Fc Bearer t0ken-t0ken-t0ken -");
}

#[tokio::test]
async fn no_secret_stands_in_what_is_shown_of_a_client() {
    let (at, _) = server(Vec::new()).await;
    let client = client(at, Some("t0ken-t0ken-t0ken"), quick());
    let shown = format!("{client:?} {} {:?}", client.shown(), client.order(&Order::Pause).await);
    assert!(!shown.contains("t0ken"), "{shown}");
}
