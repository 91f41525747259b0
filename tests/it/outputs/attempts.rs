//! Two attempts of one job at one key: the broom of the one never takes what the other has stored.

use super::*;
use crate::support::proxy::{Cut, Door, Fault, Then, Way};
use crate::support::until;

fn asked_for(address: SocketAddr, attempt: u64) -> Job {
    let ctx = json!({ "storage": storage(address), "prefix": "u", "filename": "mine.txt" });
    Job { attempt, ..job(ctx) }
}

/// An attempt whose only output has arrived, and that never hears of it: it was stopped meanwhile.
async fn stopped_at_the_end(outputs: &Outputs, job: &Job, server: &S3Server, proxy: &FaultProxy) {
    let store = outputs.of(job).unwrap();
    let mut writer = store.create("a.txt", "text", None).await.unwrap();
    writer.write(Bytes::from_static(b"of the first attempt")).await.unwrap();
    proxy.set(Way::ToClient, Fault::Stall);
    let there = until("it has arrived", || async { (!server.keys(BUCKET).is_empty()).then_some(()) });
    tokio::select! {
        _ = writer.finish() => panic!("the server says nothing"),
        () = there => {}
    }
}

#[tokio::test]
async fn a_name_that_a_job_asked_for_is_not_removed_under_a_later_attempt() {
    let (server, proxy) = server().await;
    let first = outputs_of_jobs(proxy.address());
    stopped_at_the_end(&first, &asked_for(proxy.address(), 1), &server, &proxy).await;
    let second = outputs_of_jobs(server.address);
    let bytes = Bytes::from_static(b"of the second");
    store(&second, &asked_for(server.address, 2), "a.txt", &bytes).await.unwrap();
    proxy.set(Way::ToClient, Fault::Pass);
    settled(&first).await;
    assert_eq!(std::fs::read(server.object(BUCKET, "u/mine.txt")).unwrap(), bytes);
}

#[tokio::test]
async fn a_name_that_a_job_asked_for_in_the_workers_bucket_is_of_its_attempt_and_goes_with_it() {
    let (server, proxy) = server().await;
    let outputs = outputs_at(proxy.address(), BUCKET, SECRET);
    stopped_at_the_end(&outputs, &job(json!({ "filename": "mine.txt" })), &server, &proxy).await;
    proxy.set(Way::ToClient, Fault::Pass);
    settled(&outputs).await;
    assert_eq!(server.keys(BUCKET), [""; 0]);
}

#[tokio::test]
async fn an_attempt_that_finds_another_ones_object_in_its_place_fails_and_leaves_it() {
    let (server, proxy) = server().await;
    let first = outputs_of_jobs(proxy.address());
    let mut writer = first.of(&asked_for(proxy.address(), 1)).unwrap().create("a.txt", "text", None).await.unwrap();
    writer.write(Bytes::from_static(b"of the first attempt")).await.unwrap();
    // What it asks for after it has stored its bytes is kept on its way for a while.
    proxy.set(Way::ToClient, Fault::Stall);
    let finishing = tokio::spawn(writer.finish());
    until("it has arrived", || async { (!server.keys(BUCKET).is_empty()).then_some(()) }).await;
    let bytes = Bytes::from_static(b"of the second");
    store(&outputs_of_jobs(server.address), &asked_for(server.address, 2), "a.txt", &bytes).await.unwrap();
    proxy.set(Way::ToClient, Fault::Pass);
    assert!(finishing.await.unwrap().is_err(), "what it reports is not what lies there");
    settled(&first).await;
    assert_eq!(std::fs::read(server.object(BUCKET, "u/mine.txt")).unwrap(), bytes);
}

#[tokio::test]
async fn an_end_that_was_done_unheard_before_the_store_went_away_leaves_no_object() {
    let (server, proxy) = server().await;
    let outputs = outputs_at(proxy.address(), BUCKET, SECRET);
    let mut writer = outputs.of(&job(Value::Null)).unwrap().create("film.mp4", "gifs", None).await.unwrap();
    proxy.on("<CompleteMultipartUpload", Then::Strand(0));
    send(&mut writer, &bytes(LARGE)).await.unwrap();
    let finishing = tokio::spawn(writer.finish());
    until("it is complete", || async { (!server.keys(BUCKET).is_empty()).then_some(()) }).await;
    proxy.door(Door::Closed).await;
    proxy.cut(Cut::Reset);
    let failure = finishing.await.unwrap().unwrap_err();
    assert!(failure.hosts_fault, "{failure:?}");
    proxy.door(Door::Open).await;
    settled(&outputs).await;
    assert_eq!((server.leftovers(), server.keys(BUCKET)), (vec![], vec![]));
}
