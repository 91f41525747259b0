//! A gigabyte from an engine, through the agent, into a folder and into a bucket: how fast, and how much memory it takes.
//! In: an engine that streams a file, an S3 server on a folder. Out: MB/s beside the same way without the agent, MB.

use crate::stage::Stage;
use crate::support::s3::{KEY, S3Server, SECRET};
use crate::support::{Agent, until};
use crate::table::Table;
use axum::body::{Body, Bytes};
use axum::routing::{get, post};
use futures_util::StreamExt;
use object_store::{ObjectStore, PutMultipartOptions, WriteMultipart};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

const LENGTH: usize = 1 << 30;
const CHUNK: usize = 64 << 10;
const BUCKET: &str = "outputs";

/// Runs this on a thread of its own for as long as the process lives; answers its address.
fn beside<F: Future<Output = SocketAddr>>(serve: impl FnOnce() -> F + Send + 'static) -> SocketAddr {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            tell.send(serve().await).expect("somebody asks");
            std::future::pending::<()>().await;
        });
    });
    told.recv().expect("it serves")
}

/// An engine whose every job makes one file of a gigabyte.
async fn engine() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let chunk: Bytes = (0..CHUNK).map(|at| (at / 3) as u8).collect::<Vec<u8>>().into();
    let file = move || {
        let chunks = futures_util::stream::repeat(Ok::<_, std::io::Error>(chunk.clone())).take(LENGTH / CHUNK);
        async move { Body::from_stream(chunks) }
    };
    let answer = json!({ "file": format!("http://{address}/file.bin") }).to_string();
    let router = axum::Router::new()
        .route("/run", post(async move || ([("content-type", "application/json")], answer)))
        .route("/health", get(async || "fine"))
        .route("/file.bin", get(file));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn definition(engine: SocketAddr) -> String {
    format!(
        "services = [\"film\"]\nurl = \"http://{engine}\"\nhealth = {{ path = \"/health\" }}\n\n[submit]\npath = \"/run\"\n\
         body = \"${{payload}}\"\n\n[[outputs]]\nas = \"url\"\nat = \"/file\"\n"
    )
}

/// The same way without an agent: from the engine's connection, hashed.
async fn fetch(engine: SocketAddr, mut take: impl AsyncFnMut(Bytes)) -> f64 {
    let began = Instant::now();
    let answer = reqwest::get(format!("http://{engine}/file.bin")).await.expect("the engine answers");
    let (mut chunks, mut hash) = (answer.bytes_stream(), Sha256::new());
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.expect("a chunk");
        hash.update(&chunk);
        take(chunk).await;
    }
    let _ = hash.finalize();
    began.elapsed().as_secs_f64()
}

fn speed(seconds: f64) -> f64 {
    LENGTH as f64 / 1e6 / seconds
}

async fn copy(engine: SocketAddr, folder: &Path) -> f64 {
    let path = folder.join("yardstick");
    let mut file = std::fs::File::create(&path).expect("a file");
    let streaming = fetch(engine, async |chunk| file.write_all(&chunk).expect("written")).await;
    let began = Instant::now();
    file.sync_all().expect("flushed");
    std::fs::remove_file(path).expect("removed");
    streaming + began.elapsed().as_secs_f64()
}

async fn upload(engine: SocketAddr, s3: SocketAddr) -> f64 {
    let store = object_store::aws::AmazonS3Builder::new()
        .with_endpoint(format!("http://{s3}"))
        .with_allow_http(true)
        .with_bucket_name(BUCKET)
        .with_access_key_id(KEY)
        .with_secret_access_key(SECRET)
        .build()
        .expect("a store");
    let key = object_store::path::Path::from("yardstick");
    let began = store.put_multipart_opts(&key, PutMultipartOptions::default()).await.expect("begun");
    let mut writer = WriteMultipart::new(began);
    let seconds = fetch(engine, async |chunk| {
        writer.wait_for_capacity(2).await.expect("sent");
        writer.write(&chunk);
    });
    let seconds = seconds.await;
    let began = Instant::now();
    writer.finish().await.expect("stored");
    seconds + began.elapsed().as_secs_f64()
}

/// A line of `/proc/{pid}/status`, in MB.
fn memory(agent: &Agent, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.child.id())).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells");
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<f64>().expect("a number") * 1024.0 / 1e6
}

/// Three jobs, each of a gigabyte: MB/s of each, and by how much the agent's memory has grown at most since its start.
async fn through_the_agent(env: &[(&str, &str)], clear: impl Fn()) -> (Vec<f64>, f64) {
    let stage = Stage::set().await;
    let agent = Agent::start(&stage.server, "w", env).await;
    let before = memory(&agent, "VmRSS:");
    // From here on the peak is counted anew.
    std::fs::write(format!("/proc/{}/clear_refs", agent.child.id()), "5").expect("the peak is forgotten");
    let mut speeds = Vec::new();
    for run in 1..=3 {
        let began = Instant::now();
        stage.submit(json!({ "service_required": "film", "payload": {} })).await;
        stage.finished(run).await;
        speeds.push(speed(began.elapsed().as_secs_f64()));
        clear();
    }
    (speeds, memory(&agent, "VmHWM:") - before)
}

fn clear(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    }
}

pub async fn run(table: &mut Table) {
    let engine = beside(engine);
    let (keep, kept) = std::sync::mpsc::channel();
    let s3 = beside(async move || {
        let server = S3Server::start(&[BUCKET]).await;
        let address = server.address;
        keep.send(server).expect("somebody keeps it");
        address
    });
    let server = kept.recv().expect("a server");
    let folder = tempfile::tempdir().expect("a folder");
    let (engines, outputs) = (folder.path().join("engines"), folder.path().join("outputs"));
    std::fs::create_dir_all(&engines).expect("a folder");
    std::fs::create_dir_all(&outputs).expect("a folder");
    std::fs::write(engines.join("film.toml"), definition(engine)).expect("a file");
    let engines = engines.to_str().expect("text");
    let common = [("SERVICES", "simulation"), ("GPU_COUNT", "0"), ("CONNECTORS_DIR", engines)];

    let mut yardstick = Vec::new();
    for _ in 0..3 {
        yardstick.push(speed(copy(engine, folder.path()).await));
    }
    let yardstick = table.yardstick("fetched, hashed, written, flushed", "MB/s", &yardstick);
    let to = [("OUTPUT_DIR", outputs.to_str().expect("text"))];
    let (speeds, grown) = through_the_agent(&[&common[..], &to].concat(), || clear(&outputs)).await;
    table.spread("1 GiB through the agent into a folder", "MB/s", &speeds, Some(&yardstick));
    table.single("the agent's peak above its memory at rest", "MB", 3, grown, None);

    let bucket = server.object(BUCKET, "");
    let mut yardstick = Vec::new();
    for _ in 0..3 {
        yardstick.push(speed(upload(engine, s3).await));
        clear(&bucket);
    }
    let yardstick = table.yardstick("fetched, hashed, sent to the same server", "MB/s", &yardstick);
    let endpoint = format!("http://{s3}");
    let store = format!("s3://{BUCKET}");
    let to = [
        ("OUTPUT_STORE", store.as_str()),
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
    ];
    let (speeds, grown) = through_the_agent(&[&common[..], &to].concat(), || clear(&bucket)).await;
    table.spread("1 GiB through the agent into a bucket", "MB/s", &speeds, Some(&yardstick));
    table.single("the agent's peak above its memory at rest", "MB", 3, grown, None);
    until("nothing is left behind", || async { server.leftovers().is_empty().then_some(()) }).await;
}
