//! A text on its way to its readers: only from the holder, each piece once, with one end whoever ends the job.

use super::invariants::check;
use super::scene::Scene;
use gpu_worker::protocol::hold::{Claim, Hold};
use gpu_worker::protocol::tokens::Pieces;
use serde_json::{Value, json};

fn pieces(run: &str, first: u64, texts: &[&str]) -> Pieces {
    let texts = texts.iter().map(|text| json!({ "token": text }).to_string()).collect();
    Pieces { session: "s".to_owned(), run: run.to_owned(), first, texts, facts: None }
}

async fn send(scene: &Scene, claim: &Claim, pieces: &Pieces) -> Hold {
    scene.space.tokens(&mut scene.con(), claim, pieces).await.unwrap()
}

/// The stream's entries; a piece by its text.
async fn told(scene: &Scene) -> Vec<Value> {
    let found: Vec<(String, Vec<String>)> = scene.run(&["XRANGE", "ai:stream:s", "-", "+"]).await;
    let entry = |(_, fields): (String, Vec<String>)| {
        let entry: Value = serde_json::from_str(&fields[1]).unwrap();
        entry.get("token").cloned().unwrap_or(entry)
    };
    found.into_iter().map(entry).collect()
}

#[tokio::test]
async fn pieces_come_once_however_often_they_are_sent_and_in_order() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    for batch in
        [pieces("r", 0, &["a", "b"]), pieces("r", 0, &["a", "b"]), pieces("r", 1, &["b", "c"]), pieces("r", 3, &[])]
    {
        assert_eq!(send(&scene, &claim, &batch).await, Hold::Ok);
    }
    assert_eq!(told(&scene).await, ["a", "b", "c"]);
    assert_eq!(send(&scene, &claim, &pieces("again", 0, &["x"])).await, Hold::Ok);
    let restart = json!({ "restart": true, "attempt": 1, "job_id": "a" });
    assert_eq!(told(&scene).await[3..], [restart, json!("x")]);
    check(&scene).await;
}

#[tokio::test]
async fn nobody_but_the_holder_writes_and_he_only_while_he_holds() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    let earlier = Claim { token: "w1|other".to_owned(), ..claim.clone() };
    let stranger = Claim { token: "w2|other".to_owned(), ..claim.clone() };
    let unknown = Claim { id: "nowhere".to_owned(), ..claim.clone() };
    for (other, expected) in [(&earlier, Hold::Moved), (&stranger, Hold::Lost), (&unknown, Hold::Lost)] {
        assert_eq!(send(&scene, other, &pieces("r", 0, &["a"])).await, expected);
    }
    assert!(told(&scene).await.is_empty());
    scene.space.cancel(&mut scene.con(), "a", "not needed").await.unwrap();
    assert_eq!(send(&scene, &claim, &pieces("r", 0, &["a"])).await, Hold::Cancel);
    scene.space.confirm(&mut scene.con(), &claim).await.unwrap();
    assert_eq!(send(&scene, &claim, &pieces("r", 1, &["b"])).await, Hold::Lost);
    let stream = told(&scene).await;
    let last = json!({ "done": true, "job_id": "a", "state": "cancelled", "tokens": 1, "error": "not needed" });
    assert_eq!(stream, [json!("a"), last], "the end is the last word");
    check(&scene).await;
}

#[tokio::test]
async fn a_job_that_ends_well_says_what_it_was_given_and_one_without_a_text_says_nothing() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    let facts = Some(json!({ "finish_reason": "stop", "usage": { "total_tokens": 2 } }).to_string());
    send(&scene, &claim, &Pieces { facts, ..pieces("r", 0, &["a"]) }).await;
    scene.complete(&claim).await;
    let done = json!({ "done": true, "job_id": "a", "state": "completed", "tokens": 1, "finish_reason": "stop",
                       "usage": { "total_tokens": 2 } });
    assert_eq!(told(&scene).await, [json!("a"), done]);
    let mute = scene.held("b", "w1").await;
    scene.complete(&mute).await;
    assert_eq!(told(&scene).await.len(), 2);
    check(&scene).await;
}

#[tokio::test]
async fn something_else_under_the_streams_name_stops_neither_text_nor_job() {
    let scene = Scene::start().await;
    let claim = scene.held("a", "w1").await;
    let _: () = scene.run(&["SET", "ai:stream:s", "mine"]).await;
    assert_eq!(send(&scene, &claim, &pieces("r", 0, &["a"])).await, Hold::Ok);
    scene.complete(&claim).await;
    assert_eq!(scene.field("a", "status").await.as_deref(), Some("completed"));
    let theirs: String = scene.run(&["GET", "ai:stream:s"]).await;
    let left: i64 = scene.run(&["TTL", "ai:stream:s"]).await;
    assert_eq!((theirs.as_str(), left), ("mine", -1));
}
