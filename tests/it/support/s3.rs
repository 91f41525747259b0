//! An S3 server of somebody else's making, on a folder: what it accepts, others do too.
//! In: credentials that it knows. Out: its address, what lies in its buckets, what uploads have left behind.

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Error, S3ErrorCode, S3Result};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio_util::task::AbortOnDropHandle;

pub const KEY: &str = "AKIDEXAMPLE";
pub const SECRET: &str = "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY";

struct Refusal {
    operation: &'static str,
    code: &'static str,
    left: usize,
}

/// Who may do what: those who are known, in buckets that are there, unless a test forbids it.
struct Porter {
    root: PathBuf,
    asked: Arc<Mutex<Vec<String>>>,
    refusals: Arc<Mutex<Vec<Refusal>>>,
}

#[async_trait::async_trait]
impl S3Access for Porter {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if context.credentials().is_none() {
            return Err(S3Error::new(S3ErrorCode::AccessDenied));
        }
        let bucket = context.s3_path().get_bucket_name().unwrap_or_default();
        // The file system would make it.
        if !self.root.join(bucket).is_dir() {
            return Err(S3Error::new(S3ErrorCode::NoSuchBucket));
        }
        let mut refusals = self.refusals.lock().expect("nobody panicked");
        let operation = context.s3_op().name();
        self.asked.lock().expect("nobody panicked").push(operation.to_owned());
        let Some(refusal) = refusals.iter_mut().find(|refusal| refusal.operation == operation && refusal.left > 0)
        else {
            return Ok(());
        };
        refusal.left -= 1;
        let mut error = S3Error::new(S3ErrorCode::from_bytes(refusal.code.as_bytes()).expect("a word"));
        let status = match refusal.code {
            "InsufficientStorage" => 507,
            "SlowDown" => 503,
            "AccessDenied" => 403,
            _ => 400,
        };
        error.set_status_code(hyper::StatusCode::from_u16(status).expect("a status"));
        Err(error)
    }
}

/// The server; it ends with this.
pub struct S3Server {
    pub address: SocketAddr,
    folder: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
    refusals: Arc<Mutex<Vec<Refusal>>>,
    _door: AbortOnDropHandle<()>,
}

impl S3Server {
    /// A server that knows [`KEY`] and has these buckets.
    pub async fn start(buckets: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for bucket in buckets {
            std::fs::create_dir(folder.path().join(bucket)).expect("a bucket");
        }
        let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder.path()).expect("a file system"));
        let (refusals, asked) = (Arc::<Mutex<Vec<Refusal>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        service.set_access(Porter { root: folder.path().to_owned(), asked: asked.clone(), refusals: refusals.clone() });
        service.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let service = service.build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let door = tokio::spawn(async move {
            let mut lines = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (io, service) = (hyper_util::rt::TokioIo::new(stream), service.clone());
                let answer = service_fn(move |request| whole(service.clone(), request));
                lines.spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, answer));
            }
        });
        Self { address, folder, asked, refusals, _door: AbortOnDropHandle::new(door) }
    }

    /// Answers so many of these requests with this word.
    pub fn refuse(&self, operation: &'static str, code: &'static str, times: usize) {
        self.refusals.lock().expect("nobody panicked").push(Refusal { operation, code, left: times });
    }

    /// Refuses nothing any more.
    pub fn relent(&self) {
        self.refusals.lock().expect("nobody panicked").clear();
    }

    /// How many of these requests have come.
    pub fn asked(&self, operation: &str) -> usize {
        self.asked.lock().expect("nobody panicked").iter().filter(|asked| *asked == operation).count()
    }

    /// The file that holds an object.
    pub fn object(&self, bucket: &str, key: &str) -> PathBuf {
        self.folder.path().join(bucket).join(key)
    }

    /// The keys in a bucket.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        let root = self.folder.path().join(bucket);
        let mut keys: Vec<String> = files(&root)
            .iter()
            .map(|file| file.strip_prefix(&root).expect("below the bucket").to_string_lossy().into_owned())
            .collect();
        keys.sort();
        keys
    }

    /// What unfinished uploads have left: their parts and their records.
    pub fn leftovers(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.folder.path()).expect("the folder").flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(".upload")).collect()
    }

    /// What the server notes of an object: its content type among them.
    pub fn notes(&self) -> String {
        let names = std::fs::read_dir(self.folder.path()).expect("the folder").flatten();
        names.filter_map(|entry| std::fs::read_to_string(entry.path()).ok()).collect()
    }
}

/// Reads a request to its end before it is answered: an answer that comes before the end closes the line below whoever is
/// still sending, and whether he sees the answer or a broken line would be luck.
async fn whole(service: S3Service, request: Request<Incoming>) -> Result<Response<s3s::Body>, s3s::HttpError> {
    let (head, body) = request.into_parts();
    let body = s3s::Body::from(body).store_all_limited(usize::MAX).await.map_err(s3s::HttpError::new)?;
    service.call(Request::from_parts(head, s3s::Body::from(body))).await
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.flat_map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { vec![entry.path()] }).collect()
}
