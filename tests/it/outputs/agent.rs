//! The agent with outputs in buckets: from a job's hash to the URL in its result, and what happens on the way.

use super::*;
use crate::support::proxy::{Fault, Way};
use crate::support::{Agent, Queue, RedisServer, cli_at, until};
use futures_util::StreamExt;
use std::sync::{Arc, Mutex};

fn drawing(outputs: u64, side: u64, ctx: Value) -> Value {
    json!({ "type": "simulation", "ctx": ctx,
            "payload": { "steps": 1, "step_ms": 1, "outputs": outputs, "width": side, "height": side } })
}

/// What is set for a worker whose bucket is behind this address.
pub fn bucket_of(address: SocketAddr) -> [(&'static str, String); 4] {
    [
        ("OUTPUT_STORE", format!("s3://{BUCKET}/base")),
        ("AWS_ENDPOINT_URL", format!("http://{address}")),
        ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
    ]
}

pub fn borrowed<'a>(env: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    env.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// Everything that is published from now on.
async fn listen(server: &RedisServer) -> Arc<Mutex<String>> {
    let client = redis::Client::open(server.url.as_str()).unwrap();
    let mut listener = client.get_async_pubsub().await.unwrap();
    listener.psubscribe("*").await.unwrap();
    let heard = Arc::<Mutex<String>>::default();
    let ear = heard.clone();
    tokio::spawn(async move {
        let mut messages = listener.on_message();
        while let Some(message) = messages.next().await {
            let text = String::from_utf8_lossy(message.get_payload_bytes()).into_owned();
            ear.lock().unwrap().push_str(&(text + "\n"));
        }
    });
    heard
}

/// Every key with all that it holds, but for the field in which clients store a job's context.
async fn everything_in(server: &RedisServer) -> String {
    let mut all = String::new();
    for key in server.run::<Vec<String>>(&["KEYS", "*"]).await {
        let kind: String = server.run(&["TYPE", &key]).await;
        let words: Vec<&str> = match kind.as_str() {
            "string" => vec!["GET", &key],
            "list" => vec!["LRANGE", &key, "0", "-1"],
            "set" => vec!["SMEMBERS", &key],
            "zset" => vec!["ZRANGE", &key, "0", "-1"],
            "stream" => vec!["XRANGE", &key, "-", "+"],
            "hash" => vec!["HGETALL", &key],
            // A wake-up that has been taken meanwhile.
            "none" => continue,
            other => panic!("{key} is a {other}"),
        };
        if kind == "hash" {
            let mut fields: std::collections::BTreeMap<String, String> = server.run(&words).await;
            fields.remove("ctx");
            all.push_str(&format!("{key} {fields:?}\n"));
        } else {
            let value: redis::Value = server.run(&words).await;
            all.push_str(&format!("{key} {value:?}\n"));
        }
    }
    all
}

fn everything_below(folder: &std::path::Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        all.push_str(&path.display().to_string());
        all.push_str(&if path.is_dir() {
            everything_below(&path)
        } else {
            String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned()
        });
    }
    all
}

#[tokio::test]
async fn a_jobs_own_bucket_gets_its_outputs_and_nobody_learns_the_secret() {
    let (redis, server) = (RedisServer::start().await, S3Server::start(&[BUCKET]).await);
    let queue = Queue::of(&redis);
    let heard = listen(&redis).await;
    let endpoints = server.address.to_string();
    let env = [("OUTPUT_ENDPOINTS", endpoints.as_str()), ("LOG_LEVEL", "trace")];
    let agent = Agent::start(&redis, "w", &env).await;
    let ctx = json!({ "storage": storage(server.address), "prefix": "users/7/" });
    let good = queue.submit(drawing(2, 64, ctx.clone())).await;
    // Refused by the server, and not usable at all: errors are where secrets like to show.
    let mut refused = ctx.clone();
    refused["storage"]["accessKeyId"] = json!("UNKNOWNKEY");
    let refused = queue.submit(drawing(1, 64, refused)).await;
    let mut unusable = ctx.clone();
    unusable["storage"]["endpoint"] = json!(format!("http://{KEY}:{SECRET}@169.254.169.254/{SECRET}"));
    let unusable = queue.submit(drawing(1, 64, unusable)).await;

    queue.reaches(&good, "completed").await;
    let keys = server.keys(BUCKET);
    let expected = [1, 2].map(|number| format!("users/7/{good}/1/simulation-{number}.png"));
    assert_eq!(keys, expected);
    let url = format!("https://cdn.example.org/{}", expected[0]);
    let result: Value = serde_json::from_str(&redis.hget("jobs:completed", &good).await.unwrap()).unwrap();
    assert_eq!(result["data"]["data"]["image_url"], json!(url), "{result}");
    assert_eq!(result["data"]["output_files"][0]["path"], json!(url));

    for (id, kind) in [(&refused, "auth_error"), (&unusable, "validation_error")] {
        let fields = queue.reaches(id, "failed").await;
        assert_eq!(fields["attempt"], "1", "not tried again: {fields:?}");
        let events = format!("{:?}", queue.events(id).await);
        assert!(events.contains(kind), "{events}");
    }
    // The engine was not troubled with a job whose outputs have no place.
    assert!(!queue.job(&unusable).await.contains_key("service_job_id"), "{:?}", queue.job(&unusable).await);

    let places = [
        ("Redis", everything_in(&redis).await),
        ("what was published", heard.lock().unwrap().clone()),
        ("the agent's files", everything_below(agent.folder.path())),
    ];
    for (place, text) in &places {
        assert!(text.contains(&good), "{place} was looked at");
        for secret in [SECRET, KEY, "UNKNOWNKEY"] {
            assert!(!text.contains(secret), "{place} holds {secret}");
        }
    }
    // It is where the client put it, and nowhere else.
    assert!(redis.hget(&format!("job:{good}"), "ctx").await.unwrap().contains(SECRET));
}

#[tokio::test]
async fn a_cancelled_job_leaves_nothing_in_the_bucket() {
    let (redis, (server, proxy)) = (RedisServer::start().await, server().await);
    let queue = Queue::of(&redis);
    let env = bucket_of(proxy.address());
    let _agent = Agent::start(&redis, "w", &borrowed(&env)).await;
    let id = queue.submit(drawing(1, 4096, Value::Null)).await;
    until("parts arrive", || async { (!server.leftovers().is_empty()).then_some(()) }).await;
    proxy.set(Way::ToServer, Fault::Throttle(1 << 20));
    let cancelled = cli_at(&redis.url, &[], &["cancel", &id]).await;
    assert!(cancelled.status.success(), "{cancelled:?}");
    queue.reaches(&id, "cancelled").await;
    proxy.set(Way::ToServer, Fault::Pass);
    until("all is gone", || async { server.leftovers().is_empty().then_some(()) }).await;
    assert_eq!(server.keys(BUCKET), [""; 0]);
}

#[tokio::test]
async fn a_worker_whose_bucket_takes_nothing_waits_until_it_does() {
    let (redis, server) = (RedisServer::start().await, S3Server::start(&[BUCKET]).await);
    let queue = Queue::of(&redis);
    let env = bucket_of(server.address);
    let agent = Agent::start(&redis, "w", &borrowed(&env)).await;
    // It has looked at the bucket once before it claims.
    let first = queue.submit(drawing(0, 64, Value::Null)).await;
    queue.reaches(&first, "completed").await;
    // The upload, and the first look at the bucket after it.
    server.refuse("PutObject", "AccessDenied", 2);
    let id = queue.submit(drawing(1, 64, Value::Null)).await;
    agent.logged("no jobs are claimed until they can").await;
    assert!(agent.log().contains("s3://pictures/base"), "{}", agent.log());
    let fields = queue.reaches(&id, "completed").await;
    assert_eq!((fields["attempt"].as_str(), fields["handed_on"].as_str()), ("2", "1"), "{fields:?}");
    assert_eq!(server.keys(BUCKET), [format!("base/{id}/2/simulation-1.png")]);
}

#[tokio::test]
async fn a_bucket_that_cannot_be_used_is_told_before_any_job_is_taken() {
    let (redis, server) = (RedisServer::start().await, S3Server::start(&[BUCKET]).await);
    let mut env = bucket_of(server.address);
    let probed = cli_at(&redis.url, &borrowed(&env), &["probe"]).await;
    let said = String::from_utf8_lossy(&probed.stdout).into_owned();
    assert!(said.contains("Outputs     s3://pictures/base takes them"), "{said}");
    env[3].1 = "not-the-secret".to_owned();
    let probed = cli_at(&redis.url, &borrowed(&env), &["probe"]).await;
    let said = String::from_utf8_lossy(&probed.stdout).into_owned();
    assert!(said.contains("Outputs     cannot be stored: ") && said.contains("check the credentials"), "{said}");
    let mut agent = Agent::spawn(&redis, "w", &borrowed(&env));
    assert_eq!(agent.ended().await, Some(64));
    assert!(agent.log().contains("s3://pictures/base refuses the credentials"), "{}", agent.log());
    assert!(!agent.log().contains("not-the-secret") && !said.contains("not-the-secret"));
    env[0].1 = "s3://elsewhere".to_owned();
    env[3].1 = SECRET.to_owned();
    let mut agent = Agent::spawn(&redis, "w", &borrowed(&env));
    assert_eq!(agent.ended().await, Some(64));
    assert!(agent.log().contains("s3://elsewhere has no such bucket"), "{}", agent.log());
}

#[tokio::test]
async fn files_of_the_local_folder_are_named_by_the_public_address() {
    let redis = RedisServer::start().await;
    let queue = Queue::of(&redis);
    let agent = Agent::start(&redis, "w", &[("OUTPUT_PUBLIC_URL", "https://box.example.org/out")]).await;
    let id = queue.submit(drawing(1, 64, Value::Null)).await;
    queue.reaches(&id, "completed").await;
    let result: Value = serde_json::from_str(&redis.hget("jobs:completed", &id).await.unwrap()).unwrap();
    let expected = format!("https://box.example.org/out/{id}/1/simulation-1.png");
    assert_eq!(result["data"]["data"]["image_url"], json!(expected), "{result}");
    assert!(agent.folder.path().join("outputs").join(&id).join("1/simulation-1.png").is_file());
}
