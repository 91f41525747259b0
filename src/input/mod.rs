//! What jobs name as inputs, fetched safely: the one door through which the outside comes in on a job's word.
//! In: `http(s):` and `data:` URLs, `output:JOB/NAME`. Out: a file with length, hash and sniffed media type, or a typed refusal.
//!
//! What may not be fetched, at all or because it is too large, is a `validation_error`; what could not be is a
//! `network_error` or a `timeout`. No message holds a user name, a password, a query, or an address that a name led to.

mod address;
mod data;
mod fetch;
mod file;
mod resolve;
mod stored;
mod target;

pub use resolve::Resolver;

use crate::config::{AllowedHost, Config};
use async_trait::async_trait;
use connectors::contract::{Input, InputSource};
use connectors::failure::{Failure, Reason};
use fetch::Fetch;
use file::{Draft, Stored};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// The folder in STATE_DIR for inputs that are in use.
const FOLDER: &str = "inputs";
/// Piece by piece, out of an output.
const CHUNK: usize = 64 << 10;

/// How large, how long, how often.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Of one input.
    pub bytes: u64,
    /// From the first question to the last byte, redirects included.
    pub total: Duration,
    /// Silence: until a name is known, until an answer begins, between two pieces of it.
    pub idle: Duration,
    /// Until a connection stands.
    pub connect: Duration,
    /// Redirects that are followed.
    pub redirects: u32,
}

impl Limits {
    /// These, with the rest as it fits.
    pub fn new(bytes: u64, total: Duration) -> Self {
        let idle = total.min(Duration::from_secs(30));
        Self { bytes, total, idle, connect: total.min(Duration::from_secs(10)), redirects: 5 }
    }
}

/// Fetches inputs for all runs of an agent.
pub struct Inputs {
    limits: Limits,
    allowed: Vec<AllowedHost>,
    resolver: Arc<dyn Resolver>,
    folder: PathBuf,
    outputs: PathBuf,
}

impl Inputs {
    /// As configured; removes what an earlier process left behind.
    pub fn configured(config: &Config) -> Self {
        let limits = Limits::new(config.inputs.max_bytes, config.inputs.timeout);
        Self::new(limits, config.inputs.allowed.clone(), &config.state_dir.join(FOLDER), &config.output_dir)
    }

    /// Keeps inputs in `folder` while they are used, and takes outputs of earlier jobs from `outputs`.
    pub fn new(limits: Limits, allowed: Vec<AllowedHost>, folder: &Path, outputs: &Path) -> Self {
        file::sweep(folder);
        let (folder, outputs) = (folder.to_owned(), outputs.to_owned());
        Self { limits, allowed, resolver: Arc::new(resolve::System), folder, outputs }
    }

    /// The same, with somebody else who knows the addresses of names.
    pub fn resolving(self, resolver: Arc<dyn Resolver>) -> Self {
        Self { resolver, ..self }
    }

    async fn embedded(&self, rest: &str) -> Result<Stored, Failure> {
        let (bytes, claim) = data::read(rest)?;
        let mut draft = Draft::create(&self.folder, self.limits.bytes).await?;
        draft.write(&bytes).await?;
        draft.finish(claim.as_deref()).await
    }

    /// A copy: the output stays where it is.
    async fn stored(&self, reference: &str) -> Result<Stored, Failure> {
        let (root, name) = (self.outputs.clone(), reference.to_owned());
        // A file system that hangs must not hold up the one thread.
        let opened = tokio::task::spawn_blocking(move || stored::open(&root, &name)).await;
        let opened = opened.map_err(|_| Failure::new(Reason::InternalError, "an output could not be opened"))??;
        let mut from = tokio::fs::File::from_std(opened);
        let mut draft = Draft::create(&self.folder, self.limits.bytes).await?;
        let mut chunk = vec![0; CHUNK];
        loop {
            match from.read(&mut chunk).await.map_err(|error| stored::unreadable(&error))? {
                0 => return draft.finish(None).await,
                read => draft.write(&chunk[..read]).await?,
            }
        }
    }
}

#[async_trait]
impl InputSource for Inputs {
    async fn fetch(&self, source: &str) -> Result<Box<dyn Input>, Failure> {
        let Self { limits, allowed, resolver, folder, .. } = self;
        let source = source.trim();
        let fetched = match source.split_once(':') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("data") => self.embedded(rest).await?,
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("output") => self.stored(rest).await?,
            _ => Fetch { limits, allowed, resolver: &**resolver, folder }.get(source).await?,
        };
        Ok(Box::new(fetched))
    }
}
