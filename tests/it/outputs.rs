//! Outputs in buckets: what arrives, what is left behind when it does not, whose fault it is, and who learns of secrets.

pub mod agent;
mod attempts;
mod naming;
mod troubles;
mod uploading;

use super::support::proxy::FaultProxy;
use super::support::s3::{KEY, S3Server, SECRET};
use bytes::Bytes;
use connectors::contract::{Job, OutputWriter, StoredOutput};
use connectors::failure::Failure;
use gpu_worker::config::{self, Bucket, Cloud};
use gpu_worker::output::{Outputs, Patience};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

pub const BUCKET: &str = "pictures";
/// Longer than a part, and not by a whole number of parts.
const LARGE: usize = (12 << 20) + 345;

/// Little of it: tests are to end soon.
fn impatient() -> Patience {
    Patience {
        connect: Duration::from_secs(20),
        request: Duration::from_secs(60),
        pause: Duration::from_millis(20),
        retries: 3,
        last_parts: Duration::from_secs(20),
        cleaning: Duration::from_secs(30),
    }
}

fn cloud(address: SocketAddr, secret: &str) -> Cloud {
    Cloud::S3 {
        endpoint: Some(Url::parse(&format!("http://{address}")).unwrap()),
        region: "us-east-1".into(),
        path_style: true,
        key_id: KEY.into(),
        secret: secret.into(),
        token: None,
    }
}

/// Outputs of a worker whose bucket is behind this address.
fn outputs_at(address: SocketAddr, bucket: &str, secret: &str) -> Outputs {
    outputs_with(impatient(), address, bucket, secret)
}

fn outputs_with(patience: Patience, address: SocketAddr, bucket: &str, secret: &str) -> Outputs {
    let bucket = Bucket { name: bucket.into(), prefix: "base".into(), cloud: cloud(address, secret) };
    let to = config::Outputs { bucket: Some(bucket), ..config::Outputs::default() };
    Outputs::with(PathBuf::from("/nonexistent"), to, patience)
}

/// Outputs of a worker that allows jobs to name this address.
fn outputs_of_jobs(address: SocketAddr) -> Outputs {
    let to = config::Outputs { endpoints: vec![address.to_string()], ..config::Outputs::default() };
    Outputs::with(PathBuf::from("/nonexistent"), to, impatient())
}

fn storage(address: SocketAddr) -> Value {
    json!({ "bucket": BUCKET, "endpoint": format!("http://{address}"), "accessKeyId": KEY, "secretAccessKey": SECRET,
            "cdnUrl": "https://cdn.example.org/" })
}

fn job(ctx: Value) -> Job {
    Job { id: "j-1".into(), attempt: 1, service: "simulation".into(), payload: Value::Null, ctx }
}

/// Bytes that differ from part to part.
fn bytes(length: usize) -> Bytes {
    (0..length).map(|at| (at / 7 + at / 4099) as u8).collect::<Vec<u8>>().into()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn send(writer: &mut Box<dyn OutputWriter>, bytes: &Bytes) -> Result<(), Failure> {
    for at in (0..bytes.len()).step_by(100_000) {
        writer.write(bytes.slice(at..bytes.len().min(at + 100_000))).await?;
    }
    Ok(())
}

async fn store(outputs: &Outputs, job: &Job, name: &str, bytes: &Bytes) -> Result<StoredOutput, Failure> {
    let mut writer = outputs.of(job)?.create(name, "images", None).await?;
    send(&mut writer, bytes).await?;
    writer.finish().await
}

/// A server with one bucket, and a proxy in front of it.
async fn server() -> (S3Server, FaultProxy) {
    let server = S3Server::start(&[BUCKET]).await;
    let proxy = FaultProxy::before(server.address).await;
    (server, proxy)
}

/// What has been begun is cleaned away.
async fn settled(outputs: &Outputs) {
    outputs.settle(crate::support::PATIENCE).await;
}
