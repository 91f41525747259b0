//! What goes wrong on the way into a bucket, what that is called, and whose fault it is.

use super::*;
use crate::support::proxy::{Cut, Door, Fault, Way};
use crate::support::until;
use connectors::failure::{FailureType, Reason};

#[tokio::test]
async fn wrong_credentials_are_told_as_such_and_charged_to_whom_they_belong() {
    let server = S3Server::start(&[BUCKET]).await;
    for length in [100, LARGE] {
        let workers = outputs_at(server.address, BUCKET, "wrong-secret");
        let failure = store(&workers, &job(Value::Null), "a.bin", &bytes(length)).await.unwrap_err();
        assert_eq!((failure.kind(), failure.hosts_fault), (FailureType::AuthError, true), "{failure:?}");
        for member in ["secretAccessKey", "accessKeyId"] {
            let mut ctx = json!({ "storage": storage(server.address) });
            ctx["storage"][member] = json!("NOT-THE-RIGHT-ONE");
            let jobs = outputs_of_jobs(server.address);
            let failure = store(&jobs, &job(ctx), "a.bin", &bytes(length)).await.unwrap_err();
            assert_eq!((failure.kind(), failure.hosts_fault), (FailureType::AuthError, false), "{failure:?}");
            assert!(!format!("{failure:?}").contains("NOT-THE-RIGHT-ONE"), "{failure:?}");
        }
    }
    assert_eq!((server.leftovers(), server.keys(BUCKET)), (vec![], vec![]));
}

#[tokio::test]
async fn a_missing_bucket_is_the_jobs_error_or_the_workers() {
    let server = S3Server::start(&[BUCKET]).await;
    for length in [100, LARGE] {
        let workers = outputs_at(server.address, "elsewhere", SECRET);
        let failure = store(&workers, &job(Value::Null), "a.bin", &bytes(length)).await.unwrap_err();
        assert_eq!((failure.reason, failure.hosts_fault), (Reason::ConfigError, true), "{failure:?}");
        let mut ctx = json!({ "storage": storage(server.address) });
        ctx["storage"]["bucket"] = json!("elsewhere");
        let failure = store(&outputs_of_jobs(server.address), &job(ctx), "a.bin", &bytes(length)).await.unwrap_err();
        assert_eq!((failure.kind(), failure.hosts_fault), (FailureType::ValidationError, false), "{failure:?}");
    }
}

#[tokio::test]
async fn a_server_that_dies_in_mid_upload_and_comes_back_gets_the_rest() {
    let (server, proxy) = server().await;
    let outputs = outputs_at(proxy.address(), BUCKET, SECRET);
    let bytes = bytes(LARGE);
    let mut writer = outputs.of(&job(Value::Null)).unwrap().create("film.mp4", "gifs", None).await.unwrap();
    proxy.cut_after(Way::ToServer, 7 << 20, Cut::Reset);
    send(&mut writer, &bytes).await.unwrap();
    let stored = writer.finish().await.unwrap();
    assert_eq!(proxy.sprung(), 1, "the connection was cut");
    assert_eq!(stored.sha256, sha256(&bytes));
    assert!(std::fs::read(server.object(BUCKET, "base/j-1/1/film.mp4")).unwrap() == bytes);
    assert_eq!(server.leftovers(), [""; 0]);
}

#[tokio::test]
async fn a_server_that_stays_away_is_a_network_error_and_is_cleaned_when_it_is_back() {
    let (server, proxy) = server().await;
    let outputs = outputs_at(proxy.address(), BUCKET, SECRET);
    let mut writer = outputs.of(&job(Value::Null)).unwrap().create("film.mp4", "gifs", None).await.unwrap();
    send(&mut writer, &bytes(6 << 20)).await.unwrap();
    until("a part has arrived", || async { (!server.leftovers().is_empty()).then_some(()) }).await;
    proxy.door(Door::Closed).await;
    proxy.cut(Cut::Reset);
    let failure = match send(&mut writer, &bytes(LARGE)).await {
        Ok(()) => writer.finish().await.unwrap_err(),
        Err(failure) => failure,
    };
    assert_eq!((failure.kind(), failure.hosts_fault), (FailureType::NetworkError, true), "{failure:?}");
    assert!(!server.leftovers().is_empty(), "nobody could clean up");
    proxy.door(Door::Open).await;
    settled(&outputs).await;
    assert_eq!((server.leftovers(), server.keys(BUCKET)), (vec![], vec![]));
}

#[tokio::test]
async fn a_silent_server_is_not_waited_for_for_ever() {
    let (_server, proxy) = server().await;
    let patience = Patience { request: Duration::from_millis(200), retries: 1, ..impatient() };
    let bucket = Bucket { name: BUCKET.into(), prefix: String::new(), cloud: cloud(proxy.address(), SECRET) };
    let to = config::Outputs { bucket: Some(bucket), ..config::Outputs::default() };
    let outputs = Outputs::with(PathBuf::from("/nonexistent"), to, patience);
    proxy.both(Fault::Stall);
    let failure = store(&outputs, &job(Value::Null), "a.bin", &bytes(10)).await.unwrap_err();
    assert_eq!(failure.reason, Reason::NetworkTimeout, "{failure:?}");
}

#[tokio::test]
async fn bytes_damaged_on_their_way_once_are_sent_again() {
    for length in [300_000, LARGE] {
        let (server, proxy) = server().await;
        let outputs = outputs_at(proxy.address(), BUCKET, SECRET);
        proxy.damage(Way::ToServer, 250_000, 1);
        let bytes = bytes(length);
        let stored = store(&outputs, &job(Value::Null), "a.bin", &bytes).await.unwrap();
        assert_eq!(proxy.damaged(), 1);
        assert_eq!(stored.sha256, sha256(&bytes));
        assert!(std::fs::read(server.object(BUCKET, "base/j-1/1/a.bin")).unwrap() == bytes);
        assert_eq!(server.leftovers(), [""; 0]);
    }
}

#[tokio::test]
async fn bytes_damaged_again_and_again_are_never_taken_for_stored() {
    let (server, proxy) = server().await;
    let outputs = outputs_at(proxy.address(), BUCKET, SECRET);
    proxy.damage(Way::ToServer, 250_000, usize::MAX);
    let failure = store(&outputs, &job(Value::Null), "a.bin", &bytes(LARGE)).await.unwrap_err();
    assert!(proxy.damaged() > 1);
    // This server calls it an internal error, Amazon's a wrong sum.
    assert!(matches!(failure.reason, Reason::CorruptedData | Reason::ServiceUnavailable), "{failure:?}");
    proxy.heal().await;
    settled(&outputs).await;
    assert_eq!((server.leftovers(), server.keys(BUCKET)), (vec![], vec![]));
}

#[tokio::test]
async fn a_server_that_says_that_bytes_were_damaged_gets_them_again_and_then_not() {
    for length in [1000, LARGE] {
        let server = S3Server::start(&[BUCKET]).await;
        let outputs = outputs_at(server.address, BUCKET, SECRET);
        // The request that begins an upload of parts has no body to be damaged.
        let what = if length == LARGE { "UploadPart" } else { "PutObject" };
        server.refuse(what, "XAmzContentSHA256Mismatch", 2);
        let bytes = bytes(length);
        assert_eq!(store(&outputs, &job(Value::Null), "a.bin", &bytes).await.unwrap().sha256, sha256(&bytes));
        server.refuse(what, "XAmzContentSHA256Mismatch", 100);
        let again = Job { attempt: 2, ..job(Value::Null) };
        let failure = store(&outputs, &again, "a.bin", &bytes).await.unwrap_err();
        assert_eq!(failure.reason, Reason::CorruptedData, "{failure:?}");
        settled(&outputs).await;
        assert_eq!((server.leftovers(), server.keys(BUCKET)), (vec![], vec!["base/j-1/1/a.bin".to_owned()]));
    }
}

#[tokio::test]
async fn a_store_without_room_or_without_time_is_told_as_such() {
    let rows = [
        ("InsufficientStorage", FailureType::ResourceLimit, "has no room left"),
        ("SlowDown", FailureType::ServiceError, "cannot take it at present"),
        ("AccessDenied", FailureType::AuthError, "does not allow"),
        ("ExpiredToken", FailureType::AuthError, "have expired"),
    ];
    for (code, kind, words) in rows {
        let server = S3Server::start(&[BUCKET]).await;
        server.refuse("PutObject", code, 100);
        let outputs = outputs_at(server.address, BUCKET, SECRET);
        let failure = store(&outputs, &job(Value::Null), "a.bin", &bytes(10)).await.unwrap_err();
        assert_eq!((failure.kind(), failure.hosts_fault), (kind, true), "{failure:?}");
        assert!(failure.message.contains(words) && failure.message.contains(code), "{failure:?}");
    }
}

#[tokio::test]
async fn an_end_whose_answer_is_lost_still_counts() {
    let (server, proxy) = server().await;
    let outputs = outputs_at(proxy.address(), BUCKET, SECRET);
    let bytes = bytes(LARGE);
    let mut writer = outputs.of(&job(Value::Null)).unwrap().create("film.mp4", "gifs", None).await.unwrap();
    // The request that completes an upload; it is repeated, and the upload is not known any more.
    proxy.on("<CompleteMultipartUpload", crate::support::proxy::Then::CutAnswer(0, Cut::Reset));
    send(&mut writer, &bytes).await.unwrap();
    let stored = writer.finish().await.unwrap();
    assert_eq!((proxy.sprung(), stored.sha256), (1, sha256(&bytes)));
    assert_eq!((server.leftovers(), server.keys(BUCKET)), (vec![], vec!["base/j-1/1/film.mp4".to_owned()]));
}
