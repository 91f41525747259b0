//! What the table of tricks cannot show in a row: limits that run out, what is sent to whom, what is told.

use super::hostile::{Is, Names, OPEN, PNG, inputs, judge, patient};
use super::server::{Answer, Server, Then, bare, to, whole};
use connectors::contract::InputSource;
use connectors::failure::{FailureType, Reason};
use gpu_worker::input::Limits;
use std::sync::Arc;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(150);

async fn open(script: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Server {
    Server::start(OPEN, 0, script).await
}

fn nobody() -> Arc<Names> {
    Names::of(&[("open.test", &[&["127.0.0.3"]]), ("other.test", &[&["127.0.0.4"]])])
}

#[tokio::test]
async fn silence_anywhere_and_a_slow_drip_run_out_of_time() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    let server = open(move |path| match path {
        "/drips" => (head.into(), Then::Drip("x", Duration::from_millis(5))),
        "/head-drips" => (b"HTTP/1.1 200 OK\r\n".to_vec(), Then::Drip("X", Duration::from_millis(5))),
        "/hints" => (Vec::new(), Then::Drip("HTTP/1.1 103 Early Hints\r\n\r\n", Duration::from_millis(5))),
        "/stops" => (format!("{head}some").into_bytes(), Then::Silence),
        "/goes-on" => to("/goes-on"),
        _ => (Vec::new(), Then::Silence),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let silent = Limits { idle: SHORT, ..patient() };
    let slow = Limits { total: SHORT, ..patient() };
    let many = Limits { total: SHORT, redirects: u32::MAX, ..patient() };
    let port = server.port();
    for (what, limits, source, said) in [
        ("no answer", &silent, format!("http://127.0.0.3:{port}/"), "silent"),
        ("half a body", &silent, format!("http://127.0.0.3:{port}/stops"), "silent"),
        ("no name", &silent, "http://hangs.test/".to_owned(), "silent"),
        ("a drip of the body", &slow, format!("http://127.0.0.3:{port}/drips"), "INPUT_TIMEOUT_SECONDS"),
        ("a drip of the head", &slow, format!("http://127.0.0.3:{port}/head-drips"), "INPUT_TIMEOUT_SECONDS"),
        ("hints without end", &slow, format!("http://127.0.0.3:{port}/hints"), "INPUT_TIMEOUT_SECONDS"),
        ("redirects without end", &many, format!("http://127.0.0.3:{port}/goes-on"), "INPUT_TIMEOUT_SECONDS"),
    ] {
        let inputs = inputs(folder.path(), limits.clone(), &["127.0.0.3"], nobody());
        let failure = inputs.fetch(&source).await.err().unwrap();
        assert_eq!((failure.reason, failure.hosts_fault), (Reason::NetworkTimeout, false), "{what}: {failure}");
        assert!(failure.message.contains(said), "{what}: {failure}");
    }
    assert_eq!(std::fs::read_dir(folder.path().join("inputs")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_server_that_is_gone_or_takes_no_connections_is_worth_another_attempt() {
    let mut server = open(|_| whole("", PNG)).await;
    let folder = tempfile::tempdir().unwrap();
    let source = format!("http://127.0.0.3:{}/", server.port());
    let inputs = inputs(folder.path(), patient(), &["127.0.0.3"], nobody());
    assert_eq!(judge(&inputs.fetch(&source).await).unwrap(), Is::Harmless);
    server.stop().await;
    let failure = inputs.fetch(&source).await.err().unwrap();
    assert_eq!((failure.kind(), failure.hosts_fault), (FailureType::NetworkError, false), "{failure}");
}

#[tokio::test]
async fn the_last_byte_that_is_allowed_is_taken_and_the_next_is_not() {
    let server = open(|path| match path {
        "/told" => whole("", &[b'x'; 2000]),
        "/untold" => ([&b"HTTP/1.1 200 OK\r\n\r\n"[..], &[b'x'; 2000]].concat(), Then::Close),
        _ => bare("404 Not Found", ""),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let data = format!("data:,{}", "x".repeat(2000));
    let output = folder.path().join("outputs/j/1");
    std::fs::create_dir_all(&output).unwrap();
    std::fs::write(output.join("a.txt"), [b'x'; 2000]).unwrap();
    let at = |path: &str| format!("http://127.0.0.3:{}{path}", server.port());
    for source in [at("/told"), at("/untold"), data, "output:j/a.txt".to_owned()] {
        let fits = inputs(folder.path(), Limits { bytes: 2000, ..patient() }, &["127.0.0.3"], nobody());
        let input = fits.fetch(&source).await.unwrap();
        assert_eq!(std::fs::read(input.path()).unwrap(), [b'x'; 2000], "{source}");
        drop(input);
        let small = inputs(folder.path(), Limits { bytes: 1999, ..patient() }, &["127.0.0.3"], nobody());
        let failure = small.fetch(&source).await.err().unwrap();
        assert_eq!(failure.reason, Reason::InvalidPayload);
        assert!(failure.message.contains("MAX_INPUT_BYTES"), "{failure}");
    }
}

#[tokio::test]
async fn redirects_are_followed_so_far_and_no_further() {
    let server = open(|path| match path.trim_start_matches('/').parse::<u32>() {
        Ok(0) => whole("Content-Type: image/png\r\n", PNG),
        Ok(left) => to(&format!("{}", left - 1)),
        Err(_) => bare("404 Not Found", ""),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let inputs = inputs(folder.path(), Limits { redirects: 3, ..patient() }, &["127.0.0.3"], nobody());
    let at = |hops: u32| format!("http://127.0.0.3:{}/{hops}", server.port());
    assert_eq!(judge(&inputs.fetch(&at(3)).await).unwrap(), Is::Harmless);
    assert_eq!(judge(&inputs.fetch(&at(4)).await).unwrap(), Is::Refused);
    assert_eq!(server.heads().len(), 4 + 4);
}

#[tokio::test]
async fn credentials_go_to_the_host_that_they_were_given_for_and_fragments_to_none() {
    let other = Server::start("127.0.0.4".parse().unwrap(), 0, |_| whole("", PNG)).await;
    let port = other.port();
    let server = open(move |path| match path.split('?').next().unwrap_or_default() {
        "/away" => to(&format!("http://other.test:{port}/b#kept")),
        "/planted" => to(&format!("http://eve:secret@other.test:{port}/planted")),
        "/stay" => to("/there"),
        _ => whole("", PNG),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let allowed = ["open.test", "other.test"];
    let inputs = inputs(folder.path(), patient(), &allowed, nobody());
    for path in ["away", "planted", "stay"] {
        let source = format!("http://me:pass%20word@OPEN.test.:{}/{path}?key=1#fragment", server.port());
        assert_eq!(judge(&inputs.fetch(&source).await).unwrap(), Is::Harmless, "{path}");
    }
    let login = "authorization: Basic bWU6cGFzcyB3b3Jk\r\n";
    let host = format!("\r\nhost: open.test:{}\r\n", server.port());
    for head in server.heads() {
        assert!(head.contains(login) && head.contains(&host) && !head.contains("fragment"), "{head}");
        assert!(head.contains("accept-encoding: identity\r\n") && !head.contains("referer"), "{head}");
    }
    assert!(server.heads().iter().any(|head| head.starts_with("GET /away?key=1 HTTP/1.1\r\n")));
    let host = format!("\r\nhost: other.test:{port}\r\n");
    assert_eq!(other.heads().len(), 2);
    for head in other.heads() {
        assert!(!head.contains("authorization") && !head.contains("key=1") && head.contains(&host), "{head}");
        assert!(!head.contains("kept") && !head.contains("referer") && !head.contains("cookie"), "{head}");
    }
}

#[tokio::test]
async fn what_is_told_holds_no_secret() {
    let server = open(|path| match path.split('?').next() {
        Some("/redirects") => to("http://eve:s3cret@10.9.8.7/x?s3cret=1"),
        Some("/nonsense") => to("http://s3cret[/"),
        Some("/breaks") => (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx".to_vec(), Then::Close),
        _ => bare("404 Not Found", ""),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let names = Names::of(&[("open.test", &[&["127.0.0.3"]]), ("inside.test", &[&["10.77.66.55"]])]);
    let inputs = inputs(folder.path(), patient(), &["open.test"], names);
    let port = server.port();
    for source in [
        format!("http://me:s3cret@open.test:{port}/missing?token=s3cret#s3cret"),
        format!("http://me:s3cret@open.test:{port}/redirects?token=s3cret"),
        format!("http://me:s3cret@open.test:{port}/nonsense?token=s3cret"),
        format!("http://me:s3cret@open.test:{port}/breaks?token=s3cret"),
        format!("https://me:s3cret@open.test:{port}/?token=s3cret"),
        "http://me:s3cret@open.test:22/?token=s3cret".to_owned(),
        "http://me:s3cret@unknown.test/?token=s3cret".to_owned(),
        "http://me:s3cret@inside.test/?token=s3cret".to_owned(),
        "http://me:s3cret@127.0.0.1:9/?token=s3cret".to_owned(),
        "http://me:s3cret@[::1/?token=s3cret".to_owned(),
        "s3cret://host/".replace("s3cret", "ftp") + "?s3cret",
        "data:image/png;base64,s3cret!".to_owned(),
    ] {
        let failure = inputs.fetch(&source).await.err().unwrap();
        let told = format!("{failure} {failure:?}");
        assert!(!told.contains("s3cret") && !told.contains("10.77.66.55"), "{source}: {told}");
    }
}

#[tokio::test]
async fn good_sources_become_files_with_their_kind_and_hash() {
    let server = open(|_| whole("Content-Type: text/html\r\n", PNG)).await;
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("outputs/j-1/2");
    std::fs::create_dir_all(&output).unwrap();
    std::fs::write(output.join("a b.png"), PNG).unwrap();
    let inputs = inputs(folder.path(), patient(), &["127.0.0.3"], nobody());
    let sources = [
        format!("http://127.0.0.3:{}/a.png", server.port()),
        "data:text/plain,%89PNG%0D%0A%1A%0Athe rest of a picture".to_owned(),
        "DATA:;BASE64,iVBORw0KGgp0aGUgcmVzdCBvZiBhIHBpY3R1cmU".to_owned(),
        "output:j-1/a b.png".to_owned(),
    ];
    for source in sources {
        let input = inputs.fetch(&source).await.unwrap();
        assert_eq!(std::fs::read(input.path()).unwrap(), PNG, "{source}");
        assert_eq!((input.media_type(), input.bytes()), ("image/png", PNG.len() as u64), "{source}");
        assert_eq!(input.sha256(), "094ddca71b6ede25b3ed35e7d3a552c519d12af7cd0c6ee42f10300743a3da13", "{source}");
        let path = input.path().to_owned();
        drop(input);
        assert!(!path.exists(), "{source}");
    }
    assert!(output.join("a b.png").exists(), "the output stays");
}

#[tokio::test]
async fn a_fetch_that_is_given_up_ends_and_leaves_nothing() {
    let server = open(|_| (b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), Then::Drip("x", Duration::from_millis(1)))).await;
    let folder = tempfile::tempdir().unwrap();
    let inputs = Arc::new(inputs(folder.path(), patient(), &["127.0.0.3"], nobody()));
    let source = format!("http://127.0.0.3:{}/", server.port());
    let fetching = tokio::spawn({
        let inputs = inputs.clone();
        async move { inputs.fetch(&source).await.map(drop) }
    });
    let at = folder.path().join("inputs");
    let files = || std::fs::read_dir(&at).into_iter().flatten().flatten();
    super::super::support::until("it is under way", || async { files().next() }).await;
    fetching.abort();
    super::super::support::until("the file is gone", || async { (files().count() == 0).then_some(()) }).await;
}
