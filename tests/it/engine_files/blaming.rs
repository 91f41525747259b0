//! What engines that are files do wrong with one job, and what the others notice of it.
//! In: definitions and programs that cannot serve a job. Out: who is charged, what stays on offer.

use super::Engines;
use crate::support::{Queue, RedisServer};
use axum::routing::post;
use serde_json::json;

#[tokio::test]
async fn an_output_on_another_server_is_charged_to_its_job_and_leaves_the_engine_on_offer() {
    let (server, engines) = (RedisServer::start().await, Engines::new());
    let queue = Queue::of(&server);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let files = async |body: String| match body.contains("elsewhere") {
        true => axum::Json(json!({ "file": "http://127.0.0.2:1/x.png" })),
        false => axum::Json(json!({ "file": "data/x.png" })),
    };
    let app = axum::Router::new().route("/draw", post(files)).route("/data/x.png", axum::routing::get(async || "x"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let definition = format!(
        "services = ['draw']\nurl = '{url}'\n[submit]\npath = '/draw'\nbody = '${{payload}}'\n\
         [[outputs]]\nas = 'url'\nat = '/file'\n"
    );
    engines.write("draw.toml", &definition, 0o644);
    let agent = engines.agent_with(&server, &[("RETRY_BACKOFF_MS", "1")]).await;
    let draw = async |where_: &str| {
        let payload = json!({ "where": where_ });
        queue.submit(json!({ "service_required": "draw", "payload": payload, "max_retries": 2 })).await
    };
    let id = draw("elsewhere").await;
    let job = queue.reaches(&id, "failed").await;
    let seen = (job["failure_type"].as_str(), job["failure_reason"].as_str(), job["retry_count"].as_str());
    assert_eq!(seen, ("system_error", "config_error", "2"), "{job:?}");
    assert!(job["error"].contains("from = [\"http://127.0.0.2:1\"]"), "{job:?}");
    let out_of_offer = ["engine cannot take work", "left out of the offer"];
    assert!(!out_of_offer.iter().any(|words| agent.log().contains(words)), "{}", agent.log());
    queue.reaches(&draw("here").await, "completed").await;
}
