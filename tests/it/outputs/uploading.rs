//! What arrives in a bucket, and what does not.

use super::*;
use crate::support::proxy::Way;
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
    let outputs = outputs_at(proxy.address(), BUCKET, SECRET);
    let mut writer = outputs.of(&job(Value::Null)).unwrap().create("film.mp4", "gifs", None).await.unwrap();
    send(&mut writer, &bytes(6 << 20)).await.unwrap();
    until("a part has arrived", || async { (!server.leftovers().is_empty()).then_some(()) }).await;
    proxy.set(Way::ToClient, crate::support::proxy::Fault::Stall);
    // The parts fill up behind a server that says nothing: the writer waits.
    let writing = async { send(&mut writer, &bytes(30 << 20)).await };
    let moved = proxy.moved(Way::ToServer);
    tokio::select! {
        _ = writing => panic!("nobody takes so much"),
        () = until("another part is on its way", || async { (proxy.moved(Way::ToServer) > moved).then_some(()) }) => {}
    }
    drop(writer);
    proxy.set(Way::ToClient, crate::support::proxy::Fault::Pass);
    settled(&outputs).await;
    assert_eq!((server.leftovers(), server.keys(BUCKET)), (vec![], vec![]));
}

#[tokio::test]
async fn an_output_dropped_while_it_is_finished_leaves_no_object() {
    let (server, proxy) = server().await;
    let outputs = outputs_at(proxy.address(), BUCKET, SECRET);
    let mut writer = outputs.of(&job(Value::Null)).unwrap().create("a.txt", "text", None).await.unwrap();
    writer.write(Bytes::from_static(b"hello")).await.unwrap();
    proxy.set(Way::ToClient, crate::support::proxy::Fault::Stall);
    let there = until("it has arrived", || async { (!server.keys(BUCKET).is_empty()).then_some(()) });
    tokio::select! {
        _ = writer.finish() => panic!("the server says nothing"),
        () = there => {}
    }
    proxy.set(Way::ToClient, crate::support::proxy::Fault::Pass);
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
