//! An input source for tests: what it is given, from memory, at once or when it is let.
//! In: sources with their bytes or failures. Out: inputs, and which were asked for.

use async_trait::async_trait;
use connectors::contract::{Input, InputSource};
use connectors::failure::{Failure, Reason};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// The bytes of a small picture.
pub const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x20\0\0\0\x18 and what follows";

pub struct Given {
    known: BTreeMap<&'static str, (&'static str, Vec<u8>)>,
    failure: Failure,
    asked: Mutex<Vec<String>>,
    open: watch::Sender<bool>,
}

impl Given {
    /// Knows these: source, media type, bytes. All others fail.
    pub fn new(known: &[(&'static str, &'static str, &[u8])]) -> Arc<Self> {
        let known = known.iter().map(|(source, kind, bytes)| (*source, (*kind, bytes.to_vec()))).collect();
        let failure = Failure::new(Reason::InvalidPayload, "there is nothing");
        Arc::new(Self { known, failure, asked: Mutex::default(), open: watch::Sender::new(true) })
    }

    /// Fails all others so.
    pub fn failing(failure: Failure) -> Arc<Self> {
        let open = watch::Sender::new(true);
        Arc::new(Self { known: BTreeMap::new(), failure, asked: Mutex::default(), open })
    }

    /// Answers nothing from now on.
    pub fn hold(&self) {
        self.open.send_replace(false);
    }

    /// What it was asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

struct Lent {
    file: tempfile::NamedTempFile,
    bytes: u64,
    sha256: String,
    media_type: &'static str,
}

#[async_trait]
impl InputSource for Given {
    async fn fetch(&self, source: &str) -> Result<Box<dyn Input>, Failure> {
        self.asked.lock().unwrap().push(source.to_owned());
        let _ = self.open.subscribe().wait_for(|open| *open).await;
        let (media_type, bytes) = self.known.get(source).ok_or_else(|| self.failure.clone())?;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        Ok(Box::new(Lent { file, bytes: bytes.len() as u64, sha256: sha256(bytes), media_type }))
    }
}

impl Input for Lent {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn sha256(&self) -> &str {
        &self.sha256
    }

    fn media_type(&self) -> &str {
        self.media_type
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
