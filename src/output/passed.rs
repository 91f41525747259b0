//! What is learnt of an output while its bytes pass: length, hash, what its first bytes say.
//! In: chunks. Out: what stands of it in a result.

use super::media_type;
use sha2::{Digest, Sha256};

/// The bytes so far.
#[derive(Default)]
pub struct Passed {
    head: Vec<u8>,
    bytes: u64,
    hash: Sha256,
}

impl Passed {
    /// These come next.
    pub fn take(&mut self, chunk: &[u8]) {
        let room = media_type::HEAD - self.head.len().min(media_type::HEAD);
        self.head.extend_from_slice(&chunk[..chunk.len().min(room)]);
        self.hash.update(chunk);
        self.bytes += chunk.len() as u64;
    }

    /// How many.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// In lowercase hex.
    pub fn sha256(&self) -> String {
        self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// By the first bytes, else by the engine's claim, else by the name.
    pub fn media_type(&self, claimed: Option<&str>, name: &str) -> String {
        media_type::of(&self.head, claimed, name)
    }
}
