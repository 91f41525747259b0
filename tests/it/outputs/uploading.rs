//! What arrives in a bucket, and what does not.

use super::*;
use crate::support::proxy::{Fault, Way};
use crate::support::until;

#[tokio::test]
async fn a_small_output_arrives_with_its_sum_type_and_address() {
    let server = S3Server::start(&[BUCKET]).await;
    let outputs = outputs_at(server.address, BUCKET, SECRET);
    let png = Bytes::from_static(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR and so on");
    let stored = store(&outputs, &job(Value::Null), "dir/ä b.png", &png).await.unwrap();
    assert_eq!(server.keys(BUCKET), ["base/j-1/1/ä b.png"]);
    assert_eq!(std::fs::read(server.object(BUCKET, "base/j-1/1/ä b.png")).unwrap(), png);
    assert_eq!((stored.bytes, stored.sha256.as_str()), (png.len() as u64, sha256(&png).as_str()));
    assert_eq!(
        (stored.name.as_str(), stored.kind.as_str(), stored.media_type.as_str()),
        ("ä b.png", "images", "image/png")
    );
    assert_eq!(stored.url, format!("http://{}/{BUCKET}/base/j-1/1/%C3%A4%20b.png", server.address));
    assert!(server.notes().contains("image/png"), "the object has its content type");
}

#[tokio::test]
async fn an_output_of_several_parts_arrives_whole() {
    let server = S3Server::start(&[BUCKET]).await;
    let outputs = outputs_at(server.address, BUCKET, SECRET);
    for (attempt, length) in [LARGE, 5 << 20, 10 << 20, (5 << 20) + 1].into_iter().enumerate() {
        let (bytes, job) = (bytes(length), Job { attempt: attempt as u64, ..job(Value::Null) });
        let stored = store(&outputs, &job, "film.mp4", &bytes).await.unwrap();
        assert_eq!((stored.bytes, stored.sha256), (length as u64, sha256(&bytes)));
        assert!(std::fs::read(server.object(BUCKET, &format!("base/j-1/{attempt}/film.mp4"))).unwrap() == bytes);
    }
    assert_eq!(server.leftovers(), [""; 0]);
}

#[tokio::test]
async fn an_empty_output_is_stored_too() {
    let server = S3Server::start(&[BUCKET]).await;
    let stored = store(&outputs_at(server.address, BUCKET, SECRET), &job(Value::Null), "x.txt", &Bytes::new()).await;
    assert_eq!((stored.unwrap().bytes, server.keys(BUCKET)), (0, vec!["base/j-1/1/x.txt".to_owned()]));
}

#[tokio::test]
async fn an_output_dropped_half_way_leaves_neither_object_nor_parts() {
    let (server, _proxy) = server().await;
    let outputs = outputs_at(server.address, BUCKET, SECRET);
    let mut writer = outputs.of(&job(Value::Null)).unwrap().create("film.mp4", "gifs", None).await.unwrap();
    send(&mut writer, &bytes(LARGE)).await.unwrap();
    until("parts have arrived", || async { (!server.leftovers().is_empty()).then_some(()) }).await;
    drop(writer);
    settled(&outputs).await;
    assert_eq!((server.leftovers(), server.keys(BUCKET)), (vec![], vec![]));
}

#[tokio::test]
async fn an_output_dropped_while_its_parts_hang_leaves_nothing_either() {
    let (server, proxy) = server().await;
    let patience = Patience { last_parts: Duration::from_millis(200), ..impatient() };
    let outputs = outputs_with(patience, proxy.address(), BUCKET, SECRET);
    let mut writer = outputs.of(&job(Value::Null)).unwrap().create("film.mp4", "gifs", None).await.unwrap();
    send(&mut writer, &bytes(6 << 20)).await.unwrap();
    until("a part has arrived", || async { (!server.leftovers().is_empty()).then_some(()) }).await;
    // Nothing moves any more: the parts fill up, and the writer waits.
    proxy.both(Fault::Stall);
    let more = bytes(30 << 20);
    let waiting = tokio::time::timeout(Duration::from_millis(500), send(&mut writer, &more)).await;
    assert!(waiting.is_err(), "nobody takes so much");
    drop(writer);
    // The connections of now never move again; new ones do.
    proxy.strand();
    proxy.both(Fault::Pass);
    settled(&outputs).await;
    assert_eq!((server.leftovers(), server.keys(BUCKET)), (vec![], vec![]));
}

#[tokio::test]
async fn an_output_dropped_while_it_is_finished_leaves_no_object() {
    let (server, proxy) = server().await;
    let outputs = outputs_at(proxy.address(), BUCKET, SECRET);
    let mut writer = outputs.of(&job(Value::Null)).unwrap().create("a.txt", "text", None).await.unwrap();
    writer.write(Bytes::from_static(b"hello")).await.unwrap();
    proxy.set(Way::ToClient, Fault::Stall);
    let there = until("it has arrived", || async { (!server.keys(BUCKET).is_empty()).then_some(()) });
    tokio::select! {
        _ = writer.finish() => panic!("the server says nothing"),
        () = there => {}
    }
    proxy.set(Way::ToClient, Fault::Pass);
    settled(&outputs).await;
    assert_eq!(server.keys(BUCKET), [""; 0]);
}

#[tokio::test]
async fn what_a_worker_could_store_is_tried_without_leaving_anything() {
    let (server, proxy) = server().await;
    let outputs = outputs_at(proxy.address(), BUCKET, SECRET);
    outputs.try_storing().await.unwrap();
    assert_eq!(server.keys(BUCKET), [""; 0]);
    let wrong = outputs_at(proxy.address(), BUCKET, "wrong").try_storing().await.unwrap_err();
    assert!(wrong.hosts_fault && wrong.message.contains("check the credentials"), "{wrong:?}");
    let missing = outputs_at(proxy.address(), "elsewhere", SECRET).try_storing().await.unwrap_err();
    assert!(missing.hosts_fault && missing.message.contains("s3://elsewhere/base has no such bucket"), "{missing:?}");
}

#[tokio::test]
async fn a_probe_that_may_not_clean_up_after_itself_tells_what_hindered_it_and_not_that() {
    let server = S3Server::start(&[BUCKET]).await;
    let outputs = outputs_at(server.address, BUCKET, SECRET);
    server.refuse("DeleteObject", "AccessDenied", 100);
    outputs.try_storing().await.unwrap();
    server.refuse("PutObject", "SlowDown", 100);
    let failure = outputs.try_storing().await.unwrap_err();
    assert_eq!(failure.reason, connectors::failure::Reason::ServiceUnavailable, "{failure:?}");
}

#[tokio::test]
async fn a_store_that_deletes_objects_one_by_one_only_is_cleaned_all_the_same() {
    let server = S3Server::start(&[BUCKET]).await;
    server.refuse("DeleteObjects", "NotImplemented", 100);
    let outputs = outputs_at(server.address, BUCKET, SECRET);
    outputs.try_storing().await.unwrap();
    assert_eq!(server.keys(BUCKET), [""; 0]);
}

#[tokio::test]
async fn keys_with_odd_characters_arrive_under_these_very_characters_and_their_address_leads_there() {
    let server = S3Server::start(&[BUCKET]).await;
    let outputs = outputs_of_jobs(server.address);
    for (prefix, filename, address) in [
        ("a b", "plus+and&=.txt", "a%20b/plus+and&=.txt"),
        ("100%", "%2e%2e%2f.txt", "100%25/%252e%252e%252f.txt"),
        ("q?x#y", "semi;colon:,@!$'()*.txt", "q%3Fx%23y/semi;colon:,@!$'()*.txt"),
        ("Ünï", "日本.txt", "%C3%9Cn%C3%AF/%E6%97%A5%E6%9C%AC.txt"),
        ("<xml>&amp;", "\"quoted\"[]{}|^~`.txt", "%3Cxml%3E&amp;/%22quoted%22[]%7B%7D|^~%60.txt"),
    ] {
        for length in [5, (5 << 20) + 1] {
            let ctx = json!({ "storage": storage(server.address), "prefix": prefix, "filename": filename });
            let stored = store(&outputs, &job(ctx), "a.txt", &bytes(length)).await;
            let stored = stored.unwrap_or_else(|failure| panic!("{prefix}/{filename}: {failure:?}"));
            assert_eq!(server.keys(BUCKET), [format!("{prefix}/{filename}")]);
            assert_eq!(stored.url, format!("https://cdn.example.org/{address}"));
            let length_there = std::fs::metadata(server.object(BUCKET, &format!("{prefix}/{filename}"))).unwrap().len();
            assert_eq!(length_there, length as u64);
        }
        std::fs::remove_dir_all(server.object(BUCKET, prefix)).unwrap();
    }
}
